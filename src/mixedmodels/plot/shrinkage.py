"""How far the model draws each level's own fit towards the population."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import random_part
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import DATA, GUIDE, MODEL, as_drawn, count_of, load, panels
from mixedmodels.plot.labels import SIDE, level_names, name
from mixedmodels.plot.selection import find_factor
from mixedmodels.predict.random_effects import fixed_counterparts

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import HoldsMixed, MixedFit

FEW = 40
"""Levels drawn large and linked by full lines."""

MAX_NAMES = 20
"""Levels named one by one; of more, the few that the model moves most."""

MOST_MOVED = 6

NAME_SIZE = 7.0
"""Size of the letters of a name, in points."""

LETTER = 0.6
"""Width of a letter, in its size."""

ROOM = 1.4
"""What a name takes up, in its own size: axes may still shrink when they are laid out."""

MAX_NAME = 14
"""Characters of a name among the points."""


@draws_a_fit
def shrinkage(fit: HoldsMixed, group: str | None = None, *, ax: Axes | Iterable[Axes] | None = None) -> Any:
    """Draw the fit of each level alone beside its conditional mode.

    A level alone is fitted by weighted least squares to its rows less all other terms of the model; levels whose rows
    do not determine all its effects are left out and counted. Both are added to the fixed effect of the same name.
    With one effect, modes are drawn against fits alone; with several, a panel a pair links them.

    Parameters
    ----------
    fit
        The fit.
    group
        A grouping factor; None for the one with most levels.
    ax
        Axes to draw on, one a pair of effects; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them.

    Raises
    ------
    InferenceError
        If there is no such factor, or no level has enough rows.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.shrinkage(fit).get_ylabel()
    'Days'
    """
    state = fit.state
    if state.link is not None:
        raise InferenceError(
            "Levels of a generalised model are not fitted alone: those of equal responses would have effects without "
            "bound. mixedmodels.plot.caterpillar draws the modes."
        )
    k = find_factor(state.design, group)
    factor = state.design.factors[k]
    alone, determined = within_level_fits(state, k)
    if not determined.any():
        raise InferenceError(
            f"No level of {factor.name} has rows enough to be fitted alone: {count_of(factor.n_effects, 'effect')} "
            "would need as many independent rows."
        )
    fixed = dict(zip(state.fixed_names, state.beta, strict=True))
    around = fixed_counterparts(state, factor.columns)
    centre = np.array([fixed[around[name]] if name in around else 0.0 for name in factor.columns])
    alone, modes = (centre + values[determined] for values in (alone, state.b[k]))
    distance = alone - modes
    moved = np.linalg.norm(distance / np.maximum(distance.std(axis=0), np.finfo(float).tiny), axis=1)
    pairs = list(combinations(range(factor.n_effects), 2)) or [(0, 0)]
    axes = panels(ax, [" and ".join(factor.columns[j] for j in dict.fromkeys(pair)) for pair in pairs])
    for (i, j), on in zip(pairs, axes, strict=True):
        if i == j:
            _draw_one(on, factor, alone[:, 0], modes[:, 0], centre[0])
        else:
            on.set_xlabel(name(factor.columns[i]))
            on.set_ylabel(name(factor.columns[j], SIDE))
            _draw_pair(on, alone[:, [i, j]], modes[:, [i, j]], centre[[i, j]])
        named_at = modes if len(modes) <= MAX_NAMES else alone
        at = named_at[:, [i, j]] if i != j else np.column_stack([alone[:, 0], modes[:, 0]])
        n_named = _name_levels(on, factor.levels[determined], at, moved)
        on.set_title(name(_told(factor, len(modes), n_named), 60), fontsize="small")
    return as_drawn(axes)


def _told(factor: RandomFactor, n_drawn: int, n_named: int) -> str:
    """Return which levels are named, and which are not drawn."""
    moved = f"named: the {n_named} of {count_of(n_drawn, 'level')} that the model moves most and that have room"
    left_out = factor.n_levels - n_drawn
    without = f"without {count_of(left_out, 'level')} of too few rows" if left_out else ""
    return "; ".join(filter(None, [moved if n_named < n_drawn else "", without]))


def within_level_fits(state: MixedFit, k: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the least-squares effects of each level alone, (n_levels, n_effects), and which levels determine them.

    The response less all but this factor's random effects is regressed on their columns, with the design's weights.
    """
    factor, weights = state.design.factors[k], state.design.weights
    y = row_view(state).residuals() + random_part(factor, state.b[k])
    Z = np.ones((len(y), 1)) if factor.Z is None else factor.Z
    if weights is not None:
        y, Z = np.sqrt(weights) * y, np.sqrt(weights)[:, None] * Z
    q = factor.n_effects
    products = np.empty((factor.n_levels, q, q + 1))
    for i in range(q):
        for j in range(q + 1):
            products[:, i, j] = np.bincount(factor.codes, Z[:, i] * (Z[:, j] if j < q else y), factor.n_levels)
    ZtZ, Zty = products[:, :, :q], products[:, :, q:]
    size = np.sqrt(np.einsum("lii->li", ZtZ))
    size = np.where(size > 0, size, 1.0)
    scaled = ZtZ / (size[:, :, None] * size[:, None, :])
    determined = np.linalg.eigvalsh(scaled)[:, 0] > 1e-9
    effects = np.full((factor.n_levels, q), np.nan)
    solved = np.linalg.solve(scaled[determined], Zty[determined] / size[determined][:, :, None])
    effects[determined] = solved[:, :, 0] / size[determined]
    return effects, determined


