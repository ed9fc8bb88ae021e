"""Lower triangles as vectors, column by column, with the derivatives of the matrix in its elements."""

from __future__ import annotations

import numpy as np

from mixedmodels.covariance.jets import Floats


def lower_triangle(matrix: Floats) -> Floats:
    """Return the lower triangle of a matrix (q, q) by column."""
    column, row = np.triu_indices(len(matrix))
    return np.asarray(matrix[row, column])


def lower_slopes(x: Floats, q: int, *, tied: bool) -> tuple[Floats, Floats]:
    """Return a lower triangular matrix (q, q) and its derivatives in its elements, (k, q, q).

    Parameters
    ----------
    x
        The lower triangle by column, or the one number on the diagonal of a tied block.
    q
        Rows.
    tied
        Whether the matrix is a multiple of the identity.
    """
    if tied:
        return x[0] * np.eye(q), np.eye(q)[None]
    column, row = np.triu_indices(q)
    first = np.zeros((len(x), q, q))
    first[np.arange(len(x)), row, column] = 1.0
    value = np.zeros((q, q))
    value[row, column] = x
    return value, first
