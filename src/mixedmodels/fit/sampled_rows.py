"""Rows of a model by parts, in orthonormal bases of their columns: what a fit by sampling sums over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.fixed_root import Basis

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor

AT_A_TIME = 1 << 19
"""Rows that are copied at a time."""

DEPENDENT = 1e-9
"""Length of what the columns before leave of a column, relative to it, that counts as none."""


@dataclass(frozen=True)
class ColumnBasis:
    """An orthonormal basis of weighted columns: Q = W^1/2 (X - x_1 mean') T.

    Attributes
    ----------
    kept
        Columns that do not depend on those before them.
    mean
        What is taken off them, times the first one, (p,); zeros where that is no constant.
    to_basis
        T, upper triangular, (p, p).
    """

    kept: tuple[int, ...]
    mean: Floats
    to_basis: Floats

    @property
    def log_det(self) -> float:
        """log |det T^-1|."""
        return -float(np.log(np.abs(np.diag(self.to_basis))).sum())

    @property
    def raw_map(self) -> Floats:
        """Map from coefficients in the basis to those of the columns kept, (p, p)."""
        out = np.array(self.to_basis)
        if len(out):
            out[0] -= self.mean @ self.to_basis
        return out

    def columns(self, X: Floats, root: Floats | None) -> Floats:
        """Return rows of Q, (n, p).

        Parameters
        ----------
        X
            Rows of all columns, (n, n_columns).
        root
            Roots of their weights, (n,); None for ones.
        """
        kept = X[:, list(self.kept)]
        rows = (kept - X[:, :1] * self.mean) @ self.to_basis if len(self.kept) else kept
        return rows if root is None else rows * root[:, None]


def column_basis(X: Floats, root: Floats | None) -> ColumnBasis:
    """Return the basis of columns, those that depend on columns before them left out.

    Parameters
    ----------
    X
        (n_obs, n_columns).
    root
        Roots of the weights, (n_obs,); None for ones.
    """
    has_constant = X.shape[1] > 0 and X[0, 0] != 0 and bool((X[:, 0] == X[0, 0]).all())
    if has_constant and X.shape[1] == 1:
        length = abs(X[0, 0]) * np.sqrt(len(X) if root is None else root @ root)
        return ColumnBasis((0,), np.zeros(1), np.array([[1.0 / length]]))
    w = np.ones(len(X)) if root is None else root
    mean = np.zeros(X.shape[1])
    if has_constant:
        mean = (w**2 @ X) / (w @ w) / X[0, 0]
        mean[0] = 0.0
    columns = (X - X[:, :1] * mean) * w[:, None]
    kept: list[int] = []
    Q = np.empty((len(X), 0))
    for j, column in enumerate(columns.T):
        left = column - Q @ (Q.T @ column)
        left -= Q @ (Q.T @ left)
        length = float(np.linalg.norm(left))
        if length > DEPENDENT * float(np.linalg.norm(column)):
            kept.append(j)
            Q = np.column_stack([Q, left / length])
    triangle = np.triu(Q.T @ columns[:, kept])
    return ColumnBasis(tuple(kept), mean[kept], np.asarray(np.linalg.inv(triangle), dtype=np.float64))


@dataclass(frozen=True)
class Part:
    """Some of the rows.

    Attributes
    ----------
    at
        Which.
    Q
        Fixed columns in their basis, (n, p).
    y
        Response less the offset, times the roots of the weights, (n,).
    """

    at: slice
    Q: Floats
    y: Floats


def parts(design: Design, basis: ColumnBasis) -> Iterator[Part]:
    """Yield all rows, part by part.

    Parameters
    ----------
    design
        The model's arrays.
    basis
        That of its fixed columns.
    """
    for start in range(0, design.n_obs, AT_A_TIME):
        at = slice(start, start + AT_A_TIME)
        root = None if design.weights is None else np.sqrt(design.weights[at])
        y = design.y[at] if design.offset is None else design.y[at] - design.offset[at]
        yield Part(at, basis.columns(design.X[at], root), y if root is None else y * root)


@dataclass(frozen=True)
class EffectBasis:
    """Columns of a grouping factor that are orthonormal on the rows, times sqrt(n), within each block.

    Attributes
    ----------
    blocks
        The basis of each block; none where there is nothing but the column of ones.
    map
        T, effects b = T b~ of effects b~ in the basis, (n_effects, n_effects).
    scale
        sqrt(n).
    """

    blocks: tuple[ColumnBasis, ...]
    map: Floats
    scale: float

    @property
    def basis(self) -> Basis:
        """The same as a map of columns."""
        q = len(self.map)
        first, mean, to_basis, start = np.zeros(q, dtype=np.int64), np.zeros(q), self.map.copy(), 0
        for block in self.blocks:
            here = slice(start, start + len(block.kept))
            first[here], mean[here] = start, block.mean
            to_basis[here, here] = self.scale * block.to_basis
            start = here.stop
        return Basis(first, mean, to_basis)

    def columns(self, factor: RandomFactor, root: Floats | None, at: slice | None = None) -> Floats | None:
        """Return W^1/2 Z T, (n_obs, n_effects), in C order; None for ones.

        Parameters
        ----------
        factor
            The grouping factor.
        root
            Roots of all weights, (n_obs,); None for ones.
        at
            Which rows; None for all.
        """
        at = slice(None) if at is None else at
        root = None if root is None else root[at]
        if factor.Z is None:
            return None if root is None else np.ascontiguousarray(self.map[0, 0] * root[:, None])
        Z, start, columns = factor.Z[at], 0, []
        for basis in self.blocks:
            size = len(basis.kept)
            columns.append(basis.columns(Z[:, start : start + size], root))
            start += size
        return np.ascontiguousarray(self.scale * np.hstack(columns))


def effect_basis(factor: RandomFactor, root: Floats | None) -> EffectBasis | None:
    """Return the basis of a factor's columns; None if some of a block depend on each other.

    Parameters
    ----------
    factor
        A grouping factor without tied blocks.
    root
        Roots of the weights, (n_obs,); None for ones.
    """
    n = len(factor.codes)
    if factor.Z is None:
        return EffectBasis((), np.array([[1.0 if root is None else np.sqrt(n / (root @ root))]]), np.sqrt(n))
    T, blocks, start = np.zeros((factor.n_effects, factor.n_effects)), [], 0
    for size in factor.block_sizes:
        here = slice(start, start + size)
        blocks.append(column_basis(factor.Z[:, here], root))
        if len(blocks[-1].kept) < size:
            return None
        T[here, here] = np.sqrt(n) * blocks[-1].raw_map
        start += size
    return EffectBasis(tuple(blocks), T, np.sqrt(n))
