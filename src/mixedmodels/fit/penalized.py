"""Fixed effects under a smooth penalty at given covariances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.fit.held import HeldModel
from mixedmodels.fit.likelihood import Solution

MAX_STEPS = 200
DECREMENT_TOL = 1e-14
"""Decrease of the penalised deviance, relative to its number of degrees of freedom, at which Newton stops."""


class Penalty(Protocol):
    """A penalty on parameters; perhaps with ``deriv2``, the diagonal of its second derivative."""

    def func(self, params: Any) -> Any:
        """Return the penalty."""

    def deriv(self, params: Any) -> Any:
        """Return its derivative."""


@dataclass(frozen=True)
class BetaPenalty:
    """A penalty on all fixed effects, seen from those that are not held.

    Attributes
    ----------
    held
        The model with its holds.
    penalty
        Of all fixed effects.
    """

    held: HeldModel
    penalty: Penalty

    def value(self, estimated: Floats) -> float:
        """Return the penalty at the fixed effects that are not held, (n_free,)."""
        return float(self.penalty.func(self.held.all_beta(estimated)))

    def best(self, S: Floats, scale: float | None = None) -> Floats:
        """Return the fixed effects that maximise the penalised log-likelihood at some covariances, (n_free,).

        Parameters
        ----------
        S
            Ratios to the residual variance, packed.
        scale
            The residual variance; None for the most likely one.
        """
        likelihood = self.held.likelihood
        solution, free = likelihood.solve(S), list(self.held.free)
        return penalized_least_squares(solution, likelihood.dof, self.penalty, self.held.all_beta, free, scale=scale)


def penalized_least_squares(
    solution: Solution,
    dof: int,
    penalty: Penalty,
    all_beta: Callable[[Floats], Floats],
    free: list[int],
    *,
    scale: float | None = None,
) -> Floats:
    """Return the maximum of -dof/2 log q(b) - penalty(b), the residual variance profiled out, (n_fixed,).

    At a known residual variance s it is that of -q(b) / (2 s) - penalty(b).

    By Newton with the penalty's curvature where it gives one (``deriv2``), else by BFGS steps on its gradient, each
    halved until it descends.

    Parameters
    ----------
    solution
        Least squares at these covariances: q(b) / dof = scale + (b - b^)' A (b - b^) / dof.
    dof
        n, or n - p under REML.
    penalty
        With ``func``, ``deriv`` and perhaps ``deriv2``, of all fixed effects.
    all_beta
        Fills in those that are held.
    free
        Positions of the others.
    scale
        The residual variance, where it is known.
    """
    A = np.linalg.inv(solution.unscaled_cov)
    least = solution.beta

    def value(b: Floats) -> float:
        away = b - least
        rise = float(away @ A @ away)
        loss = dof * float(np.log1p(rise / (dof * solution.scale))) if scale is None else rise / scale
        return 0.5 * loss + float(penalty.func(all_beta(b)))

    def scaled(b: Floats) -> float:
        if scale is not None:
            return scale
        away = b - least
        return solution.scale + float(away @ A @ away) / dof

    b, current = least.copy(), value(least)
    for _ in range(MAX_STEPS):
        s = scaled(b)
        slope = A @ (b - least) / s + np.asarray(penalty.deriv(all_beta(b)))[free]
        curvature = A / s + np.diag(_curvature(penalty, all_beta(b))[free])
        step = np.linalg.solve(curvature, slope)
        decrement = float(slope @ step)
        length = 1.0
        while value(b - length * step) > current and length > 1e-12:
            length *= 0.5
        b = b - length * step
        current = min(current, value(b))
        if decrement <= DECREMENT_TOL * dof or length <= 1e-12:
            break
    return b


def _curvature(penalty: Penalty, fixed: Floats) -> Floats:
    """Return the diagonal of the penalty's second derivative where it is positive, else of a bound on it."""
    try:
        deriv2: Any = getattr(penalty, "deriv2", None)
        curvature = np.asarray(deriv2(fixed), dtype=np.float64)
        if curvature.shape == fixed.shape:
            return np.clip(curvature, 0, None)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        pass
    # deriv(b) / b bounds the curvature of the penalties that are concave in b^2 (Hunter and Li 2005).
    size = np.maximum(np.abs(fixed), 1e-8 * max(float(np.abs(fixed).max(initial=0.0)), 1e-300))
    slope = np.asarray(penalty.deriv(np.where(fixed == 0, size, fixed)), dtype=np.float64)
    return np.abs(slope) / size
