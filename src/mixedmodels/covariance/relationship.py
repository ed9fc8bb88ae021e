"""Known covariances among the levels of a grouping factor: pedigrees, and any matrix with labels.

Var(b) = A x Sigma with A known. The engine takes A^-1, which is sparse for a pedigree: A^-1 = (I - P)' D^-1 (I - P),
row i of P having one half at each known parent, D_i the variance of what parents leave to chance (Henderson 1976). With
F the inbreeding of parents D is 1/2 - (F_s + F_d) / 4, 3/4 - F_s / 4 or 1 by how many are known; F of a child is half
the covariance of its parents (Quaas 1976; Meuwissen and Luo 1992 find the same numbers), here a generation at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.errors import DataError

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

PEDIGREE = ("animal", "sire", "dam")
UNKNOWN = frozenset({"", "0", "nan", "None", "NA", "<NA>"})
"""Texts of a parent that is not known."""

SYMMETRIC = 1e-8
"""Difference of elements that mirror each other, relative to the largest, that counts as rounding."""


@dataclass(frozen=True)
class Relationship:
    """A of some levels, as the lower triangle of A^-1 by columns.

    Attributes
    ----------
    levels
        Labels, length n.
    starts, rows, values
        First places of the columns (n + 1,), and rows and values at the places, ascending in each column.
    log_det
        log |A|.
    parents, chance
        Of a pedigree: places of sire and dam, -1 where one is not known, (n, 2), and D, (n,).
    """

    levels: pd.Index
    starts: Places
    rows: Places
    values: Floats
    log_det: float
    parents: Places | None = None
    chance: Floats | None = None

    def correlated(self, white: Floats) -> Floats:
        """Return independent columns of independent standard normals as ones with the covariance A, (n, m).

        In a pedigree a child is the mean of its parents and what they leave to chance, a generation after the other;
        else it is L'^-1 D^-1/2 z with A^-1 = L D L' but for the order of the levels.

        Parameters
        ----------
        white
            (n, m).
        """
        if self.parents is not None and self.chance is not None:
            return _descended(self.parents, np.sqrt(self.chance)[:, None] * white)
        from scipy.sparse.linalg import spsolve_triangular  # noqa: PLC0415  # few fits need it

        factor = self._factor
        root = np.sqrt(factor.U.diagonal())[:, None]
        ordered = spsolve_triangular(factor.L.T.tocsr(), white / root, lower=False, unit_diagonal=True)
        return np.asarray(ordered[factor.perm_r])

    @cached_property
    def _factor(self) -> Any:
        """L D L' of A^-1 in an order of its own."""
        from scipy.sparse import csc_matrix, tril  # noqa: PLC0415  # as above
        from scipy.sparse.linalg import splu  # noqa: PLC0415

        lower = csc_matrix((self.values, self.rows, self.starts))
        inverse = csc_matrix(lower + tril(lower, -1).T)
        return splu(inverse, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_factor"}

    def __repr__(self) -> str:
        return f"<Relationship of {len(self.levels)} levels>"


def read_relationship(value: object, name: str) -> Relationship:
    """Return a relationship from what a user may pass.

    Parameters
    ----------
    value
        A pedigree, a DataFrame with the columns animal, sire and dam (empty or 0 where a parent is not known); a
        covariance matrix, a square DataFrame whose index and columns are the labels; or A^-1 as a pair of a scipy
        sparse matrix and its labels.
    name
        Of the grouping factor, for messages.

    Raises
    ------
    DataError
        It is none of these, or no relationship.
    """
    if isinstance(value, Relationship):
        return value
    if isinstance(value, pd.DataFrame) and set(PEDIGREE) <= set(value.columns):
        return _of_pedigree(value, name)
    if isinstance(value, pd.DataFrame) and value.shape[0] == value.shape[1]:
        return _of_covariance(value, name)
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "tocsc"):
        return _of_inverse(value[0], pd.Index(value[1]), name)
    raise DataError(
        f"relationship[{name!r}] must be a pedigree (a DataFrame with the columns animal, sire, dam), a covariance "
        "matrix (a DataFrame whose index and columns are the levels), or a pair of A^-1 as a scipy sparse matrix and "
        f"its labels, and it is a {type(value).__name__}."
    )


