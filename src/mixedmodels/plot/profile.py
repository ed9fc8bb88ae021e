"""Profile zeta: how far from quadratic the likelihood is in each parameter."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from mixedmodels.errors import InferenceError
from mixedmodels.inference.profile import Profile
from mixedmodels.inference.profiler import hermite
from mixedmodels.plot.asked import read_levels
from mixedmodels.plot.canvas import CONTRAST, GUIDE, MODEL, as_drawn, first_of_row, panels
from mixedmodels.plot.labels import name as axis_name
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import Fitted

LEVELS = (0.5, 0.8, 0.95, 0.99)


@refuses_unknown
def profile(fit: Profile | Fitted, *, levels: Sequence[float] = LEVELS, ax: Axes | Iterable[Axes] | None = None) -> Any:
    """Draw profile zeta of each parameter against its value, with intervals.

    A straight line means that a Wald interval on this scale is as good as the profile's (Bates and Watts 1988,
    section 6.1). Horizontal lines stand at the normal quantiles of the levels, and end where the intervals do; levels
    that a profile does not reach are left out.

    Parameters
    ----------
    fit
        A fit, which is profiled, or what its ``profile()`` returned, for several plots.
    levels
        Coverages of the intervals.
    ax
        Axes to draw on, one a parameter; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a parameter.

    Raises
    ------
    InferenceError
        If a level is not allowed, or this is neither a fit nor a profile.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"), reml=False)
    >>> [axes.get_xlabel() for axes in mm.plot.profile(fit)]
    ['Intercept', 'sd_Intercept|Batch', 'sigma']
    """
    levels = read_levels(levels)
    profiled = profile_of(fit)
    names = list(profiled.estimates)
    axes = panels(ax, names, size=(3.6, 3.2), n_columns=3)
    cuts = [-float(ndtri((1 - level) / 2)) for level in levels]
    for name, on in zip(names, axes, strict=True):
        points = profiled.zeta[profiled.zeta["parameter"] == name]
        value, zeta, slope = (points[c].to_numpy(np.float64) for c in ("value", "zeta", "slope"))
        curve = hermite(value, zeta, slope)
        fine = np.linspace(value[0], value[-1], 300)
        zeta = curve(fine)
        limit = 1.25 * max(cuts)
        near = np.abs(zeta) <= limit
        on.axvline(profiled.estimates[name], color=GUIDE, linewidth=0.8, zorder=0)
        on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
        for cut, level in zip(cuts, levels, strict=True):
            for bound, side in zip(_interval(profiled, name, level), (-cut, cut), strict=True):
                if np.isfinite(bound) and zeta[0] <= side <= zeta[-1]:
                    on.plot([bound, bound, profiled.estimates[name]], [0.0, side, side], color=CONTRAST, linewidth=0.8)
            if zeta[-1] >= cut:
                _name_level(on, level, (profiled.estimates[name], cut))
        on.plot(fine[near], zeta[near], color=MODEL, linewidth=1.6)
        on.set_ylim(-limit, limit)
        on.set_xlabel(axis_name(name))
        if first_of_row(on):
            on.set_ylabel("Profile zeta")
    return as_drawn(axes)


def _name_level(ax: Axes, level: float, end: tuple[float, float]) -> None:
    """Write a level beside the end of its line, where there is nothing."""
    label = ax.annotate(f"{100 * level:g} %", end, (-3, 0), textcoords="offset points", ha="right", va="center")
    label.set(fontsize=7, color=CONTRAST)
    label.set_in_layout(False)


def profile_of(fit: Any) -> Profile:
    """Return a profile as it is, or that of a fit.

    Raises
    ------
    InferenceError
        If it is neither.
    """
    if isinstance(fit, Profile):
        return fit
    if not hasattr(fit, "profile"):
        raise InferenceError(f"Plots of profiles take a fit or its profile(), not {fit!r}.")
    profiled: Profile = fit.profile()
    return profiled


def _interval(profiled: Profile, name: str, level: float) -> Floats:
    """Return the bounds of one parameter, nan where its profile could not be followed so far, shape (2,)."""
    with suppress(InferenceError):
        alone = replace(profiled, estimates={name: profiled.estimates[name]})
        return np.asarray(alone.conf_int(level).loc[name], dtype=np.float64)
    return np.full(2, np.nan)
