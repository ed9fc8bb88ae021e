"""Estimated means along the variables of the fixed part, with bands and partial residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.fit.findings import listing
from mixedmodels.inference.margins import margins
from mixedmodels.inference.nested_factors import find_nesting
from mixedmodels.inference.reference_grid import check_variable, predictors, reference_grid
from mixedmodels.plot.canvas import MODEL, as_drawn, load, panels, scatter
from mixedmodels.plot.labels import SIDE, level_names
from mixedmodels.plot.labels import name as axis_name
from mixedmodels.plot.selection import name_categories

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, Fitted

N_POINTS = 60
"""Points along a number."""

QUANTILES = (0.1, 0.5, 0.9)
"""Where a number is held that lines differ by."""

FEW_LINES = 4
"""Lines whose legend has room among the data."""

N_CYCLE = 10
"""Lines that matplotlib's own colours tell apart; more are coloured in order."""

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
        Place of each row: its value, or the position of its category; (n_obs,).
    """

    name: str
    values: Sequence[Any]
    is_number: bool
    at: Floats


def effects(
    fit: Fitted,
    variable: str | None = None,
    by: str | None = None,
    *,
    partial_residuals: bool = True,
    ddf: str = "satterthwaite",
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw estimated means along a variable of the fixed part, with pointwise confidence bands and partial residuals.

    Other numbers are held at their means and other categories averaged with equal weights, as ``fit.margins`` does. A
    partial residual is the estimated mean at the row's own value plus the row's conditional residual. Bands many times
    wider than means and residuals run out of the frame.

    Parameters
    ----------
    fit
        The fit.
    variable
        A data column of the fixed part; None for all, a panel each.
    by
        A second column: a line for each of its levels, or at the quantiles 10 %, 50 % and 90 % of a number.
    partial_residuals
        Draw them.
    ddf, level
        As for ``fit.margins``.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a variable.

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
    for name in (variable, by):
        if name is not None:
            check_variable(name, names)
    if variable is not None and variable == by:
        raise InferenceError(f"by is {by!r}, the variable itself. Name another one, or leave by out.")
    shown = [name for name in names if name != by] if variable is None else [variable]
    if not shown:
        raise InferenceError("The fixed part has no variable whose effect could be drawn.")
    beside = {name: _line_for_each(state.design, name, by) for name in shown}
    lines = {name for name in beside.values() if name}
    variables = _variables(state.design, {*shown, *lines})
    wide = any(len(_groups(variables[name])[0]) > FEW_LINES for name in lines)
    axes = panels(ax, shown, size=(6.4, 4.2) if wide else (4.8, 3.8))
    for name, on in zip(shown, axes, strict=True):
        groups = variables.get(beside[name] or "")
        _draw(on, state, (variables[name], groups), partial_residuals, {"ddf": ddf, "level": level})
        on.set_ylabel(axis_name(state.design.response_name, SIDE))
    return as_drawn(axes)


def _line_for_each(design: Design, variable: str, by: str | None) -> str | None:
    """Return the column whose levels have a line each: ``by``, or what a variable is nested in that needs it.

    Raises
    ------
    InferenceError
        If a level of the variable or of ``by`` means something else in each level of another.
    """
    nesting = find_nesting(design, reference_grid(design, {}).categorical)
    drawn = [name for name in (variable, by) if name is not None]
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


def _variables(design: Design, names: Iterable[str]) -> dict[str, _Variable]:
    grid = reference_grid(design, {})
    out = {}
    for name in names:
        if name in grid.categorical:
            out[name] = _Variable(name, grid.levels[name], False, np.asarray(grid.counts[name], dtype=np.float64))
        else:
            at = design.columns[name].values.astype(np.float64)
            out[name] = _Variable(name, np.linspace(at.min(), at.max(), N_POINTS).tolist(), True, at)
    return out


def _draw(
    ax: Axes,
    state: FitState,
    variables: tuple[_Variable, _Variable | None],
    partial_residuals: bool,
    options: Mapping[str, Any],
) -> None:
    variable, by = variables
    groups, group_of_row = _groups(by)
    at = {variable.name: variable.values} | ({by.name: groups} if by else {})
    table = margins(state, variable.name, by=None if by is None else by.name, at=at, **options)
    shape = (max(1, len(groups)), len(variable.values))
    if len(table) < np.prod(shape):  # levels that do not occur within those that they are nested in
        index = pd.MultiIndex.from_product([groups, variable.values]) if by else pd.Index(variable.values)
        table = table.reindex(index)
    mean, lower, upper = (table[c].to_numpy().reshape(shape) for c in ("estimate", "ci_lower", "ci_upper"))
    x = np.asarray(variable.values, dtype=np.float64) if variable.is_number else np.arange(shape[1], dtype=np.float64)
    residual = residuals(state)
    names, colors = _labels(by, groups), _colors(shape[0])
    room = 0.5 if shape[0] <= FEW_LINES else 0.8
    inner = [mean.ravel()]
    for g in range(shape[0]):
        color, label = (colors[g], names[g]) if by else (MODEL, None)
        shift = 0.0 if variable.is_number else room * ((g + 0.5) / shape[0] - 0.5)
        rows = np.flatnonzero(group_of_row == g) if by else np.arange(len(residual))
        at_rows = variable.at[rows]
        inner.append(np.interp(at_rows, x, mean[g]) + residual[rows])
        if partial_residuals:
            spread = 0.0 if variable.is_number else _spread(len(at_rows), 0.6 * room / shape[0])
            scatter(ax, at_rows + shift + spread, inner[-1], **({"color": color} if by else {}))
        if variable.is_number:
            ax.fill_between(x, lower[g], upper[g], color=color, alpha=0.25, linewidth=0)
            ax.plot(x, mean[g], color=color, linewidth=2, label=label)
        else:
            half_widths = [mean[g] - lower[g], upper[g] - mean[g]]
            ax.errorbar(x + shift, mean[g], half_widths, fmt="o", color=color, capsize=4, linewidth=2, label=label)
    _keep_in_view(ax, np.concatenate(inner))
    ax.set_xlabel(axis_name(variable.name))
    if not variable.is_number:
        name_categories(ax, variable.values)
    if by:
        outside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if shape[0] > FEW_LINES else {}
        ax.legend(frameon=False, fontsize="small", title=axis_name(by.name), title_fontsize="small", **outside)


def _groups(by: _Variable | None) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Return the values of ``by`` that have a line each, and the nearest of them to each row."""
    if by is None:
        return [], np.zeros(0, dtype=np.intp)
    if not by.is_number:
        return list(by.values), by.at.astype(np.intp)
    held = np.unique(np.quantile(by.at, QUANTILES))
    return held.tolist(), np.abs(by.at[:, None] - held).argmin(axis=1)


def _labels(by: _Variable | None, groups: Sequence[Any]) -> list[str]:
    if by is not None and by.is_number:
        return [f"{value:.4g}" for value in groups]
    return level_names(groups)


def _colors(n: int) -> Sequence[Any]:
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
