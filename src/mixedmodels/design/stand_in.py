"""Few rows that stand for many that were read in parts: they have the same means and the same products.

With m rows H of zero mean and H'H/m = I, the rows mean + H C with C'C = Cov have the mean and the covariance that the
sums of all rows had, so whatever is asked of means and products of columns comes out the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixedmodels.design.evaluation import Evaluation, MatrixRecipe
from mixedmodels.design.frame import Column
from mixedmodels.design.records import Floats

SEED = 20
SPAN_TOL = 1e-9
"""Size, relative to a column, of what is no combination of others that counts as rounding."""
PROBES_A_COLUMN = 8


@dataclass(frozen=True)
class StandIn:
    """What stands for the rows of a fit to data read in parts.

    Attributes
    ----------
    X
        Rows of the fixed columns, (m, n_columns).
    full
        The same rows with a column for every level of each category, (m, n_full).
    Z
        Rows of the columns of each factor, (n_effects, n_effects), products only; None for the column of ones.
    cells
        The data columns of the fixed part: each combination of levels that occurs, numbers at their mean there.
    frequency
        How many rows each row of ``cells`` stands for.
    mean_offset
        Mean of the offset; 0 without one.
    """

    X: Floats
    full: Floats
    Z: tuple[Floats | None, ...]
    cells: Mapping[str, Column]
    frequency: Floats
    mean_offset: float


@dataclass(frozen=True)
class FixedSums:
    """Sums over all rows of provisional fixed columns q = (x - m x_1) T, as the engine forms them.

    Attributes
    ----------
    mean
        m, (p,).
    to_basis
        T, (p, p), upper triangular.
    products
        Of [1, q], (p + 1, p + 1), without weights, lower triangle.
    """

    mean: Floats
    to_basis: Floats
    products: Floats

    def rows(self) -> Floats:
        """Return p + 1 rows of x with the means and products of all."""
        p = len(self.mean)
        n, sums = self.products[0, 0], self.products[1:, 0]
        mean = sums / n
        square = np.tril(self.products[1:, 1:])
        square = square + np.tril(square, -1).T
        q = mean + _balanced(p) @ _root(square / n - np.outer(mean, mean))
        q[:, np.diag(square) == 0] = 0.0
        x = np.linalg.solve(self.to_basis.T, q.T).T
        constant = np.ptp(x[:, 0]) <= SPAN_TOL * np.abs(x[:, 0]).max()
        x[:, 0] = np.round(x[:, 0].mean(), 9) if constant else x[:, 0]
        x[:, np.diag(square) == 0] = 0.0
        return np.ascontiguousarray(x + x[:, :1] * self.mean)


def effect_rows(to_basis: Floats, products: Floats, n: int) -> Floats:
    """Return q rows with the products, over n, of columns z whose provisional ones are z T.

    Parameters
    ----------
    to_basis
        T, (q, q).
    products
        Of the provisional columns, (q, q).
    n
        Rows.
    """
    q = len(to_basis)
    root = _root(products / n) * np.sqrt(q)
    rows = np.linalg.solve(to_basis.T, root.T).T
    rows[:, np.diag(products) == 0] = 0.0
    return np.ascontiguousarray(rows)


def full_rows(X: Floats, recipe: MatrixRecipe, evaluation: Evaluation) -> Floats:
    """Return rows of X with a column for every level: the same functions of the data, each a combination of X's.

    Parameters
    ----------
    X
        Rows of the fixed part, (m, n_columns).
    recipe
        The fixed part.
    evaluation
        Some rows, whose numbers are combined with any levels to find the combinations.
    """
    if recipe.spec is None:
        return X
    rng = np.random.default_rng(SEED)
    n = PROBES_A_COLUMN * X.shape[1] + 100
    rows = rng.integers(evaluation.n_rows, size=n)
    columns = {}
    for name in recipe.columns:
        column = evaluation.columns[name]
        if column.levels is None:
            columns[name] = column.take(rows)
        else:
            columns[name] = Column(rng.integers(len(column.levels), size=n).astype(np.int32), column.levels)
    probes = Evaluation(columns, n, evaluation.memory, evaluation.contrasts)
    own, (full, _) = probes.matrix(recipe), probes.indicator_matrix(recipe.spec)
    centre, full_centre = np.zeros(own.shape[1]), np.zeros(full.shape[1])
    if (own[:, 0] == own[0, 0]).all() and own[0, 0] != 0:  # far from zero products of columns are the constant's
        centre[1:], full_centre = own[:, 1:].mean(axis=0), full.mean(axis=0)
    size = np.abs(own - centre).max(axis=0)
    size[size == 0] = 1.0
    by = np.linalg.lstsq((own - centre) / size, full - full_centre, rcond=None)[0]
    by[np.abs(by) < SPAN_TOL * np.abs(by).max(axis=0, initial=0.0)] = 0.0
    shift = full_centre if centre.any() else 0.0
    return np.ascontiguousarray((X - centre) / size @ by + shift)


def _balanced(p: int) -> Floats:
    """Return p + 1 rows of p columns with mean zero that are orthogonal, each with mean square one."""
    columns = np.column_stack([np.ones(p + 1), np.eye(p + 1)[:, :p]])
    return np.asarray(np.linalg.qr(columns)[0][:, 1:] * np.sqrt(p + 1))


def _root(square: Floats) -> Floats:
    """Return C with C'C a positive semidefinite matrix, whatever the units of its rows."""
    size = np.sqrt(np.maximum(np.diag(square), 0.0))
    scale = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh(square / np.outer(scale, scale))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))).T * scale)
