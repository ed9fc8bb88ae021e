"""Formulas from strangers: which expressions can do no more than compute with columns; knows no data."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mixedmodels.errors import FormulaError
from mixedmodels.formula.expressions import syntax_tree
from mixedmodels.formula.labels import computed_expressions
from mixedmodels.formula.terms import Formula

CODINGS = frozenset({"treatment", "sum", "helmert", "poly", "diff", "SAS"})
FUNCTIONS = frozenset(
    {"C", "factor", "I", "bs", "cc", "cr", "cs", "center", "lag", "poly", "scale", "standardize"}
    | {"treatment", "helmert", "SAS", "abs", "round", "sqrt", "sin", "cos", "tan"}
    | {"log", "log10", "log2", "log1p", "exp", "exp2", "exp10", "expm1"}
)
OF_NUMPY = frozenset(
    {"abs", "sign", "sqrt", "cbrt", "square", "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan"}
    | {"arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "floor", "ceil", "trunc", "round", "clip"}
    | {"minimum", "maximum", "where", "isnan", "isfinite", "hypot", "pi"}
)
LARGEST_EXPONENT = 100

_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor,
    ast.UAdd, ast.USub, ast.Invert, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """What the expressions of a kind of formula may use beside columns, numbers and operators.

    Attributes
    ----------
    functions
        Names of functions.
    modules
        Names of what functions and constants are taken of, and these.
    constants
        Names of other things.
    examples
        For messages.
    """

    functions: frozenset[str]
    modules: Mapping[str, frozenset[str]]
    constants: frozenset[str]
    examples: str

    @property
    def names(self) -> frozenset[str]:
        """All names that are no columns."""
        return self.functions | set(self.modules) | self.constants


OF_LMER = Listed(
    FUNCTIONS,
    {"np": OF_NUMPY, "contr": CODINGS},
    frozenset({"TRUE", "FALSE", "pi"}),
    "log(x), np.minimum(x, 2) or C(x, contr.sum)",
)


def check_restricted(formula: Formula, contrasts: object = None) -> None:
    """Every expression consists of names, numbers, operators and listed functions.

    Parameters
    ----------
    formula
        As parsed.
    contrasts
        As for ``lmer``; texts among them are expressions too.

    Raises
    ------
    FormulaError
        One has something else.
    """
    expressions = computed_expressions(formula)
    if isinstance(contrasts, str):
        expressions.append(contrasts)
    if isinstance(contrasts, Mapping):
        expressions += [coding for coding in contrasts.values() if isinstance(coding, str)]
    check_expressions(expressions, OF_LMER)


def check_expressions(expressions: Iterable[str], listed: Listed) -> None:
    """Every expression consists of names, numbers, operators and listed functions.

    Parameters
    ----------
    expressions
        As Python reads them.
    listed
        What they may use.

    Raises
    ------
    FormulaError
        One has something else.
    """
    for expression in expressions:
        try:
            _check(syntax_tree(expression).body, listed)
        except _NotListedError as error:
            raise FormulaError(
                f"{expression!r} has {error}. With evaluate='restricted' expressions consist of names of columns, "
                f"numbers, operators and listed functions, such as {listed.examples}."
            ) from None
        except SyntaxError as error:
            raise FormulaError(f"{expression!r} cannot be read: {error.msg.rstrip('.')}.") from error


class _NotListedError(Exception):
    """What an expression has that it may not have."""


def _check(node: ast.expr, listed: Listed) -> None:
    """Raise `_NotListedError` unless a node is a number or computed from columns."""
    match node:
        case ast.Constant(value=bool() | int() | float()) | ast.Name():
            return
        case ast.Attribute():
            _check_listed(node, listed)
        case ast.UnaryOp(op=op, operand=operand) if isinstance(op, _OPERATORS):
            _check(operand, listed)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
            if isinstance(op, ast.Pow) and not _is_small_power(left, right, listed):
                raise _NotListedError(f"the power {ast.unparse(node)!r}, which is neither of columns nor small")
            _check(left, listed)
            _check(right, listed)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(isinstance(op, _OPERATORS) for op in ops):
            for each in (left, *others):
                _check_argument(each, listed)
        case ast.Call(func=function, args=arguments, keywords=keywords):
            _check_listed(function, listed)
            if any(keyword.arg is None for keyword in keywords):
                raise _NotListedError("'**' before an argument")
            for each in (*arguments, *(keyword.value for keyword in keywords)):
                _check_argument(each, listed)
        case _:
            raise _NotListedError(repr(ast.unparse(node)))


def _check_argument(node: ast.expr, listed: Listed) -> None:
    """Raise `_NotListedError` unless a node is a text, None, a list of such, or what `_check` lets pass."""
    match node:
        case ast.Constant(value=str() | None):
            return
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            for part in parts:
                _check_argument(part, listed)
        case _:
            _check(node, listed)


def _check_listed(node: ast.expr, listed: Listed) -> None:
    match node:
        case ast.Name(id=name) if name in listed.functions:
            return
        case ast.Attribute(value=ast.Name(id=module), attr=name) if name in listed.modules.get(module, ()):
            return
    raise _NotListedError(f"{ast.unparse(node)!r}, which is no listed function")


def _is_small_power(base: ast.expr, exponent: ast.expr, listed: Listed) -> bool:
    """Return whether a power is of columns: those of numbers alone may be of any length."""
    if not _has_column(base, listed):
        return False
    match exponent:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return value <= LARGEST_EXPONENT
        case ast.Constant(value=int() | float() as value):
            return value <= LARGEST_EXPONENT
    return _has_column(exponent, listed)


def _has_column(node: ast.expr, listed: Listed) -> bool:
    return any(isinstance(each, ast.Name) and each.id not in listed.names for each in ast.walk(node))
