"""Satterthwaite and Kenward-Roger by the papers' formulas, in the user's covariance parameters and n x n matrices.

V = sum_i gamma_i G_i with gamma the elements of sigma^2 S and sigma^2. Derivatives of -2 log-likelihood and of
Phi = (X'V^-1X)^-1 in gamma are written out; nothing is whitened, reduced or scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mixedmodels.fit.records import FitState
from oracle.dense_engine import Model

Floats = npt.NDArray[np.float64]


def twin_of(state: FitState) -> Model:
    """Return the dense twin of a fit's engine."""
    design = state.design
    return Model(
        design.y if design.offset is None else design.y - design.offset,
        design.X,
        design.weights,
        [f.codes for f in design.factors],
        [f.n_levels for f in design.factors],
        [f.Z for f in design.factors],
        [f.block_sizes for f in design.factors],
    )


@dataclass(frozen=True)
class DenseInference:
    """Everything at the optimum of a fit; ``G`` are the dV / d gamma_i, ``P`` projects on what X leaves over."""

    state: FitState
    twin: Model
    G: list[Floats]
    V: Floats
    V_inv: Floats
    Phi: Floats
    P: Floats
    W: Floats

    @classmethod
    def of(cls, state: FitState) -> DenseInference:
        twin = twin_of(state)
        G = directions(twin, state.theta)
        V = state.sigma**2 * twin.covariance(state.theta)
        V_inv = np.linalg.inv(V)
        VX = V_inv @ twin.X
        Phi = np.linalg.inv(twin.X.T @ VX)
        P = V_inv - VX @ Phi @ VX.T
        return cls(state, twin, G, V, V_inv, Phi, P, expected_covariance(P, G))

    def p(self, G: Floats) -> Floats:
        """P_i = -X'V^-1 V_i V^-1X."""
        VX = self.V_inv @ self.twin.X
        return -VX.T @ G @ VX

    def q(self, G: Floats, H: Floats) -> Floats:
        """Q_ij = X'V^-1 V_i V^-1 V_j V^-1X."""
        VX = self.V_inv @ self.twin.X
        return VX.T @ G @ self.V_inv @ H @ VX

    # Satterthwaite

    @cached_property
    def covariance_of_gamma(self) -> Floats:
        """2 H^-1 with H the second derivatives of -2 log-likelihood, beta profiled out."""
        A = self.P if self.state.reml else self.V_inv
        Py = self.P @ self.twin.y
        H = [[-np.trace(A @ g @ A @ h) + 2 * Py @ g @ self.P @ h @ Py for h in self.G] for g in self.G]
        return 2 * np.linalg.inv(np.array(H))

    def satterthwaite_df(self, row: Floats) -> float:
        slope = np.array([-row @ self.Phi @ self.p(g) @ self.Phi @ row for g in self.G])
        return float(2 * (row @ self.Phi @ row) ** 2 / (slope @ self.covariance_of_gamma @ slope))

    def fai_cornelius(self, L: Floats) -> tuple[float, float]:
        """F and its denominator degrees of freedom."""
        values, vectors = np.linalg.eigh(L @ self.Phi @ L.T)
        rows = vectors.T @ L
        F = float(np.mean((rows @ self.state.beta) ** 2 / values))
        nu = np.array([self.satterthwaite_df(row) for row in rows])
        E = np.sum(nu / (nu - 2))
        return F, float(2 * E / (E - len(nu)))

    # Kenward and Roger

    @cached_property
    def adjusted(self) -> Floats:
        """Phi + 2 Phi sum W_ij (Q_ij - P_i Phi P_j) Phi (1997, section 2)."""
        bias = np.zeros_like(self.Phi)
        for i, g in enumerate(self.G):
            for j, h in enumerate(self.G):
                bias += self.W[i, j] * (self.q(g, h) - self.p(g) @ self.Phi @ self.p(h))
        return self.Phi + 2 * self.Phi @ bias @ self.Phi

    def kenward_roger(self, L: Floats) -> tuple[float, float]:
        """Scaled F and its denominator degrees of freedom (1997, section 3)."""
        q = len(L)
        Theta = L.T @ np.linalg.inv(L @ self.Phi @ L.T) @ L
        terms = [Theta @ self.Phi @ self.p(g) @ self.Phi for g in self.G]
        k = range(len(terms))
        A1 = sum(self.W[i, j] * np.trace(terms[i]) * np.trace(terms[j]) for i in k for j in k)
        A2 = sum(self.W[i, j] * np.trace(terms[i] @ terms[j]) for i in k for j in k)
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        d = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / d, (q - g) / d, (q + 2 - g) / d
        E = 1 / (1 - A2 / q)
        V = 2 / q * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
        rho = V / (2 * E**2)
        m = 4 + (q + 2) / (q * rho - 1)
        F = self.state.beta @ L.T @ np.linalg.inv(L @ self.adjusted @ L.T) @ L @ self.state.beta / q
        return float(m / (E * (m - 2)) * F), float(m)

    def adjusted_in_theta(self, *, improved: bool) -> Floats:
        """The adjusted covariance in (theta, log sigma), in which V is not linear, by the paper of 1997 or of 2009.

        V's second derivatives bring R_ij = X'V^-1 V_ij V^-1X in, and a bias of the estimated parameters,
        b_s = -sum_r W_sr sum_tu W_tu tr(P V_r P V_tu) / 4 (Kenward and Roger 2009).
        """
        k, step = len(self.state.theta), 1e-2
        s2 = self.state.sigma**2

        def at(shift: Floats) -> Floats:
            return s2 * self.twin.covariance(self.state.theta + shift)

        e = np.eye(k) * step  # V is quadratic in theta: central differences are exact
        first = [(at(e[i]) - at(-e[i])) / (2 * step) for i in range(k)]
        second = [
            [(at(e[i] + e[j]) - at(e[i] - e[j]) - at(e[j] - e[i]) + at(-e[i] - e[j])) / (4 * step**2) for j in range(k)]
            for i in range(k)
        ]
        second = [[*row, 2 * v] for row, v in zip(second, first, strict=True)] + [[*(2 * v for v in first), 4 * self.V]]
        first = [*first, 2 * self.V]
        W, Phi, VX = expected_covariance(self.P, first), self.Phi, self.V_inv @ self.twin.X
        bias = np.zeros_like(Phi)
        pull = np.zeros(k + 1)
        for i, g in enumerate(first):
            for j, h in enumerate(first):
                R = VX.T @ second[i][j] @ VX
                bias += 2 * W[i, j] * (self.q(g, h) - self.p(g) @ Phi @ self.p(h) - R / 4)
                pull += [W[i, j] * np.sum((self.P @ v) * (self.P @ second[i][j]).T) for v in first]
        if improved:
            moved = -W @ pull / 4
            bias += sum(b * self.p(v) for b, v in zip(moved, first, strict=True))
        return Phi + Phi @ bias @ Phi


def directions(twin: Model, theta: Floats) -> list[Floats]:
    """Return Z (e_i e_j' + its mirror) Z' of each element of S, and W^-1."""
    out = []
    for Z, Lambda, positions in twin.factors(theta):
        for i, j in positions:
            E = np.zeros_like(Lambda)
            E[i, j] = E[j, i] = 1.0
            out.append(Z @ np.kron(np.eye(Z.shape[1] // len(E)), E) @ Z.T)
    return [*out, np.diag(1 / twin.weights)]


def expected_covariance(projection: Floats, derivatives: list[Floats]) -> Floats:
    """Return the inverse of the expected information, tr(P V_i P V_j) / 2."""
    PG = [projection @ g for g in derivatives]
    return 2 * np.linalg.inv(np.array([[np.sum(a * b.T) for b in PG] for a in PG]))
