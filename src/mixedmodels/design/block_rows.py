"""Rows in blocks that are independent of each other: subjects, and what random effects join them to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mixedmodels.covariance.block_residual import BlockRows
from mixedmodels.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor

    Indices = npt.NDArray[np.intp]

MAX_ROWS = 1500
"""Rows of a block; work grows with their third power."""


@dataclass(frozen=True)
class Blocks:
    """Blocks by their number of rows; those that differ in nothing but response and fixed part are one pattern.

    Attributes
    ----------
    rows
        What the patterns are, by number of rows.
    members
        Positions among the rows used of the blocks of each pattern, (n_blocks, m), in the order of ``rows``.
    """

    rows: tuple[BlockRows, ...]
    members: tuple[tuple[Indices, ...], ...]

    @property
    def n_blocks(self) -> int:
        """Blocks."""
        return sum(len(one) for some in self.members for one in some)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Rows by pattern, block and place, (n_obs,)."""
        return np.concatenate([one.ravel() for some in self.members for one in some]).astype(np.int64)

    @property
    def sizes(self) -> list[int]:
        """Rows of the blocks of each pattern."""
        return [where.size for where, some in zip(self.rows, self.members, strict=True) for _ in some]

    @property
    def counts(self) -> list[int]:
        """Blocks of each pattern."""
        return [len(one) for some in self.members for one in some]


@dataclass(frozen=True)
class EffectBlock:
    """One block of random effects of a grouping factor.

    Attributes
    ----------
    factor
        Position of the grouping factor.
    first, size
        Its columns among those of the factor.
    is_tied
        Whether its effects share one variance and nothing else.
    basis
        Map from columns to those that the coordinates are of, (size, size): Z basis has orthonormal columns, times n.
    """

    factor: int
    first: int
    size: int
    is_tied: bool
    basis: Floats

    def columns(self, Z: Floats | None, n: int) -> Floats:
        """Return the block's columns in its basis, (n, size), for all columns of the factor, None for ones."""
        own = np.ones((n, 1)) if Z is None else Z[:, self.first : self.first + self.size]
        return np.asarray(own @ self.basis)


def effect_blocks(factors: Sequence[RandomFactor], n: int) -> tuple[EffectBlock, ...]:
    """Return the blocks of random effects of a design with n rows, one factor after the other."""
    out = []
    for k, factor in enumerate(factors):
        first = 0
        for size in factor.block_sizes:
            q = abs(size)
            Z = np.ones((n, 1)) if factor.Z is None else factor.Z[:, first : first + q]
            out.append(EffectBlock(k, first, q, size < -1, _basis(Z, tied=size < 0)))
            first += q
    return tuple(out)


def _basis(Z: Floats, *, tied: bool) -> Floats:
    n, q = Z.shape
    if tied:
        return np.asarray(np.eye(q) / (np.sqrt((Z**2).mean()) or 1.0))
    length = np.sqrt((Z**2).mean(axis=0))
    length[length == 0] = 1.0
    R = np.linalg.qr(Z / length, mode="r") / np.sqrt(n)
    diagonal = np.abs(np.diag(R))
    if len(diagonal) < q or np.any(diagonal < 1e-10):
        return np.diag(1 / length)
    return np.asarray(np.linalg.inv(R) / length[:, None])


def find_blocks(design: Design, effects: Sequence[EffectBlock]) -> Blocks:
    """Return the blocks of a design.

    Parameters
    ----------
    design
        With subjects or without, where each row is one.
    effects
        Its blocks of random effects.

    Raises
    ------
    DesignError
        A block has more rows than can be.
    """
    n = design.n_obs
    subject = _subjects(design)
    block = _components(subject, [factor.codes for factor in design.factors])
    _check_sizes(block)
    visit = np.zeros(n, dtype=np.intp) if design.residual is None else design.residual.visit.astype(np.intp)
    order = np.lexsort((visit, subject, block))
    counts = np.bincount(block)
    start = np.cumsum(counts) - counts
    rows, members = [], []
    for m in np.unique(counts).tolist():
        place = order[start[counts == m][:, None] + np.arange(m)]
        first, which = _patterns(_features(design, effects, place, subject))
        by_pattern = np.argsort(which, kind="stable")
        ends = np.cumsum(np.bincount(which))[:-1]
        members.append(tuple(place[some] for some in np.split(by_pattern, ends)))
        rows.append(rows_at(design, effects, place[first], subject))
    return Blocks(tuple(rows), tuple(members))


def _subjects(design: Design) -> Indices:
    """Return the subject of each row, which is one where there are none; or what a known covariance joins."""
    if design.known_residual is not None:
        return design.known_residual.block
    return np.arange(design.n_obs) if design.residual is None else design.residual.subject.astype(np.intp)


def joins_too_many(design: Design) -> bool:
    """Return whether levels of random effects join more rows than a block can have, and subjects do not."""
    if not design.factors:
        return False
    subject = _subjects(design)
    block = _components(subject, [factor.codes for factor in design.factors])
    return int(np.bincount(block).max()) > MAX_ROWS >= int(np.bincount(subject).max())


