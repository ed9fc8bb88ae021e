"""What formulaic and Python make of the pieces of a formula; cached by text, knows no data."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from formulaic.formula import Formula as FormulaicFormula
from formulaic.formula import SimpleFormula
from formulaic.parser.types import Factor, Term

STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
"""Quoted text, as a regular expression."""

REST = re.compile(r"(?<![\w.`])\.(?![\w.`])")
"""The dot that stands for the other columns of the data."""

_BACKTICKS = re.compile(rf"{STRING}|`([^`]*)`")
# Names that stand for columns called like a word of Python, which neither Python nor formulaic reads in an expression.
_ALIAS = "_keyword_{}"
_ALIASES = re.compile(rf"\b{_ALIAS.format('(' + '|'.join(keyword.kwlist) + ')')}\b")


@dataclass(frozen=True)
class Names:
    """Names that an expression mentions, in order of appearance.

    Attributes
    ----------
    values
        Names used as values: columns, or modules such as ``np``.
    functions
        Names that are called.
    """

    values: tuple[str, ...]
    functions: tuple[str, ...]


def expand_terms(text: str, columns: Iterable[str] = ()) -> SimpleFormula:
    """Return the terms of a right-hand side as formulaic expands them, an intercept included unless removed.

    Parameters
    ----------
    text
        Such as ``"1 + a * b"``.
    columns
        What ``.`` stands for.
    """
    readable = with_aliases(text)
    terms = FormulaicFormula.from_spec(readable, context={"__formulaic_variables_available__": tuple(columns)})
    return terms if readable == text else SimpleFormula([_as_written(term) for term in terms], _ordering="none")


@lru_cache(maxsize=1024)
def terms_of(text: str) -> SimpleFormula:
    """Return the terms of a right-hand side without ``.``, see `expand_terms`."""
    return expand_terms(text)


def with_aliases(expression: str) -> str:
    """Return the expression with the `alias` of each word of Python that stands in backticks."""
    return _BACKTICKS.sub(lambda m: alias(m[1]) if m[1] and keyword.iskeyword(m[1]) else m[0], expression)


def alias(word: str) -> str:
    """Return the name that stands for a column called like a word of Python."""
    return _ALIAS.format(word)


def _as_written(term: Term) -> Term:
    """Return the term with words of Python in the place of their aliases, in backticks inside of expressions."""
    return Term(
        [
            Factor(_ALIASES.sub(r"\1" if is_lookup(factor) else r"`\1`", factor.expr), eval_method=factor.eval_method)
            for factor in term.factors
        ]
    )


def is_lookup(factor: Factor) -> bool:
    """Return True if the factor is a bare column name rather than an expression."""
    return bool(factor.eval_method is Factor.EvalMethod.LOOKUP)


@lru_cache(maxsize=1024)
def names_in(expression: str) -> Names:
    """Return the names that a Python expression mentions; backticks quote names that Python would not read.

    Raises
    ------
    SyntaxError
        The expression is not Python.
    """
    if keyword.iskeyword(expression):  # a column may be called `yield` while it stands alone
        return Names((expression,), ())
    tree, quoted = _parse(expression)
    values: dict[str, None] = {}
    functions: dict[str, None] = {}
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                (functions if id(node) in called else values)[quoted.get(name, name)] = None
            case ast.Name(id=name):
                bound.add(name)
    return Names(tuple(v for v in values if v not in bound), tuple(functions))


def adds_conditions(expression: str, booleans: Collection[str]) -> bool:
    """Return whether an expression adds or subtracts conditions, which NumPy does not count but joins by "or".

    Parameters
    ----------
    expression
        In Python.
    booleans
        Names of columns of true and false.
    """
    tree, quoted = _parse(expression)

    def is_condition(node: ast.AST) -> bool:
        match node:
            case ast.Compare():
                return True
            case ast.Name(id=name):
                return quoted.get(name, name) in booleans
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return is_condition(operand)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Add(), right=right):
                return is_condition(left) and is_condition(right)
        return False

    sums = (node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub))
    return any(is_condition(node.left) and is_condition(node.right) for node in sums)


def _parse(expression: str) -> tuple[ast.Expression, dict[str, str]]:
    """Return the syntax tree, and the names in backticks by those that stand for them there."""
    quoted: dict[str, str] = {}

    def plain_name(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        name = f"_quoted_{len(quoted)}"
        quoted[name] = match[1]
        return f" {name} "

    return ast.parse(_BACKTICKS.sub(plain_name, expression).strip(), mode="eval"), quoted
