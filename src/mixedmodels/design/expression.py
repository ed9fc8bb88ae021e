"""What expressions and terms may mention: columns of the data and known functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from keyword import iskeyword
from types import CodeType, MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from formulaic.formula import SimpleFormula
from formulaic.parser.types import Factor

from mixedmodels.design.functions import FUNCTIONS
from mixedmodels.errors import DataError, nearest, printable
from mixedmodels.formula.expressions import Mention, column_name, is_computed, is_lookup, mentions, renamed

INTERCEPT = "Intercept"

_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Name, ast.Load, ast.Constant)
"""What an expression of names, numbers and operators is made of."""

_CALLABLE = [name for name, function in FUNCTIONS.items() if callable(function)]
# Functions of Python itself that compute values from values.
_OF_PYTHON = frozenset(
    {"abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "int", "len", "list", "map", "max"}
    | {"min", "pow", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip"}
)
_ALLOWED = (
    "There are C, I, bs, cs, cr, cc, poly, scale, center, log, exp, sqrt, sin, cos and others of numpy, such as np.abs."
)
_STATISTIC = "For x less its mean write center(x), for standardised values scale(x); both keep the numbers of the fit."
# What R users look for under another name.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "ns": "For natural cubic splines write cr(x, df=3, constraints='center').",
        "cbind": "A model has one response: fit one model a response, or put the data in long form.",
        "relevel": "For another reference level write C(x, contr.treatment('level')).",
        "ordered": "For polynomial contrasts write C(x, contr.poly).",
        "mean": _STATISTIC,
        "median": _STATISTIC,
        "sd": _STATISTIC,
        "var": _STATISTIC,
        "cut": "For classes make a column of the data with pandas.cut.",
        "interaction": "For the cells of two categories write a:b, with their main effects a*b.",
        "ifelse": "For one of two values write np.where(x > 0, a, b), for a condition I(x > 0).",
        "pmin": "For the smaller of two values write np.minimum(x, y).",
        "pmax": "For the larger of two values write np.maximum(x, y).",
        "dummy": "For one level against the others write I(x == 'level').",
    }
)


def as_category(values: Any) -> pd.Series[Any]:
    """Return true and false as a category that has both levels."""
    index = values.index if isinstance(values, pd.Series) else None
    return pd.Series(pd.Categorical(np.asarray(values), categories=[False, True]), index=index)


def is_boolean(values: Any) -> bool:
    """Return whether an array holds true and false."""
    return getattr(values, "dtype", None) is not None and pd.api.types.is_bool_dtype(values.dtype)


def as_computed(values: Any, sources: Iterable[Any]) -> Any:
    """Return what an expression gives, with arrays of texts as series, and numbers in the place of texts as numbers.

    pandas makes a category of what the levels of one are mapped to if that is one to one, and numbers if it is not.

    Parameters
    ----------
    values
        Of the expression.
    sources
        The columns that it uses, as series.
    """
    if isinstance(values, np.ndarray) and pd.api.types.infer_dtype(values, skipna=True) == "string":
        return pd.Series(values, dtype=object)
    if _levels_are(values, numbers=True) and all(_levels_are(source, numbers=False) for source in sources):
        return pd.Series(np.asarray(values), index=values.index)
    return values


def _levels_are(values: Any, *, numbers: bool) -> bool:
    """Return whether values are a category whose levels are all numbers, or all something else."""
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, pd.CategoricalDtype):
        return False
    levels = dtype.categories
    return (pd.api.types.is_numeric_dtype(levels) and not pd.api.types.is_bool_dtype(levels)) is numbers


def columns_in(expression: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns that an expression uses, in order of appearance.

    Functions are looked up where something is called or taken from a module such as ``np``, columns elsewhere and in
    backticks.

    Parameters
    ----------
    expression
        In Python.
    known
        Names of the columns of the data.

    Raises
    ------
    DataError
        A name is neither a column nor a function.
    """
    columns: dict[str, None] = {}
    for mention in mentions(expression):
        if _is_column(mention, known):
            columns[mention.name] = None
        elif mention.is_quoted or not _is_function(mention.name):
            if not mention.is_called or mention.is_quoted:
                raise unknown_column(mention.name, known)
            name = mention.name
            hint = _ELSEWHERE.get(name) or f"{nearest(name, _CALLABLE).strip()} {_ALLOWED}".strip()
            raise DataError(f"{expression!r} calls {name!r}, which is not a known function. {hint}")
    return tuple(columns)


