"""Covariances held at values other than zero: the criterion under equality constraints."""

from __future__ import annotations

from collections.abc import Callable
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
CONSTRAINT_TOL = 1e-8
"""How far from its value a held parameter may be, relative to it."""
SLOPE_TOL = 1e-5
"""Largest slope along the constraints at a minimum, of the deviance per row in theta~."""
DIGITS_TOL = 1e-8
"""What covariances may lose of theta, relative to the largest variance in the engine's units."""
STEP_SCALED = 1e-4
"""Step of differences of that slope."""


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
        First ratios to the residual variance, packed; None starts from the fit without holds, and from effects as
        large as the residual, correlated one way and the other, for there may be several minima.
    penalty
        On the fixed effects.
    max_iterations
        Most of its iterations.

    Raises
    ------
    FitError
        If no positive semidefinite covariance has the held values, or none can be evaluated.
    """
    covariances, model, reml = likelihood.covariances, likelihood.problem.model, likelihood.reml
    natural = any(not hold.is_ratio for hold in holds)
    packed, scale0 = _starts(likelihood, holds, start)
    thetas = [covariances.theta(S) for S in packed]
    starts = [np.append(model.to_engine(theta), [0.0] * natural) for theta in thetas if theta is not None]
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

    ends = [_minimize(value, x0, residual, jacobian, max_iterations) for x0 in starts]
    found = [end for end in ends if end is not None]
    if not found:
        raise FitError("The fit with a covariance held overflows or is perfect wherever it starts. Hold another value.")
    best = min(found, key=lambda each: (np.abs(residual(each.x)).max() >= CONSTRAINT_TOL, each.fun))
    x = best.x
    inner, t = split(x)
    deviance, s2, *_ = evaluate(inner, t)
    scale = scale0 * float(np.exp(t)) if natural else s2
    if natural:
        d = np.log(scale / s2)
        deviance += dof * (np.exp(-d) - 1 + d)
    multipliers = np.linalg.lstsq(jacobian(x).T, value(x)[1], rcond=None)[0]

    def slope(at: Floats) -> Floats:
        return value(at)[1] - jacobian(at).T @ multipliers

    norm = float(np.abs(slope(x)).max(initial=0.0))
    met = bool(np.abs(residual(x)).max() < CONSTRAINT_TOL)
    return HeldMinimum(
        model.to_user(inner),
        scale,
        float(deviance),
        met and norm < SLOPE_TOL and not _is_saddle(slope, x, jacobian(x)),
        norm,
        int(best.nit),
        int(best.nfev),
    )


def _minimize(value: Any, x0: Floats, residual: Any, jacobian: Any, max_iterations: int) -> Any:
    """Return where scipy's optimiser ends; None where the engine cannot evaluate what it tries."""
    run: Any = optimize.minimize  # its overloads do not know this form of constraints
    constraints = {"type": "eq", "fun": residual, "jac": jacobian}
    options = {"maxiter": max_iterations, "ftol": DECREASE_TOL}
    try:
        with np.errstate(all="ignore"):  # far steps overflow
            return run(value, x0, jac=True, method="SLSQP", constraints=constraints, options=options)
    except ValueError:  # the engine's, of extreme covariances
        return None


def _is_saddle(slope: Callable[[Floats], Floats], x: Floats, rows: Floats) -> bool:
    """Return whether the curvature is negative in a direction that the constraints leave, by differences of slopes.

    Parameters
    ----------
    slope
        Derivative of the Lagrangian.
    x
        Where it is zero.
    rows
        Derivatives of the constraints there, (n_constraints, n_x).
    """
    _, sizes, directions = np.linalg.svd(rows)
    free = directions[int((sizes > 1e-10 * sizes.max(initial=0.0)).sum()) :]
    if not len(free):
        return False
    moves = STEP_SCALED * free
    bends = np.array([(slope(x + move) - slope(x - move)) / (2 * STEP_SCALED) for move in moves]) @ free.T
    curvature = np.linalg.eigvalsh(0.5 * (bends + bends.T))
    return bool(curvature[0] < -1e-4 * np.abs(curvature).max())


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


def _starts(likelihood: Likelihood, holds: tuple[Hold, ...], start: Floats | None) -> tuple[list[Floats], float]:
    """Return packed ratios that meet the holds, and a residual variance."""
    if start is not None:
        scale = likelihood.solve(start).scale
        return [_feasible(likelihood, holds, start, scale)], scale
    unit, variances = likelihood.unit_covariances(), likelihood.covariances.variances()
    best = likelihood.problem.model.minimize(likelihood.reml, None, 50, 1).theta
    _check_digits(likelihood, best)
    first = likelihood.covariances.packed(best)
    first[variances] = np.maximum(first[variances], 1e-3 * unit[variances])
    scale = likelihood.solve(first).scale
    size = _sizes(likelihood)
    covariance = np.where(np.isin(np.arange(len(size)), variances), 0.0, 0.5 * size)
    around = [first, size - covariance, size - 3 * covariance]
    is_diagonal = not covariance.any()
    return [_feasible(likelihood, holds, S, scale) for S in around[: 2 if is_diagonal else 3]], scale


def _check_digits(likelihood: Likelihood, theta: Floats) -> None:
    """Covariances must tell what theta does: those of random coefficients far from the origin lose its digits.

    Raises
    ------
    FitError
        They do not.
    """
    packed, model = likelihood.covariances, likelihood.problem.model
    again = packed.theta(packed.packed(theta))
    if again is not None:
        there, back = (packed.packed(model.to_engine(each)) for each in (theta, again))
        if np.abs(there - back).max(initial=0.0) <= DIGITS_TOL * np.abs(there).max(initial=0.0):
            return
    raise FitError(
        "No covariance can be held: a covariate with random coefficients is so far from zero that its covariances at "
        "zero keep too few digits. Take a constant near its mean off it, as in I(x - 2000)."
    )


def _feasible(likelihood: Likelihood, holds: tuple[Hold, ...], first: Floats, scale: float) -> Floats:
    """Return packed ratios that meet the holds, near others.

    Raises
    ------
    FitError
        If no positive semidefinite covariance has the held values.
    """
    covariances = likelihood.covariances
    variances = covariances.variances()
    held = {hold.index for hold in holds}
    free = [k for block in covariances.blocks for k in block.places if k not in held]
    off_diagonal = [k for k in free if k not in variances]
    candidate = with_held_values(holds, first, scale)
    for _ in range(60):
        if covariances.theta(candidate) is not None:
            return candidate
        candidate[off_diagonal] *= 0.5
    correlated = {k for block in covariances.blocks if block.size > 1 for k in block.places}
    candidate[[k for k in free if k in variances and k in correlated]] = 10 * np.abs(candidate).max()
    if covariances.theta(candidate) is None:
        raise FitError("No positive semidefinite covariance has the values that are held. Change them.")
    return candidate


def _sizes(likelihood: Likelihood) -> Floats:
    """Return what each covariance held at zero is measured by: that of effects as large as the residual."""
    out, unit = np.ones(likelihood.covariances.n_packed), likelihood.unit_covariances()
    for block in likelihood.covariances.blocks:
        sd = np.sqrt(np.diag(block.covariance(unit)))
        out[list(block.places)] = np.outer(sd, sd)[np.tril_indices(block.size)]
    return out