def _of_covariance(frame: pd.DataFrame, name: str) -> Relationship:
    if not frame.index.astype(str).equals(frame.columns.astype(str)) or not frame.index.is_unique:
        raise DataError(f"relationship[{name!r}] must have the same labels as index and columns, each once.")
    A = frame.to_numpy(dtype=np.float64)
    if not np.isfinite(A).all() or np.abs(A - A.T).max() > SYMMETRIC * np.abs(A).max():
        raise DataError(f"relationship[{name!r}] must be symmetric and finite.")
    try:
        L = np.linalg.cholesky(0.5 * (A + A.T))
    except np.linalg.LinAlgError:
        raise DataError(
            f"relationship[{name!r}] is not positive definite: some combination of levels has no variance. Merge "
            "levels that are the same, or add a small number to the diagonal."
        ) from None
    inverse = np.linalg.inv(L)
    return _from_lower(frame.index, np.tril(inverse.T @ inverse), 2 * float(np.log(np.diag(L)).sum()))


def _from_lower(levels: pd.Index, lower: Floats, log_det: float) -> Relationship:
    n = len(lower)
    column, row = np.triu_indices(n)
    starts = np.concatenate([[0], np.cumsum(np.arange(n, 0, -1))]).astype(np.int64)
    return Relationship(levels, starts, row.astype(np.int64), np.ascontiguousarray(lower[row, column]), log_det)


