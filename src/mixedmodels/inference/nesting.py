"""Whether one model is a special case of another, from their designs.

A model is nested in another of the same rows if its fixed columns are combinations of the other's and every covariance
Z S Z' that it allows is one that the other allows. The second is checked block by block: a block of random effects is
contained in an unstructured block of the same grouping whose columns span its own, since Z_0 = Z M gives
Z_0 S Z_0' = Z (M S M') Z', and a structure in a wider one over the same columns. So are random intercepts of cells,
``(1 | g:f)`` in ``(f | g)``: compound symmetry is a covariance of the cells like any other. This is enough for nesting,
and all that formulas usually say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.effect_kinds import (
    CORRELATIONS,
    DIAGONAL,
    ONE_VARIANCE,
    REDUCED_RANK,
    UNSTRUCTURED,
    is_special_case,
)
from mixedmodels.covariance.kinds import is_special_case as is_special_residual
from mixedmodels.design.absorbed import is_aliased
from mixedmodels.fit.correlated_fit import CorrelatedState

if TYPE_CHECKING:
    from mixedmodels.design.absorbed import Absorbed, AbsorbedFactor
    from mixedmodels.design.design import Design
    from mixedmodels.design.known_residual import KnownResidual
    from mixedmodels.design.records import Codes, Floats, RandomFactor
    from mixedmodels.fit.records import FixedFit

SPAN_TOL = 1e-8
"""What is left of a column outside the span of others, relative to the column, that counts as zero."""


@dataclass(frozen=True)
class _Block:
    """Random effects with covariances of one of ``effect_kinds.KINDS``: their grouping and columns (n_obs, m)."""

    codes: Codes
    n_levels: int
    Z: Floats
    kind: str
    rank: int = 0


def is_nested(small: FixedFit, large: FixedFit) -> bool:
    """Return True if the small model is seen to be a special case of the large one.

    Parameters
    ----------
    small, large
        Fits of the same rows.
    """
    a, b = small.design, large.design
    if not (_same(a.offset, b.offset) and _same(a.weights, b.weights)):
        return False
    if not _fixed_spans(large, small):
        return False
    if not _residuals_nested(small, large):
        return False
    candidates = [block for factor in b.factors for block in _blocks(factor)]

    def is_contained(block: _Block) -> bool:
        return any(_contains(candidate, block) for candidate in candidates)

    return all(
        (factor.n_effects > 1 and set(factor.block_sizes) == {1} and is_contained(_whole(factor)))
        or all(map(is_contained, _blocks(factor)))
        for factor in a.factors
    )


def _residuals_nested(small: FixedFit, large: FixedFit) -> bool:
    """Return True if all that the residuals of the small model can be those of the large one can be.

    Independent residuals are a special case of every structure, variance functions of products with them, and a known
    standard deviation of one that is estimated.
    """
    known, free = _known_sigma(small), _known_sigma(large)
    if free is not None and free != known:
        return False
    if not {column.term for column in small.design.variance} <= {column.term for column in large.design.variance}:
        return False
    if not _same_known(small.design.known_residual, large.design.known_residual):
        return False
    a, b = small.design.residual, large.design.residual
    if a is None:
        return True
    if b is None:
        return False
    same = np.array_equal(a.subject, b.subject) and np.array_equal(a.visit, b.visit)
    groups = a.term.group is None or (a.term.group == b.term.group and np.array_equal(a.group, b.group))
    return same and groups and is_special_residual(a.term.kind, b.term.kind)


def _same_known(a: KnownResidual | None, b: KnownResidual | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.matrix.shape == b.matrix.shape and bool(abs(a.matrix - b.matrix).max() == 0)


def _known_sigma(state: FixedFit) -> float | None:
    return state.problem.known_sigma if isinstance(state, CorrelatedState) else None


def same_fixed_part(a: FixedFit, b: FixedFit) -> bool:
    """Return True if two fits have the same fixed columns and weights, so that their REML criteria compare."""
    same_levels = _has_levels(a.design.absorbed, b.design.absorbed) and _has_levels(
        b.design.absorbed, a.design.absorbed
    )
    return same_levels and _same(_fixed(a), _fixed(b)) and _same(a.design.weights, b.design.weights)


def same_rows(a: Design, b: Design) -> bool:
    """Return True if two designs use the same rows of the data, with the same response."""
    same_positions = a.n_rows != b.n_rows or _same(a.rows, b.rows)  # positions in different frames say nothing
    return same_positions and np.array_equal(a.y, b.y)


def _fixed_spans(large: FixedFit, small: FixedFit) -> bool:
    """Return True if the fixed columns of one fit, absorbed ones among them, are combinations of the other's."""
    absorbed = large.design.absorbed
    if not _has_levels(absorbed, small.design.absorbed):
        return False
    if absorbed is None:
        return _spans(_fixed(large), _fixed(small))
    columns = _fixed(small)
    left = absorbed.residual(columns)[0]
    left = left[:, ~is_aliased(absorbed, columns, left)]
    return _spans(large.design.moment_rows[:, list(large.kept)], left)


