"""Axes to draw on, and marks that stay legible from three points to a million."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import MixedModelsError, pip_install
from mixedmodels.plot.labels import level_names

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mixedmodels.design.records import Floats

DATA = "0.45"
"""Colour of data and of what comes straight from them."""

MODEL = "C0"
"""Colour of what the model says."""

CONTRAST = "C1"
"""Colour of a second thing the model says, and of smoothers."""

GUIDE = "0.7"
"""Colour of reference lines."""

MAX_POINTS = 5_000
"""Points drawn one by one; more are counted in hexagons."""

MAX_SAMPLE = 2_000
"""Points that stand for more than ``MAX_POINTS`` behind a model's lines."""

DIGIT = 0.64
"""Width of a digit, in heights of letters."""

LEAST_PITCH = 5.0
"""Points between names beside an axis at least."""

MAX_LABELS = 60
"""Levels named one by one on an axis."""

MAX_PLACES = 25
"""Values of x, at most, that leave room to spread the points of each."""

CROWD = 150
"""Points drawn at full size and ink."""


def load(module: str) -> Any:
    """Return a module of matplotlib, loaded when the first plot is drawn.

    Raises
    ------
    MixedModelsError
        If matplotlib is not installed.
    """
    try:
        return import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise MixedModelsError(
            f"Plots need matplotlib, which is not installed. Install it with: {pip_install('matplotlib')}"
        ) from error


