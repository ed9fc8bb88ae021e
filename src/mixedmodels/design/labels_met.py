"""Codes of labels in order of appearance, for rows that come in parts or are counted in several places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.frame import LARGEST_INTEGER, Column
from mixedmodels.design.grouping import Grouping, group_rows, level_codes
from mixedmodels.design.records import Codes

GROWTH = 1.1
"""Labels known, relative to those that are found at once, from which these are found anew."""

MOST_NUMBERS = 2**22
"""Entries of a table of whole numbers, from the smallest to the largest."""


class Labels:
    """Codes of labels in order of appearance.

    Parameters
    ----------
    in_their_order
        The labels are those of categories, whose order is kept; others are sorted at the end.
    """

    def __init__(self, in_their_order: bool = False) -> None:
        self.in_their_order = in_their_order
        self.known: dict[Any, int] = {}
        self._declared: dict[Any, int] = {}
        self._index = pd.Index([])  # of the first ones known, which finds many labels at once
        self._numbers = NumbersMet()

    def declare(self, column: Column) -> None:
        """Take the labels of a column's categories for known, whether a row has them or not."""
        if column.levels is not None:
            for label in _as_keys(column.levels):
                self._declared.setdefault(label, len(self._declared))
                self.known.setdefault(label, len(self.known))

    def codes(self, column: Column) -> Codes:
        """Return the code of each row of a column without missing values, (n_rows,)."""
        if self.in_their_order and column.levels is not None:
            for label in _as_keys(column.levels):
                self._declared.setdefault(label, len(self._declared))
        met = self._numbers.codes(column)
        if met is not None:
            return met
        own, levels = level_codes(column)
        codes = self._codes_of(levels)
        if column.levels is None and column.values.dtype.kind in "iu":
            self._numbers.add(levels.to_numpy(), codes)
        return codes[own]

    def merge(self, other: Labels) -> Codes:
        """Take over the labels of another, and return the code here of each of its codes."""
        for label in other._declared:
            self._declared.setdefault(label, len(self._declared))
        return self._codes_of(pd.Index(list(other.known)))

    def _codes_of(self, levels: pd.Index) -> Codes:
        codes = self._index.get_indexer(levels).astype(np.int32)
        new = np.flatnonzero(codes < 0)
        if len(new):
            known = self.known
            codes[new] = [known.setdefault(label, len(known)) for label in _as_keys(levels[new])]
            if len(known) > GROWTH * len(self._index):
                self._index = pd.Index(list(known))
        return codes

    def table(self) -> tuple[pd.Index, Codes]:
        """Return the labels in their order, and the place of each code there.

        Raises
        ------
        DataError
            They cannot be sorted among each other.
        """
        labels = pd.Index(list(self.known))
        declared = self._declared if self.in_their_order else None
        order = labels.argsort() if declared is None else np.argsort([declared[label] for label in self.known])
        places = np.empty(len(order), dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        return labels[order], places

    def __getstate__(self) -> tuple[bool, pd.Index, pd.Index]:
        return self.in_their_order, pd.Index(list(self.known)), pd.Index(list(self._declared))

    def __setstate__(self, state: tuple[bool, pd.Index, pd.Index]) -> None:
        self.in_their_order, self._index, declared = state
        self._numbers = NumbersMet()
        self.known = {label: code for code, label in enumerate(_as_keys(self._index))}
        self._declared = {label: code for code, label in enumerate(_as_keys(declared))}


def _as_keys(levels: pd.Index) -> list[Any]:
    """Return labels as they are told apart; dates in full."""
    return list(levels) if levels.dtype.kind in "mM" else list(levels.tolist())


class NumbersMet:
    """Codes of labels that are whole numbers, close enough for a table: no row is sorted where all were met before."""

    def __init__(self) -> None:
        self._low = 0
        self._codes = np.zeros(0, dtype=np.int32)

    def codes(self, column: Column) -> Codes | None:
        """Return the code of each row, (n_rows,); None if one is not known here."""
        values = column.values
        if not len(self._codes) or not len(values) or column.levels is not None or values.dtype.kind not in "iu":
            return None
        low, high = int(values.min()), int(values.max())
        if low < self._low or high >= self._low + len(self._codes):
            return None
        places = values.astype(np.intp, copy=False)
        codes = self._codes[places - self._low if self._low else places]
        return None if codes.min() < 0 else codes

    def add(self, labels: npt.NDArray[Any], codes: Codes) -> None:
        """Keep the codes of some labels, ascending."""
        low, high = int(labels[0]), int(labels[-1]) + 1
        if len(self._codes):
            low, high = min(low, self._low), max(high, self._low + len(self._codes))
        if high - low > MOST_NUMBERS or high > LARGEST_INTEGER:
            return
        if high - low > len(self._codes):
            wider = np.full(high - low, -1, dtype=np.int32)
            wider[self._low - low : self._low - low + len(self._codes)] = self._codes
            self._low, self._codes = low, wider
        self._codes[labels.astype(np.intp) - self._low] = codes


class Combinations:
    """Levels of one grouping factor: combinations of labels of its variables, in order of appearance."""

    def __init__(self, variables: tuple[str, ...]) -> None:
        self.variables = variables
        self.known: dict[Any, int] = {}

    def codes(self, by_variable: Sequence[Codes]) -> Codes:
        """Return the code of each row's combination, (n_rows,)."""
        if len(by_variable) == 1:
            return by_variable[0]
        places: npt.NDArray[np.intp] = by_variable[0].astype(np.intp)
        for more in by_variable[1:]:
            places, _ = pd.factorize(places.astype(np.int64) << 32 | more)
        rows = np.empty(int(places.max()) + 1, dtype=np.intp)
        rows[places] = np.arange(len(places))  # any row of each combination
        known = self.known
        labels = zip(*(codes[rows].tolist() for codes in by_variable), strict=True)
        codes = np.fromiter((known.setdefault(label, len(known)) for label in labels), np.int32, len(rows))
        return np.asarray(codes[places])

    def merge(self, other: Combinations, by_variable: Sequence[Codes]) -> Codes:
        """Take over the combinations of another, whose labels have these codes; return the code here of each."""
        if len(by_variable) == 1:
            return by_variable[0]
        own = np.array(list(other.known), dtype=np.int64).reshape(-1, len(by_variable)).T
        labels = zip(*(codes[each].tolist() for codes, each in zip(by_variable, own, strict=True)), strict=True)
        known = self.known
        return np.fromiter((known.setdefault(label, len(known)) for label in labels), np.int32, len(other.known))

    def grouping(self, tables: Mapping[str, tuple[pd.Index, Codes]]) -> tuple[Codes, Grouping]:
        """Return the place of each code among the levels, and how new rows find theirs."""
        if len(self.variables) == 1:
            distinct = [np.arange(len(tables[self.variables[0]][1]), dtype=np.int32)]
        else:
            distinct = list(np.array(list(self.known), dtype=np.int32).T)
        coded = {
            variable: (tables[variable][1][codes], tables[variable][0])
            for variable, codes in zip(self.variables, distinct, strict=True)
        }
        return group_rows(self.variables, coded.__getitem__)

    def __len__(self) -> int:
        return len(self.known)
