"""Covariances of a fit's parameters, from the curvature of what it maximised: some held, penalties subtracted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from mixedmodels.design.records import Floats
from mixedmodels.fit.curvature import Curvature
from mixedmodels.fit.held import Holds
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.inference.curvature import SMALLEST_SCALE, null_space

NO_PART = 1e-7
"""Share of a direction that counts as none."""

STEP_RELATIVE = 1e-5
"""Step of differences of a penalty's derivative."""


@dataclass(frozen=True)
class Estimate:
    """Where a fit ended, and what it was asked to hold and to penalise.

    Attributes
    ----------
    likelihood
        In the fixed effects that were not held, all covariances free.
    beta
        All fixed effects, (n_fixed,).
    S
        Covariances as ratios to the residual variance, packed.
    scale
        Residual variance.
    holds
        Parameters held.
    beta_penalty
        Derivative of the penalty on the fixed effects; None without one.
    covariance_penalty
        Derivative of the penalty on the ratios, (n_packed,) -> (n_packed,); None without one.
    selected
        Positions of the fixed effects that a penalty did not make zero; None without one.
    theta
        The covariances as theta, user's units, where it is known: far from the origin of a covariate it has more digits
        than S. None to compute it.
    """

    likelihood: Likelihood
    beta: Floats
    S: Floats
    scale: float
    holds: Holds
    beta_penalty: Callable[[Floats], Any] | None = None
    covariance_penalty: Callable[[Floats], Any] | None = None
    selected: tuple[int, ...] | None = None
    theta: Floats | None = None

    @property
    def n_estimated(self) -> int:
        """Fixed effects that were not held."""
        return len(self.holds.estimated)

    @cached_property
    def flat(self) -> tuple[Floats, Floats]:
        """Where the likelihood is flat: directions of the residual variance (m,) and of S~ times it, (m, n_theta)."""
        problem, reml = self.likelihood.problem, self.likelihood.reml
        flat = problem.identification.flat(reml)[: 0 if self.covariance_penalty is not None else None]
        return flat[:, 0], flat[:, 1:]

    @cached_property
    def curvature(self) -> Curvature:
        """That of the log-likelihood less penalties."""
        estimated, p = self.holds.estimated, self.n_estimated
        theta = self.likelihood.theta(self.S) if self.theta is None else self.theta
        found = self.likelihood.curvature(theta, self.likelihood.residual(self.beta[estimated]), self.scale)
        gradient, hessian = found.gradient.copy(), found.hessian.copy()
        if self.beta_penalty is not None:
            C = found.basis.coordinates(np.eye(p))
            hessian[:p, :p] -= C.T @ _differences(self.beta_penalty, self.beta)[np.ix_(estimated, estimated)] @ C
        if self.covariance_penalty is not None:
            P = found.to_packed
            gradient[p:-1] -= self.covariance_penalty(self.S) @ P
            hessian[p:-1, p:-1] -= P.T @ _differences(self.covariance_penalty, self.S) @ P
        return replace(found, gradient=gradient, hessian=hessian)


@dataclass(frozen=True)
class ParameterCovariance:
    """How well the parameters of a fit are known.

    The inverse of minus the Hessian of the log-likelihood, less penalties, in the directions that are free, of
    coordinates that have no origins. At a boundary the Hessian need not be negative definite: then the covariances that
    stand there are taken as known, and failing that all. Functions of what is taken as known have no covariance, nor
    have those that change along a direction in which the likelihood is flat.

    Attributes
    ----------
    curvature
        Where it comes from.
    used
        Positions among all parameters of those that it is about, the fixed effects that were not held first.
    jacobian
        Their functions as functions of the parameters of the Hessian, in the user's coordinates.
    root
        R with R R' the covariance of the latter, in coordinates without origins; None where there is none.
    known
        Directions taken as known, one a column, in the user's coordinates.
    flat
        Flat directions, one a row, in coordinates without origins.
    """

    curvature: Curvature
    used: npt.NDArray[np.intp]
    jacobian: Floats
    root: Floats | None
    known: Floats
    flat: Floats

    def whiten(self, rows: Floats) -> Floats:
        """Return linear functions of all parameters, (n_rows, n_params), as w with w_l'w_m their covariance.

        Functions without a covariance are nan.
        """
        own = rows[:, self.used] @ self.jacobian
        if self.root is None:
            return np.where(own.any(axis=1), np.nan, 0.0)[:, None]
        inner = self.curvature.rows(own)
        lost = (own @ self.known).any(axis=1) | _moved(inner, self.flat)
        whitened = inner @ self.root if self.root.size else np.zeros((len(rows), 1))
        whitened[lost] = np.nan
        return whitened

    def of(self, rows: Floats) -> Floats:
        """Return the covariance of linear functions of all parameters, (n_rows, n_rows), nan where there is none."""
        whitened = self.whiten(rows)
        return np.asarray(whitened @ whitened.T)


