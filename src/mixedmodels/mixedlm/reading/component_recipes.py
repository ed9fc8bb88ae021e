"""How new rows get their columns of a variance component: by their level, by its formula, or as matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Codes, Floats
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.reading.formula_recipe import Context, FormulaRecipe
from mixedmodels.mixedlm.reading.formulas import Formulas, Indicator, on_new_data
from mixedmodels.mixedlm.reading.frames import check_told_apart

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Membership:
    """The group of each new row.

    Attributes
    ----------
    labels
        As given, (n_rows,).
    codes
        Position among the groups of the fit, (n_rows,); -1 where the fit did not have it, or it is missing.
    """

    labels: pd.Index
    codes: Codes

    def split(self) -> Iterator[tuple[Rows, int]]:
        """Yield the rows of each group and its code, -1 for a new one; rows without a group are in none."""
        codes, labels = pd.factorize(self.labels)
        order = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
        sizes = np.bincount(codes[order], minlength=len(labels))
        for rows in np.split(order, np.cumsum(sizes)[:-1]) if len(order) else []:
            yield rows, int(self.codes[rows[0]])


@dataclass(frozen=True)
class NewColumns:
    """The columns of a component at new rows.

    Attributes
    ----------
    codes
        For a component with one entry a row: its column among those of all groups, (n_rows,), -1 for a new one. For
        tied columns -1 everywhere: they go with the group.
    values
        That entry, (n_rows, 1), or the columns of the row's group, side by side.
    keys
        What tells the columns of a group apart, (n_rows,); missing where the level is.
    """

    codes: Codes
    values: Floats
    keys: npt.NDArray[Any]


class Shape(Protocol):
    """What is kept of a component: see ``components.Component``."""

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Columns of each group."""

    @property
    def codes(self) -> Codes | None:
        """Column of each row's one entry; None for tied columns."""


