"""What expressions and terms may mention: columns of the data and known functions."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from formulaic.formula import SimpleFormula
from formulaic.materializers.types import FactorValues

from mixedmodels.design.functions import FUNCTIONS
from mixedmodels.errors import DataError, nearest
from mixedmodels.formula.expressions import is_lookup, names_in

INTERCEPT = "Intercept"

_CALLABLE = [name for name, function in FUNCTIONS.items() if callable(function)]
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


def protect(x: Any) -> Any:
    """Return x; what is true or false is a category."""
    values = FactorValues(x).__wrapped__
    return as_category(values) if is_boolean(values) else x


def as_category(values: Any) -> pd.Series[Any]:
    """Return true and false as a category that has both levels."""
    index = values.index if isinstance(values, pd.Series) else None
    return pd.Series(pd.Categorical(np.asarray(values), categories=[False, True]), index=index)


def is_boolean(values: Any) -> bool:
    """Return whether an array holds true and false."""
    return getattr(values, "dtype", None) is not None and pd.api.types.is_bool_dtype(values.dtype)


def columns_in(expression: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns that an expression uses, in order of appearance.

    Parameters
    ----------
    expression
        A column name as it is, or an expression.
    known
        Names of the columns of the data.

    Raises
    ------
    DataError
        A name is neither a column nor a function.
    """
    if expression in known:
        return (expression,)
    names = names_in(expression)
    for name in names.values:
        if name not in known and (name == expression or not _is_function(name)):
            raise unknown_column(name, known)
    for name in names.functions:
        if not _is_function(name):
            hint = _ELSEWHERE.get(name) or f"{nearest(name, _CALLABLE).strip()} {_ALLOWED}".strip()
            raise DataError(f"{expression!r} calls {name!r}, which is not a known function. {hint}")
    return tuple(name for name in names.values if name in known)


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
            if is_lookup(factor):
                if factor.expr not in known:
                    raise unknown_column(factor.expr, known)
                columns[factor.expr] = None
            elif factor.expr != "1":
                columns.update(dict.fromkeys(columns_in(factor.expr, known)))
    if INTERCEPT in columns:
        raise DataError(f"The name {INTERCEPT!r} is kept for the column of ones. Rename that column of the data.")
    return tuple(columns)


def lookups(terms: SimpleFormula) -> list[str]:
    """Return the columns that stand in terms as they are, outside of expressions."""
    return [factor.expr for term in terms for factor in term.factors if is_lookup(factor)]


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
    listed = ", ".join(list(known)[:20]) + (", ..." if len(known) > 20 else "")
    return DataError(f"There is no column {name!r} in the data.{nearest(name, known)} The columns are: {listed}.")


def _is_function(name: str) -> bool:
    return name in FUNCTIONS or hasattr(builtins, name)
