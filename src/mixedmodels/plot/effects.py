"""Estimated means along the variables of the fixed part, with bands and partial residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.diagnose.row_view import RowView, row_view
from mixedmodels.errors import InferenceError
from mixedmodels.fit.findings import listing
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.inference.category_margins import category_margins
from mixedmodels.inference.degrees import tests_of
from mixedmodels.inference.link_scale import link_view
from mixedmodels.inference.margins import margins
from mixedmodels.inference.nested_factors import find_nesting
from mixedmodels.inference.reference_grid import check_variable, predictors, reference_grid
from mixedmodels.inference.zero_margins import zero_margins
from mixedmodels.plot.asked import draws_a_fit, read_texts
from mixedmodels.plot.canvas import DATA, MODEL, as_drawn, backdrop, load, panels, say_below
from mixedmodels.plot.labels import SIDE, level_names
from mixedmodels.plot.labels import name as axis_name
from mixedmodels.plot.selection import name_categories

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit, HoldsFixed

N_POINTS = 60
"""Points along a number."""

QUANTILES = (0.1, 0.5, 0.9)
"""Where a number is held that lines differ by."""

FEW_LINES = 4
"""Lines whose legend has room among the data."""

N_CYCLE = 10
"""Lines that matplotlib's own colours tell apart; more are coloured in order."""

RUN = 25
"""Rows of yes or no whose average is a point."""

MAX_BAND = 2.0
"""How far the bands are followed beyond all means and partial residuals, in ranges of these."""


@dataclass(frozen=True)
class _Variable:
    """A variable of the grid: the values it takes there and the one nearest to each row of the data.

    Attributes
    ----------
    values
        In the grid.
    is_number
        Whether it is drawn as a line.
    at
        Place of each row: its value, or the position of its category, -1 if that is left out; (n_obs,).
    is_given
        Whether the user gave the values of a number.
    """

    name: str
    values: Sequence[Any]
    is_number: bool
    at: Floats
    is_given: bool = False