class ComponentRecipe(Protocol):
    """Gives new rows their columns."""

    def columns(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> NewColumns:
        """Return the columns of a component at the rows of new data; without groups, as in new ones."""

    def values(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> Floats:
        """Return their values alone."""


@dataclass(frozen=True)
class ByLevel:
    """A component with a column for each level of a variable in each group.

    Attributes
    ----------
    name
        Of the component.
    indicator
        Its term.
    levels
        Of the variable.
    pairs
        Group and level of each column, as group * n_levels + level, sorted.
    """

    name: str
    indicator: Indicator
    levels: pd.Index
    pairs: npt.NDArray[Any]

    def columns(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> NewColumns:
        """Return the columns of a component at the rows of new data; without groups, as in new ones."""
        labels = _column(frame, self.indicator.category, self.name)
        level = self.levels.get_indexer(pd.Index(labels))
        codes = np.full(len(frame), -1, dtype=np.int32)
        if groups is not None:
            known = np.flatnonzero((level >= 0) & (groups.codes >= 0))
            wanted = groups.codes[known].astype(np.int64) * len(self.levels) + level[known]
            place = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
            codes[known] = np.where(self.pairs[place] == wanted, place, -1)
        return NewColumns(codes, self.values(frame, groups, shape), labels.to_numpy(dtype=object))

    def values(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> Floats:
        """Return their values alone, which need no levels."""
        if self.indicator.value is None:
            return np.ones((len(frame), 1))
        return _column(frame, self.indicator.value, self.name).to_numpy(dtype=np.float64)[:, None]


@dataclass(frozen=True)
class ByColumns:
    """A component with the columns of a formula, which remembers what the formula was in each group.

    Attributes
    ----------
    name, text
        Of the component, and its formula.
    recipes
        Recipe in each group, or one for all where rows do not depend on each other.
    context
        What formulas see beside the columns.
    """

    name: str
    text: str
    recipes: tuple[FormulaRecipe, ...]
    context: Context

    def columns(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> NewColumns:
        """Return the columns of a component at the rows of new data; without groups, as in new ones.

        Raises
        ------
        DataError
            If the formula depends on the groups and there are none, or it cannot be computed.
        """
        if len(self.recipes) == 1:
            matrix = on_new_data(self.recipes[0], frame)
            whole = pd.Index(np.zeros(len(frame))), np.full(len(frame), -1, dtype=np.int32)
            split = (groups or Membership(*whole)).split()
            designs = [(rows, group, matrix[rows]) for rows, group in split]
        elif groups is None:
            raise DataError(
                f"The variance component {self.name!r} is computed group by group, so new rows need their groups: "
                "a column of the data where groups was a name, else groups=..., one label for each row."
            )
        else:
            designs = [(rows, group, self._design(frame, rows, group)) for rows, group in groups.split()]
        return placed(self.name, designs, len(frame), shape)

    def values(self, frame: pd.DataFrame, groups: Membership | None, shape: Shape) -> Floats:
        """Return their values alone."""
        return self.columns(frame, groups, shape).values

    def _design(self, frame: pd.DataFrame, rows: Rows, group: int) -> Floats:
        if group < 0:
            return Formulas(frame, self.context).one_sided(self.text, rows.tolist()).values
        return on_new_data(self.recipes[group], frame.iloc[rows].reset_index(drop=True))


def given(name: str, designs: Mapping[Any, Any], groups: Membership, shape: Shape) -> NewColumns:
    """Return the columns of a component at new rows from a design for each group.

    Parameters
    ----------
    name
        Of the component.
    designs
        Group -> (its rows among the new ones, columns): those of the fit where it had the group.
    groups
        The groups of the rows.
    shape
        The component.

    Raises
    ------
    DataError
        If a group has no design, or one of another shape.
    """
    found = []
    for rows, group in groups.split():
        label = groups.labels[rows[0]]
        if label not in designs:
            raise DataError(f"exog_vc[{name!r}] has no design for the group {label!r} of the new rows.")
        design = designs[label]
        matrix = np.asarray(design.toarray() if hasattr(design, "toarray") else design, dtype=np.float64)
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
        n_columns = matrix.shape[1] if group < 0 else int(shape.counts[group])
        if matrix.shape != (len(rows), n_columns):
            raise DataError(
                f"exog_vc[{name!r}] in group {label!r} has the shape {matrix.shape}; "
                f"there are {len(rows)} new rows and {n_columns} columns."
            )
        found.append((rows, group, matrix))
    return placed(name, found, len(groups.codes), shape)


def placed(name: str, designs: Sequence[tuple[Rows, int, Floats]], n_rows: int, shape: Shape) -> NewColumns:
    """Return the columns of a component from the design of each group: its rows, its code, and its columns.

    Raises
    ------
    DataError
        If the component has one entry a row, but a new row has several; or a new group has more tied columns than any
        group of the fit.
    """
    starts = np.cumsum(shape.counts) - shape.counts
    is_tied = shape.codes is None
    codes, keys = np.full(n_rows, -1, dtype=np.int32), np.zeros(n_rows, dtype=object)
    values = np.zeros((n_rows, int(shape.counts.max()) if is_tied else 1))
    for rows, group, matrix in designs:
        if is_tied:
            if matrix.shape[1] > values.shape[1]:
                raise DataError(
                    f"The variance component {name!r} has {matrix.shape[1]} columns in a new group, and at most "
                    f"{values.shape[1]} in those of the fit. Predict without random effects there."
                )
            values[rows, : matrix.shape[1]] = matrix
            continue
        entries = matrix != 0
        if (entries.sum(axis=1) > 1).any():
            raise DataError(
                f"The variance component {name!r} had one nonzero column in each row of the fit, but new rows have "
                "several. Predict them without random effects."
            )
        column = entries.argmax(axis=1) if matrix.shape[1] else np.zeros(len(rows), dtype=np.intp)
        values[rows, 0] = matrix.sum(axis=1)
        keys[rows] = column
        if group >= 0 and matrix.shape[1]:
            codes[rows] = starts[group] + column
    return NewColumns(codes, values, keys)


def _column(frame: pd.DataFrame, name: str, component: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise DataError(f"The new data have no column {name!r}, which the variance component {component!r} needs.")
    check_told_apart(frame, [name])
    return frame[name]