def covariance_of_parameters(estimate: Estimate) -> ParameterCovariance:
    """Return that of fixed effects and ratios to the residual variance, zero for those held.

    Fixed effects that a penalty made zero have none.
    """
    holds = estimate.holds
    is_natural = any(not hold.is_ratio for hold in holds.covariances)
    held = [holds.n_fixed + hold.index for hold in holds.covariances]
    used = [*holds.estimated, *range(holds.n_fixed, holds.n_params)]
    J = _ratios_in_natural(estimate) if is_natural else np.eye(len(used))
    J[[used.index(place) for place in held]] = 0.0
    found = _natural(estimate) if is_natural else _ratios(estimate)
    if estimate.selected is not None:
        zeros = [k for k, j in enumerate(holds.estimated) if j not in estimate.selected]
        found = replace(found, known=np.hstack([found.known, np.eye(len(found.known))[:, zeros]]))
    return replace(found, used=np.array(used, dtype=np.intp), jacobian=J)


def standard_errors_of_covariances(estimate: Estimate) -> Floats:
    """Return the standard errors of the covariances in natural units, (n_packed,), zero for those held there."""
    holds = estimate.holds
    found = _natural(estimate)
    p, size = estimate.n_estimated, len(found.used)
    errors = np.sqrt(np.diag(found.of(np.eye(size))))[p:-1].copy()
    errors[[hold.index for hold in holds.covariances if not hold.is_ratio or hold.value == 0]] = 0.0
    return errors


def _ratios(estimate: Estimate) -> ParameterCovariance:
    """Return the covariance of estimated fixed effects and ratios, the residual variance profiled out."""
    found = estimate.curvature
    size = estimate.n_estimated + len(estimate.S)
    free = np.eye(size)[:, [k for k in range(size) if k not in _held(estimate)]]
    residual, covariances = estimate.flat
    flat = covariances - np.outer(residual, found.covariances)
    return _inverse(estimate, found.without_scale(), free, _beside(estimate.n_estimated, flat))


def _ratios_in_natural(estimate: Estimate) -> Floats:
    """Return estimated fixed effects and ratios S = C / s as functions of fixed effects, covariances C and s."""
    p, S = estimate.n_estimated, estimate.S
    J = np.eye(p + len(S), p + len(S) + 1)
    J[p:, p:-1] /= estimate.scale
    J[p:, -1] = -S / estimate.scale
    return J


def _natural(estimate: Estimate) -> ParameterCovariance:
    """Return the covariance of estimated fixed effects b, covariances C and residual variance s.

    The inverse observed information in (b, C, s), free parameters only: S = C / s, t = log s. A covariance held as a
    ratio moves with s.
    """
    p, scale, found = estimate.n_estimated, estimate.scale, estimate.curvature
    S, gradient = found.covariances, found.gradient
    size, slope = len(gradient), gradient[p:-1]
    J = np.eye(size)
    J[p:-1, p:-1] /= scale
    J[p:-1, -1], J[-1, -1] = -S / scale, 1 / scale
    natural = J.T @ found.hessian @ J
    natural[p:-1, -1] -= slope / scale**2
    natural[-1, p:-1] -= slope / scale**2
    natural[-1, -1] += (2 * slope @ S - gradient[-1]) / scale**2
    M = np.eye(p + len(estimate.S) + 1)
    for hold in estimate.holds.covariances:
        M[p + hold.index, -1] = hold.value if hold.is_ratio else 0.0
    residual, covariances = estimate.flat
    flat = _beside(p, np.column_stack([covariances, residual]))
    return _inverse(estimate, natural, np.delete(M, _held(estimate), axis=1), flat)


def _beside(n_fixed: int, flat: Floats) -> Floats:
    """Return directions of the covariances as directions of all parameters."""
    return np.hstack([np.zeros((len(flat), n_fixed)), flat])


