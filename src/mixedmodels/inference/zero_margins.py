"""Marginal means of counts whose zeros have a chance of their own, with these zeros in them.

Both linear predictors, of counts and of the chance on the logit scale, are averaged over the reference grid; what they
make together is tested on the log scale, errors by the delta method in the parameters of both, and brought back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.families.zeros import CountsWithZeros
from mixedmodels.inference.comparisons import (
    adjustment_notes,
    check_hypothesis,
    check_some,
    comparison_notes,
    contrast_weights,
    hypothesis_notes,
    read_comparison,
)
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.contrast_kinds import cell_text
from mixedmodels.inference.degrees import WALD_NOTE
from mixedmodels.inference.delta_margins import Values, contrast_tables, mean_table
from mixedmodels.inference.grid_average import GridMeans, grid_means
from mixedmodels.inference.grid_notes import certain_notes, grid_notes, interaction_notes, nesting_notes, unknown_notes
from mixedmodels.inference.link_scale import check_choices
from mixedmodels.inference.margins import (
    check_at,
    check_weights,
    read_grid,
    read_names,
    shown_contrasts,
    shown_means,
)
from mixedmodels.inference.nested_factors import find_nesting
from mixedmodels.inference.r2 import random_variances
from mixedmodels.inference.response_scale import Step, Transformation, View

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

STEP = 1e-5
"""Of linear predictors and of the root of the dispersion, in differences on both sides."""

N_NODES = 40

VIEW = View(
    Transformation("log", (Step(np.exp, np.exp),), ("means", 1.0)),
    "the log scale",
    "on the log scale",
    brought_back="Means with the zeros in them, of a level without random effects; tests are on the log scale.",
)


def zero_margins(
    state: GlmmState,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    pairwise: bool | str = False,
    *,
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
    """Return means of responses, or ratios of them, one row each.

    Parameters
    ----------
    state
        The fit.
    specs, by, at, pairwise, contrasts, adjust, control, weights, null, side, delta, level
        As for ``margins.margins``; variables of the chance of a zero are among those that can be named. ``null`` and
        ``delta`` are on the log scale.
    random_effects
        ``"population"``: all zero; ``"averaged"``: the mean over new levels, the variance taken as known.

    Returns
    -------
    pandas.DataFrame
        As ``margins.margins``.

    Raises
    ------
    InferenceError
        As ``margins.margins``.
    """
    hypothesis = check_hypothesis(null, side, delta, level)
    specs, by = read_names(specs, "specs"), read_names(by, "by")
    comparison = read_comparison(pairwise, contrasts, control, adjust, hypothesis)
    check_weights(weights)
    averaged = check_choices(random_effects, is_mean=True, is_comparison=comparison is not None)
    at = check_at(at)
    grid = read_grid(state.design, specs, by, at, state.problem.zeros)
    nesting = find_nesting(state.design, grid.categorical)
    means = grid_means(grid, nesting, specs, by, weights)
    values = _log_means(state, means, sum(random_variances(state).values()) if averaged else 0.0)
    check_some(values.mean, "means")
    notes = [
        *nesting_notes(nesting, grid),
        *grid_notes(grid, means.kept, weights, at),
        *interaction_notes(state.design, nesting, grid, means.kept, at),
        WALD_NOTE,
    ]
    if comparison is None:
        table, scale_notes = shown_means(mean_table(values, means, hypothesis)[0], VIEW)
        if averaged:
            scale_notes = ("Means with the zeros in them, averaged over random effects of a known variance.",)
        notes += [] if state.design.offset is None else ["The mean of the offset is added to linear predictors."]
    else:
        tables = contrast_tables(values, means, comparison, hypothesis, "/")
        sums = np.concatenate([one.rows.sum(axis=1) for _, _, one in contrast_weights(means, comparison)])
        table, scale_notes = shown_contrasts(pd.concat(tables), sums, VIEW)
        notes += [*adjustment_notes(comparison.adjust, len(tables)), *comparison_notes(comparison, means.specs)]
    table.attrs["notes"] = (
        *unknown_notes(state, table),
        *certain_notes(table),
        *notes,
        *hypothesis_notes(hypothesis, " on the log scale"),
        *scale_notes,
    )
    return table


def _log_means(state: GlmmState, means: GridMeans, variance: float) -> Values:
    """Return logarithms of the means with their derivatives in fixed effects, dispersion and effects on the chance."""
    zeros, k = state.problem.zeros, state.design.X.shape[1]
    assert zeros is not None
    L = estimable_where_known(state, means.rows[:, :k], [cell_text(cell) for cell in means.cells])
    unknown = np.asarray(np.isnan(L).any(axis=1))
    own = state.fixed_root.coordinates(np.where(unknown[:, None], 0.0, L))
    of_zeros = np.where(unknown[:, None], 0.0, means.rows[:, k:])
    phi = state.phi[: state.family.n_extra]
    at = own @ state.fixed_root.beta + state.design.mean_offset, phi, of_zeros @ state.zero_effects

    def by(eta: float, tau: Floats | float, logit: float) -> Floats:
        ends = [
            _log_mean(state, at[0] + sign * eta, at[1] + sign * tau, at[2] + sign * logit, variance) for sign in (1, -1)
        ]
        return (ends[0] - ends[1])[:, None] / (2 * STEP)

    slopes = [by(STEP, 0.0, 0.0) * own]
    slopes += [by(0.0, STEP * direction, 0.0) for direction in np.eye(len(phi))]
    slopes += [by(0.0, 0.0, STEP) * (of_zeros @ zeros.map)]
    mean = np.where(unknown, np.nan, _log_mean(state, *at, variance))
    behind = slice(len(state.theta), None)
    return Values(mean[:, None], np.hstack(slopes)[:, None, :], state.cov_psi[behind, behind], None)


def _log_mean(state: GlmmState, eta: Floats, phi: Floats, logit: Floats, variance: float) -> Floats:
    family = state.family
    assert isinstance(family, CountsWithZeros)
    at = family.at(phi, special.expit(logit))
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES) if variance else (np.zeros(1), np.ones(1))
    shares, spread = weights / weights.sum(), np.sqrt(variance)
    return np.asarray(
        np.log(np.sum([w * at.mean(eta + z * spread) for z, w in zip(nodes, shares, strict=True)], axis=0))
    )
