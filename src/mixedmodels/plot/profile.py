"""Profile zeta: how far from quadratic the likelihood is in each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtri

from mixedmodels.plot.canvas import CONTRAST, GUIDE, MODEL, as_drawn, panels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mixedmodels.inference.profile import Profile

LEVELS = (0.5, 0.8, 0.95, 0.99)


def profile(profiled: Profile, *, levels: Sequence[float] = LEVELS, ax: Axes | Iterable[Axes] | None = None) -> Any:
    """Draw profile zeta of each parameter against its value, with intervals.

    A straight line means that a Wald interval on this scale is as good as the profile's (Bates and Watts 1988,
    section 6.1). Horizontal lines stand at the normal quantiles of the levels, and end where the intervals do.

    Parameters
    ----------
    profiled
        What ``fit.profile()`` returned.
    levels
        Coverages of the intervals.
    ax
        Axes to draw on, one a parameter; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a parameter.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"), reml=False)
    >>> [axes.get_xlabel() for axes in mm.plot.profile(fit.profile())]
    ['Intercept', 'sd_Intercept|Batch', 'sigma']
    """
    names = list(profiled.estimates)
    axes = panels(ax, names, size=(3.6, 3.2), n_columns=3)
    cuts = [-float(ndtri((1 - level) / 2)) for level in levels]
    intervals = [profiled.conf_int(level) for level in levels]
    for name, on in zip(names, axes, strict=True):
        points = profiled.zeta[profiled.zeta["parameter"] == name]
        value, zeta, slope = (points[c].to_numpy(np.float64) for c in ("value", "zeta", "slope"))
        curve = CubicHermiteSpline(value, zeta, slope)
        fine = np.linspace(value[0], value[-1], 300)
        zeta = curve(fine)
        limit = 1.25 * max(cuts)
        near = np.abs(zeta) <= limit
        on.axvline(profiled.estimates[name], color=GUIDE, linewidth=0.8, zorder=0)
        on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
        for cut, interval in zip(cuts, intervals, strict=True):
            for bound, side in zip(interval.loc[name].to_numpy(np.float64), (-cut, cut), strict=True):
                if zeta[0] <= side <= zeta[-1]:
                    on.plot([bound, bound, profiled.estimates[name]], [0.0, side, side], color=CONTRAST, linewidth=0.8)
        on.plot(fine[near], zeta[near], color=MODEL, linewidth=1.6)
        on.set_ylim(-limit, limit)
        on.set_xlabel(name)
    axes[0].set_ylabel("Profile zeta")
    return as_drawn(axes)
