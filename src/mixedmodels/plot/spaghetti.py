"""Data and fitted lines of each level of a grouping factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.plot.canvas import CONTRAST, DATA, MODEL, count_of, panels, scatter
from mixedmodels.plot.labels import SIDE
from mixedmodels.plot.labels import name as axis_name
from mixedmodels.plot.selection import find_column, find_factor, place

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Column
    from mixedmodels.design.records import Codes, Floats, RandomFactor
    from mixedmodels.fit.records import Fitted

MAX_LINES = 150
"""Levels that have lines; of more, that many are drawn by lot, the same in every drawing."""


def spaghetti(fit: Fitted, x: str | None = None, group: str | None = None, *, ax: Axes | None = None) -> Any:
    """Draw the response and the conditional fitted line of each level against a variable, and the population's line.

    Where a level has several rows at one value of the variable, lines pass through their averages. Of more than 150
    levels, 150 have lines, drawn by lot; points and the population's line are those of all rows.

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
        If there is no such column or factor, or the model has no column at all.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.spaghetti(fit).get_xlabel()
    'Days'
    """
    state = fit.state
    design = state.design
    factor = design.factors[find_factor(design, group)]
    name = default_column(design, factor) if x is None else x
    column = find_column(design, name)
    [on] = panels(ax, [name], size=(5.4, 4.2))
    at = place(on, column, name)
    scatter(on, _apart(at, column), design.y)
    rows, label = np.arange(len(at)), f"each {factor.name}"
    is_crowd = factor.n_levels > MAX_LINES
    if is_crowd:
        rows, label = drawn_by_lot(factor), f"{factor.name}: {MAX_LINES} of {count_of(factor.n_levels, 'level')}"
    ink = float(np.clip(20 / factor.n_levels, 0.4, 0.9))
    style: dict[str, Any] = {"linewidth": 1.1 if ink > 0.5 else 0.7}
    if not is_crowd:
        on.plot(*mean_lines(factor.codes, at, design.y), color=DATA, alpha=ink / 2.5, zorder=1, **style)
    lines = mean_lines(factor.codes[rows], at[rows], conditional_fitted(state)[rows])
    on.plot(*lines, color=MODEL, alpha=ink, label=axis_name(label), **style)
    everyone = mean_lines(np.zeros_like(factor.codes), at, marginal_fitted(state))
    on.plot(*everyone, color=CONTRAST, linewidth=2.4, label="population")
    on.set_ylabel(axis_name(design.response_name, SIDE))
    legend = on.legend(frameon=False, fontsize="small")
    for handle in legend.get_lines():
        handle.set_alpha(1)
    return on


def drawn_by_lot(factor: RandomFactor) -> npt.NDArray[np.intp]:
    """Return the rows of ``MAX_LINES`` levels, the same at every call."""
    is_drawn = np.zeros(factor.n_levels, dtype=bool)
    is_drawn[np.random.default_rng(0).choice(factor.n_levels, MAX_LINES, replace=False)] = True
    return np.flatnonzero(is_drawn[factor.codes])


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
        return not _varies_within(column, factor), name not in slopes, column.levels is not None

    return min(design.columns, key=rank)


def _varies_within(column: Column, factor: RandomFactor) -> bool:
    first = np.zeros(factor.n_levels, dtype=np.intp)
    first[factor.codes[::-1]] = np.arange(len(factor.codes))[::-1]
    return bool((column.values != column.values[first[factor.codes]]).any())


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
