"""The criterion in decimal arithmetic of 60 digits, for theta so large or small that a dense V in double is useless."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from oracle.dense_engine import block_positions
from oracle.problems import Arrays

Floats = npt.NDArray[np.float64]
Decimals = npt.NDArray[np.object_]

DIGITS = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
STEP = Decimal(10) ** -20


def decimals(values: npt.ArrayLike) -> Decimals:
    """Return the same numbers, digit for digit, as Decimals."""
    return np.vectorize(Decimal, otypes=[object])(np.asarray(values, float))


def cholesky(A: Decimals) -> Decimals:
    """Return the lower triangular factor."""
    L = A.copy()
    for j in range(len(A)):
        L[j:, j] = L[j:, j] - L[j:, :j] @ L[j, :j] if j else L[j:, j]
        L[j:, j] = L[j:, j] / L[j, j].sqrt()
        L[j, j + 1 :] = Decimal(0)
    return L


def forward(L: Decimals, B: Decimals) -> Decimals:
    """Return L^-1 B."""
    out = B.copy()
    for i in range(len(L)):
        out[i] = (out[i] - L[i, :i] @ out[:i] if i else out[i]) / L[i, i]
    return out


def log_determinant(L: Decimals) -> Decimal:
    """Return log|L L'|."""
    return 2 * sum((x.ln() for x in np.diag(L)), Decimal(0))


def covariance(arrays: Arrays, theta: Decimals) -> Decimals:
    """Return V = W^-1 + Z S Z', without sigma^2."""
    n = len(arrays.y)
    V = np.diag(np.full(n, Decimal(1)) if arrays.weights is None else 1 / decimals(arrays.weights))
    values = iter(theta)
    for z, codes, blocks in zip(arrays.columns, arrays.codes, arrays.blocks, strict=True):
        Lambda = np.full((sum(blocks), sum(blocks)), Decimal(0))
        for i, j in block_positions(blocks):
            Lambda[i, j] = next(values)
        zL = decimals(z) @ Lambda
        V = V + (zL @ zL.T) * (codes[:, None] == codes)
    return V


def deviance(arrays: Arrays, theta: Decimals, reml: bool) -> Decimal:
    """Return -2 log-likelihood, or the restricted one."""
    n, p = arrays.X.shape
    m = n - p if reml else n
    L = cholesky(covariance(arrays, theta))
    Xy = forward(L, decimals(np.column_stack([arrays.X, arrays.y])))
    R = cholesky(Xy.T @ Xy)
    value = log_determinant(L) + m * (1 + (2 * PI * R[p, p] ** 2 / m).ln())
    return value + log_determinant(R[:p, :p]) if reml else value


def deviance_and_gradient(arrays: Arrays, theta: Floats, reml: bool) -> tuple[float, Floats]:
    """Return -2 log-likelihood and its derivatives, both right to the last bit of a double."""
    with localcontext(prec=DIGITS):
        at = decimals(theta)
        here = deviance(arrays, at, reml)
        steps = [at + STEP * decimals(unit) for unit in np.eye(len(at))]
        slopes = [(deviance(arrays, step, reml) - here) / STEP for step in steps]
    return float(here), np.array(slopes, dtype=float)