def rows_at(design: Design, effects: Sequence[EffectBlock], place: Indices, subject: Indices) -> BlockRows:
    """Return what the rows at positions (n, m) are."""
    own, known = design.residual, design.known_residual
    shape = place.shape
    has_own_times = own is not None and own.has_own_times
    none = np.zeros(shape, dtype=np.intp)
    roots = np.ones(shape) if design.weights is None else np.sqrt(design.weights[place])
    return BlockRows(
        group=none if own is None else own.group[place].astype(np.intp),
        visit=none if own is None or has_own_times else own.visit[place].astype(np.intp),
        shared=_same(subject[place]) if known is None else known.at(place),
        positions=_positions(design, place) if has_own_times else None,
        variance=tuple(column.values[place] for column in design.variance),
        effects=tuple(_columns(design, e, place) * roots[:, :, None] for e in effects),
        same_level=tuple(_same(design.factors[e.factor].codes[place]) for e in effects),
        roots=roots,
    )


def _columns(design: Design, e: EffectBlock, place: Indices) -> Floats:
    Z = design.factors[e.factor].Z
    flat = place.ravel()
    return e.columns(None if Z is None else Z[flat], len(flat)).reshape(*place.shape, e.size)


def _positions(design: Design, place: Indices) -> Floats:
    own = design.residual
    assert own is not None
    assert own.visits.positions is not None
    return np.asarray(own.visits.positions[own.visit[place]])


def _same(codes: npt.NDArray[np.integer]) -> Floats:
    return np.asarray(codes[:, :, None] == codes[:, None, :], dtype=np.float64)


def _features(design: Design, effects: Sequence[EffectBlock], place: Indices, subject: Indices) -> Floats:
    """Return all that V depends on, (n_blocks, m x n_features)."""
    found: list[Floats] = [_local(subject[place])]
    if design.known_residual is not None:
        found.append(design.known_residual.at(place).reshape(len(place), -1))
    if design.residual is not None:
        own = design.residual
        found.append(own.group[place].astype(np.float64))
        if own.has_own_times:
            positions = _positions(design, place)
            found += list(np.moveaxis(positions - positions[:, :1], 2, 0))
        else:
            found.append(own.visit[place].astype(np.float64))
    found += [column.values[place] for column in design.variance]
    for k in sorted({e.factor for e in effects}):
        found.append(_local(design.factors[k].codes[place]))
        Z = design.factors[k].Z
        if Z is not None:
            found += list(np.moveaxis(Z[place], 2, 0))
    if effects and design.weights is not None:
        found.append(design.weights[place])
    return np.concatenate(found, axis=1)


def _local(codes: npt.NDArray[np.integer]) -> Floats:
    """Return the place of the first row of the block with the same code, (n, m)."""
    if len(codes) and (codes == codes[:, :1]).all():
        return np.zeros(codes.shape)
    return np.asarray(np.argmax(codes[:, :, None] == codes[:, None, :], axis=2), dtype=np.float64)


def _patterns(features: Floats) -> tuple[Indices, Indices]:
    """Return the first of the equal rows of each kind, and the kind of each row."""
    if len(features) and (features == features[:1]).all():
        return np.zeros(1, dtype=np.intp), np.zeros(len(features), dtype=np.intp)
    plain = np.ascontiguousarray(features + 0.0)  # no negative zeros
    whole = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    return first, which.ravel()


def _components(subject: Indices, factors: Sequence[npt.NDArray[np.integer]]) -> Indices:
    """Return the block of each row: rows of one subject or of one level of any factor are in one block."""
    others = [codes for codes in factors if not _within(codes, subject)]
    if not others:
        return subject
    n_nodes = int(subject.max()) + 1
    left, right = [], []
    for codes in others:
        left.append(subject)
        right.append(codes.astype(np.intp) + n_nodes)
        n_nodes += int(codes.max()) + 1
    i, j = np.concatenate(left), np.concatenate(right)
    graph = sparse.coo_matrix((np.ones(len(i), dtype=np.int8), (i, j)), (n_nodes, n_nodes))
    label = connected_components(graph, directed=False)[1][subject]
    return np.unique(label, return_inverse=True)[1].ravel()


def _within(codes: npt.NDArray[np.integer], subject: Indices) -> bool:
    """Return whether every level is of one subject only."""
    owner = np.zeros(int(codes.max()) + 1, dtype=np.intp)
    owner[codes] = subject
    return bool((owner[codes] == subject).all())


def _check_sizes(block: Indices) -> None:
    largest = int(np.bincount(block).max())
    if largest > MAX_ROWS:
        raise DesignError(
            "Residuals that are correlated or of known or unequal variances are fitted in blocks of independent rows, "
            f"and a block has {largest} rows, more than {MAX_ROWS}. Take subjects with fewer rows, or fit without the "
            "structure."
        )


def each_block(blocks: Blocks) -> Iterator[tuple[BlockRows, int, Indices]]:
    """Yield the rows of each pattern: where it stands, its place there, and the positions of its blocks."""
    for where, some in zip(blocks.rows, blocks.members, strict=True):
        for place, members in enumerate(some):
            yield where, place, members
