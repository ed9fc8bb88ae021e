"""What rows of the fit tell of new ones where residuals have a structure and random effects stand beside them.

With O the rows of a block and n new ones, E[Z u + e | y] = V_nO V_O^-1 r_O, and the error of X beta + that has the
variance x*'Phi x* + V_nn - V_nO V_O^-1 V_On with x* = x - X_O'V_O^-1 V_On.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.block_residual import BlockRows
from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.design.grouping import look_up
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import marginal_fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mixedmodels.design.frame import Frame
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.correlated_fit import CorrelatedState
    from mixedmodels.predict.rows import Rows

    Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Places:
    """What the covariances of rows depend on, one a row; -1 for a subject or level that the fit did not have.

    Attributes
    ----------
    subject, group, visit
        Codes.
    positions
        Times of each subject's own, or None.
    variance
        What each variance function is of.
    codes
        Level of each grouping factor.
    Z
        Columns of each grouping factor.
    """

    subject: Indices
    group: Indices
    visit: Indices
    positions: Floats | None
    variance: tuple[Floats, ...]
    codes: tuple[Indices, ...]
    Z: tuple[Floats, ...]

    def at(self, rows: Indices) -> _Places:
        """Return some of the rows."""
        return _Places(
            self.subject[rows],
            self.group[rows],
            self.visit[rows],
            None if self.positions is None else self.positions[rows],
            tuple(v[rows] for v in self.variance),
            tuple(c[rows] for c in self.codes),
            tuple(z[rows] for z in self.Z),
        )


def known_of_blocks(
    state: CorrelatedState, rows: Rows, data: object, *, conditional: bool
) -> tuple[Floats, Floats, Floats]:
    """Return what the rows of the fit add to the mean, (n,), to the rows x, (n, n_fixed), and to the variance, (n,).

    Parameters
    ----------
    state
        The fit.
    rows
        Those to predict.
    data
        What they are made of; None for those of the fit.
    conditional
        Ask the rows of the fit; else nothing but the variance is there.

    Raises
    ------
    InferenceError
        A visit, a group or a stratum was not in the fit.
    """
    fitted = _fitted_places(state)
    asked = fitted if data is None else _new_places(state, rows, data)
    if state.design.residual is None:  # a residual is of its row alone
        asked = _with_subjects(asked, np.full(rows.n_rows, -1, dtype=np.intp))
    n = rows.n_rows
    mean, X, variance = np.zeros(n), np.zeros(rows.X.shape), _variances(state, asked)
    if not conditional:
        return mean, X, variance
    residual = state.design.y - marginal_fitted(state)
    X_fit = state.design.X[:, list(state.kept)]
    weights = state.design.weights
    members = _members(state)
    for blocks, own in _by_blocks(state, asked).items():
        seen = np.concatenate([members[b] for b in blocks]) if blocks else np.zeros(0, dtype=np.intp)
        root = np.ones(len(seen)) if weights is None else np.sqrt(weights[seen])
        of_errors = state.design.known_residual
        known = None if of_errors is None or not len(seen) else of_errors.at(seen[None])[0]
        V, crossed, prior = _split(state, fitted.at(seen), asked.at(own), root, known)
        share = np.linalg.solve(V, crossed) if len(seen) else crossed
        mean[own] = share.T @ residual[seen]
        X[own] = -share.T @ X_fit[seen]
        variance[own] = np.maximum(prior - np.sum(share * crossed, axis=0), 0.0)
    return mean, X, variance


def _split(
    state: CorrelatedState, seen: _Places, asked: _Places, root: Floats, known: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Return V of the rows of a block, their covariances with others, and the others' variances of weight one."""
    effects, residual = _joint(state, _stacked(seen, asked))
    n = len(root)
    V = effects[:n, :n] + residual[:n, :n] / np.outer(root, root)
    if known is not None:  # a structure of one variance, sigma^2, in the place of sigma^2 times it
        V = effects[:n, :n] + residual[0, 0] * known
    crossed = effects[:n, n:] + residual[:n, n:] / root[:, None]
    return V, crossed, np.diag(effects + residual)[n:]


def _variances(state: CorrelatedState, places: _Places) -> Floats:
    """Return the variance of each row, effects and residual, of weight one."""
    n = len(places.subject)
    alone = _block(state, places, (n, 1), tuple(np.ones((n, 1, 1)) for _ in range(1 + len(state.problem.effects))))
    effects, residual = _covariances(state, alone)
    return np.asarray((effects + residual)[:, 0, 0])


def _joint(state: CorrelatedState, places: _Places) -> tuple[Floats, Floats]:
    """Return the covariances of rows of weight one: of what effects add, and of residuals."""
    same = (_same(places.subject)[None], *(_same(places.codes[e.factor])[None] for e in state.problem.effects))
    effects, residual = _covariances(state, _block(state, places, (1, len(places.subject)), same))
    return effects[0], residual[0]


def _covariances(state: CorrelatedState, where: BlockRows) -> tuple[Floats, Floats]:
    covariance, variance = state.problem.covariance, state.problem.model.scale**2
    return (
        variance * covariance.effects_covariance(state.point, where),
        variance * covariance.residual_covariance(state.point, where),
    )


def _block(state: CorrelatedState, places: _Places, shape: tuple[int, int], same: tuple[Floats, ...]) -> BlockRows:
    """Return rows as blocks; ``same`` says of which rows the subject is the same, and the level of each effect."""
    n = len(places.subject)
    return BlockRows(
        group=places.group.reshape(shape),
        visit=places.visit.reshape(shape),
        shared=same[0],
        positions=None if places.positions is None else places.positions.reshape(*shape, -1),
        variance=tuple(v.reshape(shape) for v in places.variance),
        effects=tuple(e.columns(places.Z[e.factor], n).reshape(*shape, e.size) for e in state.problem.effects),
        same_level=same[1:],
        roots=np.ones(shape),
    )


