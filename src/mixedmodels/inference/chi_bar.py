"""Weights of the chi-bar-square law of several variances at zero (Self and Liang 1987; Shapiro 1988).

Near the hypothesis the likelihood ratio is the squared length, in the information's metric G, of the projection of a
normal vector on the cone of what the larger model adds: r x r positive semidefinite matrices, or r variances >= 0.
That is a mixture of chi-squared laws with 0 .. d degrees of freedom, d the cone's dimension, whose weights are the
cone's intrinsic volumes. They are estimated from projections of a fixed sample: given class j, the squared lengths
a inside and b outside the cone are independent chi-squared with j and d - j, which EM separates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from mixedmodels.design.records import Floats

_SAMPLE = 10_000
_ITERATIONS = 300
_TOL = 1e-7
_EM_STEPS = 200
SINGULAR = 1e-10
"""Smallest eigenvalue of an information, relative to the largest, that counts as none: there is no law then."""

Projection = Callable[[Floats], Floats]


def orthant_weights(G: Floats) -> Floats:
    """Return the weights of chi-squared with 0 .. r degrees of freedom for r variances >= 0, (r + 1,).

    Parameters
    ----------
    G
        Information of the variances, (r, r).
    """
    return _weights(G, lambda x: np.maximum(x, 0.0))


def semidefinite_weights(G: Floats, r: int) -> Floats:
    """Return the weights of chi-squared with 0 .. d = r (r + 1) / 2 degrees of freedom, r x r covariances, (d + 1,).

    Parameters
    ----------
    G
        Information of the lower triangle by columns, off-diagonal elements times sqrt(2), (d, d).
    r
        Size of the covariance matrix.
    """
    rows, columns = lower_triangle(r)
    scale = np.where(rows == columns, 1.0, np.sqrt(0.5))

    def project(x: Floats) -> Floats:
        S = np.empty((len(x), r, r))
        S[:, rows, columns] = S[:, columns, rows] = x * scale
        values, vectors = np.linalg.eigh(S)
        positive = np.einsum("nij,nj,nkj->nik", vectors, np.maximum(values, 0.0), vectors)
        return np.asarray(positive[:, rows, columns] / scale)

    return _weights(G, project)


def lower_triangle(r: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the lower triangle of an r x r matrix by columns."""
    columns, rows = np.triu_indices(r)
    return rows, columns


def mixture_p(chisq: float, weights: Floats, free: int) -> float:
    """Return sum_j w_j P(chi2_(free + j) > chisq), where chi2_0 is zero."""
    if chisq <= 0:
        return 1.0
    df = free + np.arange(len(weights))
    tails = np.where(df > 0, special.chdtrc(np.maximum(df, 1), chisq), 0.0)
    return float(weights @ tails)


def _weights(G: Floats, project: Projection) -> Floats:
    d = len(G)
    values = np.linalg.eigvalsh(G)
    if values[0] <= SINGULAR * values[-1]:
        return np.full(d + 1, np.nan)
    G = G / values[-1]
    z = np.random.default_rng(0).standard_normal((_SAMPLE, d)) @ np.linalg.inv(np.linalg.cholesky(G))
    nearest = _nearest(z, G, project)
    inside = np.einsum("ni,ij,nj->n", nearest, G, nearest)
    outside = np.einsum("ni,ij,nj->n", z - nearest, G, z - nearest)
    return _separate(inside, outside, d)


def _nearest(z: Floats, G: Floats, project: Projection) -> Floats:
    """Return the points of the cone nearest to z in the metric G, by accelerated projected gradients."""
    x = y = project(z)
    momentum = 1.0
    for _ in range(_ITERATIONS):
        following = project(y - (y - z) @ G)
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        y = following + (momentum - 1) / next_momentum * (following - x)
        moved = np.abs(following - x).max()
        x, momentum = following, next_momentum
        if moved < _TOL:
            break
    return x


def _separate(inside: Floats, outside: Floats, d: int) -> Floats:
    """Return the share of each class by EM; class 0 has no inside, class d no outside."""
    tiny = 1e-8
    ends = (inside < tiny) | (outside < tiny)
    a, b, j = inside[~ends, None], outside[~ends, None], np.arange(1, d)
    log_density = (j / 2 - 1) * np.log(a) + ((d - j) / 2 - 1) * np.log(b)
    density = np.exp(log_density - special.gammaln(j / 2) - special.gammaln((d - j) / 2))
    middle = np.full(d - 1, 1 / (d - 1))
    for _ in range(_EM_STEPS):
        share = density * middle
        middle = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    n = len(inside)
    low, high = np.count_nonzero(inside < tiny) / n, np.count_nonzero((outside < tiny) & (inside >= tiny)) / n
    return np.concatenate([[low], (1 - low - high) * middle, [high]])
