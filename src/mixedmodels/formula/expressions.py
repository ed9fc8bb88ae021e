"""Expressions of a formula as Python reads them: what they mention, and how they are written; knows no data."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from formulaic.parser.types import Factor

from mixedmodels.formula.words import STRING

_BACKTICKS = re.compile(rf"{STRING}|`([^`]*)`")
# A backslash and what follows where that makes no other sign: Python warns of it, each time that it reads the text.
_PLAIN_BACKSLASH = re.compile(r"((?<!\\)(?:\\\\)*)\\(?=[^'\"\\abfnrtvxuUN0-7\n])")
_PLACEHOLDER = re.compile(r"\b_quoted_\d+\b")
# Column names that read as a number, as the dot or as quoted text where they stand without backticks.
_READS_AS_OTHER = re.compile(rf"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\.|{STRING}")


@dataclass(frozen=True)
class Mention:
    """One place where an expression names something that it does not bind itself.

    Attributes
    ----------
    name
        The name, without backticks.
    is_quoted
        It stands in backticks.
    is_called
        It is what a call calls: ``log`` in ``log(x)``.
    attribute
        What is taken of it, ``log`` in ``np.log(x)``; None if nothing is.
    """

    name: str
    is_quoted: bool
    is_called: bool
    attribute: str | None


def column_factor(name: str) -> Factor:
    """Return the factor that is a column; its expression has backticks where the name alone would be something else."""
    return Factor(f"`{name}`" if _READS_AS_OTHER.fullmatch(name) else name, eval_method="lookup")


def column_name(factor: Factor) -> str:
    """Return the name of the column that a factor is."""
    return str(factor.expr).strip("`")


def is_lookup(factor: Factor) -> bool:
    """Return True if the factor is a bare column name rather than an expression."""
    return bool(factor.eval_method is Factor.EvalMethod.LOOKUP)


def is_computed(factor: Factor) -> bool:
    """Return True if the factor is an expression, neither a column nor a number."""
    return bool(factor.eval_method is Factor.EvalMethod.PYTHON)


@lru_cache(maxsize=1024)
def mentions(expression: str) -> tuple[Mention, ...]:
    """Return what a Python expression mentions; backticks quote names that Python would not read.

    Raises
    ------
    SyntaxError
        The expression is not Python.
    """
    tree, quoted = _parse(expression)
    return tuple(mention for _, mention in _mentions(tree, quoted))


def syntax_tree(expression: str) -> ast.Expression:
    """Return what Python reads in an expression; names in backticks have other names there.

    Raises
    ------
    SyntaxError
        The expression is not Python.
    """
    return _parse(expression)[0]


def as_written(expression: str) -> str:
    """Return an expression with one spelling for each meaning: ``I(x**2)`` is ``I(x ** 2)``.

    Raises
    ------
    SyntaxError
        The expression is not Python.
    """
    return renamed(expression, lambda mention: f"`{mention.name}`" if mention.is_quoted else mention.name)


def renamed(expression: str, name_of: Callable[[Mention], str]) -> str:
    """Return an expression with other names for what it mentions.

    Parameters
    ----------
    expression
        In Python.
    name_of
        Gives the name that stands for a mention.

    Raises
    ------
    SyntaxError
        The expression is not Python.
    """
    tree, quoted = _parse(expression)
    names: dict[str, str] = {}
    for node, mention in list(_mentions(tree, quoted)):
        node.id = f"_quoted_{len(names)}"
        names[node.id] = name_of(mention)
    try:
        text = ast.unparse(tree).replace("\n", " ")
    except RecursionError as error:
        raise SyntaxError("it is too long") from error
    return _PLACEHOLDER.sub(lambda found: names.get(found[0], found[0]), text)


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


def _mentions(tree: ast.AST, quoted: dict[str, str]) -> Iterator[tuple[ast.Name, Mention]]:
    """Yield the places where a name is read that the expression does not bind, in order of appearance."""
    nodes = list(ast.walk(tree))
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    attributes = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read = [node for node in nodes if isinstance(node, ast.Name) and node.id not in bound]
    for node in sorted(read, key=lambda node: (node.lineno, node.col_offset)):
        name = quoted.get(node.id, node.id)
        yield node, Mention(name, node.id in quoted, id(node) in called, attributes.get(id(node)))


def _parse(expression: str) -> tuple[ast.Expression, dict[str, str]]:
    """Return the syntax tree, and the names in backticks by those that stand for them there."""
    quoted: dict[str, str] = {}

    def plain_name(match: re.Match[str]) -> str:
        if match[1] is None:
            is_raw = match.string[: match.start()].endswith(("r", "R"))
            return match[0] if is_raw else _PLAIN_BACKSLASH.sub(r"\g<0>\\", match[0])
        name = f"_quoted_{len(quoted)}"
        quoted[name] = match[1]
        return f" {name} "

    text = _BACKTICKS.sub(plain_name, expression).strip()
    try:
        return ast.parse(text, mode="eval"), quoted
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError("it is no expression of Python") from error
