"""Slopes of a numeric variable: derivatives of the fixed part's means, and their differences.

A slope is l'beta with l the derivative in x of the reference grid's row, averaged over the other variables. Products,
powers, logarithms and splines are differentiated as they stand in the formula: the design's own recipe makes the rows
at x - 2h, x - h, x + h and x + 2h, whose differences (Fornberg 1988) are exact for polynomials of degree four, or
rows on one side at the end of a range. The step is the one at which halving it changes least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, MixedModelsError
from mixedmodels.inference.comparisons import (
    adjustment_notes,
    check_hypothesis,
    check_some,
    comparison_notes,
    contrast_names,
    estimates,
    families,
    families_table,
    hypothesis_notes,
    labels_index,
    read_comparison,
    row_tests,
)
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.contrast_kinds import cell_text
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.grid_average import grid_means
from mixedmodels.inference.grid_notes import certain_notes, grid_notes, interaction_notes, nesting_notes, unknown_notes
from mixedmodels.inference.margins import check_at, check_weights, read_names
from mixedmodels.inference.nested_factors import find_nesting, partners_of
from mixedmodels.inference.reference_grid import (
    ReferenceGrid,
    check_variable,
    is_categorical,
    predictors,
    reference_grid,
)
from mixedmodels.inference.response_scale import is_transformed

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation

FIRST_STEP, N_STEPS, MAX_WORSE = 0.25, 20, 4
"""Of the differences, in standard deviations of the variable; how often it is halved, and how often in vain."""
QUANTILES = (0.2, 0.8)
"""Of the variable, where slopes are compared."""
_STENCILS = (
    ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)),
    ((1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4)),
    ((-1, -4.0), (-2, 3.0), (-3, -4 / 3), (-4, 1 / 4)),
)
"""Steps, and their weights in a derivative, of what differs from the value itself: on both sides, ahead, behind."""
SETTLED, CURVED = 1e-13, 1e-9
"""Change of a derivative, relative to its largest part, that counts as rounding, and as none along a curve."""


def slopes(
    state: FixedFit,
    variable: str,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    pairwise: bool | str = False,
    *,
    within: str | Sequence[str] | None = None,
    contrasts: object = None,
    control: object = None,
    adjust: str | None = None,
    ddf: str | Approximation = "satterthwaite",
    weights: str = "equal",
    null: float = 0.0,
    side: str = "two-sided",
    delta: float = 0.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return slopes of a numeric variable, or contrasts among them, one row each.

    Parameters
    ----------
    state
        The fit.
    variable
        The numeric variable.
    by
        Variables whose combinations of levels have a slope each; None for one slope.
    at
        Values of variables, the one whose slope it is among them, as for ``margins``; its mean otherwise.
    pairwise, contrasts, control, adjust
        Return contrasts among the slopes instead, as for ``margins``.
    within
        Variables within whose levels slopes are compared.
    ddf, weights, null, side, delta, level
        As for ``margins``.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, in units of the response over those of the
        variable, indexed by ``within`` and ``by``, or by ``within`` and ``contrast``, or by ``variable`` for one slope.
        ``attrs["notes"]`` as for ``margins``.

    Raises
    ------
    InferenceError
        If a variable, level or argument is not allowed, or the variable is not numeric.
    """
    hypothesis = check_hypothesis(null, side, delta, level)
    by, within = read_names(by, "by"), read_names(within, "within")
    comparison = read_comparison(pairwise, contrasts, control, adjust, hypothesis)
    check_weights(weights)
    at = check_at(at)
    check_numeric(state.design, variable)
    grid = _grid(state.design, by, within, at)
    method = approximation(state, ddf)
    nesting = find_nesting(state.design, grid.categorical)
    matrix = state.design.recipe.fixed_matrix
    rows = derivative(state.design, grid.values, variable, matrix)
    means = grid_means(replace(grid, X=rows), nesting, by, within, weights)
    kept = (*means.kept, variable)
    beside = [name for name in grid.levels if name not in partners_of(state.design, variable)]
    if not is_curved(state.design, grid.values, variable, matrix):
        beside.append(variable)
    notes = [
        *nesting_notes(nesting, grid),
        *grid_notes(grid, (*means.kept, *beside), weights, at),
        *interaction_notes(state.design, nesting, grid, kept, at, of=[variable]),
        *method.notes,
    ]
    if comparison is None:
        names = (*means.by, *means.specs)
        labels = [cell_text(cell) for cell in means.cells] if names else [variable]
        L = estimable_where_known(state, means.rows, labels)
        check_some(L, "slopes")
        index = labels_index(names, means.cells) if names else pd.Index([variable], name="variable")
        table = row_tests(estimates(L, method), index, hypothesis)
    else:
        if not means.specs:
            raise InferenceError("There is only one slope, and so no difference. Name variables in by.")
        found = families(state, means, comparison)
        table = families_table(found, contrast_names(means, comparison), method, hypothesis, comparison.adjust)
        notes += adjustment_notes(comparison.adjust, len(found), "within")
        notes += comparison_notes(comparison, means.specs)
    on_scale = f" of {state.design.response_name}" if is_transformed(state) else ""
    on_scale = on_scale if state.link is None else f" on the link scale ({state.link})"
    table.attrs["notes"] = (
        f"Slopes{on_scale} in {variable}.",
        *unknown_notes(state, table),
        *certain_notes(table),
        *notes,
        *hypothesis_notes(hypothesis),
    )
    return table


