"""Which columns of a coded design depend on those before them, in whole numbers: no rounding, no tolerance.

Every coding is a matrix of whole numbers times a constant for each column, which changes no dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.object_]

PRIME = 2**61 - 1
"""Ranks modulo it are ranks over the rationals, unless a minor is a multiple of it: one in 1e18."""


def independent_columns(X: Whole) -> list[int]:
    """Return the positions of columns that are no combination of columns before them, by elimination."""
    rows = [[value % PRIME for value in row] for row in dict.fromkeys(map(tuple, X.tolist()))]
    kept: list[int] = []
    for j in range(X.shape[1]):
        rank = len(kept)
        pivot = next((i for i in range(rank, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        kept.append(j)
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        inverse = pow(rows[rank][j], -1, PRIME)
        top = [value * inverse % PRIME for value in rows[rank]]
        for row in rows[rank + 1 :]:
            if row[j]:
                factor = row[j]
                row[:] = [(value - factor * above) % PRIME for value, above in zip(row, top, strict=True)]
    return kept


def coding(kind: str, n_levels: int, rng: np.random.Generator) -> tuple[Whole, Floats]:
    """Return a coding's matrix (n_levels, n_levels - 1) in whole numbers, and in doubles with its usual units."""
    k, j = n_levels, np.arange(n_levels - 1)
    below, at = np.arange(k)[:, None] <= j, np.arange(k)[:, None] == j + 1
    if kind == "treatment":
        whole, unit = at.astype(int), np.ones(k - 1)
    elif kind == "sum":
        whole, unit = np.vstack([np.eye(k - 1, dtype=int), -np.ones((1, k - 1), int)]), np.ones(k - 1)
    elif kind == "helmert":
        whole, unit = np.where(below, -1, np.where(at, j + 1, 0)), 1.0 / (j + 2)
    elif kind == "diff":
        whole, unit = np.where(below, j + 1 - k, j + 1), np.full(k - 1, 1 / k)
    elif kind == "poly":
        whole = orthogonal_polynomials(k)
        unit = 1 / np.sqrt((whole.astype(float) ** 2).sum(axis=0))
    else:
        whole, unit = np.zeros((k, k - 1), int), np.full(k - 1, 1 / 7)
        while abs(np.linalg.det(np.column_stack([np.ones(k), whole]))) < 0.5:
            whole = rng.integers(-9, 10, (k, k - 1))
    return whole.astype(object), whole.astype(float) * unit


CODINGS = ("treatment", "sum", "helmert", "diff", "poly", "random")


def orthogonal_polynomials(n_levels: int) -> Whole:
    """Return orthogonal polynomials on 0, 1, ..., n_levels - 1 without the constant, multiplied to whole numbers."""
    found: list[list[Fraction]] = []
    for degree in range(n_levels):
        values = [Fraction(x) ** degree for x in range(n_levels)]
        for q in found:
            share = sum(a * b for a, b in zip(values, q, strict=True)) / sum(a * a for a in q)
            values = [a - share * b for a, b in zip(values, q, strict=True)]
        found.append(values)
    scale = lcm(*(value.denominator for q in found for value in q))
    return np.array([[int(scale * value) for value in q] for q in found[1:]], dtype=object).T


def products(left: Sequence[Whole], right: Sequence[Whole]) -> list[Whole]:
    """Return the columns of an interaction, in doubles or whole numbers alike."""
    return [a * b for a in left for b in right]
