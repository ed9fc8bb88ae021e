"""Covariances of a fit's parameters, from the curvature of what it maximised: some held, penalties subtracted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.design.records import Floats
from mixedmodels.fit.held import Holds
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.fit.undetermined import flat_directions
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
    """

    likelihood: Likelihood
    beta: Floats
    S: Floats
    scale: float
    holds: Holds
    beta_penalty: Callable[[Floats], Any] | None = None
    covariance_penalty: Callable[[Floats], Any] | None = None
    selected: tuple[int, ...] | None = None

    @property
    def n_estimated(self) -> int:
        """Fixed effects that were not held."""
        return len(self.holds.estimated)

    @cached_property
    def flat(self) -> tuple[Floats, Floats]:
        """Where the likelihood is flat: directions of the residual variance (m,) and of S times it, (m, n_packed)."""
        penalized = self.covariance_penalty is not None
        problem, packed = self.likelihood.problem, self.likelihood.covariances
        residual, by_factor = flat_directions(problem, self.likelihood.reml)
        S = np.zeros((0 if penalized else len(residual), packed.n_packed))
        for out, k in zip(S, range(len(residual)), strict=False):
            for block in packed.blocks:
                own = by_factor[block.factor][k][np.ix_(block.columns[: block.size], block.columns[: block.size])]
                out[list(block.places)] = own[np.tril_indices(block.size)]
        return residual[: len(S)], S

    @cached_property
    def curvature(self) -> tuple[Floats, Floats]:
        """Gradient and Hessian of the log-likelihood less penalties: see ``Likelihood.joint``."""
        estimated, p = self.holds.estimated, self.n_estimated
        gradient, hessian = self.likelihood.joint(self.S, self.beta[estimated], self.scale)
        if self.beta_penalty is not None:
            hessian[:p, :p] -= _differences(self.beta_penalty, self.beta)[np.ix_(estimated, estimated)]
        if self.covariance_penalty is not None:
            gradient[p:-1] -= self.covariance_penalty(self.S)
            hessian[p:-1, p:-1] -= _differences(self.covariance_penalty, self.S)
        return gradient, hessian


def covariance_of_parameters(estimate: Estimate) -> Floats:
    """Return the covariance of fixed effects and ratios to the residual variance, zero for those held.

    The inverse of minus the Hessian of the log-likelihood, less penalties, in the free parameters; nan where that has
    none, see ``_inverse``, and for fixed effects that a penalty made zero.

    Returns
    -------
    ndarray, shape (n_fixed + n_packed, n_fixed + n_packed)
    """
    holds, n_fixed = estimate.holds, estimate.holds.n_fixed
    is_natural = any(not hold.is_ratio for hold in holds.covariances)
    places = np.array([*holds.estimated, *range(n_fixed, holds.n_params)], dtype=np.intp)
    covariance = np.zeros((holds.n_params, holds.n_params))
    covariance[np.ix_(places, places)] = _ratios_from_natural(estimate) if is_natural else _ratios(estimate)
    held = [n_fixed + hold.index for hold in holds.covariances]
    covariance[held, :] = covariance[:, held] = 0.0
    if estimate.selected is not None:
        lost = [j for j in range(n_fixed) if j not in estimate.selected]
        covariance[lost, :] = covariance[:, lost] = np.nan
    return covariance


def standard_errors_of_covariances(estimate: Estimate) -> Floats:
    """Return the standard errors of the covariances in natural units, (n_packed,), zero for those held there."""
    p, holds = estimate.n_estimated, estimate.holds
    variance = np.diag(_natural(estimate, np.eye(p + len(estimate.S) + 1)))[p:-1].copy()
    variance[[hold.index for hold in holds.covariances if not hold.is_ratio or hold.value == 0]] = 0.0
    return np.sqrt(variance)


def _ratios(estimate: Estimate) -> Floats:
    """Return the covariance of estimated fixed effects and ratios, the residual variance profiled out."""
    _, joint = estimate.curvature
    hessian = joint[:-1, :-1] - np.outer(joint[-1, :-1], joint[-1, :-1]) / joint[-1, -1]
    free = np.eye(len(hessian))[:, [k for k in range(len(hessian)) if k not in _held(estimate)]]
    residual, covariances = estimate.flat
    flat = covariances - np.outer(residual, estimate.S)
    return _inverse(estimate, hessian, free, np.eye(len(hessian)), _beside(estimate.n_estimated, flat))


def _ratios_from_natural(estimate: Estimate) -> Floats:
    """Return the covariance of estimated fixed effects and ratios S = C / s."""
    p, S = estimate.n_estimated, estimate.S
    J = np.eye(p + len(S), p + len(S) + 1)
    J[p:, p:-1] /= estimate.scale
    J[p:, -1] = -S / estimate.scale
    return _natural(estimate, J)


