"""Averages of the rows of a reference grid over some of its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.inference.nested_factors import Nesting
    from mixedmodels.inference.reference_grid import ReferenceGrid


@dataclass(frozen=True)
class GridMeans:
    """Averages of a grid's rows.

    Attributes
    ----------
    by, specs
        Variables within whose levels means are compared, and those whose levels they are of; together they name means.
    kept
        All variables that are not averaged over.
    cells
        Levels that name the means, those of ``by`` first.
    rows
        The means in all columns of the design, (k, n_columns); NaN where the weights are unknown.
    """

    by: tuple[str, ...]
    specs: tuple[str, ...]
    kept: tuple[str, ...]
    cells: list[tuple[Any, ...]]
    rows: Floats


def grid_means(
    grid: ReferenceGrid, nesting: Nesting, specs: tuple[str, ...], by: tuple[str, ...], weights: str
) -> GridMeans:
    """Return the means of some variables' levels.

    Means of a nested variable are within the levels of its outer variables, which name them where its own do not.

    Parameters
    ----------
    grid, nesting
        The reference grid and its nested variables.
    specs, by
        Variables whose levels means are of, and within whose levels they are compared.
    weights
        One of ``WEIGHTS``.

    Raises
    ------
    InferenceError
        As `average`.
    """
    groups = (*by, *nesting.outer_of(by, beside=specs))
    kept = (*groups, *specs, *nesting.outer_of(specs, beside=groups))
    cells, rows = average(grid, nesting, kept, weights)
    told = {outer for name, outer in nesting.told if name in kept and outer in nesting.outer.get(name, ())}
    shown = [name in by or name in specs or name not in told for name in kept]
    named = [tuple(part for part, is_shown in zip(cell, shown, strict=True) if is_shown) for cell in cells]
    names = [name for name, is_shown in zip(kept, shown, strict=True) if is_shown]
    n_by = len([name for name in names if name in groups])
    return GridMeans(tuple(names[:n_by]), tuple(names[n_by:]), kept, named, rows)


def average(
    grid: ReferenceGrid, nesting: Nesting, kept: Sequence[str], weights: str
) -> tuple[list[tuple[Any, ...]], Floats]:
    """Return the combinations of some variables' levels and the averages of the grid's rows with them.

    A nested variable has the levels that occur within those of its outer variables: others are neither averaged over
    nor combinations.

    Parameters
    ----------
    grid
        The grid.
    nesting
        Its nested variables.
    kept
        The variables that are not averaged over, among them all that one of them is nested in.
    weights
        One of ``WEIGHTS``.

    Raises
    ------
    InferenceError
        If weights proportional to rows are all zero.
    """
    others = [name for name in grid.levels if name not in kept]
    names = [*kept, *others]
    shape = {name: len(grid.levels[name]) for name in names}
    weight = _WEIGHTS[weights](grid, nesting, names, others)
    axes = [list(grid.levels).index(name) for name in names]
    X = grid.X.reshape(*(len(levels) for levels in grid.levels.values()), -1)
    X = X.transpose(*axes, len(axes)).reshape(-1, int(np.prod([shape[name] for name in others])), X.shape[-1])
    W = np.broadcast_to(weight, tuple(shape.values())).reshape(X.shape[:2])
    averaged = np.einsum("cwp,cw->cp", X, W)
    occurs = np.ones([shape[name] for name in kept], dtype=bool)
    for name in kept:
        if name in nesting.outer:
            inside = [name, *nesting.outer[name]]
            occurs &= _spread(_counts(grid, inside), inside, kept) > 0
    cells = list(pd.MultiIndex.from_product([_labels(grid, name) for name in kept])) if kept else [()]
    rows = np.flatnonzero(occurs)
    return [tuple(cells[i]) for i in rows], averaged[rows]


def _labels(grid: ReferenceGrid, name: str) -> Sequence[Any]:
    """Return the levels of a variable in the grid, as whole numbers where those of a continuous one are."""
    levels = grid.levels[name]
    if name in grid.categorical or not all(level.is_integer() for level in levels):
        return levels
    return [int(level) for level in levels]


def _equal(grid: ReferenceGrid, nesting: Nesting, names: Sequence[str], others: Sequence[str]) -> Floats:
    """Return weights of the levels averaged over, equal for those that occur within their outer variables' levels."""
    weight: Floats = np.ones([1] * len(names))
    for name in others:
        inside = [name, *nesting.outer.get(name, ())]
        occurs = _counts(grid, inside) > 0 if len(inside) > 1 else np.ones(len(grid.levels[name]), dtype=bool)
        occurs |= ~occurs.any(axis=0)  # outer levels that do not meet have no mean, whatever is averaged
        weight = weight * _spread(occurs / occurs.sum(axis=0), inside, names)
    return weight


