"""Fitted lines along one predictor while the others are held: the population's, and those of levels of a factor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.fixed_terms import WITHOUT_COLUMNS
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.contrast import can_be_estimated
from mixedmodels.inference.reference_grid import MAX_ROWS, predictors

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Column, Values
    from mixedmodels.design.records import Codes, Floats, RandomFactor
    from mixedmodels.fit.records import MixedFit

    Rows = npt.NDArray[np.intp]

N_POINTS = 60
"""Points of a line along a number."""


@dataclass(frozen=True)
class Held:
    """What the other predictors are held at while one of them varies.

    Values are those of columns: codes of levels, numbers or dates.

    Attributes
    ----------
    x
        The column that varies.
    is_number
        Whether x takes any number, and not only those of the data.
    numbers
        Numbers and their means; dates and the one in the middle.
    cells
        Combinations of categories that are averaged with equal weights, (n_cells,) each.
    own
        Those of both that do not vary within levels of the factor.
    is_determined
        Whether the data determine the whole line of the population.
    """

    x: str
    is_number: bool
    numbers: Mapping[str, Any]
    cells: Mapping[str, Values]
    own: frozenset[str]
    is_determined: bool = True

    @property
    def n_cells(self) -> int:
        """Number of the combinations."""
        return len(next(iter(self.cells.values()), [0]))

    def without_own(self) -> Held:
        """Return what is held where every level of the factor has its own values, if they do not vary within it."""
        names = [name for name in self.cells if name not in self.own]
        cells = pd.DataFrame({name: self.cells[name] for name in names}).drop_duplicates()
        numbers = {name: value for name, value in self.numbers.items() if name not in self.own}
        return replace(self, numbers=numbers, cells={name: cells[name].to_numpy() for name in names})


@dataclass(frozen=True)
class Lines:
    """Points of lines, one line after the other.

    Attributes
    ----------
    codes
        Level of each point, (n_points,).
    x
        Values of the column, (n_points,).
    y
        Fitted values, (n_points,); nan where the data do not determine them.
    """

    codes: Codes
    x: Values
    y: Floats


def hold_others(state: MixedFit, x: str, factor: RandomFactor) -> Held:
    """Return what predictors other than x are held at.

    As for estimated means, numbers are held at their means, and all combinations of categories are averaged; where the
    data do not determine all of them, or there are too many, those that occur.

    Raises
    ------
    InferenceError
        If the model does not hold its data, or too many combinations occur.
    """
    refuse_absorbed(state.design.absorbed, "A line of the fixed part")
    design = state.design
    missing = next((name for name in predictors(design) if name not in design.columns), None)
    if missing is not None:
        raise InferenceError(f"Lines need the data column {missing!r}, which {WITHOUT_COLUMNS}.")
    others = {name: column for name, column in design.columns.items() if name != x}
    numbers = {name: _middle(column) for name, column in others.items() if _takes_any_value(design, name)}
    categories = {name: column.values for name, column in others.items() if name not in numbers}
    own = frozenset(name for name, column in others.items() if is_constant_within(factor, column.values))
    held = Held(x, design.columns[x].is_number and _takes_any_value(design, x), numbers, {}, own)
    levels = [np.unique(values) for values in categories.values()]
    if np.prod([len(each) for each in levels], dtype=float) * N_POINTS <= MAX_ROWS:
        every = [np.array(values) for values in zip(*product(*levels), strict=True)]
        held = replace(held, cells=dict(zip(categories, every, strict=True)))
        if _is_determined(state, held):
            return held
    occurring = pd.DataFrame(categories).drop_duplicates()
    if len(occurring) * N_POINTS > MAX_ROWS:
        raise InferenceError(
            f"{len(occurring)} combinations of {', '.join(categories)} occur, too many to average over. Draw the "
            "lines of a model with fewer categories."
        )
    held = replace(held, cells={name: occurring[name].to_numpy() for name in categories})
    return replace(held, is_determined=_is_determined(state, held))


def _is_determined(state: MixedFit, held: Held) -> bool:
    return not np.isnan(population_line(state, held).y).any()


def population_line(state: MixedFit, held: Held) -> Lines:
    """Return the line of the fixed effects over all values of x.

    Raises
    ------
    MixedModelsError
        If it cannot be computed for values other than those of the rows.
    """
    x = _points(state.design.columns[held.x].values, N_POINTS if held.is_number else 0)
    return Lines(np.zeros(len(x), dtype=np.int32), x, _fixed_part(state, held, {held.x: x}))


def level_lines(state: MixedFit, held: Held, factor: RandomFactor, chosen: Rows) -> Lines:
    """Return the lines of some levels of a factor, each over its own values of x.

    They have the levels' own values of what does not vary within levels, and the effects of all factors that do not
    either; those of others are zero.

    Raises
    ------
    MixedModelsError
        If they cannot be computed for values other than those of the rows.
    """
    apart = held.without_own()
    rows = np.split(np.argsort(factor.codes, kind="stable"), np.cumsum(np.bincount(factor.codes))[:-1])
    n_points = int(np.clip(10 * MAX_ROWS // (apart.n_cells * len(chosen)), 2, N_POINTS)) if held.is_number else 0
    values = state.design.columns[held.x].values
    points = [_points(values[rows[level]], n_points) for level in chosen]
    first = np.repeat([rows[level][0] for level in chosen], [len(x) for x in points])
    x = np.concatenate(points)
    at_once = max(1, MAX_ROWS // apart.n_cells)
    parts = [
        _of_rows(state, apart, factor, first[i : i + at_once], x[i : i + at_once]) for i in range(0, len(x), at_once)
    ]
    return Lines(factor.codes[first], x, np.concatenate(parts))


def left_out(design: Design, factor: RandomFactor) -> list[str]:
    """Return the grouping factors whose effects the lines of a factor's levels do not have."""
    return [each.name for each in design.factors if not is_constant_within(factor, each.codes)]


