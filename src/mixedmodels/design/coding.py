"""The user's choice of contrasts for categorical columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms.contrasts import Contrasts, SumContrasts, TreatmentContrasts
from formulaic.utils.sentinels import UNSET
from formulaic.utils.stateful_transforms import stateful_eval

from mixedmodels.design.expression import columns_in, lookups
from mixedmodels.design.frame import Column
from mixedmodels.design.functions import CODINGS, EVERY, FUNCTIONS, is_coding
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, nearest
from mixedmodels.formula.algebra import expand_terms
from mixedmodels.formula.terms import Formula

MAX_NAMED = 20
"""Levels that a message names."""


class MatrixCoding(SumContrasts):  # type: ignore[misc]  # formulaic has no types
    """A coding by a matrix of the user's; indicators where a column for every level is needed, as in R.

    Parameters
    ----------
    matrix
        (n_levels, n_levels - 1).
    names
        Of its columns; None numbers them from 1.
    """

    FACTOR_FORMAT_REDUCED = "{name}[{field}]"

    def __init__(self, matrix: Floats, names: Sequence[str] | None) -> None:
        self.matrix = matrix
        self.names = [str(j + 1) for j in range(matrix.shape[1])] if names is None else list(names)

    @SumContrasts.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _get_coding_matrix(self, levels: Sequence[Any], reduced_rank: bool = True, sparse: bool = False) -> Any:
        return self.matrix if reduced_rank else super()._get_coding_matrix(levels, reduced_rank, sparse)

    @SumContrasts.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def get_coding_column_names(self, levels: Sequence[Any], reduced_rank: bool = True) -> Sequence[Any]:
        return self.names if reduced_rank else levels


def read_contrasts(
    contrasts: Mapping[str, object] | str | None, names: Iterable[str], columns: Mapping[str, Column]
) -> dict[str, Contrasts]:
    """Return formulaic's coding for each column that the user named, and for ``EVERY`` other category.

    Parameters
    ----------
    contrasts
        Column name -> the coding as ``C(...)`` takes it, as text or one of formulaic's ``Contrasts``; or a matrix. A
        text alone is the coding of every category that has none of its own.
    names
        Columns that stand in terms as they are.
    columns
        Data columns used by the formula, with the levels that are used.

    Raises
    ------
    DataError
        A column is not a categorical one that the formula codes, or a coding cannot be used.
    """
    if contrasts is None:
        return {}
    if not isinstance(contrasts, Mapping | str):
        raise DataError(
            f"contrasts is {contrasts!r}; it must be a coding of all factors, such as 'sum', or a mapping such as "
            "{'column': 'sum'}."
        )
    coded = {name: levels for name in names if (levels := columns[name].levels) is not None}
    if isinstance(contrasts, str):
        every = _instance(_coding_by_text("", contrasts))
        return {EVERY: every, **{name: _coding(name, contrasts, levels.tolist()) for name, levels in coded.items()}}
    codings = {}
    for name, coding in contrasts.items():
        if name not in coded:
            if name not in columns:
                hint = nearest(str(name), columns)
            else:
                hint = f" For a number use C({name}, contr.sum) in the formula." if columns[name].is_number else ""
            raise DataError(
                f"contrasts names {name!r}, which is not a categorical column of the formula's terms; "
                f"there are: {', '.join(sorted(coded)) or 'none'}.{hint}"
            )
        codings[name] = _coding(name, coding, coded[name].tolist())
    return codings


def contrasts_in_use(
    contrasts: Mapping[str, object] | str | None, formula: Formula, names: Iterable[str]
) -> Mapping[str, object] | str | None:
    """Return the contrasts of columns that are terms of a formula, or factors of terms.

    Parameters
    ----------
    contrasts
        As given for another formula.
    formula
        The formula.
    names
        Columns of the data.
    """
    if not isinstance(contrasts, Mapping):
        return contrasts  # none, one for all, or what will be refused
    columns = tuple(names)
    parts = (formula.fixed, *(term.columns for term in formula.random))
    there = {name for text in parts for name in lookups(expand_terms(text, columns))}
    return {name: coding for name, coding in contrasts.items() if name in there}


def _coding(name: str, coding: object, levels: list[Any]) -> Contrasts:
    if isinstance(coding, str):
        coding = _coding_by_text(f" of {name!r}", coding)
    coding = _instance(coding)
    if isinstance(coding, TreatmentContrasts) and coding.base is not UNSET and coding.base not in levels:
        raise DataError(
            f"The reference level {coding.base!r} of {name!r} is none of its levels: {_listed(levels)}."
            f"{nearest(str(coding.base), map(str, levels))}"
        )
    return coding if isinstance(coding, Contrasts) else _coding_by_matrix(name, coding, levels)


def _instance(coding: Any) -> Any:
    """Return an object for one of formulaic's classes, anything else as it is."""
    return coding() if isinstance(coding, type) and issubclass(coding, Contrasts) else coding


def _coding_by_text(whose: str, text: str) -> object:
    """Return the coding that a text names or calls, such as ``sum`` or ``treatment('B')``."""
    if text in CODINGS:
        return CODINGS[text]
    try:
        columns_in(text, ())
        coding = stateful_eval(text, dict(FUNCTIONS), None, None, None)
    except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError):
        coding = None
    if not is_coding(coding):
        raise DataError(
            f"The contrast {text!r}{whose} is unknown.{nearest(text.removeprefix('contr.'), CODINGS)} "
            f"Known are {', '.join(CODINGS)}; another reference level is \"treatment('level')\"."
        )
    return coding


def _coding_by_matrix(name: str, coding: Any, levels: list[Any]) -> MatrixCoding:
    names = None
    if isinstance(coding, pd.DataFrame):
        names = None if isinstance(coding.columns, pd.RangeIndex) else list(map(str, coding.columns))
        values: Any = _rows_by_level(name, coding, levels)
    elif isinstance(coding, Mapping):
        names, values = list(map(str, coding)), list(coding.values())
    else:
        values = coding
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    matrix = matrix.T if isinstance(coding, Mapping) else matrix
    shape = (len(levels), len(levels) - 1)
    if matrix.ndim != 2:
        raise DataError(
            f"The contrast of {name!r} must be one of {', '.join(CODINGS)}, a formulaic Contrasts object or a matrix "
            f"of {shape[0]} rows, the levels, and {shape[1]} columns, not {type(coding).__name__!r}."
        )
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise DataError(
            f"The contrasts of {name!r} have shape {matrix.shape}; they must be finite numbers in {shape[0]} rows, one "
            f"for each of the levels {_listed(levels)}, and {shape[1]} columns."
        )
    return MatrixCoding(matrix, names)


def _rows_by_level(name: str, frame: pd.DataFrame, levels: list[Any]) -> pd.DataFrame:
    """Return the rows in the order of the levels; those of a frame without labels are in that order."""
    if set(levels) <= set(frame.index):
        return frame.loc[levels]
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(
            f"The rows of the contrasts of {name!r} are called {_listed(frame.index.tolist())}, but its levels are "
            f"{_listed(levels)}. Call them by the levels."
        )
    return frame


def _listed(levels: Sequence[Any]) -> str:
    return ", ".join(map(repr, levels[:MAX_NAMED])) + (", ..." if len(levels) > MAX_NAMED else "")
