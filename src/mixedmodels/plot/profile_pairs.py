"""Pairs of variance parameters: likelihood contours and profile traces."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from mixedmodels.errors import InferenceError
from mixedmodels.inference.profiler import hermite
from mixedmodels.plot.asked import read_levels
from mixedmodels.plot.canvas import CONTRAST, DATA, MODEL, as_drawn, load, panels
from mixedmodels.plot.labels import SIDE, name
from mixedmodels.plot.profile import profile_of
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import Fitted
    from mixedmodels.inference.profile import Profile

LEVELS = (0.5, 0.8, 0.95)

MARGIN = 0.08
"""Of the width of the outermost contour, left on each side of it."""


@refuses_unknown
def profile_pairs(
    fit: Profile | Fitted, *, levels: Sequence[float] = LEVELS, ax: Axes | Iterable[Axes] | None = None
) -> Any:
    """Draw contours of the profile likelihood of each pair of variance parameters, with their profile traces.

    A trace is the best value of one parameter for each value of the other. The contours, which hold the joint region of
    each level, are interpolated from where they touch the traces (Bates and Watts 1988, appendix 6).

    Parameters
    ----------
    fit
        A fit, which is profiled, or what its ``profile()`` returned; it needs two variance parameters at least.
    levels
        Joint coverages of the contours.
    ax
        Axes to draw on, one a pair; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a pair.

    Raises
    ------
    InferenceError
        If fewer than two variance parameters were profiled, or a level is not allowed.
    """
    levels = read_levels(levels)
    profiled = profile_of(fit)
    names = [each for each in profiled.estimates if each in profiled.zeta.columns]
    if len(names) < 2:
        raise InferenceError(
            "Pairs need profiles of two variance parameters at least; this profile has "
            f"{names[0] if names else 'none'}. Profile more with fit.profile()."
        )
    curves = {each: _Curve(profiled.zeta, each) for each in names}
    pairs = list(combinations(names, 2))
    axes = panels(ax, [f"{a} and {b}" for a, b in pairs], size=(3.8, 3.4))
    for (a, b), on in zip(pairs, axes, strict=True):
        one, other = curves[a], curves[b]
        for level in levels:
            radius = float(np.sqrt(-2 * np.log(1 - level)))
            x, y = contour(one, other, radius)
            on.plot(x, y, color=CONTRAST, linewidth=1.2)
            _name_level(on, level, (x[y.argmin()], y.min()))
        on.plot(one.points[a], one.points[b], color=MODEL, linewidth=1)
        on.plot(other.points[a], other.points[b], color=MODEL, linewidth=1, linestyle="--")
        on.plot(profiled.estimates[a], profiled.estimates[b], "+", color=DATA, markersize=9)
        reach = float(np.sqrt(-2 * np.log(1 - max(levels))))
        on.set_xlim(*one.limits(reach))
        on.set_ylim(*other.limits(reach))
        on.set_xlabel(name(a))
        on.set_ylabel(name(b, SIDE))
    return as_drawn(axes)


def _name_level(ax: Axes, level: float, lowest: tuple[float, float]) -> None:
    """Write a level across the lowest point of its contour."""
    halo = [load("patheffects").withStroke(linewidth=2.5, foreground="white")]
    label = ax.text(*lowest, f"{100 * level:g} %", ha="center", va="center", fontsize=7, color=CONTRAST, zorder=3)
    label.set(path_effects=halo, clip_on=True)
    label.set_in_layout(False)


class _Curve:
    """One parameter's profile: zeta of a value, and back."""

    def __init__(self, zeta: pd.DataFrame, name: str) -> None:
        self.name = name
        self.points = zeta[zeta["parameter"] == name]
        value, z, slope = (self.points[c].to_numpy(np.float64) for c in ("value", "zeta", "slope"))
        self.zeta: Callable[[Floats], Floats] = hermite(value, z, slope)
        rising = np.r_[True, np.diff(np.maximum.accumulate(z)) > 0]
        self.reached = float(z[0]), float(z[-1])
        self._value = PchipInterpolator(z[rising], value[rising])

    def value(self, z: Floats) -> Floats:
        """Return the value at which zeta is z, at most the last one profiled."""
        return np.asarray(self._value(np.clip(z, *self.reached)))

    def trace(self, other: _Curve, z: float) -> float:
        """Return zeta of the other parameter where this one's zeta is z and the other is at its best."""
        at = PchipInterpolator(self.points["value"], self.points[other.name])(self.value(np.array(z)))
        low, high = other.points["value"].min(), other.points["value"].max()
        return float(other.zeta(np.clip(at, low, high)))

    def limits(self, reach: float) -> tuple[float, float]:
        """Return the values between which zeta stays below the reach, with a margin unless the profile ends there."""
        low, high = self.value(np.array([-reach, reach]))
        margin = MARGIN * (high - low)
        return max(low - margin, self.points["value"].min()), min(high + margin, self.points["value"].max())


def contour(one: _Curve, other: _Curve, radius: float) -> tuple[Floats, Floats]:
    """Return the contour at which the joint zeta is the radius, as values of both parameters, (n_points,) each.

    In zeta coordinates it is r (cos(t + d(t)), cos(t - d(t))) with a smooth periodic phase d, which is known at the
    four points where the contour meets the traces.
    """
    touching = [(c, one.trace(other, c)) for c in (radius, -radius)]
    touching += [(other.trace(one, c), c) for c in (radius, -radius)]
    angles = np.arccos(np.clip(np.array(touching) / radius, -1, 1))
    t, d = angles.sum(axis=1) / 2, (angles[:, 0] - angles[:, 1]) / 2
    t, d = np.where(d < 0, -t, t), np.abs(d)
    t, order = np.unique(t, return_index=True)
    d = d[order]
    phase = CubicSpline(np.append(t, t[0] + 2 * np.pi), np.append(d, d[0]), bc_type="periodic")
    turn = np.linspace(0, 2 * np.pi, 201)
    return one.value(radius * np.cos(turn + phase(turn))), other.value(radius * np.cos(turn - phase(turn)))
