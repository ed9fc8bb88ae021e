"""Which factor, effect or column a plot shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.design.frame import Column
    from mixedmodels.design.records import Design, Floats, RandomFactor


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
    return 0 if group is None else choose("grouping factor", group, [factor.name for factor in design.factors])


def find_effects(design: Design, group: str | None, effect: str | None) -> list[Effect]:
    """Return the random effects of a factor, or of all, with that name, or all.

    Raises
    ------
    InferenceError
        If there is none.
    """
    ks = range(len(design.factors)) if group is None else [find_factor(design, group)]
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


def place(ax: Axes, column: Column, name: str) -> Floats:
    """Return where the rows of a column stand on the x axis, which is labelled for it, shape (n_obs,)."""
    ax.set_xlabel(name)
    if column.is_date:
        days: Floats = column.values.astype("datetime64[us]").astype(np.float64) / 86_400e6
        ax.xaxis_date()
        return days
    if column.levels is not None:
        n = len(column.levels)
        texts = [str(level) for level in column.levels]
        ax.set_xticks(np.arange(n), texts, rotation=45 if max(map(len, texts)) * n > 40 else 0)
        ax.set_xlim(-0.5, n - 0.5)
    return column.values.astype(np.float64)