def check_numeric(design: Design, variable: object) -> None:
    """Raise unless a variable of the fixed part has slopes.

    Raises
    ------
    InferenceError
        If it is no variable, not numeric, or an offset is computed from it.
    """
    check_variable(variable, predictors(design))
    name = str(variable)
    if name not in design.cells:
        return  # which the reference grid explains
    column = design.cells[name]
    if is_categorical(design, name) or not column.is_number:
        raise InferenceError(
            f"{name!r} is not a number and has no slope. Compare its means with margins({name!r}, pairwise=True)."
        )
    sources = getattr(design.recipe, "sources", {})
    for offset in getattr(design.recipe, "offsets", ()):
        if name in sources.get(offset, ()):
            raise InferenceError(
                f"The offset {offset!r} changes with {name!r}, so that slopes of the fixed part are not those of the "
                "response. Subtract the offset from the response, or ask contrast for the coefficient."
            )


def _grid(design: Design, by: tuple[str, ...], within: tuple[str, ...], at: Mapping[str, object]) -> ReferenceGrid:
    for name in (*by, *within):
        if name in (factor.name for factor in design.factors) and name not in predictors(design):
            raise InferenceError(
                f"{name!r} is a grouping factor; slopes of its levels are slopes_by_level(..., {name!r})."
            )
        check_variable(name, predictors(design))
    both = [name for name in by if name in within]
    if both:
        raise InferenceError(f"{both[0]!r} is in by and in within. Leave it out of one of them.")
    grid = reference_grid(design, at)
    for name in (*by, *within):
        if name not in grid.categorical and name not in at:
            raise InferenceError(
                f"{name!r} is continuous and has no levels. Give the values to use, such as at={{{name!r}: [...]}}."
            )
    return grid


def derivative(design: Design, rows: pd.DataFrame, variable: str, matrix: Callable[[pd.DataFrame], Floats]) -> Floats:
    """Return the derivative of a matrix's rows in one variable, (n_rows, n_columns).

    Parameters
    ----------
    design
        The model, which holds the variable's values in the data.
    rows
        Values of the variables.
    variable
        The variable.
    matrix
        Gives the matrix for such values.

    Raises
    ------
    InferenceError
        If the matrix cannot be had near the values.
    """
    found = _settled(design, rows, variable, matrix, _STENCILS[0])
    x = rows[variable].to_numpy(dtype=np.float64)
    for value in np.unique(x[np.isnan(found).any(axis=1)]):  # near the end of a range
        here = x == value
        for stencil in _STENCILS:
            found[here] = _settled(design, rows[here], variable, matrix, stencil)
            if not np.isnan(found[here]).any():
                break
        else:
            raise InferenceError(
                f"The fixed part cannot be computed around {variable} = {value:g}. Choose another value with at."
            )
    return found


def _settled(
    design: Design,
    rows: pd.DataFrame,
    variable: str,
    matrix: Callable[[pd.DataFrame], Floats],
    stencil: tuple[tuple[int, float], ...],
) -> Floats:
    """Return the derivative by the step at which halving it changes least; NaN for rows where there is none."""
    x = rows[variable].to_numpy(dtype=np.float64)
    spread = float(np.std(np.asarray(design.cells[variable].values, dtype=np.float64))) or 1.0
    here = matrix(rows)
    best: Floats
    best, last = np.full((2, *here.shape), np.nan)
    change, worse = np.full(len(rows), np.inf), 0
    for h in spread * FIRST_STEP * 0.5 ** np.arange(N_STEPS):
        step = (x + h) - x  # what is left of it by rounding
        around = pd.concat([rows.assign(**{variable: x + k * step}) for k, _ in stencil])
        try:
            values = matrix(around).reshape(len(stencil), *here.shape)
        except MixedModelsError:  # out of range, which a smaller step may not be
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            now = np.tensordot([weight for _, weight in stencil], values - here, axes=1) / step[:, None]
        moved = np.abs(now - last).max(axis=1)
        better = moved < change
        best = np.where(better[:, None], now, best)
        change = np.where(better, moved, change)
        worse = 0 if better.any() or np.isinf(change).any() else worse + 1
        if worse == MAX_WORSE or (change <= SETTLED * np.abs(best).max(axis=1)).all():
            break
        last = now
    return best


def is_curved(design: Design, rows: pd.DataFrame, variable: str, matrix: Callable[[pd.DataFrame], Floats]) -> bool:
    """Return True if the derivatives of a matrix's rows change with the variable; arguments as for `derivative`."""
    values = np.asarray(design.columns[variable].values, dtype=np.float64)
    low, high = (
        derivative(design, rows.assign(**{variable: end}), variable, matrix)
        for end in np.quantile(values, QUANTILES, method="nearest")
    )
    return bool(np.abs(high - low).max() > CURVED * np.abs(low).max())
