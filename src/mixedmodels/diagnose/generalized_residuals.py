"""Residuals of generalised linear mixed models, given the conditional modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.bootstrap import check_seed

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

ROUNDING = 2.0**-53


def generalized_residuals(state: GlmmState, kind: str | None = None, seed: int | None = None) -> Floats:
    """Return residuals given the effects of the levels, shape (n_obs,).

    Parameters
    ----------
    state
        The fit.
    kind
        ``"deviance"``: roots of what each row adds to the deviance, with the sign of y - mean; ``"pearson"``: y - mean
        over its standard deviation; ``"response"``: y - mean, of a proportion for the binomial; ``"quantile"``: normal
        quantiles of the distribution at y, drawn between its steps where responses are counted (Dunn and Smyth 1996).
        Of ordered categories ``"probability"``: P(Y < y) - P(Y > y) (Li and Shepherd 2012); ``"surrogate"``: a latent
        response drawn within its category, less its mean (Liu and Zhang 2018). None: the first of those that the family
        has.
    seed
        Of what is drawn.

    Raises
    ------
    InferenceError
        If there is no such kind for this family.
    """
    kinds = state.family.residual_kinds
    kind = kinds[0] if kind is None else kind
    if kind not in kinds:
        raise InferenceError(
            f"There are no {kind!r} residuals of the family {state.family.name!r}; there are {', '.join(kinds)}."
            f"{nearest(str(kind), kinds)}"
        )
    check_seed(seed)
    if kind == "quantile":
        return quantile_residuals(state, np.random.default_rng(seed))
    if kind == "surrogate":
        return surrogate_residuals(state, np.random.default_rng(seed))
    if kind == "probability":
        below, upto = _cumulative(state)
        return np.asarray(below - (1 - upto))
    return _of_the_mean(state, kind)


def _of_the_mean(state: GlmmState, kind: str) -> Floats:
    observed, trials = state.problem.observed, state.trials
    mean = state.fitted_family.mean(state.eta)
    y, expected = observed.y, mean * trials if state.family.responses == "successes" else mean
    if kind == "response":
        return np.asarray((y - expected) / np.where(trials > 0, trials, 1.0))
    weights = np.ones(len(y)) if observed.weights is None else observed.weights
    if kind == "pearson":
        variance = state.fitted_family.variance_at(state.eta, trials, state.dispersion)
        positive = variance > 0
        return np.asarray((y - expected) * np.sqrt(weights / np.where(positive, variance, np.inf)))
    unit = state.family.unit_deviance(y, expected, trials, state.dispersion)
    return np.asarray(np.sign(y - expected) * np.sqrt(weights * np.maximum(unit, 0.0)))


def _cumulative(state: GlmmState) -> tuple[Floats, Floats]:
    """Return P(Y < y) and P(Y <= y), (n_obs,) each."""
    return state.fitted_family.cumulative(state.problem.observed.y, state.eta, state.trials, state.phi)


def _shares(state: GlmmState, rng: np.random.Generator) -> Floats:
    """Return P(Y < y) + U P(Y = y), (n_obs,)."""
    below, upto = _cumulative(state)
    share = below + rng.uniform(size=len(below)) * (upto - below) if state.family.is_counted else upto
    return np.asarray(np.clip(share, ROUNDING, 1 - ROUNDING))


def quantile_residuals(state: GlmmState, rng: np.random.Generator) -> Floats:
    """Return normal quantiles of P(Y < y) + U P(Y = y), (n_obs,)."""
    return np.asarray(special.ndtri(_shares(state, rng)))


def surrogate_residuals(state: GlmmState, rng: np.random.Generator) -> Floats:
    """Return latent responses drawn within their categories, less their means, (n_obs,)."""
    share = _shares(state, rng)
    match state.family.link:
        case "logit":
            return np.asarray(special.logit(share))
        case "probit":
            return np.asarray(special.ndtri(share))
        case _:
            # the smallest extreme value's distribution, 1 - exp(-exp(x)), has the mean -gamma
            return np.asarray(np.log(-np.log1p(-share)) + np.euler_gamma)