def new_figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return a new figure that no window shows, for writing to a file, and its axes.

    Parameters
    ----------
    size
        Width and height, in inches.
    """
    figure: Figure = load("figure").Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def panels(
    ax: Axes | Iterable[Axes] | None,
    names: Sequence[str],
    *,
    size: tuple[float, float] = (4.8, 3.8),
    n_columns: int = 3,
) -> list[Axes]:
    """Return one axes a panel: those given, or those of a new figure.

    Parameters
    ----------
    ax
        None for a new figure, an axes, or as many as there are panels.
    names
        What each panel shows, for the message if their number is wrong.
    size
        Width and height of a panel of a new figure, in inches.
    n_columns
        Panels side by side in a new figure, at most.

    Raises
    ------
    MixedModelsError
        If matplotlib is not installed, or another number of axes is given.
    """
    if ax is None:
        n_columns = min(len(names), n_columns)
        n_rows = -(-len(names) // n_columns)
        figure = load("pyplot").figure(figsize=(size[0] * n_columns, size[1] * n_rows), layout="constrained")
        return [figure.add_subplot(n_rows, n_columns, i + 1) for i in range(len(names))]
    given: list[Any] = list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(hasattr(each, "plot") and hasattr(each, "figure") for each in given):
        raise MixedModelsError(f"ax is {ax!r}; it must be matplotlib's axes, as plt.subplots() gives them.")
    if len(given) != len(names):
        listed = ", ".join(names)
        raise MixedModelsError(
            f"This plot has {len(names)} panels ({listed}), but ax holds {len(given)} axes. "
            "Pass as many, or choose a panel by name."
        )
    return given


def as_drawn(axes: Sequence[Axes]) -> Any:
    """Return the axes of a plot as the user gets them, with room between numbers: one alone, several as an array."""
    for each in axes:
        _space_numbers(each)
    if len(axes) == 1:
        return axes[0]
    drawn = np.empty(len(axes), dtype=object)
    drawn[:] = axes
    return drawn


def _space_numbers(ax: Axes) -> None:
    """Have fewer numbers below an axes where so long ones would touch each other."""
    axis = ax.xaxis
    if type(axis.get_major_locator()) is not load("ticker").AutoLocator:
        return
    ticks = axis.get_major_locator().tick_values(*ax.get_xlim())
    longest = max(map(len, axis.get_major_formatter().format_ticks(list(ticks))), default=0)
    size = float(axis.get_major_ticks(1)[0].label1.get_fontsize())
    points = 72 * ax.get_window_extent().width / ax.figure.dpi
    most = int(points / ((longest * DIGIT + 1) * size))
    if most < len(ticks) - 1:
        axis.set_major_locator(load("ticker").MaxNLocator(max(most, 1), steps=[1, 2, 2.5, 5, 10]))


def scatter(ax: Axes, x: Floats, y: Floats, *, color: str = DATA) -> None:
    """Draw points, the fainter and smaller the more there are; above ``MAX_POINTS``, shade hexagons by their number.

    A crowd of points at few values of x is spread a little along x, the same in every drawing.
    """
    n = len(x)
    if n > CROWD * MAX_PLACES // 3:
        x = _spread_out(x)
    if n <= MAX_POINTS:
        ink = min(1.0, CROWD / max(n, 1))
        ax.scatter(x, y, s=4 + 18 * ink, color=color, alpha=0.25 + 0.45 * ink, linewidths=0, rasterized=n > 1_000)
        return
    dark = load("colors").to_rgb("0.1" if color == DATA else color)
    ramp = load("colors").LinearSegmentedColormap.from_list("ink", [(*dark, 0.12), (*dark, 0.8)])
    ax.hexbin(x, y, gridsize=55, bins="log", mincnt=1, cmap=ramp, linewidths=0, rasterized=True)
    ax.autoscale(tight=True)
    ax.margins(0.03)


def backdrop(ax: Axes, x: Floats, y: Floats, *, color: str = DATA, n_groups: int = 1) -> None:
    """Draw points behind what a model says of them: as ``scatter``, but of very many a light sample, which is said.

    Parameters
    ----------
    ax
        The axes.
    x, y
        The points, (n_points,) each.
    color
        Theirs.
    n_groups
        Groups of points on these axes, which share the sample.
    """
    most = MAX_POINTS // n_groups
    if len(x) <= most:
        scatter(ax, x, y, color=color)
        return
    n_drawn = max(MAX_SAMPLE // n_groups, 50)
    drawn = np.random.default_rng(0).choice(len(x), n_drawn, replace=False)
    ax.scatter(_spread_out(x[drawn]), y[drawn], s=5, color=color, alpha=0.2, linewidths=0, rasterized=True, zorder=0.5)
    say_below(ax, f"{n_drawn:,} of {len(x):,} rows" if n_groups == 1 else f"{n_drawn:,} rows of each group")


def say_below(ax: Axes, note: str) -> None:
    """Write a note in small letters at the lower edge, once."""
    if note not in (text.get_text() for text in ax.texts):
        said = ax.text(0.99, 0.01, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=6.5, color="0.35")
        said.set_in_layout(False)


def _spread_out(x: Floats) -> Floats:
    places = np.unique(x)
    if not 1 < len(places) <= MAX_PLACES:
        return x
    reach = 0.15 * np.diff(places).min()
    return x + np.random.default_rng(0).uniform(-reach, reach, len(x))


def count_of(n: int, noun: str) -> str:
    """Return ``18 levels`` or ``1 level``, thousands apart."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def say_instead(ax: Axes, sentence: str) -> None:
    """Write a sentence in the middle of axes that have nothing to show, and take their ticks away."""
    ax.text(0.5, 0.5, sentence, transform=ax.transAxes, ha="center", va="center")
    ax.set_xticks([])
    ax.set_yticks([])


def first_of_row(ax: Axes) -> bool:
    """Return whether an axes begins a row of its figure, or stands alone."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def label_levels(ax: Axes, positions: Floats, levels: pd.Index) -> None:
    """Name levels along the y axis: all of them if they have room, else the first and the last.

    Parameters
    ----------
    ax
        The axes.
    positions
        Where the levels are, ascending, shape (n_levels,).
    levels
        Their labels.
    """
    n = len(levels)
    shown: npt.NDArray[np.intp] = np.arange(n)
    points = 72 * ax.get_window_extent().height / ax.figure.dpi
    have_room = n <= MAX_LABELS and points >= LEAST_PITCH * n
    if not have_room:
        shown = np.array([0, n - 1])
    size = float(np.clip(0.72 * points / n, 5, 9)) if have_room else 8.0
    ax.set_yticks(positions[shown], level_names(levels[shown]))
    ax.tick_params(axis="y", length=0 if have_room else 3, labelsize=size)
