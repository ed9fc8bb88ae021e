"""What is worth checking after a generalised model's fit, beside what is of every mixed model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.diagnose.check import (
    CHEAP_DELETIONS,
    SOLID_P,
    a_row,
    of_collinearity,
    of_effects,
    of_influence,
    of_levels,
    of_optimum,
    of_residuals,
    table,
)
from mixedmodels.diagnose.deleted_generalized import DeletedGeneralized
from mixedmodels.diagnose.generalized_residuals import generalized_residuals
from mixedmodels.families.binomial import Binomial
from mixedmodels.families.negative_binomial import NegativeBinomial
from mixedmodels.families.poisson import Poisson
from mixedmodels.families.zeros import CountsWithZeros
from mixedmodels.fit.nodes import LARGEST_GRID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixedmodels.diagnose.check import Row
    from mixedmodels.fit.generalized import GlmmState

MUCH_SPREAD = 1.2
"""Ratio of what residuals vary by to what the family says from which on it matters."""
INACCURATE = 0.5
"""Difference of -2 log-likelihood between quadrature and Laplace's approximation from which on it matters."""
NODES = 11
"""Of the quadrature that tells."""


def check_generalized(state: GlmmState) -> pd.DataFrame:
    """Return what was checked: ``verdict`` ("good" or "look"), ``found`` and ``advice``, one row a check.

    Convergence, singularity, Laplace's approximation, separation, number of levels, collinearity, overdispersion,
    zeros, residual shape and outliers, shape of the random effects, influence of rows and levels in one step.

    Parameters
    ----------
    state
        The fit.
    """
    return table(
        [
            *of_optimum(state),
            *_approximation(state),
            *_separation(state),
            *of_levels(state),
            *_collinearity(state),
            *_dispersion(state),
            *_zeros(state),
            *_residuals(state),
            *of_effects(state),
            *_influence(state),
        ]
    )


def _collinearity(state: GlmmState) -> Iterator[Row]:
    if np.isfinite(state.cov_psi).all():
        yield from of_collinearity(state)
        return
    yield a_row(
        "standard errors",
        False,
        "none: the criterion is flat in a direction",
        "The data do not tell all parameters; look at the other checks, and use fewer effects.",
    )


def _approximation(state: GlmmState) -> Iterator[Row]:
    """Quadrature at the estimates, where there is one grouping factor and few effects."""
    factors = state.design.factors
    if state.problem.n_agq > 1 or len(factors) > 1 or NODES ** factors[0].n_effects > LARGEST_GRID:
        return
    change = state.problem.with_nodes(NODES).deviance(state.psi) - state.optimum.deviance
    yield a_row(
        "Laplace's approximation",
        abs(change) < INACCURATE,
        f"quadrature at the estimates changes -2 log-likelihood by {change:.3g}",
        f"Levels have too few rows for it; fit with n_agq={NODES}.",
    )


def _separation(state: GlmmState) -> Iterator[Row]:
    if not isinstance(state.family, Binomial | Poisson | NegativeBinomial | CountsWithZeros):
        return
    found = [finding for finding in state.findings if finding.kind in ("separated", "separated_zeros")]
    columns = ", ".join(name for finding in found for name in cast("tuple[str, ...]", finding.data["columns"]))
    yield a_row(
        "separation",
        not found,
        f"by {columns}" if found else "no fixed effect tells the response without error",
        "These estimates have no end, and their standard errors mean nothing; leave out or merge what separates.",
    )


def _dispersion(state: GlmmState) -> Iterator[Row]:
    """Pearson's chi-squared over its degrees of freedom, rows less what fixed and random effects took of them."""
    family, trials = state.family, state.trials
    if not isinstance(family, Poisson) and not (isinstance(family, Binomial) and (trials > 1).any()):
        return
    chisq = float(np.sum(generalized_residuals(state, "pearson") ** 2))
    df = state.design.n_obs - state.n_fixed - taken_by_effects(state)
    if df < 1:
        return
    ratio, p = chisq / df, float(special.chdtrc(df, chisq))
    other = "family='negative_binomial'" if isinstance(family, Poisson) else "a random effect of each row, (1 | row)"
    yield a_row(
        "overdispersion",
        not (ratio > MUCH_SPREAD and p < SOLID_P),
        f"Pearson's chi-squared is {ratio:.2f} times its degrees of freedom",
        f"Standard errors are too small; compare with {other}.",
    )


def taken_by_effects(state: GlmmState) -> float:
    """Return the degrees of freedom that random effects take: of each level rank(Sigma) - tr(Sigma^+ Var(b | y)).

    It is tr(H^-1 A'WA), between zero, where levels tell nothing of their effects, and the number of effects.

    Parameters
    ----------
    state
        The fit.
    """
    factors = state.design.factors
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    total = 0.0
    for factor, part, C in zip(factors, parts, state.cov_b, strict=True):
        root = relative_factor(part, factor.block_sizes)
        inverse = np.linalg.pinv(root)
        total += factor.n_levels * np.linalg.matrix_rank(root) - float(np.sum((inverse @ C) * inverse))
    return total


def _zeros(state: GlmmState) -> Iterator[Row]:
    if not isinstance(state.family, Poisson | NegativeBinomial):
        return
    chance = state.family.distribution(state.family.mean(state.eta), state.trials, state.dispersion).pmf(0)
    n, expected = int(np.sum(state.problem.observed.y == 0)), float(chance.sum())
    spread = float(np.sqrt(np.sum(chance * (1 - chance))))
    many = n > expected and (spread == 0 or special.ndtr(-(n - expected) / spread) < SOLID_P)
    advice = "family='negative_binomial'" if isinstance(state.family, Poisson) else "what tells zeros from other counts"
    yield a_row(
        "zeros",
        not many,
        f"{n} zeros, {expected:.1f} expected",
        f"More zeros than the family has; look for {advice}. Or give them a chance of their own, zero_inflation='~ 1'.",
    )


def _influence(state: GlmmState) -> Iterator[Row]:
    """Rows, and levels where solving the rest for each is cheap; not where a fixed effect has no end."""
    if any(finding.kind == "separated" for finding in state.findings) or not np.isfinite(state.cov_psi).all():
        return
    few = [f.name for f in state.design.factors if f.n_levels * state.design.n_obs <= CHEAP_DELETIONS]
    yield from of_influence(DeletedGeneralized(state), (None, *few))


def _residuals(state: GlmmState) -> Iterator[Row]:
    yield from of_residuals(generalized_residuals(state, "quantile", seed=0), "quantile")
