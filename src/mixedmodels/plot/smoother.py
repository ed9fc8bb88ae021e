"""A local linear smoother for diagnostic plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

SPAN = 2 / 3
N_POINTS = 80
MAX_CHUNKS = 2_000
"""More points are first averaged in that many runs of equal length."""


def smooth(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return points on a smooth curve through y, both of shape (n_points,), x ascending.

    Locally linear, with tricube weights on the nearest two thirds of the points (Cleveland 1979, without his weights
    against outliers).

    Parameters
    ----------
    x, y
        (n_obs,).
    """
    order = np.argsort(x, kind="stable")
    x, y = _averages(x[order]), _averages(y[order])
    at = np.unique(np.quantile(x, np.linspace(0, 1, N_POINTS)))
    n_near = max(2, int(np.ceil(SPAN * len(x))))
    return at, np.array([_local_line(x, y, centre, n_near) for centre in at])


def _averages(ordered: Floats) -> Floats:
    if len(ordered) <= MAX_CHUNKS:
        return ordered
    starts = np.linspace(0, len(ordered), MAX_CHUNKS, endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(ordered, starts) / np.diff(np.append(starts, len(ordered))))


def _local_line(x: Floats, y: Floats, centre: float, n_near: int) -> float:
    distance = np.abs(x - centre)
    reach = np.partition(distance, n_near - 1)[n_near - 1]
    if reach == 0:
        return float(y[distance == 0].mean())
    weight = (1 - np.minimum(distance / (1.001 * reach), 1) ** 3) ** 3
    total = weight.sum()
    x_mean, y_mean = weight @ x / total, weight @ y / total
    spread = weight @ (x - x_mean) ** 2
    slope = weight @ ((x - x_mean) * y) / spread if spread > 1e-12 * total * reach**2 else 0.0
    return float(y_mean + slope * (centre - x_mean))
