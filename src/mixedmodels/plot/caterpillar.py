"""Conditional modes of the random effects in order, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from mixedmodels.inference.wald import check_level
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import GUIDE, MAX_LABELS, MODEL, as_drawn, count_of, label_levels, panels
from mixedmodels.plot.labels import name
from mixedmodels.plot.selection import Effect, find_effects
from mixedmodels.predict.random_effects import random_effects_cov

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import HoldsMixed, MixedFit


@draws_a_fit
def caterpillar(
    fit: HoldsMixed,
    group: str | None = None,
    effect: str | None = None,
    *,
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw the conditional modes of random effects in ascending order, with normal intervals.

    The intervals are mode plus or minus a normal quantile times the conditional standard deviation sqrt(Var(b | y)).
    Levels are named one by one up to sixty; of more, the extremes are. Effects of generalised models are on the link
    scale.

    Parameters
    ----------
    fit
        The fit.
    group, effect
        A grouping factor and one of its effects; None for all.
    level
        Coverage of the intervals.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one an effect.

    Raises
    ------
    InferenceError
        If there is no such factor or effect, or ``level`` is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.caterpillar(fit, effect="Days").get_xlabel()
    'Days'
    """
    check_level(level)
    state = fit.state
    effects = find_effects(state.design, group, effect)
    covariances = random_effects_cov(state)
    height = max(height_for(e.factor.n_levels) for e in effects)
    axes = panels(ax, [e.title for e in effects], size=(4.2, height))
    for each, on in zip(effects, axes, strict=True):
        half_width = -ndtri((1 - level) / 2) * np.sqrt(covariances[each.factor.name][:, each.j, each.j])
        _draw(on, state, each, half_width)
    return as_drawn(axes)


def height_for(n_levels: int) -> float:
    """Return the height of a panel in inches that leaves room for the names of that many levels."""
    return float(np.clip(1.1 + 0.17 * n_levels, 2.6, 9.0)) if n_levels <= MAX_LABELS else 5.5


def _draw(ax: Axes, state: MixedFit, effect: Effect, half_width: Floats) -> None:
    modes, n = state.b[effect.k][:, effect.j], effect.factor.n_levels
    order = np.argsort(modes, kind="stable")
    at = np.arange(n, dtype=np.float64)
    modes, half_width = modes[order], half_width[order]
    few = n <= MAX_LABELS
    ax.axvline(0, color=GUIDE, linewidth=0.8, zorder=0)
    lines = ax.hlines(at, modes - half_width, modes + half_width, color=MODEL, linewidth=1.2 if few else 0.5)
    if not few:
        lines.set(alpha=float(np.clip(300 / n, 0.12, 0.5)), rasterized=True)
    if few:
        ax.plot(modes, at, "o", color=MODEL, markersize=4)
    else:
        ax.plot(modes, at, color="black", linewidth=1.2)
    ax.set_ylim(-0.7 - 0.01 * n, n - 0.3 + 0.01 * n)
    label_levels(ax, at, effect.factor.levels[order])
    if not (modes.any() or half_width.any()):
        ax.set_title("variance estimated as zero", fontsize="small")
        ax.set_xticks([0])
    ax.set_xlabel(name(effect.name))
    ax.set_ylabel(name(effect.factor.name if few else f"{effect.factor.name}: {count_of(n, 'level')} in order"))
