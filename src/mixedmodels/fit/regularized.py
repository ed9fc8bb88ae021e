"""Fixed effects under penalties with corners, lasso, elastic net and SCAD, on the least squares criterion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.fit.likelihood import Likelihood

SCAD_A = 3.7
"""The second constant of SCAD that Fan and Li (2001) recommend."""


@dataclass(frozen=True)
class LeastSquares:
    """(b - b^)' A (b - b^), the generalised least squares criterion in the fixed effects.

    Attributes
    ----------
    estimate
        b^, (n_fixed,).
    information
        A = X' V^-1 X, (n_fixed, n_fixed).
    """

    estimate: Floats
    information: Floats

    @classmethod
    def at(cls, likelihood: Likelihood, S: Floats, scale: float) -> LeastSquares:
        """Return the criterion at some ratios to the residual variance and that variance."""
        solution = likelihood.solve(S)
        return cls(solution.beta, np.asarray(np.linalg.inv(solution.unscaled_cov) / scale))

    @property
    def units(self) -> Floats:
        """Standard errors of each fixed effect, the others known, (n_fixed,)."""
        return 1 / np.sqrt(np.diag(self.information))


def coordinate_descent(
    squares: LeastSquares, lasso: Floats, ridge: Floats, start: Floats | None, *, tol: float, maxit: int
) -> tuple[Floats, bool]:
    """Return the minimum of the criterion + sum lasso |b| + sum ridge b^2, exact in each coordinate, and if it is one.

    Friedman, Hastie and Tibshirani (2010), on X' V^-1 X and the least squares estimate, which hold all that the data
    say: a sweep costs n_fixed^2 whatever the number of rows. When the set of zeros has settled, the others are solved.

    Parameters
    ----------
    squares
        The criterion.
    lasso, ridge
        Weights, (n_fixed,).
    start
        First values; None starts at least squares.
    tol
        Largest change in a sweep, in standard errors, at which it stops.
    maxit
        Most sweeps.
    """
    A, target = squares.information, squares.information @ squares.estimate
    b = squares.estimate.copy() if start is None else start.copy()
    for _ in range(maxit):
        before = b.copy()
        for j in range(len(b)):
            rest = target[j] - A[j] @ b + A[j, j] * b[j]
            b[j] = np.sign(rest) * max(abs(rest) - 0.5 * lasso[j], 0.0) / (A[j, j] + ridge[j])
        if (np.abs(b - before) <= tol * squares.units).all():
            return _settled(squares, lasso, ridge, b), True
    return b, False


def _settled(squares: LeastSquares, lasso: Floats, ridge: Floats, b: Floats) -> Floats:
    """Return the exact minimum with the signs that b has, or b itself if a sign would change."""
    active = np.flatnonzero(b)
    A = squares.information[np.ix_(active, active)] + np.diag(ridge[active])
    target = (squares.information @ squares.estimate)[active] - 0.5 * lasso[active] * np.sign(b[active])
    exact = np.zeros_like(b)
    exact[active] = np.linalg.solve(A, target) if len(active) else 0.0
    return exact if (np.sign(exact) == np.sign(b)).all() else b


def scad(squares: LeastSquares, weights: Floats, start: Floats | None, tol: float, maxit: int) -> tuple[Floats, bool]:
    """Return a minimum of the criterion + 2 SCAD(b) by local linear approximation (Zou and Li 2008), and if it is one.

    Each step is a lasso with the weights alpha p'(|b|): alpha up to |b| = alpha, falling to zero at 3.7 alpha
    (Fan and Li 2001). Lengths are in standard errors, so that alpha does not depend on units.
    """
    units = squares.units
    b, converged = (squares.estimate.copy() if start is None else start.copy()), False
    for _ in range(maxit):
        size = np.abs(b) / units
        slope = np.where(size <= weights, 1.0, np.clip(SCAD_A * weights - size, 0, None) / ((SCAD_A - 1) * weights))
        slope = np.where(weights > 0, slope, 0.0)
        following, converged = coordinate_descent(
            squares, 2 * weights * slope / units, 0 * units, b, tol=tol, maxit=maxit
        )
        if (np.abs(following - b) <= tol * units).all():
            return following, converged
        b = following
    return b, False
