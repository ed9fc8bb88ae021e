"""The exact restricted likelihood-ratio test of the only variance in a model (Crainiceanu and Ruppert 2004).

With mu_1 .. mu_K the eigenvalues of Z'P0Z, P0 the projection off X in the weights, and w independent standard normals,
the statistic under a zero variance has the law of their equation 9:

    sup over lambda >= 0 of (n - p) log(1 + N(lambda) / D(lambda)) - sum_s log(1 + lambda mu_s)
    N = sum_s lambda mu_s w_s^2 / (1 + lambda mu_s),   D = sum_s w_s^2 / (1 + lambda mu_s) + sum_{s > K} w_s^2

Equal eigenvalues are put together, their w^2 a chi-squared; the supremum is found on a grid of log lambda and then by
Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

_GRID = 160
_LOG_LAMBDA = (-14.0, 18.0)
_NEWTON_STEPS = 4
_SAME_EIGENVALUE = 1e-8
_BATCH = 2_000


@dataclass(frozen=True)
class _Law:
    """The law of the statistic.

    Attributes
    ----------
    mu, multiplicity
        Distinct eigenvalues, relative to the largest, and how often each occurs, (k,).
    df
        n - p.
    """

    mu: Floats
    multiplicity: Floats
    df: int

    def draw(self, n: int, generator: np.random.Generator) -> Floats:
        """Return n draws; lambda is in units of the inverse of the largest eigenvalue."""
        w2 = generator.chisquare(self.multiplicity, size=(n, len(self.mu)))
        rest = self.df - self.multiplicity.sum()
        total = w2.sum(axis=1) + (generator.chisquare(rest, size=n) if rest > 0 else 0.0)
        grid = np.linspace(*_LOG_LAMBDA, _GRID)
        shrunk = self._shrunk(grid)
        left = total - (1 - shrunk) @ w2.T
        values = self.df * np.log(total / left) + (np.log(shrunk) @ self.multiplicity)[:, None]
        refined = self._climb(w2, total, grid[values.argmax(axis=0)])
        return np.asarray(np.maximum(0.0, np.maximum(values.max(axis=0), refined)))

    def _climb(self, w2: Floats, total: Floats, log_lambda: Floats) -> Floats:
        """Return the criterion after Newton steps from each start, (n,)."""
        longest = (_LOG_LAMBDA[1] - _LOG_LAMBDA[0]) / _GRID
        for _ in range(_NEWTON_STEPS):
            shrunk = self._shrunk(log_lambda)
            slope = -shrunk * (1 - shrunk)
            left = self._left(shrunk, w2, total)
            d1, d2 = (slope * w2).sum(axis=1) / left, (slope * (2 * shrunk - 1) * w2).sum(axis=1) / left
            gradient = -self.df * d1 - (1 - shrunk) @ self.multiplicity
            curvature = -self.df * (d2 - d1**2) + slope @ self.multiplicity
            concave = curvature < 0
            step = np.where(concave, -gradient / np.where(concave, curvature, 1.0), 0.0)
            log_lambda = log_lambda + np.clip(step, -longest, longest)
        shrunk = self._shrunk(log_lambda)
        return np.asarray(self.df * np.log(total / self._left(shrunk, w2, total)) + np.log(shrunk) @ self.multiplicity)

    def _shrunk(self, log_lambda: Floats) -> Floats:
        """Return 1 / (1 + lambda mu), (len(log_lambda), k)."""
        return np.asarray(1 / (1 + np.exp(log_lambda)[:, None] * self.mu))

    @staticmethod
    def _left(shrunk: Floats, w2: Floats, total: Floats) -> Floats:
        """Return D, (n,): the residual sum of squares at each draw's lambda."""
        return np.asarray(total - ((1 - shrunk) * w2).sum(axis=1))


def simulate_rlrt(design: Design, n: int, seed: int | np.random.Generator | None) -> Floats:
    """Return draws of the statistic under a zero variance, (n,).

    Parameters
    ----------
    design
        A model with one grouping factor of one random effect a level.
    n
        Draws.
    seed
        Of NumPy's generator, or one.
    """
    generator = np.random.default_rng(seed)
    law = _law(design)
    return np.concatenate([law.draw(min(_BATCH, n - first), generator) for first in range(0, n, _BATCH)])


def _law(design: Design) -> _Law:
    factor = design.factors[0]
    root = np.ones(design.n_obs) if design.weights is None else np.sqrt(design.weights)
    z = root if factor.Z is None else root * factor.Z[:, 0]
    Q = _orthonormal(design.X * root[:, None])
    ZtZ = np.bincount(factor.codes, weights=z**2, minlength=factor.n_levels)
    by_column = [np.bincount(factor.codes, weights=z * q, minlength=factor.n_levels) for q in Q.T]
    ZtQ = np.reshape(by_column, (Q.shape[1], factor.n_levels)).T
    mu = np.linalg.eigvalsh(np.diag(ZtZ) - ZtQ @ ZtQ.T)[::-1]
    mu = mu[mu > _SAME_EIGENVALUE * mu[0]] / mu[0]
    first = np.r_[True, np.abs(np.diff(mu)) > _SAME_EIGENVALUE]
    multiplicity = np.diff(np.r_[np.flatnonzero(first), len(mu)])
    return _Law(mu[first], multiplicity.astype(float), design.n_obs - Q.shape[1])


def _orthonormal(X: Floats) -> Floats:
    """Return an orthonormal basis of the columns of X, aliased ones or not."""
    size = np.linalg.norm(X, axis=0)
    U, s, _ = np.linalg.svd(X / np.where(size > 0, size, 1.0), full_matrices=False)
    return np.asarray(U[:, s > s.max(initial=0.0) * _SAME_EIGENVALUE])
