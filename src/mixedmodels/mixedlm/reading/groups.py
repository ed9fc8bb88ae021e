"""The top-level groups: labels in sorted order and the rows of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import DataError

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """Labels and codes of the groups.

    Attributes
    ----------
    labels
        Sorted, length n_groups.
    codes
        Position of each row's label, shape (n_rows,); -1 where the label is missing.
    """

    labels: list[Any]
    codes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sizes(self) -> npt.NDArray[np.intp]:
        """Rows of each group, shape (n_groups,)."""
        return np.bincount(self.codes, minlength=len(self))

    def sizes_of_known(self) -> npt.NDArray[np.intp]:
        """Return the rows of each group where some rows have none."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self))

    @cached_property
    def order(self) -> Rows:
        """Rows sorted by group, in their order within each, shape (n_rows,)."""
        return np.argsort(self.codes, kind="stable")

    def split(self) -> list[Rows]:
        """Return the row numbers of each group."""
        return np.split(self.order, np.cumsum(self.sizes)[:-1])

    def take(self, rows: Rows) -> Groups:
        """Return the groups of some rows, those without rows left out."""
        codes = self.codes[rows]
        used = np.flatnonzero(np.bincount(codes, minlength=len(self)))
        position = np.zeros(len(self), dtype=np.int32)
        position[used] = np.arange(len(used), dtype=np.int32)
        return Groups([self.labels[k] for k in used], position[codes])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.labels)


def label_array(groups: Any) -> npt.NDArray[Any]:
    """Return labels as an array.

    Parameters
    ----------
    groups
        Labels: array, Series, frame or list.
    """
    if isinstance(groups, list | tuple) and not all(isinstance(label, str) for label in groups):
        labels = np.asarray(groups, dtype=object)
        # NumPy would make text of the numbers and gaps of a list that has text.
        if any(isinstance(label, str) for label in labels.flat):
            return labels
    return np.asarray(groups)


def read_groups(groups: Any, n_rows: int) -> Groups:
    """Return the groups of a sequence of labels, matched to the rows by position.

    Parameters
    ----------
    groups
        One label a row.
    n_rows
        Rows of the data.

    Raises
    ------
    DataError
        If there are several columns, another number of labels, or labels that cannot be sorted.
    """
    values = label_array(groups)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"groups must have one label for each row, but its shape is {values.shape}. "
            "Combine several columns into one label, or pass the finer ones as variance components (vc_formula)."
        )
    if len(values) != n_rows:
        raise DataError(f"groups has {len(values)} labels, but there are {n_rows} rows. Pass one for each row.")
    codes, labels = pd.factorize(values, use_na_sentinel=True)
    try:
        order = np.argsort(labels, kind="stable")
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        raise DataError(
            f"groups mixes labels of different kinds ({', '.join(kinds)}), which cannot be sorted. "
            "Make them all text: [str(label) for label in groups]."
        ) from error
    position = np.empty(len(labels) + 1, dtype=np.int32)
    position[order] = np.arange(len(labels), dtype=np.int32)
    position[-1] = -1
    return Groups(np.asarray(labels)[order].tolist(), position[codes])
