"""Marginal means of ordered categories: the chance of each, or the mean of their positions (Lenth's emmeans: "prob").

Chances are formed at each row of the reference grid and averaged there, errors by the delta method in thresholds and
fixed effects. Means of positions 1, 2, ... weigh these by the chances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.inference.approximation import RowEstimates
from mixedmodels.inference.comparisons import (
    Hypothesis,
    adjustment_notes,
    check_hypothesis,
    check_some,
    comparison_notes,
    hypothesis_notes,
    read_comparison,
    row_tests,
)
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.degrees import WALD_NOTE
from mixedmodels.inference.delta_margins import Values, contrast_tables, mean_table
from mixedmodels.inference.grid_average import GridMeans, grid_means
from mixedmodels.inference.grid_notes import certain_notes, grid_notes, interaction_notes, nesting_notes, unknown_notes
from mixedmodels.inference.link_scale import check_choices
from mixedmodels.inference.margins import check_at, check_weights, read_grid, read_names
from mixedmodels.inference.nested_factors import find_nesting
from mixedmodels.inference.r2 import random_variances
from mixedmodels.inference.thresholds import ordinal_family

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.inference.reference_grid import ReferenceGrid

MEAN_CLASS = "mean_class"
CATEGORY_SCALES = ("response", MEAN_CLASS)
"""Chances of categories, and means of their positions."""


def category_margins(
    state: GlmmState,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    pairwise: bool | str = False,
    *,
    scale: str = "response",
    random_effects: str = "population",
    contrasts: object = None,
    adjust: str | None = None,
    control: object = None,
    weights: str = "equal",
    null: float = 0.0,
    side: str = "two-sided",
    delta: float = 0.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return chances of ordered categories, or means of their positions, or contrasts among them, one row each.

    Parameters
    ----------
    state
        The fit.
    specs, by, at, pairwise, contrasts, adjust, control, weights, null, side, delta, level
        As for ``margins.margins``; contrasts are within each category, and adjusted there.
    scale
        ``"response"``: chances, with intervals that are formed on the logit scale of each; ``"mean_class"``: means of
        the positions 1, 2, ...
    random_effects
        ``"population"``: all zero; ``"averaged"``: chances are averaged over new levels, the variance taken as known.

    Returns
    -------
    pandas.DataFrame
        As ``margins.margins``; the category is the last part of the index of means, and the one before the contrast.

    Raises
    ------
    InferenceError
        As ``margins.margins``.
    """
    hypothesis = check_hypothesis(null, side, delta, level)
    specs, by = read_names(specs, "specs"), read_names(by, "by")
    comparison = read_comparison(pairwise, contrasts, control, adjust, hypothesis)
    check_weights(weights)
    check_choices(random_effects, is_mean=True, is_comparison=False)
    at = check_at(at)
    grid = read_grid(state.design, specs, by, at)
    nesting = find_nesting(state.design, grid.categorical)
    variance = sum(random_variances(state).values()) if random_effects == "averaged" else None
    found = _Chances(state, grid, variance, scale == MEAN_CLASS)
    means = grid_means(replace(grid, X=found.columns()), nesting, specs, by, weights)
    values = found.read(means.rows)
    check_some(values.mean, "means")
    notes = [
        *nesting_notes(nesting, grid),
        *grid_notes(grid, means.kept, weights, at),
        *interaction_notes(state.design, nesting, grid, means.kept, at),
        WALD_NOTE,
    ]
    if comparison is None:
        table = _chance_table(values, means, hypothesis)
    else:
        tables = contrast_tables(values, means, comparison, hypothesis)
        table = pd.concat(tables)
        within = " and ".join(name for name in ("by" if means.by else "", values.response) if name)
        notes += [*adjustment_notes(comparison.adjust, len(tables), within), *comparison_notes(comparison, means.specs)]
    of = "Means of the positions 1, 2, ... of categories" if values.categories is None else "Chances of categories"
    whose = " without random effects" if variance is None else ", averaged over random effects of a known variance"
    table.attrs["notes"] = (
        *unknown_notes(state, table),
        *certain_notes(table),
        *notes,
        *hypothesis_notes(hypothesis),
        f"{of}{whose}.",
    )
    return table


@dataclass(frozen=True)
class _Chances:
    """Chances at the rows of a grid with their derivatives, as columns that can be averaged.

    Attributes
    ----------
    state, grid
        The fit and the grid.
    variance
        Of effects that chances are averaged over; None for none.
    as_positions
        Whether the mean of positions takes the place of chances.
    """

    state: GlmmState
    grid: ReferenceGrid
    variance: float | None
    as_positions: bool

    def columns(self) -> Floats:
        """Return numbers, their derivatives, and whether they are unknown, (n_rows, n_columns)."""
        state = self.state
        labels = [str(i) for i in range(len(self.grid.X))]
        L = estimable_where_known(state, self.grid.X, labels)
        unknown = np.asarray(np.isnan(L).any(axis=1))
        L = np.where(unknown[:, None], 0.0, L)
        own = state.fixed_root.coordinates(L)
        beta, phi = state.fixed_root.beta, state.phi
        eta = own @ beta + state.design.mean_offset
        steps = [self._numbers(eta + STEP, phi) - self._numbers(eta - STEP, phi)]
        for j in range(len(phi)):
            moved = np.zeros(len(phi))
            moved[j] = STEP
            steps.append(self._numbers(eta, phi + moved) - self._numbers(eta, phi - moved))
        by_eta, *by_phi = (step / (2 * STEP) for step in steps)
        slopes = np.concatenate([by_eta[:, :, None] * own[:, None, :], *(one[:, :, None] for one in by_phi)], axis=2)
        return np.column_stack([self._numbers(eta, phi), slopes.reshape(len(L), -1), unknown])

    def _numbers(self, eta: Floats, phi: Floats) -> Floats:
        family = ordinal_family(self.state, "Chances of categories")
        if self.variance is None:
            chances = family.chances(eta, phi)
        else:
            chances = family.averaged_chances(eta, phi, np.full(len(eta), self.variance))
        return chances @ np.arange(1.0, chances.shape[1] + 1)[:, None] if self.as_positions else chances

    def read(self, rows: Floats) -> Values:
        """Return what averages of the columns are, (n_means, n_columns)."""
        state = self.state
        own = slice(len(state.theta), None)
        names = pd.Index(state.design.categories, name=state.design.response_name)
        m = 1 if self.as_positions else len(names)
        unknown = ~(rows[:, -1] == 0)
        mean = np.where(unknown[:, None], np.nan, rows[:, :m])
        slopes = np.where(unknown[:, None], 0.0, rows[:, m:-1]).reshape(len(rows), m, -1)
        return Values(mean, slopes, state.cov_psi[own, own], None if self.as_positions else names)


STEP = 1e-4
"""Of the linear predictor and thresholds, in differences on both sides."""


def _chance_table(values: Values, means: GridMeans, hypothesis: Hypothesis) -> pd.DataFrame:
    """Return means; of chances with limits that are formed on the logit scale, and no tests against zero."""
    table, rows = mean_table(values, means, hypothesis)
    if values.categories is None:
        return table
    if not hypothesis.null and not hypothesis.delta:  # no chance is zero
        table[["statistic", "p_value"]] = np.nan
    within = rows.estimate * (1 - rows.estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = RowEstimates(special.logit(rows.estimate), rows.std_error / within, rows.df)
    limits = row_tests(logits, table.index, hypothesis)[["ci_lower", "ci_upper"]]
    lower, upper = special.expit(limits.to_numpy()).T
    return table.assign(ci_lower=lower, ci_upper=upper)
