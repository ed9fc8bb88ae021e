"""What formulaic and Python make of the pieces of a formula; cached by text, knows no data."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from formulaic.formula import Formula as FormulaicFormula
from formulaic.formula import SimpleFormula
from formulaic.parser.types import Factor

REST = re.compile(r"(?<![\w.`])\.(?![\w.`])")
"""The dot that stands for the other columns of the data."""

_BACKTICKS = re.compile(r"`([^`]*)`")


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
    return FormulaicFormula.from_spec(text, context={"__formulaic_variables_available__": tuple(columns)})


@lru_cache(maxsize=1024)
def terms_of(text: str) -> SimpleFormula:
    """Return the terms of a right-hand side without ``.``, see `expand_terms`."""
    return expand_terms(text)


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
    quoted: dict[str, str] = {}

    def plain_name(match: re.Match[str]) -> str:
        name = f"_quoted_{len(quoted)}"
        quoted[name] = match[1]
        return f" {name} "

    tree = ast.parse(_BACKTICKS.sub(plain_name, expression).strip(), mode="eval")
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
