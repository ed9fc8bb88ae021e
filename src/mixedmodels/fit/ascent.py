"""Steps that improve covariances before a fit: of the EM algorithm, and along the gradient."""

from __future__ import annotations

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.fit.likelihood import NOT_POSITIVE, Likelihood


def em_steps(likelihood: Likelihood, S: Floats, n_iter: int) -> Floats:
    """Return the ratios after some steps of EM, the residual variance at its maximum after each, (n_packed,).

    Lindstrom and Bates (1988), section 3: the random effects are the missing data. S becomes the mean over the levels
    of E(b b' | y) / sigma^2, fixed effects integrated out under REML. With the residual variance maximised in between
    it is an ECME algorithm (Liu and Rubin 1994), and the likelihood never falls.

    Parameters
    ----------
    likelihood
        The criterion.
    S
        First ratios to the residual variance, packed.
    n_iter
        Number of steps.

    Raises
    ------
    DataError
        If S is not positive semidefinite.
    """
    S = S.copy()
    for _ in range(n_iter):
        S = _em_step(likelihood, S)
    return S


def _em_step(likelihood: Likelihood, S: Floats) -> Floats:
    covariances, model = likelihood.covariances, likelihood.problem.model
    theta = covariances.theta(S)
    if theta is None:
        raise DataError(NOT_POSITIVE)
    _, _, sigma, modes = model.solve(theta, likelihood.reml)
    variances = model.conditional_covariance(theta)
    out = np.zeros_like(S)
    for block in covariances.blocks:
        columns = list(block.columns)
        b = modes[block.factor][:, columns] / sigma
        spread = variances[block.factor][:, columns][:, :, columns].sum(axis=0)
        if likelihood.reml and likelihood.n_fixed:
            spread = spread + _spread_of_fixed(likelihood, theta, block.factor, columns)
        moment = (b.T @ b + spread) / len(b)
        if block.is_tied:
            out[list(block.places)] = np.trace(moment) / len(columns)
        else:
            out[list(block.places)] = (0.5 * (moment + moment.T))[np.tril_indices(block.size)]
    return out


def _spread_of_fixed(likelihood: Likelihood, theta: Floats, factor: int, columns: list[int]) -> Floats:
    """Return what the uncertainty of the fixed effects adds to the sum over levels of Var(b | y) / sigma^2."""
    problem = likelihood.problem
    design, model = problem.design, problem.model
    n_levels, n_effects = design.factors[factor].n_levels, design.factors[factor].n_effects
    known = model.conditional_covariance(theta)[factor]
    x = np.zeros((n_levels, likelihood.n_fixed))
    codes = [np.full(n_levels, -1, dtype=np.int32) for _ in design.factors]
    codes[factor] = np.arange(n_levels, dtype=np.int32)

    def form(z: Floats) -> Floats:
        Z: list[Floats | None] = [np.zeros((n_levels, f.n_effects)) for f in design.factors]
        Z[factor] = np.tile(z, (n_levels, 1))
        return np.asarray(model.quadratic_forms(theta, x, codes, Z))

    unit = np.eye(n_effects)[columns]
    own = [form(z) for z in unit]
    extra = np.zeros((len(columns), len(columns)))
    for i in range(len(columns)):
        for j in range(i + 1):
            full = own[i] if i == j else 0.5 * (form(unit[i] + unit[j]) - own[i] - own[j])
            extra[i, j] = extra[j, i] = float((full - known[:, columns[i], columns[j]]).sum())
    return extra


def steepest_ascent(likelihood: Likelihood, S: Floats, n_iter: int) -> Floats:
    """Return the ratios after some steps along the gradient in the engine's theta, each halved until it rises.

    Parameters
    ----------
    likelihood, S, n_iter
        As for ``em_steps``.

    Raises
    ------
    DataError
        If S is not positive semidefinite.
    """
    theta = likelihood.covariances.theta(S)
    if theta is None:
        raise DataError(NOT_POSITIVE)
    model = likelihood.problem.model
    inner, step = model.to_engine(theta), 1.0
    deviance, _, gradient, *_ = model.evaluate(inner, likelihood.reml)
    for _ in range(n_iter):
        downhill = -gradient / max(float(np.linalg.norm(gradient)), 1e-300)
        for _ in range(60):
            candidate = inner + step * downhill
            value = model.evaluate(candidate, likelihood.reml)
            if value[0] < deviance:
                break
            step *= 0.5
        else:
            break
        inner, deviance, gradient = candidate, value[0], value[2]
        step *= 2.0
    return likelihood.covariances.packed(model.to_user(inner))
