"""Estimated means along the variables of the fixed part, with bands and partial residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.inference.margins import margins
from mixedmodels.inference.reference_grid import check_variable, predictors, reference_grid
from mixedmodels.plot.canvas import MODEL, as_drawn, panels, scatter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from mixedmodels.design.records import Design, Floats
    from mixedmodels.fit.records import FitState, Fitted

N_POINTS = 60
"""Points along a number."""

QUANTILES = (0.1, 0.5, 0.9)
"""Where a number is held that lines differ by."""

FEW_LINES = 4
"""Lines whose legend has room among the data."""

MAX_SIZE = 12
"""Characters of all categories beyond which they are written at a slant, for each inch."""


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
    partial residual is the estimated mean at the row's own value plus the row's conditional residual.

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
    variables = _variables(state.design, [*shown, *([by] if by else [])])
    axes = panels(ax, shown)
    for name, on in zip(shown, axes, strict=True):
        groups = variables[by] if by else None
        _draw(on, state, (variables[name], groups), partial_residuals, {"ddf": ddf, "level": level})
        on.set_ylabel(state.design.response_name)
    return as_drawn(axes)


def _variables(design: Design, names: Sequence[str]) -> dict[str, _Variable]:
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
    mean, lower, upper = (table[c].to_numpy().reshape(shape) for c in ("estimate", "ci_lower", "ci_upper"))
    x = np.asarray(variable.values, dtype=np.float64) if variable.is_number else np.arange(shape[1], dtype=np.float64)
    residual = residuals(state)
    for g in range(shape[0]):
        color = f"C{g}" if by else MODEL
        shift = 0.0 if variable.is_number else 0.5 * ((g + 0.5) / shape[0] - 0.5)
        if partial_residuals:
            rows = np.flatnonzero(group_of_row == g) if by else slice(None)
            at_rows = variable.at[rows]
            spread = 0.0 if variable.is_number else _spread(len(at_rows), 0.3 / shape[0])
            y = np.interp(at_rows, x, mean[g]) + residual[rows]
            scatter(ax, at_rows + shift + spread, y, **({"color": color} if by else {}))
        label = _label(by, groups[g]) if by else None
        if variable.is_number:
            ax.fill_between(x, lower[g], upper[g], color=color, alpha=0.25, linewidth=0)
            ax.plot(x, mean[g], color=color, linewidth=2, label=label)
        else:
            half_widths = [mean[g] - lower[g], upper[g] - mean[g]]
            ax.errorbar(x + shift, mean[g], half_widths, fmt="o", color=color, capsize=4, linewidth=2, label=label)
    ax.set_xlabel(variable.name)
    if not variable.is_number:
        _name_categories(ax, variable.values)
    if by:
        outside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if shape[0] > FEW_LINES else {}
        ax.legend(frameon=False, fontsize="small", title=by.name, title_fontsize="small", **outside)


def _groups(by: _Variable | None) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Return the values of ``by`` that have a line each, and the nearest of them to each row."""
    if by is None:
        return [], np.zeros(0, dtype=np.intp)
    if not by.is_number:
        return list(by.values), by.at.astype(np.intp)
    held = np.unique(np.quantile(by.at, QUANTILES))
    return held.tolist(), np.abs(by.at[:, None] - held).argmin(axis=1)


def _label(by: _Variable, value: Any) -> str:
    return f"{value:.4g}" if by.is_number else str(value)


def _name_categories(ax: Axes, values: Sequence[Any]) -> None:
    texts = [str(value) for value in values]
    room = MAX_SIZE * ax.get_window_extent().width / ax.figure.dpi
    slanted = sum(map(len, texts)) > room
    ax.set_xticks(range(len(texts)), texts, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    ax.set_xlim(-0.5, len(texts) - 0.5)


def _spread(n: int, width: float) -> Floats:
    """Return small shifts that keep points of one category apart, the same in every drawing."""
    return np.random.default_rng(0).uniform(-width / 2, width / 2, n)
