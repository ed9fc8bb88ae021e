"""R-squared and intraclass correlations of generalised models, on the link scale.

The residual variance there is the family's (Nakagawa, Johnson and Schielzeth 2017): pi^2 / 3 for the logit, 1 for the
probit, pi^2 / 6 for the complementary log-log link, of one trial; by the lognormal approximation log(1 + 1 / l) for
Poisson's, log(1 + 1 / l + d) for the negative binomial and log(1 + d) for the gamma family, l the mean of the model
without fixed effects.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.families.binomial import Binomial
from mixedmodels.families.gamma import Gamma
from mixedmodels.families.negative_binomial import NegativeBinomial
from mixedmodels.families.poisson import Poisson
from mixedmodels.fit.generalized import fit_generalized
from mixedmodels.inference.r2 import random_variances

if TYPE_CHECKING:
    from mixedmodels.fit.generalized import GlmmState

OF_LINKS = {"logit": math.pi**2 / 3, "probit": 1.0, "cloglog": math.pi**2 / 6}


def latent_parts(state: GlmmState) -> tuple[float, float, float]:
    """Return the variances of the fixed part, of the random effects and of the residual on the link scale.

    Raises
    ------
    InferenceError
        If no such residual variance is known for the family.
    """
    fixed = state.design.X[:, list(state.kept)] @ state.beta
    of_fixed = float(np.var(fixed - fixed[0], ddof=1))
    random = sum(random_variances(state).values())
    match state.family:
        case Binomial():
            return of_fixed, random, OF_LINKS[state.family.link]
        case Gamma():
            return of_fixed, random, math.log1p(_dispersion(state))
        case Poisson():
            return of_fixed, random, math.log1p(1 / null_mean(state))
        case NegativeBinomial():
            return of_fixed, random, math.log1p(1 / null_mean(state) + _dispersion(state))
    raise InferenceError(
        f"R-squared and intraclass correlations take a residual variance on the link scale, and none is known for the "
        f"family {state.family.name!r}."
    )


def _dispersion(state: GlmmState) -> float:
    assert state.dispersion is not None
    return state.dispersion


def null_mean(state: GlmmState) -> float:
    """Return exp(b_0 + s^2 / 2) of the model with an intercept and the same random effects, (log link)."""
    design = state.design
    X = np.ones((design.n_obs, 1))
    null = fit_generalized(state.problem.with_design(replace(design, X=X, x_names=("Intercept",))))
    offset = 0.0 if design.offset is None else design.offset
    mean = np.exp(null.beta[0] + 0.5 * sum(random_variances(null).values()) + offset)
    return float(np.mean(mean))


def generalized_r2(state: GlmmState) -> dict[str, float]:
    """Return ``marginal`` and ``conditional`` R-squared; errors as for ``latent_parts``."""
    fixed, random, residual = latent_parts(state)
    total = fixed + random + residual
    return {"marginal": fixed / total, "conditional": (fixed + random) / total}


def generalized_icc(state: GlmmState) -> dict[str, float]:
    """Return ``adjusted`` and ``unadjusted`` intraclass correlation; errors as for ``latent_parts``."""
    fixed, random, residual = latent_parts(state)
    return {"adjusted": random / (random + residual), "unadjusted": random / (fixed + random + residual)}
