"""Residuals of generalised linear mixed models, given the conditional modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.families import Beta, Binomial, Gamma, NegativeBinomial, Poisson
from mixedmodels.inference.bootstrap import check_seed

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

KINDS = ("deviance", "pearson", "response", "quantile")
ROUNDING = 2.0**-53


def generalized_residuals(state: GlmmState, kind: str = "deviance", seed: int | None = None) -> Floats:
    """Return residuals given the effects of the levels, shape (n_obs,).

    Parameters
    ----------
    state
        The fit.
    kind
        ``"deviance"``: roots of what each row adds to the deviance, with the sign of y - mean (none for the beta
        family); ``"pearson"``: y - mean over its standard deviation; ``"response"``: y - mean, of a proportion for the
        binomial; ``"quantile"``: normal quantiles of the distribution at y, drawn between its steps where responses are
        counted (Dunn and Smyth 1996).
    seed
        Of what is drawn.

    Raises
    ------
    InferenceError
        If there is no such kind, or not for this family.
    """
    if kind not in KINDS:
        raise InferenceError(
            f"There are no {kind!r} residuals; there are {', '.join(KINDS)}.{nearest(str(kind), KINDS)}"
        )
    check_seed(seed)
    observed, trials = state.problem.observed, state.trials
    mean = state.family.mean(state.eta)
    y, expected = observed.y, mean * trials if isinstance(state.family, Binomial) else mean
    if kind == "response":
        return np.asarray((y - expected) / np.where(trials > 0, trials, 1.0))
    weights = np.ones(len(y)) if observed.weights is None else observed.weights
    if kind == "pearson":
        variance = state.family.variance(mean, trials, state.dispersion)
        positive = variance > 0
        return np.asarray((y - expected) * np.sqrt(weights / np.where(positive, variance, np.inf)))
    if kind == "deviance":
        unit = unit_deviance(state, y, expected, trials)
        return np.asarray(np.sign(y - expected) * np.sqrt(weights * np.maximum(unit, 0.0)))
    return quantile_residuals(state, mean, y, trials, np.random.default_rng(seed))


def unit_deviance(state: GlmmState, y: Floats, mean: Floats, trials: Floats) -> Floats:
    """Return twice the log density at y's own mean less that at the mean, (n_obs,).

    Raises
    ------
    InferenceError
        If the family has none.
    """
    match state.family:
        case Binomial():
            return np.asarray(2 * (_log_term(y, mean) + _log_term(trials - y, trials - mean)))
        case Poisson():
            return np.asarray(2 * (_log_term(y, mean) - (y - mean)))
        case Gamma():
            return np.asarray(2 * ((y - mean) / mean - np.log(y / mean)))
        case NegativeBinomial() if state.dispersion:
            size = 1 / state.dispersion
            return np.asarray(2 * (_log_term(y, mean) - (y + size) * np.log((y + size) / (mean + size))))
        case NegativeBinomial():
            return np.asarray(2 * (_log_term(y, mean) - (y - mean)))
        case Beta() | _:
            raise InferenceError(
                "The beta family has no deviance residuals; take 'quantile' or 'pearson', which it has."
            )


def _log_term(y: Floats, mean: Floats) -> Floats:
    """Return y log(y / mean), zero where y is."""
    return np.asarray(special.xlogy(y, y) - special.xlogy(y, mean))


def quantile_residuals(state: GlmmState, mean: Floats, y: Floats, trials: Floats, rng: np.random.Generator) -> Floats:
    """Return normal quantiles of P(Y < y) + U P(Y = y), (n_obs,)."""
    distribution = state.family.distribution(mean, trials, state.dispersion)
    upper = distribution.cdf(y)
    if isinstance(state.family, Gamma | Beta):
        share = upper
    else:
        lower = distribution.cdf(y - 1)
        share = lower + rng.uniform(size=len(y)) * (upper - lower)
    return np.asarray(special.ndtri(np.clip(share, ROUNDING, 1 - ROUNDING)))
