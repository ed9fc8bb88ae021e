"""What is worth checking after a fit with something on its residuals: above all their covariance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.covariance.kinds import UNSTRUCTURED
from mixedmodels.design.labels import level_text
from mixedmodels.diagnose.check import (
    SOLID_P,
    a_row,
    of_collinearity,
    of_effects,
    of_influence,
    of_levels,
    of_optimum,
    of_residuals,
    of_spread,
    table,
)
from mixedmodels.diagnose.deleted_marginal import DeletedMarginal
from mixedmodels.diagnose.lags import autocorrelation, pairs_by_lag
from mixedmodels.errors import MixedModelsError
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.marginal_fit import fit_marginal
from mixedmodels.fit.subjects import by_pattern, normalized
from mixedmodels.predict.marginal import marginal_residuals

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mixedmodels.diagnose.check import Row
    from mixedmodels.fit.marginal_fit import MarginalState

MUCH_CORRELATION = 0.1
"""Autocorrelation of normalized residuals from which on it matters."""

MANY_VISITS = 15
"""Visits beyond which an unstructured covariance is not fitted to compare with."""


def check_marginal(state: MarginalState) -> pd.DataFrame:
    """Return what was checked: ``verdict`` ("good" or "look"), ``found`` and ``advice``, one row a check.

    Convergence, singularity, collinearity, shape, outliers and spread of the normalized residuals, what correlation is
    left by lag, the structure against an unstructured covariance, subjects far out, and influence on the fixed
    effects; number of levels and shape of the random effects where there are some.

    Parameters
    ----------
    state
        The fit.
    """
    is_mixed = isinstance(state, CorrelatedState)
    fitted = conditional_fitted(state) if isinstance(state, CorrelatedState) else marginal_fitted(state)
    residuals = marginal_residuals(state, "normalized")
    deleted = DeletedMarginal(state)
    return table(
        [
            *(_optimum(state) if not is_mixed or not state.design.factors else of_optimum(state)),
            *(of_levels(state) if isinstance(state, CorrelatedState) else ()),
            *of_collinearity(state),
            *of_residuals(residuals, "normalized"),
            *of_spread(residuals, fitted),
            *_lags(state),
            *_structure(state),
            *_far_subjects(state),
            *(of_effects(state) if isinstance(state, CorrelatedState) else ()),
            *(of_influence(deleted, (None, *deleted.units)) if state.n_fixed else ()),
        ]
    )


def _optimum(state: MarginalState) -> Iterator[Row]:
    """The same as of every fit, with advice on the residuals' covariance where that is singular."""
    converged, _ = of_optimum(state)
    yield converged
    yield a_row(
        "singularity",
        not state.is_singular,
        "the covariance of the residuals is singular" if state.is_singular else "all variances positive",
        "The data support fewer parameters; take a simpler structure.",
    )


def _lags(state: MarginalState) -> Iterator[Row]:
    """Whitened residuals are uncorrelated but for chance, of standard deviation 1 / sqrt(pairs), if V is right.

    Predicted random effects would leave correlation by themselves, so they are a part of V here.
    """
    rows = state.design.residual
    if rows is None or rows.has_own_times or len(rows.visits) == 1:
        return
    lag, n_pairs = pairs_by_lag(rows)
    if not len(lag):
        return
    white = normalized(state, state.design.y - marginal_fitted(state), of_residuals=False)
    found = autocorrelation(rows, white)
    z = np.abs(found) * np.sqrt(n_pairs)
    worst = int(np.argmax(z))
    p = min(1.0, 2 * float(special.ndtr(-z[worst])) * len(z))
    largest = float(found[worst])
    yield a_row(
        "correlation left",
        not (p < SOLID_P and abs(largest) > MUCH_CORRELATION),
        f"autocorrelation of whitened residuals {largest:.2f} at lag {lag[worst]}",
        "The structure misses correlation; look at mm.plot.acf(fit), and compare with a richer one by mm.compare.",
    )


def _structure(state: MarginalState) -> Iterator[Row]:
    """Likelihood ratio to the unstructured covariance, where that is cheap and the data determine it."""
    if isinstance(state, CorrelatedState):
        return
    rows = state.problem.rows
    if rows.term.kind == UNSTRUCTURED or not 2 < len(rows.visits) <= MANY_VISITS:
        return
    us = replace(state.design, residual=replace(rows, term=replace(rows.term, kind=UNSTRUCTURED)))
    try:
        free = fit_marginal(state.problem.with_design(us), reml=state.reml, control=state.control)
    except MixedModelsError:
        return
    df = free.n_params - state.n_params
    if df < 1 or not free.optimum.converged:
        return
    better = max(state.optimum.deviance - free.optimum.deviance, 0.0)
    yield a_row(
        "structure",
        float(special.chdtrc(df, better)) >= SOLID_P,
        f"{rows.term.kind} against unstructured: chi-squared {better:.1f} on {df} df",
        f"The data refuse the structure; us({', '.join(rows.term.visits)} | {rows.term.subject}) or one between fits "
        "better.",
    )


def _far_subjects(state: MarginalState) -> Iterator[Row]:
    """Squared distances r_i'V_i^-1 r_i against chi-squared, Bonferroni over subjects or blocks."""
    residual = state.design.y - marginal_fitted(state)
    first, chances = [], []
    for some in by_pattern(state):
        white = np.linalg.solve(some.factor, (some.roots * residual[some.rows]).T)
        chances.append(special.chdtrc(some.rows.shape[1], np.sum(white**2, axis=0)))
        first.append(some.rows[:, 0])
    p, rows = np.concatenate(chances), np.concatenate(first)
    if len(p) == state.design.n_obs:  # single rows are outliers above
        return
    far = np.flatnonzero(p * len(p) < SOLID_P)
    furthest = rows[int(np.argmin(p))]
    name = state.problem.cluster_name
    yield a_row(
        f"far {name}",
        not len(far),
        f"{len(far)} of {len(p)} further out than chance ({_label(state, int(furthest))} furthest)",
        "Look at their rows; fit without them to see whether they matter.",
    )


def _label(state: MarginalState, row: int) -> str:
    """Return the label of the subject, or level of the outermost factor, of a row."""
    name = state.problem.cluster_name
    own = DeletedMarginal(state).units.get(name)
    return f"row {row}" if own is None else level_text(own.labels[own.codes[row]])
