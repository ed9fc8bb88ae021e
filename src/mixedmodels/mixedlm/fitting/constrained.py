"""Covariances held at values other than zero: the criterion under equality constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from mixedmodels.design.records import Floats
from mixedmodels.errors import FitError
from mixedmodels.mixedlm.description.layout import lower_triangle
from mixedmodels.mixedlm.fitting.holds import Hold, packed_values
from mixedmodels.mixedlm.fitting.likelihood import Likelihood
from mixedmodels.mixedlm.fitting.penalized import FixedPenalty
from mixedmodels.mixedlm.reading.params import MixedLMParams

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
    start: MixedLMParams | None,
    penalty: FixedPenalty | None = None,
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
        First parameters; None starts from the diagonal.
    penalty
        On the fixed effects.

    Raises
    ------
    FitError
        If no positive semidefinite covariance has the held values.
    """
    layout, model, reml = likelihood.layout, likelihood.problem.model, likelihood.reml
    natural = any(not hold.is_ratio for hold in holds)
    first, scale0 = _start(likelihood, holds, start)
    theta0 = layout.theta(*layout.unpack(first))
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

    units = np.array([abs(hold.value) or _unit(likelihood, hold.index) for hold in holds])

    def residual(x: Floats) -> Floats:
        inner, t = split(x)
        packed = layout.pack(*layout.covariances(model.to_user(inner)))
        factor = np.array([1.0 if hold.is_ratio else scale0 * np.exp(t) for hold in holds])
        held = packed[[hold.index for hold in holds]] * factor
        return np.asarray((held - [hold.value for hold in holds]) / units)

    def jacobian(x: Floats) -> Floats:
        inner, t = split(x)
        rows = np.array([_covariance_slope(likelihood, inner, hold.index) for hold in holds])
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
        options={"maxiter": 500, "ftol": DECREASE_TOL},
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
    likelihood: Likelihood, penalty: FixedPenalty, inner: Floats, scale: float | None
) -> tuple[float, float, Floats, Floats]:
    """Return the deviance and s2 at the fixed effects under a penalty, which is added, and derivatives in theta~.

    At their best the fixed effects add nothing to the derivative of the whole.
    """
    layout = likelihood.layout
    cov_re, vcomp = layout.covariances(likelihood.problem.model.to_user(inner))
    fixed = penalty.fixed(cov_re, vcomp, scale)
    s2 = likelihood.scale(cov_re, vcomp, fixed)
    deviance = -2 * likelihood.value(cov_re, vcomp, fixed) + 2 * penalty.value(fixed)
    score, log_scale = likelihood.slopes_at(cov_re, vcomp, fixed)
    J = np.array([_covariance_slope(likelihood, inner, k) for k in range(likelihood.size)])
    return deviance, s2, -2 * score @ J, s2 * log_scale @ J


def _start(likelihood: Likelihood, holds: tuple[Hold, ...], start: MixedLMParams | None) -> tuple[Floats, float]:
    """Return packed ratios that meet the holds, and a residual variance."""
    layout = likelihood.layout
    if start is None:
        theta = likelihood.problem.model.minimize(likelihood.reml, None, 50, 1).theta
        first = layout.pack(*layout.covariances(theta))
        floor = layout.pack(*unit_covariances(likelihood))
        lower = 1e-3 * floor
        diagonal = np.flatnonzero(floor)
        first[diagonal] = np.maximum(first[diagonal], lower[diagonal])
    else:
        first = layout.pack(start.cov_re, start.vcomp)
    scale = likelihood.solve(*layout.unpack(first)).scale
    held = {hold.index for hold in holds}
    row, column = np.tril_indices(layout.k_re)
    off_diagonal = [k for k in range(layout.k_re2) if row[k] != column[k] and k not in held]
    candidate = packed_values(holds, first, scale)
    for _ in range(60):
        if layout.theta(*layout.unpack(candidate)) is not None:
            return candidate, scale
        candidate[off_diagonal] *= 0.5
    for k in range(layout.k_re2):
        if row[k] == column[k] and k not in held:
            candidate[k] = 10 * np.abs(candidate).max()
    if layout.theta(*layout.unpack(candidate)) is None:
        raise FitError("No positive semidefinite covariance has the values that are held. Change them.")
    return candidate, scale


def _unit(likelihood: Likelihood, index: int) -> float:
    """Return the size that a covariance held at zero is measured by: that of effects as large as the residual."""
    row, column = (int(places[index]) for places in np.tril_indices(likelihood.layout.k_re))
    sizes = np.diag(unit_covariances(likelihood)[0])
    return float(np.sqrt(sizes[row] * sizes[column]))


def unit_covariances(likelihood: Likelihood) -> tuple[Floats, Floats]:
    """Return the covariances of effects as large as the residual, uncorrelated in the engine's basis."""
    model, layout = likelihood.problem.model, likelihood.layout
    theta = np.zeros(layout.n_theta)
    for block in layout.blocks:
        size = max(len(block.effects), 1)
        column, row = np.triu_indices(size)
        theta[list(block.theta)] = (row == column).astype(np.float64)
    return layout.covariances(model.to_user(theta))


def _covariance_slope(likelihood: Likelihood, theta: Floats, index: int) -> Floats:
    """Return the derivative of one packed covariance in the engine's theta."""
    layout = likelihood.layout
    out = np.zeros_like(theta)
    if index >= layout.k_re2:
        for block, basis in zip(layout.blocks, likelihood._bases, strict=True):
            if block.component == index - layout.k_re2:
                out[block.theta[0]] = 2 * theta[block.theta[0]] * basis[0, 0] ** 2
        return out
    row, column = (int(a[index]) for a in np.tril_indices(layout.k_re))
    for block, basis in zip(layout.blocks, likelihood._bases, strict=True):
        if row in block.effects and column in block.effects:
            i, j = block.effects.index(row), block.effects.index(column)
            Lambda = lower_triangle(theta[list(block.theta)], len(block.effects))
            TL = basis @ Lambda
            slope = np.outer(basis[i], TL[j]) + np.outer(basis[j], TL[i])
            out[list(block.theta)] = slope.T[np.triu_indices(len(block.effects))]
    return out
