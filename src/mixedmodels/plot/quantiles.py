"""Normal quantile plots with pointwise bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv, ndtri

from mixedmodels.plot.canvas import CONTRAST, DATA, GUIDE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats

MAX_QUANTILES = 1_500
"""Order statistics drawn; of more, an even choice that keeps the tails whole."""

BAND_LEVEL = 0.95


def draw_quantiles(ax: Axes, values: Floats, *, color: str = DATA) -> None:
    """Draw ordered values against normal quantiles, the line through their quartiles and a pointwise 95 % band.

    The i-th of n order statistics of a uniform sample is Beta(i, n + 1 - i), whose quantiles bound the band (David and
    Nagaraja 2003, section 2.3); plotting positions are Blom's (1958).
    """
    ordered = np.sort(values)
    n = len(ordered)
    rank = chosen_ranks(n)
    x = ndtri((rank - 0.375) / (n + 0.25))
    lower, upper = np.quantile(ordered, [0.25, 0.75])
    slope = (upper - lower) / (ndtri(0.75) - ndtri(0.25))
    centre = (upper + lower) / 2
    tail = (1 - BAND_LEVEL) / 2
    band = [centre + slope * ndtri(betaincinv(rank, n + 1 - rank, p)) for p in (tail, 1 - tail)]
    ax.fill_between(x, *band, color=GUIDE, alpha=0.4, linewidth=0)
    ax.plot(x, centre + slope * x, color=CONTRAST, linewidth=1.2)
    ax.plot(x, ordered[rank - 1], "o", color=color, markersize=4 if n <= 200 else 2.5, markeredgewidth=0, alpha=0.8)
    ax.set_xlabel("Normal quantile")


def chosen_ranks(n: int) -> np.ndarray:
    """Return ranks from 1 to n: all, or those nearest to even steps in the normal quantile."""
    if n <= MAX_QUANTILES:
        return np.arange(1, n + 1)
    edge = 100
    logit = np.log(edge / n)
    middle = n / (1 + np.exp(-np.linspace(logit, -logit, MAX_QUANTILES - 2 * edge)))
    return np.unique(np.r_[1 : edge + 1, np.rint(middle).astype(int).clip(1, n), n - edge + 1 : n + 1])
