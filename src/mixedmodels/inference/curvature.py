"""The curvature of the criterion in the variance parameters, where it has any.

psi = (theta~, log sigma) are the engine's parameters. The criterion is flat along psi where S~ = Lambda~ Lambda~' and
sigma move along a direction that the data do not see (``fit/identification.py``), and to first order where a column of
Lambda~ is zero; what remains is inverted in the coordinates that have curvature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import theta_elements
from mixedmodels.fit.findings import NEGLIGIBLE_SD_SCALED

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.information import Information
    from mixedmodels.fit.problem import Problem

    Mask = npt.NDArray[np.bool_]

FLAT_CURVATURE = 1e-7
"""Eigenvalue of the Hessian, scaled to a unit diagonal, that counts as none."""

SMALLEST_SCALE = 1e-4
"""Root of a parameter's curvature, relative to the largest, below which it is taken as this."""

DEPENDENT = 1e-9
"""Singular value, relative to the largest, that counts as zero."""


def has_first_order_effect(information: Information) -> Mask:
    """Return which theta~ move Lambda~ Lambda~' to first order, (n_theta,): those in columns that are not zero."""
    factor, _, column = information.parameters.T
    place = factor * (1 + column.max(initial=0)) + column
    length = np.sqrt(np.bincount(place, information.theta**2))
    return np.asarray(length[place] > NEGLIGIBLE_SD_SCALED)


def flat_directions(problem: Problem, reml: bool, information: Information) -> Floats:
    """Return directions of psi along which the criterion is flat at a fit, (n_flat, n_theta + 1), orthonormal.

    A direction d of phi = sigma^2 (1, S~) is one of psi where dLambda~ Lambda~' + Lambda~ dLambda~' = d_S - d_0 S~ has
    a solution; d log sigma is d_0 / 2.
    """
    flat = problem.identification.flat(reml)
    theta = information.theta
    k = len(theta)
    if not len(flat):
        return np.zeros((0, k + 1))
    regular = has_first_order_effect(information)
    S, J = _squares(problem.design, theta)
    J = J[:, regular]
    system = np.hstack([J, -(flat[:, 1:] - np.outer(flat[:, 0], S)).T])
    size = np.linalg.norm(system, axis=0)
    size[size == 0] = 1.0
    solutions = null_space(system / size) / size
    psi = np.zeros((len(solutions), k + 1))
    psi[:, np.append(regular, False)] = solutions[:, : J.shape[1]]
    psi[:, -1] = solutions[:, J.shape[1] :] @ flat[:, 0] / 2
    _, length, rows = np.linalg.svd(psi, full_matrices=False)
    return np.asarray(rows[length > DEPENDENT * length.max(initial=0.0)])


def null_space(A: Floats) -> Floats:
    """Return an orthonormal basis of what A maps to zero, one row each, (n_null, n_columns)."""
    _, values, rows = np.linalg.svd(A, full_matrices=True)
    return np.asarray(rows[np.count_nonzero(values > DEPENDENT * values.max(initial=0.0)) :])


def _squares(design: Design, theta: Floats) -> tuple[Floats, Floats]:
    """Return the elements S~ of theta~'s places, (k,), and their derivatives in theta~, (k, k)."""
    S, J = np.zeros(len(theta)), np.zeros((len(theta),) * 2)
    first = 0
    for factor in design.factors:
        own = range(first, first + factor.n_theta)
        first += factor.n_theta
        places = theta_elements(factor.block_sizes)
        Lambda = np.zeros((factor.n_effects,) * 2)
        for i, elements in zip(own, places, strict=True):
            for place in elements:
                Lambda[place] = theta[i]
        square = Lambda @ Lambda.T
        for j, elements in zip(own, places, strict=True):
            dLambda = np.zeros_like(Lambda)
            for place in elements:
                dLambda[place] = 1.0
            dS = dLambda @ Lambda.T
            dS += dS.T
            for i, at in zip(own, places, strict=True):
                J[i, j] = dS[at[0]]
        for i, at in zip(own, places, strict=True):
            S[i] = square[at[0]]
    return S, J


def inverse_root(matrix: Floats, flat: Floats, regular: Mask | None = None, least: float = FLAT_CURVATURE) -> Floats:
    """Return R, (k, n_directions), with R R' the inverse of a symmetric matrix where it is positive.

    Parameters
    ----------
    matrix
        (k, k).
    flat
        Directions in which it is known to be zero, (n_flat, k), independent.
    regular
        False for parameters to leave out, (k,); None leaves out none.
    least
        Eigenvalue, scaled to a unit diagonal, that counts as zero.
    """
    used = np.flatnonzero(np.ones(len(matrix), dtype=bool) if regular is None else regular)
    H = matrix[np.ix_(used, used)]
    basis = np.eye(len(used))
    if len(flat):
        size = np.sqrt(np.abs(np.diag(H)))
        size = np.maximum(size, SMALLEST_SCALE * size.max(initial=0.0))
        basis = null_space(flat[:, used] * size).T / size[:, None]
        H = basis.T @ H @ basis
    diagonal = np.diag(H)
    scale = np.where(diagonal > 0, np.sqrt(np.abs(diagonal)), np.inf)
    values, vectors = np.linalg.eigh(H / np.outer(scale, scale))
    positive = values > least
    root = np.zeros((len(matrix), np.count_nonzero(positive)))
    root[used] = basis @ (vectors[:, positive] / scale[:, None] / np.sqrt(values[positive]))
    return root


def inverse_squares(matrices: Floats, rows: Floats) -> Floats:
    """Return g'H^-1 g of rows g of several symmetric matrices H, where these are positive, (m, n_rows).

    Parameters
    ----------
    matrices
        (m, k, k).
    rows
        (m, n_rows, k).
    """
    diagonal = np.einsum("mii->mi", matrices)
    scale = np.where(diagonal > 0, np.sqrt(np.abs(diagonal)), np.inf)
    values, vectors = np.linalg.eigh(matrices / (scale[:, :, None] * scale[:, None, :]))
    along = (rows / scale[:, None, :]) @ vectors
    weight = np.where(values > FLAT_CURVATURE, 1.0 / np.where(values > FLAT_CURVATURE, values, 1.0), 0.0)
    return np.asarray(np.sum(along**2 * weight[:, None, :], axis=2))
