"""A design with other numbers of levels, or of rows in each level, that keeps the proportions of what it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.design.canonical import level_classes
from mixedmodels.design.frame import Column
from mixedmodels.design.subset import draw_levels, take_rows

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor

Positions = npt.NDArray[np.intp]

FEW_VALUES = 8
"""Numbers of at most so many values, each of several levels, are kept in proportion as labels are."""

ROUNDING = 1e-9
"""Differences of shares that count as none."""


@dataclass(frozen=True)
class LevelColumns:
    """What is the same in all rows of a level.

    Attributes
    ----------
    labels
        Values of labels and of numbers of two values, given or computed, and of the grouping factors that the levels
        are nested in: columns of one value a level, (n_levels,).
    numbers
        Other numbers.
    """

    labels: Mapping[str, Column]
    numbers: Mapping[str, Column]


def resize_levels(design: Design, name: str, n: int) -> Design:
    """Return the design with n levels of a grouping factor, the levels nested in them and their rows.

    Each combination of labels that levels have keeps its share of the levels, rounded so that every label of every
    column is as near to its own share as can be, and one level at least where n allows. Within a combination levels are
    taken evenly along their numbers, the number of their rows and what else distinguishes them; more than there are by
    taking them several times, each copy a level of its own. A copy shares the levels of crossed factors with the
    original.

    Parameters
    ----------
    design
        The whole, in canonical order.
    name
        The factor.
    n
        Levels wanted.
    """
    factor = _factor(design, name)
    columns = level_columns(design, name)
    grades = {k: c for k, c in columns.numbers.items() if _is_graded(c.values, factor.n_levels)}
    labels, label_values = _combinations([_codes(c) for c in columns.labels.values()], factor.n_levels)
    graded, grade_values = _combinations([_codes(c) for c in grades.values()], factor.n_levels)
    wanted = _Rounding(label_values).whole(np.arange(labels.max() + 1), _shares_of_one_at_least(np.bincount(labels), n))
    order = _along(_numbers_of_levels(design, factor, columns, grades))
    cells = _Rounding(grade_values)
    drawn: list[Positions] = []
    for label, count in enumerate(wanted):
        own = order[labels[order] == label]
        grades_here, sizes = np.unique(graded[own], return_counts=True)
        counts = cells.whole(grades_here, count * sizes / len(own))
        for grade, k in zip(grades_here, counts, strict=True):
            drawn.append(evenly(own[graded[own] == grade], k, backwards=len(drawn) % 2 == 1))
    return draw_levels(design, name, np.sort(np.concatenate(drawn)))


def resize_rows(design: Design, name: str, n: int) -> Design:
    """Return the design with n rows in each level of a grouping factor.

    Each combination of labels and levels of other factors in a level keeps its share of the level's rows; what is
    rounded up in one level is rounded down in the next. Within a combination rows are taken evenly along their numbers,
    more than there are by taking them several times.

    Parameters
    ----------
    design
        The whole, in canonical order.
    name
        The factor.
    n
        Rows wanted in each level.
    """
    factor = _factor(design, name)
    columns = _columns(design)
    labels = [_codes(c) for c in columns.values() if _is_label(c)]
    others = [f.codes.astype(np.intp) for f in design.factors if f is not factor]
    cells, values = _combinations([*labels, *others], design.n_obs)
    order = _along([c.values for c in columns.values() if not _is_label(c)] or [np.zeros(design.n_obs)])
    order = order[np.argsort(factor.codes[order], kind="stable")]
    rounding = _Rounding(values)
    rows: list[Positions] = []
    for level, own in enumerate(np.split(order, np.cumsum(np.bincount(factor.codes))[:-1])):
        cells_here, sizes = np.unique(cells[own], return_counts=True)
        counts = rounding.whole(cells_here, n * sizes / len(own))
        for cell, k in zip(cells_here, counts, strict=True):
            rows.append(evenly(own[cells[own] == cell], k, backwards=level % 2 == 1))
    return take_rows(design, np.concatenate(rows))


def level_columns(design: Design, name: str) -> LevelColumns:
    """Return what is the same in all rows of each level of a grouping factor, and not in all levels.

    Parameters
    ----------
    design
        The whole.
    name
        The factor.
    """
    factor = _factor(design, name)
    first = np.unique(factor.codes, return_index=True)[1]
    outer = {f.name: Column(f.codes, f.levels) for f in design.factors if f is not factor}
    constant = {
        k: c.take(first)
        for k, c in {**_columns(design), **outer}.items()
        if (c.values == c.values[first][factor.codes]).all() and (c.values != c.values[0]).any()
    }
    labels = {k: c for k, c in constant.items() if _is_label(c)}
    numbers = {k: c for k, c in constant.items() if k not in labels}
    return LevelColumns(labels | _computed_labels(design, factor, first, labels), numbers)


def row_labels(design: Design, name: str) -> dict[str, Column]:
    """Return the labels that differ within levels of a grouping factor, one value a row.

    Parameters
    ----------
    design
        The whole.
    name
        The factor.
    """
    constant = level_columns(design, name).labels
    return {
        k: c
        for k, c in _columns(design).items()
        if _is_label(c) and k not in constant and (c.values != c.values[0]).any()
    }


def evenly(among: Positions, n: int, backwards: bool = False) -> Positions:
    """Return n of some things, spread evenly over their order, none more often than another by more than one.

    Parameters
    ----------
    among
        The things in their order.
    n
        How many.
    backwards
        Go from the last to the first, so that what is in the middle is rounded down instead of up.
    """
    order = among[::-1] if backwards else among
    return order[(2 * np.arange(n) + 1) * len(order) // (2 * max(n, 1))]


class _Rounding:
    """Makes whole numbers of shares; what a value of a column got too little or too much goes to the next call.

    Parameters
    ----------
    columns
        Value of each cell in each column, (n_cells,); every column has its shares.
    """

    def __init__(self, columns: Sequence[Positions]) -> None:
        self.columns = [np.arange(len(columns[0])), *columns]
        self.owed = [np.zeros(column.max() + 1) for column in self.columns]

    def whole(self, cells: Positions, shares: Floats) -> Positions:
        """Return whole numbers, each share rounded up or down, with the sum of the shares, which must be whole.

        Parameters
        ----------
        cells
            Cells that have a share, (n,).
        shares
            (n,).
        """
        counts = np.floor(shares + ROUNDING).astype(np.intp)
        rest = shares - counts
        groups = [column[cells] for column in self.columns]
        for owed, group in zip(self.owed, groups, strict=True):
            np.add.at(owed, group, rest)
        is_open = rest > ROUNDING
        for _ in range(round(float(rest.sum()))):
            need = np.sum([owed[group] for owed, group in zip(self.owed, groups, strict=True)], axis=0)
            need[~is_open] = -np.inf
            most = int(np.argmax(need > need.max() - ROUNDING))
            counts[most] += 1
            is_open[most] = False
            for owed, group in zip(self.owed, groups, strict=True):
                owed[group[most]] -= 1
        return counts


def _factor(design: Design, name: str) -> RandomFactor:
    return next(f for f in design.factors if f.name == name)


def _columns(design: Design) -> dict[str, Column]:
    """Return the columns of the data that the model uses, else those of X, with offset and weights."""
    columns = dict(design.columns) or {k: Column(x) for k, x in zip(design.x_names, design.X.T, strict=True)}
    extra = {"offset": design.offset, "weights": design.weights}
    return columns | {k: Column(values) for k, values in extra.items() if values is not None}


def _is_label(column: Column) -> bool:
    """Return True for labels, booleans and numbers of two values."""
    return column.levels is not None or len(np.unique(column.values)) <= 2


def _computed_labels(
    design: Design, factor: RandomFactor, first: Positions, labels: Mapping[str, Column]
) -> dict[str, Column]:
    """Return columns of X of two values, such as those of ``C(age > 40)``, that divide levels of the same labels."""
    found: dict[str, Column] = {}
    combinations = _combinations([_codes(c) for c in labels.values()], len(first))[0]
    for name, x in zip(design.x_names, design.X.T, strict=True):
        column = Column(x[first])
        if not (x == column.values[factor.codes]).all() or not _is_label(column):
            continue
        finer = _combinations([combinations, _codes(column)], len(first))[0]
        if finer.max() > combinations.max():
            found[name], combinations = column, finer
    return found


def _is_graded(values: npt.NDArray[np.generic], n_levels: int) -> bool:
    n_values = len(np.unique(values))
    return n_values <= FEW_VALUES and 2 * n_values <= n_levels


def _codes(column: Column) -> Positions:
    return np.asarray(np.unique(column.values, return_inverse=True)[1], dtype=np.intp)


def _combinations(columns: Sequence[Positions], n: int) -> tuple[Positions, list[Positions]]:
    """Return the combination of each of n things, and the value in each column of each combination.

    Combinations are in the order of the things: the first thing has the first.
    """
    table = np.column_stack(columns) if columns else np.zeros((n, 1), dtype=np.intp)
    values, first, codes = np.unique(table, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return np.argsort(order)[codes.ravel()], list(values[order].T)


def _shares_of_one_at_least(sizes: Positions, n: int) -> Floats:
    """Return shares of n in proportion to sizes, none below one where n allows."""
    shares = n * sizes / sizes.sum()
    raised = np.zeros(len(sizes), dtype=bool)
    while n >= len(sizes) and (shares < 1 - ROUNDING).any():
        raised |= shares < 1 - ROUNDING
        shares = np.where(raised, 1.0, (n - raised.sum()) * sizes / sizes[~raised].sum())
    return np.asarray(shares, dtype=np.float64)


def _numbers_of_levels(
    design: Design, factor: RandomFactor, columns: LevelColumns, grades: Mapping[str, Column]
) -> list[npt.NDArray[np.generic]]:
    """Return what levels are taken evenly along: their numbers, how many rows they have, and their content."""
    numbers = [c.values for k, c in columns.numbers.items() if k not in grades]
    return [*numbers, np.bincount(factor.codes), *level_classes(design, factor.name)]


def _along(keys: Sequence[npt.NDArray[np.generic]]) -> Positions:
    """Return the order by keys, those of few values before those of many, then by position."""
    return np.lexsort(sorted(keys, key=lambda key: -len(np.unique(key))))
