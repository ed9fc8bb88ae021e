"""Gradient and Hessian of a log-likelihood where no digits are lost to far origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.fit.fixed_root import Basis


@dataclass(frozen=True)
class Curvature:
    """Derivatives of a log-likelihood in (g, S~, t), which have no origins: fixed effects, covariances, log variance.

    Attributes
    ----------
    basis
        Of the columns of X: X b = X~ g.
    to_packed, from_packed
        Linear maps from S~ to the packed covariances S, (n_packed, n_theta), and back.
    covariances
        S~ at the point, (n_theta,), ratios to the residual variance.
    gradient, hessian
        (p + n_theta + 1,) and (p + n_theta + 1, p + n_theta + 1); t is the logarithm of the residual variance.
    """

    basis: Basis
    to_packed: Floats
    from_packed: Floats
    covariances: Floats
    gradient: Floats
    hessian: Floats

    @property
    def n_fixed(self) -> int:
        """Fixed effects."""
        return len(self.basis.mean)

    def rows(self, rows: Floats) -> Floats:
        """Return linear functions of (b, S, ...), one a row, as functions of (g, S~, ...); more columns stay."""
        p, end = self.n_fixed, self.n_fixed + len(self.to_packed)
        fixed = self.basis.coordinates(rows[:, :p]) if p else rows[:, :0]
        return np.hstack([fixed, rows[:, p:end] @ self.to_packed, rows[:, end:]])

    def directions(self, columns: Floats) -> Floats:
        """Return directions of (b, S, ...), one a column, as directions of (g, S~, ...); more rows stay."""
        p, end = self.n_fixed, self.n_fixed + len(self.to_packed)
        fixed = self.basis.coefficients(columns[:p]) if p else columns[:0]
        return np.vstack([fixed, self.from_packed @ columns[p:end], columns[end:]])

    def without_scale(self) -> Floats:
        """Return the Hessian in (g, S~), the residual variance profiled out."""
        H = self.hessian
        return np.asarray(H[:-1, :-1] - np.outer(H[-1, :-1], H[-1, :-1]) / H[-1, -1])

    def profiled(self) -> Floats:
        """Return the Hessian in (b, S), the residual variance profiled out."""
        D = self.directions(np.eye(self.n_fixed + len(self.to_packed)))
        return np.asarray(D.T @ self.without_scale() @ D)
