"""Where packed parameters stand in theta, and effects in the engine's factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mixedmodels.design.records import Floats

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Block:
    """One covariance block: random coefficients or a variance component.

    Attributes
    ----------
    factor
        Position of its grouping factor in the design.
    columns
        Positions of its columns in the factor, in the order of ``effects``.
    effects
        Positions among the random coefficients; empty for a component.
    component
        Position of the variance component, or -1.
    theta
        Positions of its lower triangle in theta, column by column; a single one for a component.
    """

    factor: int
    columns: tuple[int, ...]
    effects: tuple[int, ...]
    component: int
    theta: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The blocks of a model, and the maps between theta and covariances.

    Attributes
    ----------
    k_re, k_vc
        Numbers of random coefficients and of variance components.
    blocks
        Every block.
    """

    k_re: int
    k_vc: int
    blocks: tuple[Block, ...]

    @property
    def n_theta(self) -> int:
        """Number of parameters of the engine."""
        return sum(len(block.theta) for block in self.blocks)

    @property
    def k_re2(self) -> int:
        """Covariance parameters of the random coefficients."""
        return self.k_re * (self.k_re + 1) // 2

    def theta(self, cov_re: Floats, vcomp: Floats) -> Floats | None:
        """Return theta with these ratios to the residual variance; None where a covariance is not positive.

        Parameters
        ----------
        cov_re
            (k_re, k_re).
        vcomp
            (k_vc,).
        """
        theta = np.zeros(self.n_theta)
        for block in self.blocks:
            if block.component >= 0:
                if not vcomp[block.component] >= 0:
                    return None
                theta[list(block.theta)] = np.sqrt(vcomp[block.component])
            else:
                root = cholesky_root(cov_re[np.ix_(block.effects, block.effects)])
                if root is None:
                    return None
                theta[list(block.theta)] = root.T[np.triu_indices(len(block.effects))]
        return theta

    def covariances(self, theta: Floats) -> tuple[Floats, Floats]:
        """Return ``cov_re`` (k_re, k_re) and ``vcomp`` (k_vc,) as ratios to the residual variance."""
        cov_re, vcomp = np.zeros((self.k_re, self.k_re)), np.zeros(self.k_vc)
        for block in self.blocks:
            if block.component >= 0:
                vcomp[block.component] = theta[block.theta[0]] ** 2
            else:
                Lambda = lower_triangle(theta[list(block.theta)], len(block.effects))
                cov_re[np.ix_(block.effects, block.effects)] = Lambda @ Lambda.T
        return cov_re, vcomp

    def pack(self, cov_re: Floats, vcomp: Floats) -> Floats:
        """Return covariances packed, (k_re2 + k_vc,): the lower triangle by row, then the components."""
        return np.concatenate([cov_re[np.tril_indices(self.k_re)], vcomp])

    def unpack(self, packed: Floats) -> tuple[Floats, Floats]:
        """Return ``cov_re`` and ``vcomp`` from a packed vector."""
        lower = np.zeros((self.k_re, self.k_re))
        lower[np.tril_indices(self.k_re)] = packed[: self.k_re2]
        return lower + np.tril(lower, -1).T, packed[self.k_re2 :].copy()


def cholesky_root(covariance: Floats) -> Floats | None:
    """Return a lower L with diagonal >= 0 and L L' = covariance, singular ones included; None if it is not >= 0."""
    if not np.isfinite(covariance).all():
        return None
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        if values[0] < -1e-12 * max(float(np.abs(values).max()), 1e-300):
            return None
        upper = np.asarray(np.linalg.qr((vectors * np.sqrt(np.clip(values, 0, None))).T, mode="r"))
        return np.asarray((upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]).T)


def lower_triangle(theta: Floats, size: int) -> Floats:
    """Return the lower triangular matrix whose columns are stacked in theta."""
    Lambda = np.zeros((size, size))
    column, row = np.triu_indices(size)
    Lambda[row, column] = theta
    return Lambda