def _of_rows(state: MixedFit, held: Held, factor: RandomFactor, rows: Rows, x: Values) -> Floats:
    """Return fitted values at some x with what the rows have of their own."""
    own = {name: state.design.columns[name].values[rows] for name in held.own}
    varying = {**own, held.x: x}
    y = _fixed_part(state, held, varying)
    for k, (each, b) in enumerate(zip(state.design.factors, state.b, strict=True)):
        if is_constant_within(factor, each.codes):
            y += np.einsum("ij,ij->i", _random_columns(state.design, held, varying, k), b[each.codes[rows]])
    return y


def _fixed_part(state: MixedFit, held: Held, varying: Mapping[str, Values]) -> Floats:
    """Return X beta and the mean of the offset; nan where the data do not determine it."""
    design = state.design
    X = _averaged(design.recipe.fixed_matrix(_frame(design, held, varying)), held)
    y = X[:, list(state.kept)] @ state.beta
    y[~can_be_estimated(state, X)] = np.nan
    return y if design.offset is None else y + design.offset.mean()


def _random_columns(design: Design, held: Held, varying: Mapping[str, Values], k: int) -> Floats:
    if design.factors[k].Z is None:
        return np.ones((len(varying[held.x]), 1))
    return _averaged(design.recipe.random_matrix(_frame(design, held, varying), k), held)


def _frame(design: Design, held: Held, varying: Mapping[str, Values]) -> pd.DataFrame:
    """Return data with a row for each value that varies and each combination of categories, the latter fastest."""
    n = len(varying[held.x])
    values = {name: np.repeat(each, held.n_cells) for name, each in varying.items()}
    values |= {name: np.tile(each, n) for name, each in held.cells.items()}
    values |= {name: np.repeat(each, n * held.n_cells) for name, each in held.numbers.items()}
    return pd.DataFrame({name: _as_data(design.columns[name], each) for name, each in values.items()})


def _as_data(column: Column, values: Values) -> Any:
    return values if column.levels is None else column.levels.take(values)


def _averaged(matrix: Floats, held: Held) -> Floats:
    return np.asarray(matrix.reshape(-1, held.n_cells, matrix.shape[1]).mean(axis=1))


def _points(values: Values, n: int) -> Values:
    """Return n numbers from the smallest to the largest, or the distinct values if n is zero."""
    return np.linspace(values.min(), values.max(), n) if n and np.ptp(values) else np.unique(values)


def _middle(column: Column) -> Any:
    """Return the mean of numbers, and of dates the one in the middle."""
    return np.sort(column.values)[len(column.values) // 2] if column.is_date else float(column.values.mean())


def _takes_any_value(design: Design, name: str) -> bool:
    """Return whether the model takes numbers or dates of a column as such, and not as names of categories."""
    column = design.columns[name]
    if column.levels is not None or column.is_boolean:
        return False
    neighbours = np.unique(column.values)
    middle = len(neighbours) // 2
    low, high = neighbours[max(0, middle - 1)], neighbours[middle]
    row = {other: each.values[:1] for other, each in design.columns.items()} | {
        name: np.array([low + (high - low) / 2])
    }
    frame = _frame(design, Held(name, False, {}, {}, frozenset()), row)
    try:
        design.recipe.fixed_matrix(frame)
        for k, factor in enumerate(design.factors):
            if factor.Z is not None:
                design.recipe.random_matrix(frame, k)
    except DataError:
        return False
    return True


def is_constant_within(factor: RandomFactor, values: Values) -> bool:
    """Return whether all rows of a level have the same value, for every level."""
    first = np.zeros(factor.n_levels, dtype=np.intp)
    first[factor.codes[::-1]] = np.arange(len(values))[::-1]
    return bool((values == values[first[factor.codes]]).all())


def held_note(design: Design, held: Held, factor: RandomFactor) -> str:
    """Return sentences that say what is held at what; empty if there is nothing to say."""
    return " ".join(_sentences(design, held, factor))


def _sentences(design: Design, held: Held, factor: RandomFactor) -> Iterator[str]:
    means = [f"{name} ({value:.4g})" for name, value in held.numbers.items() if isinstance(value, float)]
    dates = [f"{name} {np.datetime_as_string(value, unit='D')}" for name, value in held.numbers.items()
             if not isinstance(value, float)]  # fmt: skip
    parts = []
    if means:
        parts.append(f"at the mean of {_listed(means)}")
    if dates:
        parts.append(f"at {_listed(dates)}")
    if held.cells:
        parts.append(f"averaged over {_listed(held.cells)}")
    if design.offset is not None:
        parts.append("at the mean of the offset")
    if parts:
        own = [name for name in (*held.numbers, *held.cells) if name in held.own]
        of_levels = f"; each {factor.name} at its own {_listed(own)}" if own else ""
        yield f"Population {', '.join(parts)}{of_levels}."
    if not held.is_determined:
        yield "Values that the data do not determine are left out."
    others = left_out(design, factor)
    if others:
        yield f"Lines without effects of {_listed(others)}."


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
