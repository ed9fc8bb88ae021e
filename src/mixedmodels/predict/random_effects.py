"""Conditional modes of the random effects and their covariances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState


def random_effects(state: FitState) -> dict[str, pd.DataFrame]:
    """Return E(b | y) (Henderson 1975) of each grouping factor, level x effect, in units of the response per column."""
    return {
        factor.name: pd.DataFrame(b, index=factor.levels.rename(factor.name), columns=list(factor.columns), copy=True)
        for factor, b in zip(state.design.factors, state.b, strict=True)
    }


def random_effects_cov(state: FitState) -> dict[str, Floats]:
    """Return Var(b | y) of each grouping factor at the estimated parameters, shape (n_levels, n_effects, n_effects).

    Given the data, theta, sigma and beta: the diagonal blocks of sigma^2 Lambda M^-1 Lambda' (Bates, Maechler, Bolker
    and Walker 2015). The uncertainty of beta is not part of it, as in lme4.
    """
    blocks = state.problem.conditional_covariance(state.theta)
    return {factor.name: state.sigma**2 * block for factor, block in zip(state.design.factors, blocks, strict=True)}