def _draw_pair(ax: Axes, alone: Floats, modes: Floats, centre: Floats) -> None:
    few = len(modes) <= FEW
    links = np.full((len(modes), 3, 2), np.nan)  # a gap after each link
    links[:, 0], links[:, 1] = alone, modes
    ink = 1.0 if few else float(np.clip(500 / len(modes), 0.2, 0.8))
    thin: dict[str, Any] = {"linewidth": 0.9} if few else {"linewidth": 0.5, "alpha": ink / 3, "rasterized": True}
    ax.plot(*links.reshape(-1, 2).T, color=GUIDE, zorder=1, **thin)
    faint: dict[str, Any] = {"markersize": 4} if few else {"markersize": 2, "alpha": ink, "rasterized": True}
    ax.plot(*alone.T, "o", color=DATA, markerfacecolor="none", label="alone", zorder=2, **faint)
    ax.plot(*modes.T, "o", color=MODEL, label="in the model", zorder=3, **faint)
    ax.plot(*centre, "+", color="black", markersize=10, markeredgewidth=1.5, label="population", zorder=4)
    legend = ax.legend(frameon=False, fontsize="small")
    for handle in legend.get_lines():
        handle.set(alpha=1, markersize=max(4, handle.get_markersize()))


def _draw_one(ax: Axes, factor: RandomFactor, alone: Floats, modes: Floats, centre: float) -> None:
    ax.axline((centre, centre), slope=1, color=GUIDE, linewidth=0.8, zorder=0, label="no shrinkage")
    ax.axhline(centre, color=GUIDE, linewidth=0.8, linestyle="--", zorder=0, label="population")
    few = len(modes) <= FEW
    ax.plot(alone, modes, "o", color=MODEL, markersize=5 if few else 2.5, alpha=1 if few else 0.4, rasterized=not few)
    ax.set_xlabel(name(f"{factor.columns[0]} of each {factor.name} alone"))
    ax.set_ylabel(name(f"{factor.columns[0]} in the model", SIDE))
    ax.legend(frameon=False, fontsize="small")


def _name_levels(ax: Axes, levels: pd.Index, at: Floats, moved: Floats) -> int:
    """Name levels beside their points, those that the model moves most first, and return how many had room."""
    n = len(levels)
    named = np.argsort(-moved, kind="stable")[: n if n <= MAX_NAMES else MOST_MOVED].tolist()
    halo = [load("patheffects").withStroke(linewidth=2, foreground="white")]
    middle = sum(ax.get_xlim()) / 2  # asking for the limits sets them; before, places are not known
    places = ax.transData.transform(at) * 72 / ax.figure.dpi
    taken: list[tuple[float, float, float, float]] = []
    for i, text in zip(named, level_names(levels[named], MAX_NAME), strict=True):
        is_right = bool(at[i, 0] > middle)  # names grow towards the middle, where they have room
        width, height = ROOM * LETTER * NAME_SIZE * len(text), ROOM * NAME_SIZE
        left, bottom = places[i, 0] + (-3 - width if is_right else 3), places[i, 1] + 3
        box = (left, bottom, left + width, bottom + height)
        if any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        label = ax.annotate(text, (at[i, 0], at[i, 1]), (-3 if is_right else 3, 3), textcoords="offset points")
        label.set(
            ha="right" if is_right else "left",
            fontsize=NAME_SIZE,
            color="0.2",
            path_effects=halo,
            zorder=5,
            clip_on=True,
        )
        label.set_in_layout(False)
    return len(taken)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Return whether two boxes (left, bottom, right, top) share a point."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
