"""The slow twin of ``mixedmodels._engine``: the same face, the textbook formulas, dense n x n matrices.

With S = Lambda Lambda', V = W^-1 + Z S Z' and r = y - X beta, beta the generalised least squares estimate,

    d(theta) = log|V| + m (1 + log(2 pi r'V^-1 r / m)) + [REML] log|X'V^-1 X|,    m = n (ML) or n - p (REML)

(Lindstrom and Bates 1988). Nothing here shares an idea with the engine's elimination: M, the products and the Cholesky
blocks do not occur. For a few hundred rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg as sl
import scipy.optimize as so

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

ALIASED_TOL = 1e-9  # length of a column's part outside the span of those before it, relative to the column
SINGULAR_TOL = 1e-5  # smallest singular value of a block of Lambda, rows in units of the response


@dataclass(frozen=True)
class Minimum:
    """Where the optimiser stopped; fields as in ``_engine.pyi``."""

    theta: Floats
    deviance: float
    status: int
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    trace: Floats
    other_optima: list[float]
    singular: bool


@dataclass(frozen=True)
class Evaluation:
    """Everything the formulas need at one theta and method."""

    V_inv: Floats  # (n, n)
    XtVinvX_inv: Floats  # (p, p)
    beta: Floats  # (p,)
    residual: Floats  # y - X beta
    s2: float  # sigma^2
    deviance: float


class Model:
    """Dense twin of ``_engine.Model``."""

    def __init__(  # noqa: PLR0917  # the engine's own signature
        self,
        y: Floats,
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        n_levels: Sequence[int],
        Z: Sequence[Floats | None],
        blocks: Sequence[Sequence[int]],
        n_threads: int = 0,
        dense: bool | None = None,
    ) -> None:
        n = len(y)
        self.kept = independent_columns(X)
        self.y, self.X = y, X[:, self.kept]
        self.weights = np.ones(n) if weights is None else weights
        self.n_levels, self.blocks = list(n_levels), [list(b) for b in blocks]
        self.Z = [np.ones((n, 1)) if z is None else z for z in Z]
        self.Z_full = [spread(z, c, levels) for z, c, levels in zip(self.Z, codes, n_levels, strict=True)]
        self.n_theta = sum(q * (q + 1) // 2 for b in self.blocks for q in b)
        self.dense = True
        least_squares = np.linalg.lstsq(self.X, y, rcond=None)[0]
        self.residual_scale = float(np.sqrt(np.mean((y - self.X @ least_squares) ** 2)))
        if self.residual_scale <= 1e-13 * np.abs(y).max():
            raise ValueError("the fixed effects fit the response perfectly")
        self._arguments = (X, weights, codes, n_levels, Z, blocks)

    def with_response(self, y: Floats, *_: object) -> Model:
        return Model(y, *self._arguments)

    def spread(self, beta: Floats) -> float:
        return float(np.sqrt(np.mean(self.weights * (self.y - self.X @ beta) ** 2)))

    def deviance(self, theta: Floats, reml: bool) -> float:
        return self.evaluate(theta, reml).deviance

    def gradient(self, theta: Floats, reml: bool) -> Floats:
        """d' = tr(A dV) - r'V^-1 dV V^-1 r / s2, A = V^-1 (ML) or P (REML), dV = Z (dLambda Lambda' + transpose) Z'."""
        at = self.evaluate(theta, reml)
        VX, Vr = at.V_inv @ self.X, at.V_inv @ at.residual
        A = at.V_inv - VX @ at.XtVinvX_inv @ VX.T if reml else at.V_inv
        gradient = []
        for Z, Lambda, positions in self.factors(theta):
            q = len(Lambda)
            G = sum((z.T @ A @ z - np.outer(z.T @ Vr, z.T @ Vr) / at.s2 for z in level_columns(Z, q)), np.zeros((q, q)))
            gradient.extend((2 * G @ Lambda)[i, j] for i, j in positions)
        return np.array(gradient)

    def minimize(self, reml: bool, start: Floats | None, max_iterations: int, n_starts: int) -> Minimum:
        """Quasi-Newton from one start or a ladder of them; no bounds, because d is even in the columns of Lambda."""
        ladder = (1.0, 0.1, 5.0)[: n_starts or None]
        starts = [start] if start is not None else [self.identity() * s for s in ladder]
        runs = [self.descend(x, reml, max_iterations) for x in starts]
        best = min(runs, key=lambda run: run.deviance)
        others = sorted({round(run.deviance, 6) for run in runs if run.deviance > best.deviance + 1e-4})
        return Minimum(**{**vars(best), "other_optima": others})

    def descend(self, start: Floats, reml: bool, max_iterations: int) -> Minimum:
        unit = self.natural_unit()
        trace: list[list[float]] = []

        def value(x: Floats) -> tuple[float, Floats]:
            return self.deviance(x * unit, reml), self.gradient(x * unit, reml) * unit

        def record(intermediate_result: so.OptimizeResult) -> None:
            x = intermediate_result.x
            trace.append([intermediate_result.fun, float(np.abs(value(x)[1]).max()), np.nan, np.nan, np.nan, np.nan])

        options = {"maxiter": max_iterations, "gtol": 1e-9}
        found = so.minimize(value, start / unit, jac=True, method="BFGS", callback=record, options=options)
        theta = self.canonical(found.x * unit)
        norm = float(np.abs(self.gradient(theta, reml) * unit).max())
        status = 0 if norm < 1e-4 else 1 if found.nit >= max_iterations else 2
        steps = np.array(trace).reshape(-1, 6)
        deviance, singular = self.deviance(theta, reml), self.is_singular(theta)
        return Minimum(theta, deviance, status, norm, found.nit, found.nfev, steps, [], singular)

    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]:
        """beta, (X'V^-1X)^-1, sigma and b = S Z'V^-1 r (Henderson 1975) of each factor."""
        at = self.evaluate(theta, reml)
        b = []
        for Z, Lambda, _ in self.factors(theta):
            q = len(Lambda)
            b.append((Z.T @ at.V_inv @ at.residual).reshape(-1, q) @ (Lambda @ Lambda.T))
        return at.beta, at.XtVinvX_inv, float(np.sqrt(at.s2)), b

    def conditional_covariance(self, theta: Floats) -> list[Floats]:
        """Diagonal blocks of S - S Z'V^-1 Z S: Var(b | y, beta) / sigma^2."""
        V_inv = np.linalg.inv(self.covariance(theta))
        out = []
        for Z, Lambda, _ in self.factors(theta):
            S = Lambda @ Lambda.T
            out.append(np.array([S - S @ z.T @ V_inv @ z @ S for z in level_columns(Z, len(S))]))
        return out

    def evaluate(self, theta: Floats, reml: bool) -> Evaluation:
        V = self.covariance(theta)
        n, p = self.X.shape
        m = n - p if reml else n
        V_inv = np.linalg.inv(V)
        XtVinvX = self.X.T @ V_inv @ self.X
        beta = np.linalg.solve(XtVinvX, self.X.T @ V_inv @ self.y)
        residual = self.y - self.X @ beta
        s2 = residual @ V_inv @ residual / m
        deviance = np.linalg.slogdet(V)[1] + m * (1 + np.log(2 * np.pi * s2))
        if reml:
            deviance += np.linalg.slogdet(XtVinvX)[1]
        return Evaluation(V_inv, np.linalg.inv(XtVinvX), beta, residual, float(s2), float(deviance))

    def covariance(self, theta: Floats) -> Floats:
        """V = W^-1 + Z S Z', without sigma^2."""
        V = np.diag(1 / self.weights)
        for Z, Lambda, _ in self.factors(theta):
            ZL = Z @ np.kron(np.eye(Z.shape[1] // len(Lambda)), Lambda)
            V += ZL @ ZL.T
        return V

    def factors(self, theta: Floats) -> Iterator[tuple[Floats, Floats, list[tuple[int, int]]]]:
        """Z (n, levels * q), Lambda (q, q) and the places in it that theta fills, of each factor."""
        values = iter(np.asarray(theta, float))
        for Z, blocks in zip(self.Z_full, self.blocks, strict=True):
            positions = block_positions(blocks)
            Lambda = np.zeros((sum(blocks), sum(blocks)))
            for i, j in positions:
                Lambda[i, j] = next(values)
            yield Z, Lambda, positions

    def identity(self) -> Floats:
        return np.array([float(i == j) for b in self.blocks for i, j in block_positions(b)]) * self.natural_unit()

    def natural_unit(self) -> Floats:
        """Size of each theta at which its effect contributes one residual sd to the response, up to correlation."""
        return np.array(
            [
                1 / np.sqrt(np.mean(z[:, i] ** 2))
                for z, b in zip(self.Z, self.blocks, strict=True)
                for i, _ in block_positions(b)
            ]
        )

    def is_singular(self, theta: Floats) -> bool:
        """Whether a block of Lambda has less than full rank."""
        return any(
            np.linalg.svd(scale[:, None] * Lambda, compute_uv=False).min() < SINGULAR_TOL
            for scale, Lambda in self.scaled_blocks(theta)
        )

    def scaled_blocks(self, theta: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Root mean squares of the columns of Z and Lambda, of each unstructured block."""
        for (_, Lambda, _), z, blocks in zip(self.factors(theta), self.Z, self.blocks, strict=True):
            first = 0
            for size in blocks:
                part = slice(first, first + size)
                yield np.sqrt(np.mean(z[:, part] ** 2, axis=0)), Lambda[part, part]
                first += size

    def canonical(self, theta: Floats) -> Floats:
        """The same S with the diagonal of Lambda >= 0."""
        out = []
        for _, Lambda, positions in self.factors(theta):
            flipped = Lambda * np.where(np.diag(Lambda) < 0, -1.0, 1.0)
            out.extend(flipped[i, j] for i, j in positions)
        return np.array(out)


def block_positions(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Places of theta in Lambda: lower triangles by column, one block after the other."""
    starts = np.cumsum([0, *blocks])
    return [(s + i, s + j) for s, q in zip(starts, blocks, strict=False) for j in range(q) for i in range(j, q)]


def spread(columns: Floats, codes: Codes, n_levels: int) -> Floats:
    """Z of one factor, (n, n_levels * q): the row's columns in the place of its level."""
    n, q = columns.shape
    Z = np.zeros((n, n_levels, q))
    Z[np.arange(n), codes] = columns
    return Z.reshape(n, n_levels * q)


def level_columns(Z: Floats, q: int) -> list[Floats]:
    """Z of each level, (n, q)."""
    return np.split(Z, Z.shape[1] // q, axis=1)


def independent_columns(X: Floats) -> list[int]:
    """Columns that are not combinations of columns to their left."""
    kept: list[int] = []
    for j in range(X.shape[1]):
        column = X[:, j] / (np.linalg.norm(X[:, j]) or 1.0)
        basis = sl.orth(X[:, kept] / np.linalg.norm(X[:, kept], axis=0)) if kept else np.zeros((len(X), 0))
        if np.linalg.norm(column - basis @ (basis.T @ column)) > ALIASED_TOL:
            kept.append(j)
    return kept