def _held(estimate: Estimate) -> list[int]:
    """Return what is not free among estimated fixed effects and covariances: those held, and those made zero."""
    holds, selected = estimate.holds, estimate.selected
    zeros = [] if selected is None else [k for k, j in enumerate(holds.estimated) if j not in selected]
    return [*zeros, *(estimate.n_estimated + hold.index for hold in holds.covariances)]


def _inverse(estimate: Estimate, hessian: Floats, free: Floats, flat: Floats) -> ParameterCovariance:
    """Return the covariance of parameters, from the Hessian in coordinates that have no origins.

    Parameters
    ----------
    estimate
        The fit.
    hessian
        In fixed effects, covariances and perhaps the residual variance, (m, m).
    free
        The parameters as functions of those that are free, (n, n_free), in the user's coordinates.
    flat
        Directions of the parameters in which the likelihood is flat, (n_flat, m).
    """
    found, n = estimate.curvature, len(free)
    nothing = ParameterCovariance(found, np.arange(n), np.eye(n), None, np.zeros((n, 0)), flat)
    for known in _taken_as_known(estimate, n):
        is_known = free[known].any(axis=0)
        left = _orthonormal(found.directions(free[:, ~is_known]))
        open_ones = _within(left, flat)
        root = _inverse_root_beside(left.T @ hessian @ left, open_ones)
        if root is not None:
            return replace(nothing, root=left @ root, known=free[:, is_known], flat=open_ones @ left.T)
    return nothing


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of what independent columns span."""
    return np.asarray(np.linalg.qr(columns / np.linalg.norm(columns, axis=0))[0])


def _within(free: Floats, flat: Floats) -> Floats:
    """Return the directions z of free parameters, orthonormal, for which free z is a combination of the flat ones."""
    if not len(flat):
        return np.zeros((0, free.shape[1]))
    size = np.linalg.norm(flat, axis=1)[:, None]
    solutions = null_space(np.hstack([free, -(flat / size).T]))[:, : free.shape[1]]
    _, length, rows = np.linalg.svd(solutions, full_matrices=False)
    return np.asarray(rows[length > NO_PART])


def _moved(rows: Floats, flat: Floats) -> npt.NDArray[np.bool_]:
    """Return which functions of the parameters change along flat directions."""
    size = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(flat, axis=1))
    return np.asarray((np.abs(rows @ flat.T) > NO_PART * size).any(axis=1))


def _inverse_root_beside(hessian: Floats, flat: Floats) -> Floats | None:
    """Return a root of the inverse of minus a Hessian beside directions in which it is zero; None if not definite."""
    if not len(flat):
        return _inverse_root_of_negative(hessian)
    size = np.sqrt(np.abs(np.diag(hessian)))
    size = np.maximum(size, SMALLEST_SCALE * size.max(initial=1e-300))
    basis = null_space(flat * size).T / size[:, None]
    root = _inverse_root_of_negative(basis.T @ hessian @ basis)
    return None if root is None else basis @ root


def _taken_as_known(estimate: Estimate, n_params: int) -> Iterator[list[int]]:
    """Yield what is taken as known in turn: nothing, the covariances at a boundary, all covariances."""
    p = estimate.n_estimated
    yield []
    yield [p + k for k in estimate.likelihood.at_boundary(estimate.S)]
    yield list(range(p, n_params))


def _differences(slope: Callable[[Floats], Any], at: Floats) -> Floats:
    """Return the symmetric derivative of a gradient by central differences, (k, k)."""
    steps = STEP_RELATIVE * np.maximum(np.abs(at), 1e-3 * max(float(np.abs(at).max(initial=0.0)), 1e-300))
    columns = [
        (np.asarray(slope(at + step)) - np.asarray(slope(at - step))) / (2 * step.sum()) for step in np.diag(steps)
    ]
    second = np.array(columns).reshape(len(at), len(at))
    return np.asarray(0.5 * (second + second.T))


def _inverse_root_of_negative(hessian: Floats) -> Floats | None:
    """Return R with R R' the inverse of minus a Hessian, or None if it is not negative definite."""
    if not len(hessian):
        return np.zeros_like(hessian)
    size = np.sqrt(np.abs(np.diag(hessian)))
    if not (np.isfinite(hessian).all() and (size > 0).all()):
        return None
    try:
        L = np.linalg.cholesky(-hessian / np.outer(size, size))
    except np.linalg.LinAlgError:
        return None
    return np.asarray(solve_triangular(L, np.diag(1 / size), lower=True).T)
