"""A covariance of the residuals that is known but for sigma^2, in blocks of rows, as of errors of sampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mixedmodels.design.frame import check_order
from mixedmodels.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats

    Indices = npt.NDArray[np.intp]

ASYMMETRY = 1e-8
"""Difference of V_ij and V_ji, relative to the standard deviations of both rows, that is rounding of what was read."""

SINGULAR = 1e-10
"""Share of a row's variance that the other rows leave from which a covariance counts as positive definite."""

SHOWN = 6
"""Rows that a message names."""

_NEITHER = "neither a text such as 'ar1(visit | id)' nor a matrix of numbers"


@dataclass(frozen=True)
class KnownResidual:
    """Var(e) = sigma^2 V of n rows, V known.

    Attributes
    ----------
    row, column
        Places of the elements that are not zero, both triangles and the diagonal, (n_elements,).
    value
        The elements, (n_elements,).
    block
        Rows that V joins have one code, (n,).
    """

    row: Indices
    column: Indices
    value: Floats
    block: Indices

    @cached_property
    def matrix(self) -> Any:
        """V, (n, n)."""
        n = len(self.block)
        return sparse.csr_array((self.value, (self.row, self.column)), shape=(n, n))

    def at(self, place: Indices) -> Floats:
        """Return V of rows in blocks, (n_blocks, m, m), for their positions, (n_blocks, m)."""
        n_blocks, m = place.shape
        rows, columns = np.repeat(place, m, axis=1).ravel(), np.tile(place, (1, m)).ravel()
        return np.asarray(self.matrix[rows, columns]).reshape(n_blocks, m, m)

    def take(self, rows: Indices) -> KnownResidual:
        """Return V of some rows, (n_taken,), each at most once."""
        return _in_blocks(self.matrix[rows][:, rows])


def read_known_residual(value: object, n_rows: int, labels: pd.Index | None, rows: Indices | None) -> KnownResidual:
    """Return a known covariance at the rows that are used.

    Parameters
    ----------
    value
        (n_rows, n_rows): an array, a DataFrame or a scipy sparse matrix, in the order of the rows of the data.
    n_rows
        Rows of the data.
    labels
        Their labels; None where they are their positions.
    rows
        Positions of those used; None for all.

    Raises
    ------
    DataError
        It is no covariance of these rows.
    """
    matrix = _as_sparse(value)
    if matrix.shape != (n_rows, n_rows):
        raise DataError(
            f"residual is a matrix of shape {matrix.shape}, and the data have {n_rows} rows. Give it a row and a "
            "column for each row of the data, in their order; rows with missing values are left out of both."
        )
    _check_labels(value, pd.RangeIndex(n_rows) if labels is None else labels)
    used = np.arange(n_rows, dtype=np.intp) if rows is None else rows
    matrix = matrix[used][:, used].tocsr()
    _check_numbers(matrix, used)
    known = _in_blocks(sparse.csr_array(0.5 * (matrix + matrix.T)))
    _check_definite(known, used)
    return known


def is_matrix(value: object) -> bool:
    """Return whether a description of the residuals is a covariance matrix: anything but a text and None."""
    return value is not None and not isinstance(value, str)


def _as_sparse(value: Any) -> Any:
    given: Any = value  # types of scipy know no conversion of any sparse matrix
    if sparse.issparse(value):
        return sparse.csr_array(given).astype(np.float64)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"residual is a {type(value).__name__}, {_NEITHER}: {error}.") from error
    if array.ndim != 2:
        found = f"of shape {array.shape}" if array.ndim else repr(value)
        raise DataError(f"residual is {found}, {_NEITHER}.")
    return sparse.csr_array(array)


def _check_labels(value: Any, labels: pd.Index) -> None:
    """Refuse a frame whose rows, or columns, have the labels of the data in another order, or differ."""
    if not isinstance(value, pd.DataFrame):
        return
    check_order("residual", value, labels)
    if not value.columns.equals(value.index) and value.index.isin(value.columns).all():
        raise DataError(
            "residual has the labels of its rows in another order in its columns. Put both in the order of the rows of "
            "the data, residual.loc[data.index, data.index]."
        )


def _check_numbers(matrix: Any, used: Indices) -> None:
    """Refuse what is not finite, not symmetric, or without a variance for each row."""
    i, j = matrix.nonzero()
    lost = ~np.isfinite(matrix[i, j]) if len(i) else np.zeros(0, dtype=bool)
    if lost.any():
        raise DataError(f"residual has no number{_where(used, i, j, lost)}. Independent errors have covariance 0.")
    variance = matrix.diagonal()
    if not (variance > 0).all():
        row = int(np.argmin(variance > 0))
        raise DataError(
            f"residual has the variance {variance[row]:g} at row {used[row]} (counted from 0). All must be positive."
        )
    apart = abs(matrix - matrix.T).tocoo()
    i, j = apart.row, apart.col
    uneven = apart.data > ASYMMETRY * np.sqrt(variance[i] * variance[j])
    if uneven.any():
        raise DataError(
            f"residual is not symmetric: elements differ{_where(used, i, j, uneven)} and across the diagonal. Give a "
            "covariance matrix with both of its triangles."
        )


def _where(used: Indices, i: Indices, j: Indices, bad: npt.NDArray[np.bool_]) -> str:
    first = int(np.argmax(bad))
    return f" at row {used[i[first]]}, column {used[j[first]]} (counted from 0)"


def _check_definite(known: KnownResidual, used: Indices) -> None:
    """Refuse a block whose pivots, relative to the variances, are not all positive."""
    sd = np.sqrt(known.matrix.diagonal())
    order = np.argsort(known.block, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(known.block))[:-1]):
        if len(rows) == 1:
            continue
        correlation = known.at(rows[None])[0] / np.outer(sd[rows], sd[rows])
        try:
            pivots = np.diag(np.linalg.cholesky(correlation)) ** 2
        except np.linalg.LinAlgError:
            pivots = np.zeros(1)
        if pivots.min() <= SINGULAR:
            some = ", ".join(map(str, used[rows[:SHOWN]].tolist())) + (", ..." if len(rows) > SHOWN else "")
            raise DataError(
                f"residual is not positive definite at rows {some} (counted from 0): no errors have such variances and "
                "covariances. Correlations must lie between -1 and 1 and agree with each other."
            )


def _in_blocks(matrix: Any) -> KnownResidual:
    matrix = matrix.tocsr()
    matrix.eliminate_zeros()
    block = connected_components(matrix, directed=False)[1].astype(np.intp)
    places = matrix.tocoo()  # row by row, as the data of csr go
    return KnownResidual(
        places.row.astype(np.intp), places.col.astype(np.intp), np.asarray(matrix.data, dtype=np.float64), block
    )
