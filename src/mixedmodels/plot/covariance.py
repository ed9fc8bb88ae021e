"""Ellipses of the estimated covariance of random effects, over the conditional modes."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.plot.asked import draws_a_fit, read_levels
from mixedmodels.plot.canvas import CONTRAST, GUIDE, MODEL, as_drawn, panels, scatter
from mixedmodels.plot.labels import SIDE, name
from mixedmodels.plot.selection import find_factor
from mixedmodels.predict.random_effects import random_effects_cov

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import HoldsMixed

FEW = 40
"""Levels drawn with the ellipse of their own uncertainty."""


@draws_a_fit
def covariance(
    fit: HoldsMixed,
    group: str | None = None,
    *,
    levels: Sequence[float] = (0.5, 0.95),
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw the ellipses that hold given shares of a factor's random effects by the estimated covariance.

    Points are the conditional modes, which vary less than the effects themselves; up to forty levels have the 50 %
    ellipse of their own conditional covariance.

    Parameters
    ----------
    fit
        The fit.
    group
        A grouping factor with several effects; None for the first that has.
    levels
        Shares that the ellipses hold.
    ax
        Axes to draw on, one a pair of effects; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a pair of effects.

    Raises
    ------
    InferenceError
        If there is no such factor, it has one effect only, or a level is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.covariance(fit).get_xlabel()
    'Intercept'
    """
    levels = read_levels(levels)
    state = fit.state
    factors = state.design.factors
    several = [k for k, factor in enumerate(factors) if factor.n_effects > 1]
    k = find_factor(state.design, group) if group is not None or not several else several[0]
    factor = factors[k]
    if factor.n_effects == 1:
        raise InferenceError(f"{factor.name} has one random effect, {factor.columns[0]}; an ellipse needs two.")
    matrix = factor_covariances(state)[k].covariance
    own = random_effects_cov(state)[factor.name]
    pairs = list(combinations(range(factor.n_effects), 2))
    axes = panels(ax, [f"{factor.columns[i]} and {factor.columns[j]}" for i, j in pairs])
    for (i, j), on in zip(pairs, axes, strict=True):
        pair = np.ix_([i, j], [i, j])
        modes = state.b[k][:, [i, j]]
        on.axhline(0, color=GUIDE, linewidth=0.6, zorder=0)
        on.axvline(0, color=GUIDE, linewidth=0.6, zorder=0)
        if factor.n_levels <= FEW:
            for mode, own_matrix in zip(modes, own, strict=True):
                on.plot(*(mode[:, None] + ellipse(own_matrix[pair], 0.5)), color=GUIDE, linewidth=0.7, zorder=1)
        scatter(on, modes[:, 0], modes[:, 1], color=MODEL)
        for level in levels:
            on.plot(*ellipse(matrix[pair], level), color=CONTRAST, linewidth=1.6)
        on.set_xlabel(name(factor.columns[i]))
        on.set_ylabel(name(factor.columns[j], SIDE))
        shares = " and ".join(f"{100 * level:g} %" for level in levels)
        on.set_title(name(f"{factor.name}: {shares}"), fontsize="small")
    return as_drawn(axes)


def ellipse(matrix: Floats, level: float) -> Floats:
    """Return the closed curve that holds that share of N(0, matrix) for a (2, 2) matrix, shape (2, n_points)."""
    angle = np.linspace(0, 2 * np.pi, 181)
    values, vectors = np.linalg.eigh(matrix)
    radius = np.sqrt(-2 * np.log(1 - level))  # quantile of chi with two degrees of freedom
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(radius * root @ np.vstack([np.cos(angle), np.sin(angle)]))
