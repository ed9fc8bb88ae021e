"""Covariances of random effects packed into one vector, and theta: the maps between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@lru_cache(maxsize=64)
def lower_places(size: int) -> Places:
    """Return row and column of each element of a lower triangle, row by row; made once, as small fits ask often."""
    return np.tril_indices(size)


@lru_cache(maxsize=64)
def upper_places(size: int) -> Places:
    """Return row and column of each element of an upper triangle, row by row."""
    return np.triu_indices(size)


@dataclass(frozen=True)
class CovarianceBlock:
    """One block along the diagonal of a grouping factor's covariance.

    Attributes
    ----------
    factor
        Position of the grouping factor in the design.
    columns
        Positions of its effects among those of the factor.
    theta
        Positions of its lower triangle in theta, column by column; a single one for a tied block.
    places
        Positions of its lower triangle in the packed vector, row by row; a single one for a tied block.
    """

    factor: int
    columns: tuple[int, ...]
    theta: tuple[int, ...]
    places: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows of the covariance; 1 for a tied block, whose effects have one common variance."""
        return int((2 * len(self.places)) ** 0.5)

    @property
    def is_tied(self) -> bool:
        """Whether several effects have one common variance."""
        return len(self.columns) > self.size

    def covariance(self, packed: Floats) -> Floats:
        """Return the block's covariance, (size, size)."""
        return from_lower(packed[list(self.places)], self.size)


@dataclass(frozen=True)
class PackedCovariances:
    """Where the covariances of a model stand in a vector S, relative to the residual variance.

    Attributes
    ----------
    n_packed
        Elements of S; those in no block are zero.
    blocks
        Every block.
    """

    n_packed: int
    blocks: tuple[CovarianceBlock, ...]

    @property
    def n_theta(self) -> int:
        """Number of parameters of the engine."""
        return sum(len(block.theta) for block in self.blocks)

    def theta(self, S: Floats) -> Floats | None:
        """Return theta, (n_theta,), user's units; None where a covariance is not positive semidefinite."""
        theta = np.zeros(self.n_theta)
        for block in self.blocks:
            root = cholesky_root(block.covariance(S))
            if root is None:
                return None
            theta[list(block.theta)] = root.T[upper_places(block.size)]
        return theta

    def packed(self, theta: Floats) -> Floats:
        """Return S, (n_packed,), from theta in the user's units."""
        S = np.zeros(self.n_packed)
        for block in self.blocks:
            Lambda = lower_triangle(theta[list(block.theta)], block.size)
            S[list(block.places)] = (Lambda @ Lambda.T)[lower_places(block.size)]
        return S

    def unit(self) -> Floats:
        """Return S with variances of one and no covariances, in every block."""
        S = np.zeros(self.n_packed)
        for block in self.blocks:
            S[list(block.places)] = np.eye(block.size)[lower_places(block.size)]
        return S

    def variances(self) -> list[int]:
        """Return the positions in S of the variances of every block."""
        return np.flatnonzero(self.unit()).tolist()


def from_lower(packed: Floats, size: int) -> Floats:
    """Return the symmetric matrix with this lower triangle, packed row by row."""
    lower = np.zeros((size, size))
    lower[lower_places(size)] = packed
    return np.asarray(lower + np.tril(lower, -1).T)


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
    column, row = upper_places(size)
    Lambda[row, column] = theta
    return Lambda