@lru_cache(maxsize=256)
def counted_parts(expression: str) -> tuple[str, str] | None:
    """Return successes and failures of ``cbind(successes, failures)``, as R writes them; None for anything else."""
    try:
        call = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        return None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "cbind"):
        return None
    if len(call.args) != 2 or call.keywords:
        return None
    one, other = (ast.get_source_segment(expression.strip(), part) or "" for part in call.args)
    return one, other


@lru_cache(maxsize=256)
def arithmetic(code: str) -> CodeType | None:
    """Return what is made of names, numbers and operators alone, compiled; None for anything else.

    Nothing in it remembers a fit, so that it need not be taken apart for what does.
    """
    try:
        tree = ast.parse(code.strip(), mode="eval")
    except SyntaxError:
        return None
    is_plain = all(isinstance(node, _ARITHMETIC) for node in ast.walk(tree))
    return compile(tree, "<formula>", "eval") if is_plain else None


def runnable(expression: str, columns: Collection[str]) -> str:
    """Return an expression in which columns that are called like functions, or as Python cannot, have an `alias`.

    Parameters
    ----------
    expression
        In Python, names that it cannot read in backticks.
    columns
        Names of the columns.
    """

    def name_of(mention: Mention) -> str:
        return alias(mention.name) if _is_column(mention, columns) else mention.name

    return renamed(expression, name_of)


def alias(column: str) -> str:
    """Return the name by which expressions know a column: its own, unless it means something else in Python."""
    if column.isidentifier() and not iskeyword(column) and not _is_function(column):
        return column
    return "_column_" + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in column)


def _is_column(mention: Mention, columns: Collection[str]) -> bool:
    if mention.is_quoted or mention.name not in columns:
        return mention.is_quoted and mention.name in columns
    module = FUNCTIONS.get(mention.name)
    return not mention.is_called and not (mention.attribute is not None and hasattr(module, mention.attribute))


def columns_of(terms: SimpleFormula, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns that terms use, in order of appearance.

    Raises
    ------
    DataError
        A name is neither a column nor a function.
    """
    columns: dict[str, None] = {}
    for term in terms:
        for factor in term.factors:
            columns.update(dict.fromkeys(columns_of_factor(factor, known)))
    if INTERCEPT in columns:
        raise DataError(f"The name {INTERCEPT!r} is kept for the column of ones. Rename that column of the data.")
    return tuple(columns)


def columns_of_factor(factor: Factor, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns that one factor of a term uses: the column that it is, or those it is computed from.

    Raises
    ------
    DataError
        A name is neither a column nor a function.
    """
    if is_computed(factor):
        return columns_in(factor.expr, known)
    if not is_lookup(factor):
        return ()
    if column_name(factor) not in known:
        raise unknown_column(column_name(factor), known)
    return (column_name(factor),)


def lookups(terms: SimpleFormula) -> list[str]:
    """Return the columns that stand in terms as they are, outside of expressions."""
    return [column_name(factor) for term in terms for factor in term.factors if is_lookup(factor)]


def plain_names(expressions: Collection[str], names: Collection[str]) -> list[str]:
    """Return the names that are expressions themselves or stand in ``C(...)``, and that nothing is computed from."""
    computed = " ".join(expression for expression in expressions if expression not in names)
    return [
        name
        for name in names
        if (name in expressions or re.search(rf"\bC\(\s*{re.escape(name)}\b", computed))
        and not re.search(rf"(?<!\bC\()\b{re.escape(name)}\b", computed)
    ]


def unknown_column(name: str, known: Collection[str]) -> DataError:
    """Return the complaint that a name is no column of the data."""
    listed = printable(", ".join(list(known)[:20])) + (", ..." if len(known) > 20 else "")
    column, dot, _ = name.partition(".")
    if dot and column in known:
        return DataError(
            f"There is no column {name!r} in the data. An attribute of {column!r} stands in I(): I({name})."
        )
    return DataError(f"There is no column {name!r} in the data.{nearest(name, known)} The columns are: {listed}.")


def _is_function(name: str) -> bool:
    return name in FUNCTIONS or name in _OF_PYTHON
