"""Averages of the rows of a reference grid over some of its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.inference.nested_factors import Nesting
    from mixedmodels.inference.reference_grid import ReferenceGrid


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
        ``"equal"``, or ``"proportional"`` to the rows.

    Raises
    ------
    InferenceError
        If weights proportional to rows are all zero.
    """
    others = [name for name in grid.levels if name not in kept]
    names = [*kept, *others]
    shape = {name: len(grid.levels[name]) for name in names}
    weight = _equal(grid, nesting, names, others)
    if weights == "proportional":
        weight = _proportional(grid, nesting, names, others)
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
    cells = list(pd.MultiIndex.from_product([_labels(grid, name) for name in kept]))
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


def _counts(grid: ReferenceGrid, variables: Sequence[str]) -> Floats:
    """Return the numbers of rows with the levels of some categorical variables, an axis each."""
    codes = np.stack([grid.counts[name] for name in variables])
    counts: Floats = np.zeros([len(grid.levels[name]) for name in variables])
    np.add.at(counts, tuple(codes[:, (codes >= 0).all(axis=0)]), 1.0)
    return counts


def _spread(values: npt.NDArray[Any], variables: Sequence[str], names: Sequence[str]) -> npt.NDArray[Any]:
    """Return values with an axis for each variable as values with an axis for each name, of length one for others."""
    order = sorted(variables, key=list(names).index)
    values = values.transpose([list(variables).index(name) for name in order])
    lengths: Mapping[str, int] = dict(zip(order, values.shape, strict=True))
    return values.reshape([lengths.get(name, 1) for name in names])
