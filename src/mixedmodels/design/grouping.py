"""Grouping factors: the levels of their variables and of the combinations that occur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.frame import Column, Values
from mixedmodels.design.records import Codes

Keys = npt.NDArray[np.int64]

# Whole numbers above this are not exact in floating point.
_EXACT_FLOAT = 2.0**53
# A table over the range of whole numbers is faster than hashing while it has at most this many entries a row.
_TABLE_ENTRIES_A_ROW = 8


@dataclass(frozen=True)
class Grouping:
    """How rows are assigned to the levels of a grouping factor, remembered for new data.

    Attributes
    ----------
    variables
        Columns or expressions whose combinations are the levels.
    tables
        Levels of each variable.
    keys
        For each variable after the first: the combinations that occur with those before it, sorted,
        as code of the combination so far times number of levels of this variable plus its code.
    levels
        Labels of the levels; those of combinations are joined by ``:``, in quotes where they would else be ambiguous.
    """

    variables: tuple[str, ...]
    tables: tuple[pd.Index, ...]
    keys: tuple[Keys, ...]
    levels: pd.Index

    def codes(self, columns: Callable[[str], Column]) -> Codes:
        """Return the level of each row, shape (n_rows,); -1 for a missing value or a level not seen in the fit.

        Parameters
        ----------
        columns
            Gives the values of a variable.
        """
        first, *others = (look_up(columns(v), table) for v, table in zip(self.variables, self.tables, strict=True))
        codes = first
        for more, table, keys in zip(others, self.tables[1:], self.keys, strict=True):
            wanted = codes.astype(np.int64) * len(table) + more
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            seen = (codes >= 0) & (more >= 0) & (keys[place] == wanted)
            codes = np.where(seen, place, -1).astype(np.int32)
        return codes


def group_rows(variables: tuple[str, ...], coded: Callable[[str], tuple[Codes, pd.Index]]) -> tuple[Codes, Grouping]:
    """Return the level of each row, shape (n_rows,), and the grouping that says so.

    Levels of combinations are in the order of the first variable's levels, then the second's, as in R.

    Parameters
    ----------
    variables
        Columns or expressions whose combinations are the levels.
    coded
        Gives the codes and levels of one variable.
    """
    codes, levels = coded(variables[0])
    tables, keys = [levels], []
    for variable in variables[1:]:
        more, table = coded(variable)
        codes, present = integer_codes(codes.astype(np.int64) * len(table) + more)
        left, right = np.divmod(present, len(table))
        joined = pd.Index(_text(levels)[left] + ":" + _text(table)[right])
        levels = joined if joined.is_unique else pd.Index(_quoted(levels)[left] + ":" + _quoted(table)[right])
        tables.append(table)
        keys.append(present)
    return codes, Grouping(variables, tuple(tables), tuple(keys), levels)


def level_codes(column: Column) -> tuple[Codes, pd.Index]:
    """Return the level of each row, shape (n_rows,), and the labels of the levels present, in their order.

    The order is that of the categories, of size for numbers and dates, sorted for text.

    Parameters
    ----------
    column
        Values without missing ones.
    """
    if column.levels is not None:
        column = column.drop_unused_levels()
        assert column.levels is not None
        return column.values.astype(np.int32), column.levels
    values = column.values
    if column.is_date:
        codes, present = integer_codes(values.view(np.int64))
        return codes, pd.Index(present.view(values.dtype))
    if values.dtype.kind == "b":
        codes, present = integer_codes(values.view(np.int8))
        return codes, pd.Index(present.astype(bool))
    if values.dtype.kind == "f":
        if not (np.abs(values) < _EXACT_FLOAT).all() or (values != np.floor(values)).any():
            places, distinct = pd.factorize(values, sort=True)
            return places.astype(np.int32), pd.Index(distinct)
        values = values.astype(np.int64)
    codes, present = integer_codes(values)
    return codes, pd.Index(present)


def integer_codes(values: Values) -> tuple[Codes, Values]:
    """Return the position of each whole number among the distinct ones, and these, sorted."""
    values = values.astype(np.int64) if values.dtype.itemsize < 8 else values
    low, high = values.min(), values.max()
    size = int(high) - int(low) + 1
    if size > _TABLE_ENTRIES_A_ROW * len(values):
        places, distinct = pd.factorize(values, sort=True)
        return places.astype(np.int32), distinct
    shifted = (values - low).astype(np.intp, copy=False)
    seen = np.zeros(size, dtype=bool)
    seen[shifted] = True
    present = np.flatnonzero(seen)
    position = np.empty(size, dtype=np.int32)
    position[present] = np.arange(len(present), dtype=np.int32)
    return position[shifted], present.astype(values.dtype) + low


def look_up(column: Column, table: pd.Index) -> Codes:
    """Return the position of each row's value in a table of levels, -1 if it is missing or not there.

    Text and numbers are compared as text: a level read as 308 is the level ``"308"``. True and False are 1 and 0.
    """
    if (column.levels is not None and _is_text(column.levels)) != _is_text(table):
        return _look_up_text(column, table)
    if column.levels is not None:
        found = np.append(_as_numbers(table).get_indexer(_as_numbers(column.levels)), -1)[column.values]
    else:
        found = _as_numbers(table).get_indexer(_as_numbers(pd.Index(column.values)))
        if column.missing is not None:
            found[column.missing] = -1
    return found.astype(np.int32)


def _look_up_text(column: Column, table: pd.Index) -> Codes:
    codes, levels = column.values, column.levels
    if levels is None:
        codes, values = pd.factorize(codes)
        levels = pd.Index(values)
    found = np.append(_as_text(table).get_indexer(_as_text(levels)), -1)[codes].astype(np.int32)
    if column.missing is not None:
        found[column.missing] = -1
    return found


def _is_text(levels: pd.Index) -> bool:
    return levels.inferred_type == "string"


def _as_numbers(levels: pd.Index) -> pd.Index:
    return levels.astype(np.int64) if levels.dtype.kind == "b" else levels


def _as_text(levels: pd.Index) -> pd.Index:
    if levels.dtype.kind == "f" and (levels == np.round(levels)).all():
        levels = levels.astype(np.int64)
    return levels.astype(str)


def _text(levels: pd.Index) -> npt.NDArray[np.object_]:
    return levels.astype(str).to_numpy(dtype=object)


def _quoted(levels: pd.Index) -> npt.NDArray[np.object_]:
    """Return labels as text, those with a colon in quotes."""
    return np.array([repr(text) if ":" in text else text for text in _text(levels)], dtype=object)