def _has_levels(large: Absorbed | None, small: Absorbed | None) -> bool:
    """Return True if every factor that one absorbs is constant within levels of a factor that the other absorbs."""
    if small is None or large is None:
        return small is None
    return all(any(_is_constant_within(one.codes, other) for other in large.factors) for one in small.factors)


def _is_constant_within(codes: Codes, factor: AbsorbedFactor) -> bool:
    of_level = np.empty(factor.n_levels, dtype=codes.dtype)
    of_level[factor.codes] = codes
    return bool(np.array_equal(of_level[factor.codes], codes))


def _fixed(state: FixedFit) -> Floats:
    return state.design.X[:, list(state.kept)]


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _blocks(factor: RandomFactor) -> Iterator[_Block]:
    """Yield the terms of a factor with structures, the blocks of Lambda of another."""
    Z, start = _columns(factor), 0
    plain = [(abs(size), ONE_VARIANCE if size < -1 else UNSTRUCTURED, 0) for size in factor.block_sizes]
    for size, kind, rank in [(term.n_effects, term.structure, term.rank) for term in factor.terms] or plain:
        yield _Block(factor.codes, factor.n_levels, Z[:, start : start + size], kind, rank)
        start += size


def _whole(factor: RandomFactor) -> _Block:
    """Return all effects of a factor, which are not correlated, as one block."""
    return _Block(factor.codes, factor.n_levels, _columns(factor), DIAGONAL)


def _columns(factor: RandomFactor) -> Floats:
    return np.ones((len(factor.codes), 1)) if factor.Z is None else factor.Z


def _contains(large: _Block, small: _Block) -> bool:
    if not _same_grouping(large, small):
        return large.kind == UNSTRUCTURED and _holds_cells(large, small)
    if large.kind == UNSTRUCTURED:
        return _spans(large.Z, small.Z)
    if large.kind in CORRELATIONS and _is_intercept(small):  # correlations of one, of the effects of levels
        return bool(np.all(large.Z.sum(axis=1) == 1))
    same = np.array_equal(large.Z, small.Z)
    if REDUCED_RANK in (large.kind, small.kind):
        return same and large.kind == small.kind and small.rank <= large.rank
    return same and is_special_case(small.kind, large.kind)


def _is_intercept(block: _Block) -> bool:
    return block.Z.shape[1] == 1 and bool(np.all(block.Z == 1))


def _holds_cells(large: _Block, small: _Block) -> bool:
    """Return True if the small block is an intercept of cells within the large one's levels, told apart by its columns.

    The large block's columns Z then have one row a cell, indicators of different rows are combinations of the columns
    (as many rows as columns that are independent), and no two cells of a level share a row.
    """
    if small.n_levels <= large.n_levels or not _is_intercept(small):
        return False
    kinds, kind = np.unique(large.Z, axis=0, return_inverse=True)
    kind = kind.ravel()
    cells = np.unique(np.column_stack([small.codes, large.codes, kind]), axis=0)
    one_kind_a_cell = len(cells) == len(np.unique(cells[:, 0]))
    one_cell_a_kind = len(cells) == len(np.unique(cells[:, 1:], axis=0))
    return one_kind_a_cell and one_cell_a_kind and len(kinds) == np.linalg.matrix_rank(kinds)


def _same_grouping(a: _Block, b: _Block) -> bool:
    """Return True if the levels divide the rows in the same way, whatever they are called."""
    if a.codes is b.codes:
        return True
    if a.n_levels != b.n_levels:
        return False
    partner = np.full(a.n_levels, -1, dtype=b.codes.dtype)
    partner[a.codes] = b.codes
    return bool(np.array_equal(partner[a.codes], b.codes))


def _spans(large: Floats, small: Floats) -> bool:
    """Return True if the columns of ``small`` are combinations of those of ``large``."""
    if np.array_equal(large, small):
        return True
    size = np.linalg.norm(large, axis=0)
    Q, R = np.linalg.qr(large / np.where(size > 0, size, 1.0))
    Q = Q[:, np.abs(np.diag(R)) > SPAN_TOL]
    rest = small - Q @ (Q.T @ small)
    return bool((np.linalg.norm(rest, axis=0) <= SPAN_TOL * np.linalg.norm(small, axis=0)).all())