def _proportional(grid: ReferenceGrid, nesting: Nesting, names: Sequence[str], others: Sequence[str]) -> Floats:
    """Return weights of the levels averaged over, by numbers of rows within the levels of outer variables kept."""
    counted = [name for name in others if name in grid.categorical]
    numbers = [name for name in others if name not in grid.categorical]
    weight: Floats = np.ones([1] * len(names)) / np.prod([len(grid.levels[name]) for name in numbers])
    if not counted:
        return weight
    kept = nesting.outer_of(counted)
    counts = _counts(grid, [*counted, *kept])
    total = counts.sum(axis=tuple(range(len(counted))))
    if not np.all(total):
        raise InferenceError(
            f"No row has these levels of {' and '.join([*counted, *kept])} together, so weights proportional to rows "
            "are all zero. Choose other levels with at, or average with equal weights."
        )
    return np.asarray(weight * _spread(counts / total, [*counted, *kept], names))


def _outer(grid: ReferenceGrid, nesting: Nesting, names: Sequence[str], others: Sequence[str]) -> Floats:
    """Return products of the proportions of rows of each variable averaged over, within its outer variables."""
    weight: Floats = np.ones([1] * len(names))
    for name in others:
        weight = weight * _proportional(grid, nesting, names, [name])
    return weight


def _cells(grid: ReferenceGrid, _: Nesting, names: Sequence[str], others: Sequence[str]) -> Floats:
    """Return proportions of rows within each combination of the variables kept; NaN for those without rows."""
    numbers = [name for name in names if name not in grid.categorical]
    within = [name for name in names if name in grid.categorical and name not in others]
    counted = [name for name in others if name in grid.categorical]
    weight: Floats = np.ones([1] * len(names))
    for name in others:
        weight = weight / (len(grid.levels[name]) if name in numbers else 1)
    if not counted:
        return weight
    counts = _counts(grid, [*counted, *within])
    total = counts.sum(axis=tuple(range(len(counted))))
    with np.errstate(invalid="ignore"):
        share = counts / total
    return np.asarray(weight * _spread(share, [*counted, *within], names))


_WEIGHTS = MappingProxyType({"equal": _equal, "proportional": _proportional, "outer": _outer, "cells": _cells})

WEIGHTS: Mapping[str, str] = MappingProxyType(
    {
        "equal": "equal weights",
        "proportional": "weights proportional to rows",
        "outer": "products of weights proportional to each variable's rows",
        "cells": "weights proportional to each mean's own rows",
    }
)
"""How levels can be weighted, and what that is called."""


def _counts(grid: ReferenceGrid, variables: Sequence[str]) -> Floats:
    """Return the numbers of rows with the levels of some categorical variables, an axis each."""
    codes = np.stack([grid.counts[name] for name in variables])
    counts: Floats = np.zeros([len(grid.levels[name]) for name in variables])
    there = (codes >= 0).all(axis=0)
    np.add.at(counts, tuple(codes[:, there]), 1.0 if grid.frequency is None else grid.frequency[there])
    return counts


def _spread(values: npt.NDArray[Any], variables: Sequence[str], names: Sequence[str]) -> npt.NDArray[Any]:
    """Return values with an axis for each variable as values with an axis for each name, of length one for others."""
    order = sorted(variables, key=list(names).index)
    values = values.transpose([list(variables).index(name) for name in order])
    lengths: Mapping[str, int] = dict(zip(order, values.shape, strict=True))
    return values.reshape([lengths.get(name, 1) for name in names])
