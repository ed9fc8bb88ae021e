"""Where random coefficients and variance components stand in the engine's factors, in theta and among parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mixedmodels.covariance.packed import CovarianceBlock, PackedCovariances


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
        Positions among the random coefficients, rising; empty for a component.
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
    """The blocks of a model.

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

    @cached_property
    def covariances(self) -> PackedCovariances:
        """Where covariances are packed: the lower triangle of ``cov_re`` row by row, then ``vcomp``."""
        k_re2 = self.k_re * (self.k_re + 1) // 2
        blocks = tuple(
            CovarianceBlock(block.factor, block.columns, block.theta, _places(block, k_re2)) for block in self.blocks
        )
        return PackedCovariances(k_re2 + self.k_vc, blocks)


def _places(block: Block, k_re2: int) -> tuple[int, ...]:
    if block.component >= 0:
        return (k_re2 + block.component,)
    return tuple(i * (i + 1) // 2 + j for i in block.effects for j in block.effects if j <= i)
