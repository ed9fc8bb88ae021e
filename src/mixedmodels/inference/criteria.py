"""Likelihood and information criteria of a fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixedmodels.fit.records import FixedFit


def log_likelihood(state: FixedFit) -> float:
    """Return the log-likelihood, restricted under REML, with all constants."""
    return -0.5 * state.optimum.deviance


def aic(state: FixedFit) -> float:
    """Return -2 llf + 2 k with k parameters, sigma among them (Akaike 1974)."""
    return state.optimum.deviance + 2.0 * state.n_params


def bic(state: FixedFit) -> float:
    """Return -2 llf + k log n with n rows, as lme4 counts them (Schwarz 1978)."""
    return state.optimum.deviance + state.n_params * math.log(state.design.n_obs)


def aicc(state: FixedFit) -> float:
    """Return AIC + 2 k (k + 1) / (n - k - 1) (Hurvich and Tsai 1989), infinite where n <= k + 1."""
    k, rest = state.n_params, state.design.n_obs - state.n_params - 1
    return aic(state) + 2.0 * k * (k + 1) / rest if rest > 0 else math.inf


def residual_df(state: FixedFit) -> int:
    """Return rows less fixed effects."""
    return state.design.n_obs - state.fixed_rank