@draws_a_fit
def effects(
    fit: HoldsFixed,
    variable: str | None = None,
    by: str | Sequence[str] | None = None,
    *,
    at: Mapping[str, object] | None = None,
    partial_residuals: bool = True,
    ddf: str | None = None,
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw estimated means along a variable of the fixed part, with pointwise confidence bands and partial residuals.

    Other numbers are held at their means and other categories averaged with equal weights, as ``fit.margins`` does. A
    partial residual is the estimated mean at the row's own value plus the row's conditional residual; of very many rows
    a sample is drawn, the same in every drawing, and its size is said. Bands many times wider than means and residuals
    run out of the frame.

    Means of generalised models are brought back from the link scale, those of a level without random effects; partial
    residuals of yes or no are drawn by averages of neighbouring rows. Of ordered categories the chances are drawn, a
    line a category, without residuals.

    Parameters
    ----------
    fit
        The fit.
    variable
        A data column of the fixed part; None for all, a panel each.
    by
        A second column: a line for each of its levels, or at the quantiles 10 %, 50 % and 90 % of a number; the means
        of categories are joined. Two columns: lines by the first, in a panel for each level of the second. Of a fit to
        ordered categories one column, with a panel for each level.
    at
        Values of variables to use instead, as for ``fit.margins``: ``{"age": [8, 14]}``, those drawn included.
    partial_residuals
        Draw them.
    ddf, level
        As for ``fit.margins``; None: the degrees of freedom that the fit takes by itself.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a variable or a level of the second ``by``.

    Raises
    ------
    InferenceError
        If there is no such variable, or an argument is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("distance ~ age * Sex + (age | Subject)", mm.load_dataset("Orthodont"))
    >>> mm.plot.effects(fit, "age", by="Sex").get_ylabel()
    'distance'
    """
    state = fit.state
    names = predictors(state.design)
    apart = read_texts("by", by)
    if at is not None and not isinstance(at, Mapping):
        raise InferenceError(f"at is of type {type(at).__name__!r}; it must be a mapping, such as {{'age': [8, 14]}}.")
    for name in (variable, *apart):
        if name is not None:
            check_variable(name, names)
    _check_apart(variable, apart, 1 if state.design.categories else 2)
    ordered = _categories(state)
    line_by, panel_by = (*apart, None, None)[:2] if ordered is None else (None, *apart, None)[:2]
    shown = [name for name in names if name != line_by] if variable is None else [variable]
    if not shown:
        raise InferenceError("The fixed part has no variable whose effect could be drawn.")
    beside = {name: _line_for_each(state.design, name, line_by, panel_by) for name in shown}
    lines = {name for name in beside.values() if name}
    variables = _variables(state.design, {*shown, *lines, *apart}, dict(at or {}))
    if ordered is not None:
        beside = _beside_categories(beside, ordered.name)
        variables[ordered.name] = ordered
        lines = {ordered.name}
    in_panels = _levels_of(variables.get(panel_by or ""))
    wide = any(len(_levels_of(variables[name])) > FEW_LINES for name in lines)
    titles = [f"{panel_by} = {text}" for text in _labels(variables[panel_by], in_panels)] if panel_by else shown
    axes = panels(ax, titles, size=(6.4, 4.2) if wide else (4.8, 3.8))
    options: dict[str, Any] = {"ddf": tests_of([fit], ddf)[0], "level": level}
    if ordered is not None or (isinstance(state, GlmmState) and state.problem.zeros is not None):
        del options["ddf"]
    elif isinstance(state, GlmmState):
        options["view"] = link_view(state, "response", "population", False)
    rows = None if ordered is not None else row_view(state)
    drawing = _Drawing(state, rows if partial_residuals else None, dict(at or {}), options)
    for i, on in enumerate(axes):
        name = shown[0 if panel_by else i]
        within = (variables[panel_by], i) if panel_by else None
        drawing.draw(on, variables[name], variables.get(beside[name] or ""), within)
        what = "chance of each " if ordered is not None else "chance of " if rows and rows.is_binary else ""
        on.set_ylabel(axis_name(f"{what}{state.design.response_name}", SIDE))
        if panel_by:
            on.set_title(axis_name(titles[i]), fontsize="small", loc="left")
    if panel_by:
        _share_y(axes)
    return as_drawn(axes)


def _categories(state: FixedFit) -> _Variable | None:
    """Return ordered categories of the response as what lines are of; None where it has none."""
    categories = state.design.categories
    if not categories:
        return None
    return _Variable(state.design.response_name, categories, False, np.asarray(state.design.y, dtype=np.float64))


def _beside_categories(beside: Mapping[str, str | None], response: str) -> dict[str, str | None]:
    """Return what lines are of where they are of categories.

    Raises
    ------
    InferenceError
        If a variable needs lines of its own, being nested in another.
    """
    for name, outer in beside.items():
        if outer is not None:
            raise InferenceError(f"{name!r} is nested in {outer!r}. Draw it by {outer!r}.")
    return dict.fromkeys(beside, response)


def _check_apart(variable: str | None, apart: Sequence[str], most: int) -> None:
    """Raise unless the variable and those it is drawn by are different, and not too many."""
    if len(apart) > most:
        shown = "two, lines by the first, panels the second" if most == 2 else "one, in panels; lines are of categories"
        raise InferenceError(f"by names {len(apart)} variables; a plot shows {shown}.")
    if len(apart) == most and variable is None:
        raise InferenceError(f"by is {list(apart)!r}, so name the variable to draw along as well.")
    if variable in apart:
        raise InferenceError(f"by is {variable!r}, the variable itself. Name another one, or leave by out.")
    if len(set(apart)) < len(apart):
        raise InferenceError(f"by names {apart[0]!r} twice. Name two variables.")


def _share_y(axes: Sequence[Axes]) -> None:
    limits = np.array([on.get_ylim() for on in axes])
    for on in axes:
        on.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _line_for_each(design: Design, variable: str, by: str | None, panel_by: str | None) -> str | None:
    """Return the column whose levels have a line each: ``by``, or what a variable is nested in that needs it.

    Raises
    ------
    InferenceError
        If a level of the variable or of ``by`` means something else in each level of another.
    """
    nesting = find_nesting(design, reference_grid(design, {}).categorical)
    drawn = [name for name in (variable, by, panel_by) if name is not None]
    apart = [(name, outer) for name in drawn for outer in nesting.unnamed(name) if outer not in drawn]
    if not apart:
        return by
    if by is None and len(apart) == 1:
        return apart[0][1]
    nested = apart[0][0]
    outer = [name for other, name in apart if other == nested]
    remedy = f"Draw it by {outer[0]!r}." if len(outer) == 1 else "fit.margins has its means."
    raise InferenceError(
        f"{nested!r} is nested in {listing(map(repr, outer))}, and its levels mean something else in each of those. "
        f"{remedy}"
    )


def _variables(design: Design, names: Iterable[str], at: Mapping[str, object]) -> dict[str, _Variable]:
    grid = reference_grid(design, at)
    out = {}
    for name in names:
        if name in grid.categorical:
            out[name] = _Variable(name, grid.levels[name], False, np.asarray(grid.counts[name], dtype=np.float64))
        else:
            of_rows = design.columns[name].values.astype(np.float64)
            points = grid.levels[name] if name in at else np.linspace(of_rows.min(), of_rows.max(), N_POINTS).tolist()
            out[name] = _Variable(name, points, True, of_rows, name in at)
    return out


@dataclass(frozen=True)
class _Drawing:
    """What all panels have in common.

    Attributes
    ----------
    rows
        What partial residuals are made of; None: none are drawn.
    at
        Values that the user holds variables at.
    options
        Of ``margins``: ``ddf``, ``level`` and ``view``.
    """

    state: FixedFit
    rows: RowView | None
    at: Mapping[str, object]
    options: Mapping[str, Any]

    def draw(
        self, ax: Axes, variable: _Variable, by: _Variable | None, within: tuple[_Variable, int] | None = None
    ) -> None:
        """Draw the means along a variable, a line for each level of another, within one level of a third."""
        groups = _levels_of(by)
        mean, lower, upper = self._means(variable, by, within)
        n_lines = len(mean)
        x = np.asarray(variable.values if variable.is_number else range(len(variable.values)), dtype=np.float64)
        names, colors = (_labels(by, groups), colors_of(n_lines)) if by else ([None], [MODEL])
        room = 0.5 if n_lines <= FEW_LINES else 0.8
        shifts = [0.0 if variable.is_number else room * ((g + 0.5) / n_lines - 0.5) for g in range(n_lines)]
        inner = [mean.ravel()]
        for g, shift in enumerate(shifts):
            if self.rows is not None:
                at_rows, values = self._partial_residuals(self.rows, variable, (x, mean[g]), (by, g), within)
                inner.append(values)
                spread = 0.0 if variable.is_number else _spread(len(at_rows), 0.6 * room / n_lines)
                backdrop(ax, at_rows + shift + spread, values, color=colors[g] if by else DATA, n_groups=n_lines)
                if self.rows.is_binary:
                    say_below(ax, f"points: averages of {RUN} rows")
            if variable.is_number:
                ax.fill_between(x, lower[g], upper[g], color=colors[g], alpha=0.25, linewidth=0)
                ax.plot(x, mean[g], color=colors[g], linewidth=2, label=names[g])
            else:
                half_widths = [(mean[g] - lower[g]).tolist(), (upper[g] - mean[g]).tolist()]  # as in plot.coefficients
                bars = ax.errorbar(x + shift, mean[g], half_widths, fmt="o", color=colors[g], capsize=4, linewidth=2)
                bars.set_label(names[g])
                bars.lines[0].set(markeredgecolor="white", markersize=7, zorder=4)
                if by:
                    ax.plot(x + shift, mean[g], color=colors[g], linewidth=1, zorder=3)
        _keep_in_view(ax, np.concatenate(inner))
        ax.set_xlabel(axis_name(variable.name))
        if not variable.is_number:
            name_categories(ax, variable.values)
        if by:
            outside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if n_lines > FEW_LINES else {}
            ax.legend(frameon=False, fontsize="small", title=axis_name(by.name), title_fontsize="small", **outside)

    def _means(
        self, variable: _Variable, by: _Variable | None, within: tuple[_Variable, int] | None
    ) -> tuple[Floats, Floats, Floats]:
        """Return estimates and their limits, (n_lines, n_values) each."""
        groups = _levels_of(by)
        at = {**self.at, variable.name: variable.values} | ({by.name: groups} if by else {})
        if within:
            at[within[0].name] = [_levels_of(within[0])[within[1]]]
        if isinstance(self.state, GlmmState) and self.state.design.categories:
            del at[self.state.design.response_name]
            table = category_margins(self.state, variable.name, within and within[0].name, at, **self.options)
            mean, lower, upper = table[["estimate", "ci_lower", "ci_upper"]].to_numpy().reshape(-1, len(groups), 3).T
            return mean, lower, upper
        named = [each.name for each in (within and within[0], by) if each] or None
        if isinstance(self.state, GlmmState) and self.state.problem.zeros is not None:
            table = zero_margins(self.state, variable.name, named, at, **self.options)
        else:
            table = margins(self.state, variable.name, by=named, at=at, **self.options)
        if within:
            table = table.droplevel(within[0].name)
        shape = (max(1, len(groups)), len(variable.values))
        if len(table) < np.prod(shape):  # levels that do not occur within those that they are nested in
            index = pd.MultiIndex.from_product([groups, variable.values]) if by else pd.Index(variable.values)
            table = table.reindex(index)
        mean, lower, upper = (table[c].to_numpy().reshape(shape) for c in ("estimate", "ci_lower", "ci_upper"))
        return mean, lower, upper

    def _partial_residuals(
        self,
        rows: RowView,
        variable: _Variable,
        line: tuple[Floats, Floats],
        by: tuple[_Variable | None, int],
        within: tuple[_Variable, int] | None,
    ) -> tuple[Floats, Floats]:
        """Return where the rows of a line stand along the variable, and their partial residuals."""
        belongs = variable.at >= 0 if not variable.is_number else np.ones(len(variable.at), dtype=bool)
        for other, level in (by, within or (None, 0)):
            if other is not None:
                belongs &= _group_of_row(other) == level
        at_rows = variable.at[belongs]
        values = np.interp(at_rows, *line) + rows.residuals()[belongs]
        return _averages(at_rows, values, variable.is_number) if rows.is_binary else (at_rows, values)


def _averages(x: Floats, y: Floats, is_number: bool) -> tuple[Floats, Floats]:
    """Return averages of runs of neighbours along a number, or within a category, as points."""
    order = np.lexsort((np.random.default_rng(0).random(len(x)), x))
    x, y = x[order], y[order]
    apart = np.zeros(len(x), dtype=np.intp) if is_number else np.unique(x, return_inverse=True)[1]
    place = np.arange(len(x)) - np.searchsorted(apart, apart)
    starts = np.flatnonzero(np.diff(apart, prepend=-1) + (place % RUN == 0))
    n = np.diff(np.append(starts, len(x)))
    whole = (n == RUN) if (n == RUN).any() else np.ones(len(n), dtype=bool)  # a rest of few rows is off by chance
    return np.add.reduceat(x, starts)[whole] / n[whole], np.add.reduceat(y, starts)[whole] / n[whole]


def _levels_of(by: _Variable | None) -> list[Any]:
    """Return the values of a variable that have a line or a panel each."""
    if by is None:
        return []
    if not by.is_number or by.is_given:
        return list(by.values)
    held: list[Any] = np.unique(np.quantile(by.at, QUANTILES)).tolist()
    return held


def _group_of_row(by: _Variable) -> npt.NDArray[np.intp]:
    """Return the position of each row's level, or of the nearest value of a number; -1 for levels that are left out."""
    if not by.is_number:
        return by.at.astype(np.intp)
    held = np.asarray(_levels_of(by), dtype=np.float64)
    return np.asarray(np.abs(by.at[:, None] - held).argmin(axis=1))


def _labels(by: _Variable | None, groups: Sequence[Any]) -> list[str]:
    if by is not None and by.is_number:
        return [f"{value:.4g}" for value in groups]
    return level_names(groups)


def colors_of(n: int) -> Sequence[Any]:
    """Return colours of lines: those of matplotlib's cycle, or as many steps from dark to light."""
    if n <= N_CYCLE:
        return [f"C{g}" for g in range(n)]
    colors: list[Any] = list(load("cm").viridis(np.linspace(0, 0.92, n)))
    return colors


def _keep_in_view(ax: Axes, inner: Floats) -> None:
    """Keep means and residuals legible beside bands many times wider."""
    low, high = np.nanmin(inner), np.nanmax(inner)
    reach = MAX_BAND * (high - low)
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, low - reach), min(top, high + reach))


def _spread(n: int, width: float) -> Floats:
    """Return small shifts that keep points of one category apart, the same in every drawing."""
    return np.random.default_rng(0).uniform(-width / 2, width / 2, n)
