"""Which factor, effect or column a plot shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.plot.canvas import load
from mixedmodels.plot.labels import level_names
from mixedmodels.plot.labels import name as axis_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Column, Values
    from mixedmodels.design.records import Floats, RandomFactor

MAX_SIZE = 12
"""Characters of all categories beyond which they are written at a slant, for each inch."""

MAX_NAMES = 50
"""Categories named along an axis; of more, every second, third and so on."""

MIN_PITCH = 18.0
"""Points from one category to the next that leave room for a slanted name."""


@dataclass(frozen=True)
class Effect:
    """One random effect: column ``j`` of the ``k``-th grouping factor."""

    k: int
    factor: RandomFactor
    j: int

    @property
    def name(self) -> str:
        """Name of the effect, ``Days``."""
        return self.factor.columns[self.j]

    @property
    def title(self) -> str:
        """Name of the effect and its factor, ``Days by Subject``."""
        return f"{self.name} by {self.factor.name}"


def choose(kind: str, name: str, known: Sequence[str]) -> int:
    """Return the position of a name among the known ones.

    Raises
    ------
    InferenceError
        If it is not one of them.
    """
    if name in known:
        return list(known).index(name)
    raise InferenceError(f"There is no {kind} {name!r}; there are {', '.join(known)}.{nearest(str(name), known)}")


def find_factor(design: Design, group: str | None) -> int:
    """Return the position of a grouping factor; None is the first, which has most levels.

    Raises
    ------
    InferenceError
        If there is none of that name.
    """
    if not design.factors:
        raise InferenceError("This fit has no random effects to draw; residuals are drawn by mixedmodels.plot.panel.")
    return 0 if group is None else choose("grouping factor", group, [factor.name for factor in design.factors])


def find_effects(design: Design, group: str | None, effect: str | None) -> list[Effect]:
    """Return the random effects of a factor, or of all, with that name, or all.

    Raises
    ------
    InferenceError
        If there is none.
    """
    first = find_factor(design, group)
    ks = range(len(design.factors)) if group is None else [first]
    effects = [Effect(k, design.factors[k], j) for k in ks for j in range(design.factors[k].n_effects)]
    if effect is None:
        return effects
    names = list(dict.fromkeys(e.name for e in effects))
    choose("random effect", effect, names)
    return [e for e in effects if e.name == effect]


def find_column(design: Design, name: str) -> Column:
    """Return a data column of the fixed part or of those left of a bar.

    Raises
    ------
    InferenceError
        If there is none of that name in the model.
    """
    columns = list(design.columns)
    return design.columns[columns[choose("data column in the model", name, columns)]]


def name_categories(ax: Axes, values: Iterable[Any]) -> None:
    """Name categories at 0, 1, ... along the x axis, at a slant where they have no room side by side."""
    texts = level_names(values)
    width = ax.get_window_extent().width / ax.figure.dpi
    shown = range(0, len(texts), -(-len(texts) // MAX_NAMES))
    pitch = 72 * width / len(shown)
    if sum(len(texts[i]) for i in shown) <= MAX_SIZE * width:
        style: dict[str, Any] = {}
    elif pitch > MIN_PITCH:
        style = {"rotation": 30, "ha": "right", "fontsize": 8}
    else:
        style = {"rotation": 90, "fontsize": max(5.0, min(8.0, 0.8 * pitch))}
    ax.set_xticks(list(shown), [texts[i] for i in shown], **style)
    ax.set_xlim(-0.5, len(texts) - 0.5)


def place(ax: Axes, column: Column, name: str) -> Floats:
    """Return where the rows of a column stand on the x axis, which is labelled for it, shape (n_obs,)."""
    ax.set_xlabel(axis_name(name))
    if column.is_date:
        locator = load("dates").AutoDateLocator()
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(load("dates").ConciseDateFormatter(locator))
    elif column.levels is not None:
        name_categories(ax, column.levels)
    return places(column.values)


def places(values: Values) -> Floats:
    """Return where values of a column stand on the x axis: dates as days, codes of levels and numbers as they are."""
    if values.dtype.kind in "mM":
        kind = {"M": "datetime64[us]", "m": "timedelta64[us]"}[values.dtype.kind]
        return np.asarray(values.astype(kind).astype(np.float64) / 86_400e6)
    return values.astype(np.float64)