def _same(codes: Indices) -> Floats:
    """Return one where two rows have the same code; new ones, -1, are each for itself."""
    same = (codes[:, None] == codes[None]) & (codes[:, None] >= 0)
    return np.asarray(same | np.eye(len(codes), dtype=bool), dtype=np.float64)


def _stacked(one: _Places, two: _Places) -> _Places:
    def both(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate([x, y]) for x, y in zip(a, b, strict=True))

    positions = None
    if one.positions is not None and two.positions is not None:
        positions = np.concatenate([one.positions, two.positions])
    subject, group, visit = both((one.subject, one.group, one.visit), (two.subject, two.group, two.visit))
    return _Places(
        subject,
        group,
        visit,
        positions,
        both(one.variance, two.variance),
        both(one.codes, two.codes),
        both(one.Z, two.Z),
    )


def _with_subjects(places: _Places, subject: Indices) -> _Places:
    return _Places(subject, places.group, places.visit, places.positions, places.variance, places.codes, places.Z)


def _fitted_places(state: CorrelatedState) -> _Places:
    design = state.design
    n, own = design.n_obs, design.residual
    none = np.zeros(n, dtype=np.intp)
    has_own_times = own is not None and own.has_own_times
    positions = None
    if own is not None and has_own_times:
        assert own.visits.positions is not None
        positions = own.visits.positions[own.visit]
    return _Places(
        subject=np.arange(n) if own is None else own.subject.astype(np.intp),
        group=none if own is None else own.group.astype(np.intp),
        visit=none if own is None or has_own_times else own.visit.astype(np.intp),
        positions=positions,
        variance=tuple(column.values for column in design.variance),
        codes=tuple(factor.codes.astype(np.intp) for factor in design.factors),
        Z=tuple(np.ones((n, 1)) if factor.Z is None else factor.Z for factor in design.factors),
    )


def _new_places(state: CorrelatedState, rows: Rows, data: object) -> _Places:
    design, frame = state.design, open_frame(data)
    own, none = design.residual, np.zeros(rows.n_rows, dtype=np.intp)
    subject, group, visit, positions = none - 1, none, none, None
    variance = tuple(_variance_values(state, rows, frame, k) for k in range(len(design.variance)))
    if own is not None:
        for name in own.term.variables:
            _check_there(frame, name)
        subject = look_up(frame.read(own.term.subject), own.subjects).astype(np.intp)
        if own.term.group is not None:
            group = _known(look_up(frame.read(own.term.group), own.groups), own.term.group, rows)
        if own.has_own_times:
            positions = _times(state, frame)
        else:
            visit = _known(own.grouping.codes(frame.read), ", ".join(own.term.visits), rows)
    codes = tuple(code.astype(np.intp) for code in rows.codes)
    return _Places(
        subject, group, visit, positions, variance, codes, tuple(rows.columns(k) for k in range(len(design.factors)))
    )


def _variance_values(state: CorrelatedState, rows: Rows, frame: Frame, k: int) -> Floats:
    column = state.design.variance[k]
    name = column.term.column
    _check_there(frame, name)
    if column.levels is None:
        return np.asarray(frame.read(name).values, dtype=np.float64)
    return _known(look_up(frame.read(name), column.levels), name, rows).astype(np.float64)


def _times(state: CorrelatedState, frame: Frame) -> Floats:
    """Return positions as the fit counts them: dates in days since its first."""
    own = state.design.residual
    assert own is not None
    found = []
    for name, table in zip(own.term.visits, own.grouping.tables, strict=True):
        column = frame.read(name)
        if column.is_date:
            first = np.datetime64(min(table))
            found.append(np.asarray((column.values - first) / np.timedelta64(1, "D"), dtype=np.float64))
        else:
            found.append(np.asarray(column.values, dtype=np.float64))
    return np.column_stack(found)


def _check_there(frame: Frame, name: str) -> None:
    if name not in frame.names:
        raise unknown_column(name, frame.names)


def _known(codes: npt.NDArray[np.integer], name: str, rows: Rows) -> Indices:
    lost = (codes < 0) & ~rows.missing
    if lost.any():
        raise InferenceError(
            f"Row {int(lost.argmax())} (counted from 0) has a value of {name} that the fit did not have; the "
            "covariance of its residual is not known. Predict without an interval and conditional=False."
        )
    return np.asarray(np.maximum(codes, 0), dtype=np.intp)


def _members(state: CorrelatedState) -> list[Indices]:
    """Return the rows of each block."""
    cluster = state.problem.cluster
    order = np.argsort(cluster, kind="stable")
    return np.split(order, np.cumsum(np.bincount(cluster))[:-1])


def _by_blocks(state: CorrelatedState, asked: _Places) -> dict[tuple[int, ...], Indices]:
    """Return the rows asked for by the blocks of the fit that they belong to, by their subject or a level."""
    cluster, fitted = state.problem.cluster, _fitted_places(state)
    touched = []
    for mine, theirs in ((fitted.subject, asked.subject), *zip(fitted.codes, asked.codes, strict=True)):
        block = np.zeros(int(mine.max()) + 1, dtype=np.intp)
        block[mine] = cluster
        touched.append(np.where(theirs >= 0, block[np.maximum(theirs, 0)], -1))
    table = np.stack(touched, axis=1)
    found: dict[tuple[int, ...], list[int]] = {}
    for row, blocks in enumerate(table.tolist()):
        found.setdefault(tuple(sorted({b for b in blocks if b >= 0})), []).append(row)
    return {blocks: np.array(own) for blocks, own in found.items()}
