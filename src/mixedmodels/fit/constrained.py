"""Covariances held at values other than zero: the criterion under equality constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from mixedmodels.design.records import Floats
from mixedmodels.errors import FitError
from mixedmodels.fit.held import Hold, with_held_values
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.fit.penalized import BetaPenalty

MAX_ITERATIONS = 500
DECREASE_TOL = 1e-13
"""Decrease of the deviance per row at which the optimiser stops."""


@dataclass(frozen=True)
class HeldMinimum:
    """The minimum under constraints.

    Attributes
    ----------
    theta
        User's units.
    scale
        Residual variance.
    deviance
        -2 log-likelihood, twice the penalty added.
    """

    theta: Floats
    scale: float
    deviance: float
    converged: bool
    gradient_norm: float
    n_iterations: int
    n_evaluations: int


def minimize_held(
    likelihood: Likelihood,
    holds: tuple[Hold, ...],
    start: Floats | None,
    penalty: BetaPenalty | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> HeldMinimum:
    """Return the minimum of the deviance with some covariances held, as ratios or in natural units.

    Over (theta~, t) with residual variance s = s^ exp(t): deviance(theta~) + m (exp(-d) - 1 + d),
    d = log(s / s2(theta~)), by sequential least squares programming (Kraft 1988), the covariances being quadratic in
    theta~. With a penalty, the fixed effects are those under it at each (theta~, s), and twice the penalty is added.

    Parameters
    ----------
    likelihood
        The criterion.
    holds
        What is held; a variance held at zero is not among them.
    start
        First ratios to the residual variance, packed; None starts from the fit without holds.
    penalty
        On the fixed effects.
    max_iterations
        Most of its iterations.

    Raises
    ------
    FitError
        If no positive semidefinite covariance has the held values.
    """
    covariances, model, reml = likelihood.covariances, likelihood.problem.model, likelihood.reml
    natural = any(not hold.is_ratio for hold in holds)
    first, scale0 = _start(likelihood, holds, start)
    theta0 = covariances.theta(first)
    assert theta0 is not None
    x0 = model.to_engine(theta0)
    if natural:
        x0 = np.append(x0, 0.0)
    n, dof = likelihood.n_obs, likelihood.dof

    def split(x: Floats) -> tuple[Floats, float]:
        return (x[:-1], float(x[-1])) if natural else (x, 0.0)

    def evaluate(inner: Floats, t: float) -> tuple[float, float, Floats, Floats]:
        """Return the deviance, penalty added, and s2, and the derivatives of both in theta~."""
        if penalty is None:
            deviance, s2, gradient, _, s2_gradient, _ = model.evaluate(inner, reml)
            return deviance, s2, gradient, s2_gradient
        return _penalized(likelihood, penalty, inner, scale0 * float(np.exp(t)) if natural else None)

    def value(x: Floats) -> tuple[float, Floats]:
        inner, t = split(x)
        deviance, s2, gradient, s2_gradient = evaluate(inner, t)
        if not natural:
            return deviance / n, gradient / n
        d = np.log(scale0 / s2) + t
        slope = dof * (1 - np.exp(-d))
        total = deviance + dof * (np.exp(-d) - 1 + d)
        return total / n, np.append(gradient - slope * s2_gradient / s2, slope) / n

    sizes = _sizes(likelihood)
    units = np.array([abs(hold.value) or sizes[hold.index] for hold in holds])

    def residual(x: Floats) -> Floats:
        inner, t = split(x)
        packed = covariances.packed(model.to_user(inner))
        factor = np.array([1.0 if hold.is_ratio else scale0 * np.exp(t) for hold in holds])
        held = packed[[hold.index for hold in holds]] * factor
        return np.asarray((held - [hold.value for hold in holds]) / units)

    def jacobian(x: Floats) -> Floats:
        inner, t = split(x)
        rows = np.array([likelihood.covariance_slope(inner, hold.index) for hold in holds])
        factor = np.array([1.0 if hold.is_ratio else scale0 * np.exp(t) for hold in holds])
        rows = rows * (factor / units)[:, None]
        if not natural:
            return np.asarray(rows)
        by_scale = [0.0 if hold.is_ratio else r + hold.value / u
                    for hold, r, u in zip(holds, residual(x), units, strict=True)]  # fmt: skip
        return np.column_stack([rows, by_scale])

    run: Any = optimize.minimize  # its overloads do not know this form of constraints
    found = run(
        value,
        x0,
        jac=True,
        method="SLSQP",
        constraints={"type": "eq", "fun": residual, "jac": jacobian},
        options={"maxiter": max_iterations, "ftol": DECREASE_TOL},
    )
    inner, t = split(np.asarray(found.x))
    deviance, s2, *_ = evaluate(inner, t)
    scale = scale0 * float(np.exp(t)) if natural else s2
    if natural:
        d = np.log(scale / s2)
        deviance += dof * (np.exp(-d) - 1 + d)
    gradient, rows = value(found.x)[1], jacobian(found.x)
    multipliers = np.linalg.lstsq(rows.T, gradient, rcond=None)[0]
    norm = float(np.abs(gradient - rows.T @ multipliers).max(initial=0.0))
    met = bool(np.abs(residual(found.x)).max() < 1e-8)
    return HeldMinimum(
        model.to_user(inner), scale, float(deviance), met and norm < 1e-5, norm, int(found.nit), int(found.nfev)
    )


def _penalized(
    likelihood: Likelihood, penalty: BetaPenalty, inner: Floats, scale: float | None
) -> tuple[float, float, Floats, Floats]:
    """Return the deviance and s2 at the fixed effects under a penalty, which is added, and derivatives in theta~.

    At their best the fixed effects add nothing to the derivative of the whole.
    """
    S = likelihood.covariances.packed(likelihood.problem.model.to_user(inner))
    beta = penalty.best(S, scale)
    s2 = likelihood.scale(S, beta)
    deviance = -2 * likelihood.value(S, beta) + 2 * penalty.value(beta)
    score, log_scale = likelihood.slopes_at(S, beta)
    J = np.array([likelihood.covariance_slope(inner, k) for k in range(len(S))])
    return deviance, s2, -2 * score @ J, s2 * log_scale @ J


def _start(likelihood: Likelihood, holds: tuple[Hold, ...], start: Floats | None) -> tuple[Floats, float]:
    """Return packed ratios that meet the holds, and a residual variance."""
    covariances = likelihood.covariances
    variances = covariances.variances()
    if start is None:
        theta = likelihood.problem.model.minimize(likelihood.reml, None, 50, 1).theta
        first = covariances.packed(theta)
        first[variances] = np.maximum(first[variances], 1e-3 * likelihood.unit_covariances()[variances])
    else:
        first = start.copy()
    scale = likelihood.solve(first).scale
    held = {hold.index for hold in holds}
    free = [k for block in covariances.blocks for k in block.places if k not in held]
    off_diagonal = [k for k in free if k not in variances]
    candidate = with_held_values(holds, first, scale)
    for _ in range(60):
        if covariances.theta(candidate) is not None:
            return candidate, scale
        candidate[off_diagonal] *= 0.5
    correlated = {k for block in covariances.blocks if block.size > 1 for k in block.places}
    candidate[[k for k in free if k in variances and k in correlated]] = 10 * np.abs(candidate).max()
    if covariances.theta(candidate) is None:
        raise FitError("No positive semidefinite covariance has the values that are held. Change them.")
    return candidate, scale


def _sizes(likelihood: Likelihood) -> Floats:
    """Return what each covariance held at zero is measured by: that of effects as large as the residual."""
    out, unit = np.ones(likelihood.covariances.n_packed), likelihood.unit_covariances()
    for block in likelihood.covariances.blocks:
        sd = np.sqrt(np.diag(block.covariance(unit)))
        out[list(block.places)] = np.outer(sd, sd)[np.tril_indices(block.size)]
    return out