def _of_inverse(matrix: Any, levels: pd.Index, name: str) -> Relationship:
    from scipy.sparse import csc_matrix, tril  # noqa: PLC0415  # few fits need it
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    Q = csc_matrix(matrix, dtype=np.float64)
    if Q.shape != (len(levels), len(levels)) or not levels.is_unique:
        raise DataError(
            f"relationship[{name!r}] must have a label for each row of A^-1, each once: it has {len(levels)} labels "
            f"and shape {Q.shape}."
        )
    if not np.isfinite(Q.data).all() or abs(Q - Q.T).max() > SYMMETRIC * abs(Q).max() or (Q.diagonal() <= 0).any():
        raise DataError(f"relationship[{name!r}] must be a symmetric, finite A^-1 with a positive diagonal.")
    factor = splu(Q, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    pivots = factor.U.diagonal()
    if (pivots <= 0).any():
        raise DataError(f"relationship[{name!r}] must be a positive definite A^-1.")
    return _of_sparse(levels, csc_matrix(tril(Q)), -float(np.log(pivots).sum()))


def _of_sparse(levels: pd.Index, lower: Any, log_det: float) -> Relationship:
    lower.sort_indices()
    starts, rows = (np.asarray(part, dtype=np.int64) for part in (lower.indptr, lower.indices))
    return Relationship(levels, starts, rows, np.asarray(lower.data, dtype=np.float64), log_det)


def _of_pedigree(frame: pd.DataFrame, name: str) -> Relationship:
    from scipy.sparse import csc_matrix, diags_array, eye_array, tril  # noqa: PLC0415  # few fits need it

    levels, parents = _parents(frame, name)
    n = len(levels)
    D = _chance(parents, name, levels)
    known = parents >= 0
    child = np.repeat(np.arange(n), 2)[known.ravel()]
    P = csc_matrix((np.full(len(child), 0.5), (child, parents.ravel()[known.ravel()])), shape=(n, n))
    T = eye_array(n, format="csc") - P
    inverse = csc_matrix(T.T @ diags_array(1 / D) @ T)
    found = _of_sparse(levels, csc_matrix(tril(inverse)), float(np.log(D).sum()))
    return replace(found, parents=parents, chance=D)


def _descended(parents: Places, own: Floats) -> Floats:
    """Return own values plus half of each parent's, (n, m)."""
    generation, out = _depth(parents), own.copy()
    for g in range(1, int(generation.max(initial=0)) + 1):
        children = np.flatnonzero(generation == g)
        for side in parents[children].T:
            has = side >= 0
            out[children[has]] += 0.5 * out[side[has]]
    return out


def _parents(frame: pd.DataFrame, name: str) -> tuple[pd.Index, Places]:
    """Return labels, parents without a row of their own first, and places of sire and dam, (n, 2), -1 unknown."""
    texts = {column: _labels(frame[column]) for column in PEDIGREE}
    animals = texts["animal"]
    if animals.isin(UNKNOWN).any() or not animals.is_unique:
        twice = animals[animals.duplicated()]
        what = f"{twice[0]!r} is there twice" if len(twice) else "one animal has no label"
        raise DataError(f"The pedigree of {name!r} must have one row an animal, and {what}.")
    both = texts["sire"].append(texts["dam"])
    founders = both[~both.isin(UNKNOWN) & ~both.isin(animals)].unique()
    levels = founders.append(animals) if len(founders) else animals
    places = [levels.get_indexer(texts[column]) for column in PEDIGREE[1:]]
    parents = np.full((len(levels), 2), -1, dtype=np.int64)
    parents[len(founders) :] = np.column_stack(places)
    return levels, parents


def _labels(column: pd.Series) -> pd.Index:
    values = column
    if values.dtype.kind == "f" and (values.dropna() == values.dropna().round()).all():
        values = values.astype("Int64")
    return pd.Index(values.astype(object).where(values.notna(), "").astype(str))


def _chance(parents: Places, name: str, levels: pd.Index) -> Floats:
    """Return D, generation by generation, with the rows of (I - P)^-1 of animals that are parents."""
    from scipy.sparse import csr_matrix, vstack  # noqa: PLC0415  # few fits need it

    n = len(parents)
    generation = _generations(parents, name, levels)
    is_parent = np.zeros(n, dtype=bool)
    is_parent[parents[parents >= 0]] = True
    D, F = np.ones(n), np.zeros(n)
    row = np.full(n, -1)  # of an animal among those kept
    kept = csr_matrix((0, n))
    for g in range(int(generation.max(initial=0)) + 1):
        own = np.flatnonzero(generation == g)
        sire, dam = parents[own].T
        for side in (sire, dam):
            has = side >= 0
            D[own[has]] -= 0.25 * (1 + F[side[has]])
        both = (sire >= 0) & (dam >= 0)
        if both.any():
            shared = kept[row[sire[both]]].multiply(kept[row[dam[both]]])
            F[own[both]] = 0.5 * np.asarray(shared @ D).ravel()
        new = own[is_parent[own]]
        if len(new):
            rows = csr_matrix((np.ones(len(new)), (np.arange(len(new)), new)), shape=(len(new), n))
            for side in parents[new].T:
                has = np.flatnonzero(side >= 0)
                if len(has):
                    pick = csr_matrix((np.full(len(has), 0.5), (has, row[side[has]])), shape=(len(new), kept.shape[0]))
                    rows = rows + pick @ kept
            row[new] = kept.shape[0] + np.arange(len(new))
            kept = vstack([kept, rows], format="csr")
    return D


def _generations(parents: Places, name: str, levels: pd.Index) -> Places:
    """Return for each animal the longest line to a founder, (n,)."""
    generation = _depth(parents)
    if int(generation.max(initial=0)) < len(parents):
        return generation
    animal = str(levels[int(generation.argmax())])
    raise DataError(f"The pedigree of {name!r} has an animal among its own ancestors, such as {animal!r}.")


def _depth(parents: Places) -> Places:
    """Return for each animal the longest line to a founder, (n,); n or more where there is no end of it."""
    generation = np.zeros(len(parents), dtype=np.int64)
    for _ in range(len(parents) + 1):
        above = np.where(parents >= 0, generation[parents], -1).max(axis=1) + 1
        if np.array_equal(above, generation):
            break
        generation = above
    return generation
