"""Covariances of a fit's parameters, from the curvature of what it maximised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.records import Floats

if TYPE_CHECKING:
    from mixedmodels.mixedlm.results import MixedLMResults

STEP_RELATIVE = 1e-5
"""Step of differences of a penalty's derivative."""


def of_parameters(result: MixedLMResults) -> Floats:
    """Return the covariance of fixed effects and ratios to the residual variance, (k, k), zero for those held.

    The inverse of minus the Hessian of the log-likelihood, less penalties, in the free parameters; nan where that has
    none, see ``_inverse``, and for fixed effects that a penalty made zero.
    """
    holds, k_fe, k = result.record.holds, result.k_fe, len(result._packed)
    is_natural = any(not hold.is_ratio for hold in holds.covariances)
    places = np.array([*result._estimated, *range(k_fe, k)], dtype=np.intp)
    covariance = np.zeros((k, k))
    covariance[np.ix_(places, places)] = _ratios_from_natural(result) if is_natural else _ratios(result)
    held = [k_fe + hold.index for hold in holds.covariances]
    covariance[held, :] = covariance[:, held] = 0.0
    if result.record.selected is not None:
        lost = [j for j in range(k_fe) if j not in result.record.selected]
        covariance[lost, :] = covariance[:, lost] = np.nan
    return covariance


def of_natural_covariances(result: MixedLMResults) -> Floats:
    """Return the standard errors of the covariances in natural units, (k_re2 + k_vc,), zero for those held there."""
    p, holds = len(result._estimated), result.record.holds
    variance = np.diag(_natural(result, np.eye(p + result.k_re2 + result.k_vc + 1)))[p:-1].copy()
    variance[[hold.index for hold in holds.covariances if not hold.is_ratio or hold.value == 0]] = 0.0
    return np.sqrt(variance)


def _ratios(result: MixedLMResults) -> Floats:
    """Return the covariance of estimated fixed effects and ratios, the residual variance profiled out."""
    _, joint = result._curvature
    hessian = joint[:-1, :-1] - np.outer(joint[-1, :-1], joint[-1, :-1]) / joint[-1, -1]
    free = np.eye(len(hessian))[:, [k for k in range(len(hessian)) if k not in _held(result)]]
    return _inverse(result, hessian, free, np.eye(len(hessian)))


def _ratios_from_natural(result: MixedLMResults) -> Floats:
    """Return the covariance of estimated fixed effects and ratios S = C / s."""
    p, S = len(result._estimated), result._packed[result.k_fe :]
    J = np.eye(p + len(S), p + len(S) + 1)
    J[p:, p:-1] /= result.scale
    J[p:, -1] = -S / result.scale
    return _natural(result, J)


def _natural(result: MixedLMResults, rows: Floats) -> Floats:
    """Return the covariance of linear functions of estimated fixed effects b, covariances C and residual variance s.

    The inverse observed information in (b, C, s), free parameters only: S = C / s, t = log s. A covariance held as a
    ratio moves with s.
    """
    p, S, scale = len(result._estimated), result._packed[result.k_fe :], result.scale
    gradient, hessian = result._curvature
    size, slope = len(hessian), gradient[p:-1]
    J = np.eye(size)
    J[p:-1, p:-1] /= scale
    J[p:-1, -1], J[-1, -1] = -S / scale, 1 / scale
    natural = J.T @ hessian @ J
    natural[p:-1, -1] -= slope / scale**2
    natural[-1, p:-1] -= slope / scale**2
    natural[-1, -1] += (2 * slope @ S - gradient[-1]) / scale**2
    M = np.eye(size)
    for hold in result.record.holds.covariances:
        M[p + hold.index, -1] = hold.value if hold.is_ratio else 0.0
    return _inverse(result, natural, np.delete(M, _held(result), axis=1), rows)


def _held(result: MixedLMResults) -> list[int]:
    """Return what is not free among estimated fixed effects and covariances: those held, and those made zero."""
    p, selected = len(result._estimated), result.record.selected
    zeros = [] if selected is None else [k for k, j in enumerate(result._estimated) if j not in selected]
    return [*zeros, *(p + hold.index for hold in result.record.holds.covariances)]


def _inverse(result: MixedLMResults, hessian: Floats, free: Floats, rows: Floats) -> Floats:
    """Return the covariance of linear functions of parameters, from the Hessian in some combinations of them.

    At a boundary the Hessian need not be negative definite: then the covariances that stand there are taken as known,
    and failing that all. Functions of what is taken as known have no covariance, nan.

    Parameters
    ----------
    result
        The fit.
    hessian
        In fixed effects, covariances and perhaps the residual variance, (m, m).
    free
        The parameters as functions of those that are free, (m, n_free).
    rows
        Functions of the parameters, (n_rows, m).
    """
    hessian = free.T @ hessian @ free
    for known in _taken_as_known(result, len(free)):
        is_known = free[known].any(axis=0)
        inverse = _inverse_of_negative(hessian[np.ix_(~is_known, ~is_known)])
        if inverse is not None:
            combined = rows @ free
            covariance = combined[:, ~is_known] @ inverse @ combined[:, ~is_known].T
            lost = combined[:, is_known].any(axis=1)
            covariance[lost, :] = covariance[:, lost] = np.nan
            return covariance
    return np.full((len(rows), len(rows)), np.nan)


def _taken_as_known(result: MixedLMResults, n_params: int) -> Iterator[list[int]]:
    """Yield what is taken as known in turn: nothing, the covariances at a boundary, all covariances."""
    p = len(result._estimated)
    yield []
    yield [p + k for k in result._likelihood.at_boundary(result._packed[result.k_fe :])]
    yield list(range(p, n_params))


def curvature(result: MixedLMResults) -> tuple[Floats, Floats]:
    """Return gradient and Hessian of the log-likelihood less penalties: see ``Likelihood.joint``."""
    params, p = result.record.params, len(result._estimated)
    fixed = params.fe_params[result._estimated]
    gradient, hessian = result._likelihood.joint(params.cov_re, params.vcomp, fixed, result.scale)
    if result.fe_pen is not None:
        free = np.ix_(result._estimated, result._estimated)
        hessian[:p, :p] -= _differences(result.fe_pen.deriv, params.fe_params)[free]
    if result.cov_pen is not None and result.k_re:
        part = slice(p, p + result.k_re2)
        slope = _slope_of_covariances(result)
        at = result._packed[result.k_fe : result.k_fe + result.k_re2]
        gradient[part] -= slope(at)
        hessian[part, part] -= _differences(slope, at)
    return gradient, hessian


def _slope_of_covariances(result: MixedLMResults) -> Callable[[Floats], Floats]:
    """Return the derivative of the penalty on the covariances, as a function of the packed ratios."""
    layout = result._likelihood.layout

    def slope(packed: Floats) -> Floats:
        cov_re, _ = layout.unpack(np.append(packed, np.zeros(layout.k_vc)))
        return np.asarray(result.cov_pen.deriv(cov_re, np.linalg.pinv(cov_re)), dtype=np.float64)

    return slope


def _differences(slope: Callable[[Floats], Floats], at: Floats) -> Floats:
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