def _natural(estimate: Estimate, rows: Floats) -> Floats:
    """Return the covariance of linear functions of estimated fixed effects b, covariances C and residual variance s.

    The inverse observed information in (b, C, s), free parameters only: S = C / s, t = log s. A covariance held as a
    ratio moves with s.
    """
    p, S, scale = estimate.n_estimated, estimate.S, estimate.scale
    gradient, hessian = estimate.curvature
    size, slope = len(hessian), gradient[p:-1]
    J = np.eye(size)
    J[p:-1, p:-1] /= scale
    J[p:-1, -1], J[-1, -1] = -S / scale, 1 / scale
    natural = J.T @ hessian @ J
    natural[p:-1, -1] -= slope / scale**2
    natural[-1, p:-1] -= slope / scale**2
    natural[-1, -1] += (2 * slope @ S - gradient[-1]) / scale**2
    M = np.eye(size)
    for hold in estimate.holds.covariances:
        M[p + hold.index, -1] = hold.value if hold.is_ratio else 0.0
    residual, covariances = estimate.flat
    flat = _beside(p, np.column_stack([covariances, residual]))
    return _inverse(estimate, natural, np.delete(M, _held(estimate), axis=1), rows, flat)


def _beside(n_fixed: int, flat: Floats) -> Floats:
    """Return directions of the covariances as directions of all parameters."""
    return np.hstack([np.zeros((len(flat), n_fixed)), flat])


def _held(estimate: Estimate) -> list[int]:
    """Return what is not free among estimated fixed effects and covariances: those held, and those made zero."""
    holds, selected = estimate.holds, estimate.selected
    zeros = [] if selected is None else [k for k, j in enumerate(holds.estimated) if j not in selected]
    return [*zeros, *(estimate.n_estimated + hold.index for hold in holds.covariances)]


def _inverse(estimate: Estimate, hessian: Floats, free: Floats, rows: Floats, flat: Floats) -> Floats:
    """Return the covariance of linear functions of parameters, from the Hessian in some combinations of them.

    Functions that change along a direction in which the likelihood is flat have no covariance, nan. At a boundary the
    Hessian need not be negative definite: then the covariances that stand there are taken as known, and failing that
    all. Functions of what is taken as known have no covariance either.

    Parameters
    ----------
    estimate
        The fit.
    hessian
        In fixed effects, covariances and perhaps the residual variance, (m, m).
    free
        The parameters as functions of those that are free, (m, n_free).
    rows
        Functions of the parameters, (n_rows, m).
    flat
        Directions of the parameters in which the likelihood is flat, (n_flat, m).
    """
    hessian = free.T @ hessian @ free
    for known in _taken_as_known(estimate, len(free)):
        is_known = free[known].any(axis=0)
        left, combined = free[:, ~is_known], rows @ free
        open_ones = _within(left, flat)
        inverse = _inverse_beside(hessian[np.ix_(~is_known, ~is_known)], open_ones)
        if inverse is not None:
            covariance = combined[:, ~is_known] @ inverse @ combined[:, ~is_known].T
            lost = combined[:, is_known].any(axis=1) | _moved(combined[:, ~is_known], open_ones)
            covariance[lost, :] = covariance[:, lost] = np.nan
            return covariance
    return np.full((len(rows), len(rows)), np.nan)


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
    if not len(flat):
        return np.zeros(len(rows), dtype=bool)
    along = np.abs(rows @ flat.T)
    return np.asarray((along > NO_PART * (np.abs(rows) @ np.abs(flat.T)).max()).any(axis=1))


def _inverse_beside(hessian: Floats, flat: Floats) -> Floats | None:
    """Return the inverse of minus a Hessian beside directions in which it is zero; None if it is not definite there."""
    if not len(flat):
        return _inverse_of_negative(hessian)
    size = np.sqrt(np.abs(np.diag(hessian)))
    size = np.maximum(size, SMALLEST_SCALE * size.max(initial=1e-300))
    basis = null_space(flat * size).T / size[:, None]
    inverse = _inverse_of_negative(basis.T @ hessian @ basis)
    return None if inverse is None else basis @ inverse @ basis.T


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


def _inverse_of_negative(hessian: Floats) -> Floats | None:
    """Return the inverse of minus a Hessian, or None if it is not negative definite."""
    if not len(hessian):
        return np.zeros_like(hessian)
    size = np.sqrt(np.abs(np.diag(hessian)))
    if not (np.isfinite(hessian).all() and (size > 0).all()):
        return None
    scaled = -hessian / np.outer(size, size)
    try:
        np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(np.linalg.inv(scaled) / np.outer(size, size))
