"""Data and fitted lines of each level of a grouping factor."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.errors import InferenceError
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, DATA, MAX_PLACES, MODEL, backdrop, count_of, panels
from mixedmodels.plot.held_lines import held_note, hold_others, is_constant_within, level_lines, population_line
from mixedmodels.plot.labels import SIDE, literal
from mixedmodels.plot.labels import name as axis_name
from mixedmodels.plot.selection import find_column, find_factor, place, places

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Column
    from mixedmodels.design.records import Codes, Floats, RandomFactor
    from mixedmodels.fit.records import HoldsMixed

MAX_LINES = 150
"""Levels that have lines; of more, that many are drawn by lot, the same in every drawing."""

MAX_JOINED = 8
"""Values of x in a level whose data are joined where levels do not share a few values."""

NOTE = 72
"""Characters of a line above the axes."""


@draws_a_fit
def spaghetti(fit: HoldsMixed, x: str | None = None, group: str | None = None, *, ax: Axes | None = None) -> Any:
    """Draw the response, the fitted line of each level and the population's against a variable, the others held.

    The population's line is that of estimated means: other numbers are held at their means and combinations of other
    categories averaged, as ``fit.margins`` does. The line of a level has the level's own values of what does not vary
    within levels, such as the arm of a subject. The title says what is held, and at what. Where levels have or share
    few values of the variable, their data are joined too, by averages at each. Of more than 150 levels, 150 have lines,
    drawn by lot; points are those of all rows. Lines of generalised models are means, brought back from the link scale;
    points of those with trials are proportions.

    Parameters
    ----------
    fit
        The fit.
    x
        A data column of the model; None for one that varies within levels: a random slope's, else a number.
    group
        A grouping factor, whose levels have a line each; None for the one with most levels.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InferenceError
        If there is no such column or factor, or the model has no column at all, or does not hold its data.
    DataError
        If something is computed from the whole column, so that it is not known for other values.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("distance ~ age * Sex + (age | Subject)", mm.load_dataset("Orthodont"))
    >>> print(mm.plot.spaghetti(fit).get_title())
    Population averaged over Sex; each Subject at its own Sex.
    """
    state, rows = fit.state, row_view(fit.state)
    design, response = state.design, rows.response
    name, factor, column = _shown(design, x, group)
    held = hold_others(state, name, factor)
    population = population_line(state, held)
    [on] = panels(ax, [name], size=(5.4, 4.2))
    at = place(on, column, name)
    backdrop(on, _apart(at, column), response)
    chosen, label = np.arange(factor.n_levels), f"each {factor.name}"
    if factor.n_levels > MAX_LINES:
        chosen, label = drawn_by_lot(factor), f"{factor.name}: {MAX_LINES} of {count_of(factor.n_levels, 'level')}"
    ink = float(np.clip(20 / factor.n_levels, 0.4, 0.9))
    style: dict[str, Any] = {"linewidth": 1.1 if ink > 0.5 else 0.7}
    data_x, data_y = mean_lines(factor.codes, at, response)
    is_legible = len(np.unique(at)) <= MAX_PLACES or np.isfinite(data_x).sum() <= MAX_JOINED * factor.n_levels
    if len(chosen) == factor.n_levels and is_legible:
        on.plot(data_x, data_y, color=DATA, alpha=ink / 2.5, zorder=1, label="data", **style)
    lines = level_lines(state, held, factor, chosen)
    own_x, own_y = mean_lines(lines.codes, places(lines.x), rows.mean(lines.y))
    on.plot(own_x, own_y, color=MODEL, alpha=ink, label=axis_name(label), **style)
    on.plot(places(population.x), rows.mean(population.y), color=CONTRAST, linewidth=2.4, label="population")
    on.set_ylabel(axis_name(design.response_name, SIDE))
    on.set_title(fill(literal(held_note(design, held, factor)), NOTE), fontsize="small")
    legend = on.legend(frameon=False, fontsize="small")
    for handle in legend.get_lines():
        handle.set_alpha(0.5 if handle.get_label() == "data" else 1)
    return on


def caption(fit: HoldsMixed) -> str:
    """Return what the picture of a fit shows, and what is held in it at what.

    Raises
    ------
    MixedModelsError
        If there is no such picture.
    """
    design = fit.state.design
    name, factor, _ = _shown(design, None, None)
    note = held_note(design, hold_others(fit.state, name, factor), factor)
    return f"Data and fitted lines. {note}".rstrip()


def _shown(design: Design, x: str | None, group: str | None) -> tuple[str, RandomFactor, Column]:
    """Return the column that lines are drawn against, the factor whose levels have them, and the column's values."""
    factor = design.factors[find_factor(design, group)]
    name = default_column(design, factor) if x is None else x
    return name, factor, find_column(design, name)


def drawn_by_lot(factor: RandomFactor) -> npt.NDArray[np.intp]:
    """Return ``MAX_LINES`` levels, the same at every call."""
    return np.sort(np.random.default_rng(0).choice(factor.n_levels, MAX_LINES, replace=False))


def default_column(design: Design, factor: RandomFactor) -> str:
    """Return the data column that lines are drawn against: a random slope's, else a number, else any.

    Columns that vary within the levels of the factor come first, since the others leave no line to draw.

    Raises
    ------
    InferenceError
        If the model has no data columns.
    """
    if not design.columns:
        raise InferenceError(
            "This model has no column to draw lines against: its fixed and random parts are intercepts."
        )
    slopes = {name for each in design.factors for name in each.columns}

    def rank(name: str) -> tuple[bool, bool, bool]:
        column = design.columns[name]
        return is_constant_within(factor, column.values), name not in slopes, column.levels is not None

    return min(design.columns, key=rank)


def mean_lines(codes: Codes, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return x and the mean of y at each x of each level, levels apart by a gap of nan, shape (n_points,) each."""
    order = np.lexsort((x, codes))
    codes, x, y = codes[order], x[order], y[order]
    is_first = np.r_[True, (np.diff(codes) != 0) | (np.diff(x) != 0)]
    first = np.flatnonzero(is_first)
    means = np.add.reduceat(y, first) / np.diff(np.append(first, len(y)))
    gaps = np.flatnonzero(np.diff(codes[first])) + 1
    return np.insert(x[first], gaps, np.nan), np.insert(means, gaps, np.nan)


def _apart(at: Floats, column: Column) -> Floats:
    """Return positions moved a little where many rows share a category, the same in every drawing."""
    if column.levels is None:
        return at
    return at + np.random.default_rng(0).uniform(-0.12, 0.12, len(at))
