"""The law of a likelihood ratio when variances are zero under the hypothesis.

In S, the model's covariance V0 = W^-1 + sum_i S_i G_i is linear, with information tr(P0 G_i P0 G_j) / 2 about
(V0, S_1, S_2, ...). At a hypothesis S = M S_0 M' of rank q in a block of m, the larger model adds the directions
U E N' + N E'U', which are free, and N C N' with C positive semidefinite of size r = m - q: a cone. Here U spans M,
and N what is orthogonal to it. Directions that the smaller model has, or that are free, are taken out of the
information about C by its Schur complement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.inference.chi_bar import lower_triangle, orthant_weights, semidefinite_weights

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.random_reductions import Place, Reduction

LIFT = 1e-3
"""What stands for zero in theta~, because the information is best computed inside of the boundary."""

_HALF = np.array([0.5, 0.5])


def boundary_law(state: FitState, reduction: Reduction, theta: Floats) -> tuple[Floats, int]:
    """Return weights w and m: the statistic is chi-squared with m + j degrees of freedom with probability w_j.

    Parameters
    ----------
    state
        The fit of the larger model.
    reduction
        What was taken out.
    theta
        The smaller model's estimate, (n_theta of it,).
    """
    r, q, place = reduction.removed, reduction.partners, reduction.place
    if r == 1:
        return _HALF, q
    own = np.arange(place.theta, place.theta + place.n_theta)
    J = _information(state, _null_theta(place, theta))
    others = [0, *(1 + j for j in range(len(theta) - place.n_theta_left + len(own)) if j not in own)]
    m = len(place.columns)
    if len(own) < m * (m + 1) // 2:
        gone = [j for j in range(m) if j not in place.kept]
        return orthant_weights(_schur(J[np.ix_(*[[*others, *(1 + own[[*place.kept, *gone]])]] * 2)], r)), 0
    T = state.problem.model.basis()[place.factor][np.ix_(place.columns, place.columns)]
    directions = _directions(np.asarray(np.linalg.solve(T, place.span), np.float64))
    basis = np.zeros((len(others) + len(own), len(J)))
    basis[range(len(others)), others] = 1.0
    basis[len(others) :, 1 + own] = directions
    return semidefinite_weights(_schur(basis @ J @ basis.T, r * (r + 1) // 2), r), q * r


def _null_theta(place: Place, theta: Floats) -> Floats:
    """Return the smaller model's estimate as a theta of the larger one."""
    before, after = theta[: place.theta], theta[place.theta + place.n_theta_left :]
    left = theta[place.theta : place.theta + place.n_theta_left]
    m = len(place.columns)
    if place.n_theta < m * (m + 1) // 2:
        own = np.zeros(place.n_theta)
        own[list(place.kept)] = left
        return np.concatenate([before, own, after])
    q = place.span.shape[1]
    Lambda = np.zeros((q, q))
    Lambda[lower_triangle(q)] = left
    # Z M Lambda is Z times a root of S with q columns; the triangle of its QR is the square root that theta holds.
    triangle = np.linalg.qr((place.span @ Lambda).T)[1].T
    full = np.zeros((m, m))
    full[:, : triangle.shape[1]] = triangle
    full *= np.where(np.diag(full) < 0, -1.0, 1.0)
    return np.concatenate([before, full[lower_triangle(m)], after])


def _information(state: FitState, theta: Floats) -> Floats:
    """Return twice the information about (log sigma^2 V0, S~), (n_theta + 1, n_theta + 1), just inside of theta."""
    model = state.problem.model
    inside = model.to_engine(state.problem.check_theta(theta))
    diagonal = model.parameters[:, 1] == model.parameters[:, 2]
    inside[diagonal & (np.abs(inside) < LIFT)] = LIFT
    terms = state.problem.covariance_derivatives(model.to_user(inside))
    J = np.empty((len(theta) + 1, len(theta) + 1))
    J[0, 0] = state.design.n_obs - state.fixed_rank
    J[0, 1:] = J[1:, 0] = terms.trace1
    J[1:, 1:] = terms.trace2
    return J


def _directions(span: Floats) -> Floats:
    """Return U E U', U E N' and, last, N C N', lower triangles by columns, scaled for `semidefinite_weights`.

    Parameters
    ----------
    span
        What the smaller model spans, (m, q).
    """
    m, q = span.shape
    Q = np.linalg.qr(np.hstack([span, np.eye(m)]))[0] if q else np.eye(m)
    U, N = Q[:, :q], Q[:, q:m]
    pairs = [(U[:, a], U[:, b]) for a in range(q) for b in range(a + 1)]
    pairs += [(U[:, a], N[:, b]) for a in range(q) for b in range(m - q)]
    pairs += [(N[:, a], N[:, b]) for a, b in zip(*lower_triangle(m - q), strict=True)]
    triangle = lower_triangle(m)
    rows = []
    for a, b in pairs:
        D = np.outer(a, a) if a is b or np.array_equal(a, b) else (np.outer(a, b) + np.outer(b, a)) / np.sqrt(2)
        rows.append(D[triangle])
    return np.array(rows)


def _schur(J: Floats, d: int) -> Floats:
    """Return the information about the last d directions when the others are estimated too."""
    if np.diag(J).min() <= 0:  # the data do not tell of one of them, and rounding is all that is left
        return np.zeros((d, d))
    size = np.sqrt(np.diag(J))
    J = J / np.outer(size, size)
    other, cone = J[:-d, :-d], J[-d:, :-d]
    G = J[-d:, -d:] - cone @ np.linalg.pinv(other, rcond=1e-10, hermitian=True) @ cone.T
    return np.asarray(G * np.outer(size[-d:], size[-d:]))
