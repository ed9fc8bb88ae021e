"""Which levels meet: crossing, nesting and gaps of a design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import MODEL, as_drawn, count_of, label_levels, load, panels
from mixedmodels.plot.labels import SIDE, name
from mixedmodels.plot.selection import choose, name_categories

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes
    from mixedmodels.fit.records import HoldsFixed

MAX_CELLS = 300
"""Cells drawn along each side; levels of more share them."""

MAX_NAMED = 40
"""Levels named along the x axis."""


@dataclass(frozen=True)
class _Factor:
    """A grouping factor or a category: its level of each row, (n_obs,), and its levels."""

    name: str
    codes: Codes
    levels: pd.Index

    @property
    def n_levels(self) -> int:
        return len(self.levels)


@draws_a_fit
def design(
    fit: HoldsFixed, rows: str | None = None, columns: str | None = None, *, ax: Axes | Iterable[Axes] | None = None
) -> Any:
    """Draw how many rows of the data each pair of levels has: a full rectangle where two factors cross, steps where one
    is nested in the other.

    Parameters
    ----------
    fit
        The fit.
    rows, columns
        Grouping factors, or categories of the fixed part, down and across. None: the first grouping factor and, across,
        the next one or else a category.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes.

    Raises
    ------
    InferenceError
        If there is no such factor or category, both are the same, or there is no second one.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mm.load_dataset("Penicillin"))
    >>> mm.plot.design(fit).get_title()
    'plate and sample cross: 144 of 144 cells have rows'
    """
    known = _factors(fit.state.design)
    down = known[0 if rows is None else _find(known, rows)]
    others = [each for each in known if each is not down]
    if not others:
        raise InferenceError(
            f"{down.name!r} is the only factor of this model, so there is nothing that its levels could meet."
        )
    across = others[0] if columns is None else known[_find(known, columns)]
    if across is down:
        raise InferenceError(f"rows and columns are both {down.name!r}. Name two factors.")
    order = _order(down, across)
    (on,) = panels(ax, ["design"], size=(5.4, 4.4))
    _shade(on, down, across, order)
    label_levels(on, np.arange(down.n_levels, dtype=np.float64), down.levels[order])
    if across.n_levels <= MAX_NAMED:
        name_categories(on, across.levels)
    on.set_ylabel(name(f"{down.name}: {count_of(down.n_levels, 'level')}", SIDE))
    on.set_xlabel(name(f"{across.name}: {count_of(across.n_levels, 'level')}"))
    on.set_title(name(_told(down, across), 60), fontsize="small")
    return as_drawn([on])


def _factors(design: Design) -> list[_Factor]:
    """Return grouping factors, then categories of the data."""
    found = [_Factor(factor.name, factor.codes, factor.levels) for factor in design.factors]
    names = {factor.name for factor in found}
    return found + [
        _Factor(each, column.values.astype(np.int32), column.levels)
        for each, column in design.columns.items()
        if column.levels is not None and each not in names
    ]


def _find(known: Sequence[_Factor], wanted: str) -> int:
    return choose("factor", wanted, [factor.name for factor in known])


def _order(down: _Factor, across: _Factor) -> npt.NDArray[np.intp]:
    """Return the levels down the axis by the first level that they meet, so that nesting becomes steps."""
    first = np.full(down.n_levels, np.iinfo(np.int32).max)
    np.minimum.at(first, down.codes, across.codes)
    return np.argsort(first, kind="stable")


def _shade(ax: Axes, down: _Factor, across: _Factor, order: npt.NDArray[np.intp]) -> None:
    """Draw the number of rows of each cell; of very many levels, neighbours are drawn together."""
    n_down, n_across = down.n_levels, across.n_levels
    n_rows, n_columns = min(n_down, MAX_CELLS), min(n_across, MAX_CELLS)
    place = np.empty_like(order)
    place[order] = np.arange(n_down)
    cell = (place[down.codes] * n_rows // n_down) * n_columns + across.codes.astype(np.intp) * n_columns // n_across
    counts = np.bincount(cell, minlength=n_rows * n_columns).reshape(n_rows, n_columns).astype(np.float64)
    highest = counts.max()
    counts[counts == 0] = np.nan
    ramp = load("colors").LinearSegmentedColormap.from_list("ink", [(*load("colors").to_rgb(MODEL), 0.3), MODEL])
    lowest = np.nanmin(counts)
    picture = ax.imshow(
        counts,
        aspect="auto",
        interpolation="nearest",
        cmap=ramp,
        extent=(-0.5, n_across - 0.5, n_down - 0.5, -0.5),
        vmin=0 if lowest == highest else lowest,
        vmax=highest,
    )
    if lowest != highest:
        together = " (neighbours together)" if (n_rows, n_columns) != (n_down, n_across) else ""
        bar = ax.figure.colorbar(picture, ax=ax, shrink=0.8, pad=0.02)
        bar.set_label(f"rows a cell{together}", fontsize="small")
        bar.locator = load("ticker").MaxNLocator(integer=True, nbins=5)
        bar.update_ticks()


def _told(down: _Factor, across: _Factor) -> str:
    """Return how the two factors stand to each other."""
    n_cells = len(np.unique(down.codes.astype(np.int64) * across.n_levels + across.codes))
    if n_cells == down.n_levels:
        return f"{down.name} is nested in {across.name}"
    if n_cells == across.n_levels:
        return f"{across.name} is nested in {down.name}"
    every = down.n_levels * across.n_levels
    counted = f"{n_cells:,} of {every:,} cells have rows"
    if n_cells == every:
        return f"{down.name} and {across.name} cross: {counted}"
    return f"{down.name} and {across.name} cross in part: {counted} ({n_cells / every:.2g})"
