"""Laplace's approximation and quadrature by dense matrices, SciPy's densities and differences: no shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]
LogDensity = Callable[[Floats], Floats]


def log_density(family: str, y: Floats, trials: Floats, phi: Floats) -> LogDensity:
    """Return log densities of all rows as a function of eta."""
    extra = float(np.exp(phi[0])) if len(phi) else 1.0
    size = 1 / phi[0] ** 2 if len(phi) else 1.0
    densities: dict[str, LogDensity] = {
        "binomial-logit": lambda eta: stats.binom.logpmf(y, trials, special.expit(eta)),
        "binomial-probit": lambda eta: stats.binom.logpmf(y, trials, special.ndtr(eta)),
        "binomial-cloglog": lambda eta: stats.binom.logpmf(y, trials, -np.expm1(-np.exp(eta))),
        "poisson-log": lambda eta: stats.poisson.logpmf(y, np.exp(eta)),
        "gamma-log": lambda eta: stats.gamma.logpdf(y, extra, scale=np.exp(eta) / extra),
        "negative_binomial-log": lambda eta: stats.nbinom.logpmf(y, size, size / (size + np.exp(eta))),
        "beta-logit": lambda eta: stats.beta.logpdf(y, special.expit(eta) * extra, special.expit(-eta) * extra),
    }
    return densities[family]


def mode(log_density: LogDensity, eta0: Floats, A: Floats) -> tuple[Floats, float, Floats]:
    """Return the mode u of the effects, h(u) = -2 sum l(eta0 + A u) + u'u there, and half of h's Hessian.

    Parameters
    ----------
    log_density
        l of all rows.
    eta0
        What is known of the linear predictor, (n,).
    A
        Z Lambda, (n, q).
    """

    def h(u: Floats) -> float:
        return float(-2 * log_density(eta0 + A @ u).sum() + u @ u)

    def slopes(eta: Floats, step: float) -> tuple[Floats, Floats]:
        up, here, down = log_density(eta + step), log_density(eta), log_density(eta - step)
        return (up - down) / (2 * step), (up - 2 * here + down) / step**2

    u = np.zeros(A.shape[1])
    for _ in range(60):  # Newton's steps, which need only a rough Hessian, halved until they lead down
        d1, d2 = slopes(eta0 + A @ u, 1e-4)
        step = np.linalg.solve(np.eye(len(u)) + A.T @ (np.maximum(-d2, 1e-3)[:, None] * A), A.T @ d1 - u)
        lengths = (0.5**k for k in range(30))
        u = u + next((t for t in lengths if h(u + t * step) <= h(u) + 1e-9), 0.0) * step
    # second differences with two steps, extrapolated
    rough, fine = (slopes(eta0 + A @ u, step)[1] for step in (4e-3, 2e-3))
    d2 = (4 * fine - rough) / 3
    return u, h(u), np.eye(len(u)) - A.T @ (d2[:, None] * A)


def laplace(log_density: LogDensity, eta0: Floats, A: Floats) -> float:
    """Return -2 log of int exp(sum l(eta0 + A u)) phi(u) du by Laplace's approximation at the mode."""
    _, h, H = mode(log_density, eta0, A)
    return h + float(np.linalg.slogdet(H)[1])


def quadrature(log_density: LogDensity, eta0: Floats, A: Floats, codes: npt.NDArray[np.int32], n_nodes: int) -> float:
    """Return the same by adaptive Gauss-Hermite quadrature of every level of one factor.

    Parameters
    ----------
    log_density, eta0, A
        As for ``laplace``.
    codes
        Level of each row, (n,).
    n_nodes
        Nodes an effect.
    """
    u, _, H = mode(log_density, eta0, A)
    n_levels = int(codes.max()) + 1
    q = len(u) // n_levels
    roots = [np.linalg.cholesky(H[k : k + q, k : k + q]) for k in range(0, len(u), q)]
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    sums = []
    for place in np.ndindex(*(n_nodes,) * q):
        node = z[list(place)]
        at = u + np.concatenate([np.linalg.solve(L.T, node) for L in roots])
        by_level = np.bincount(codes, log_density(eta0 + A @ at)) - 0.5 * (at.reshape(n_levels, q) ** 2).sum(1)
        sums.append(by_level + 0.5 * node @ node + np.log(w[list(place)] / np.sqrt(2 * np.pi)).sum())
    log_det = sum(2 * np.log(np.diag(L)).sum() for L in roots)
    return float(log_det - 2 * special.logsumexp(sums, axis=0).sum())


def exact(log_density: LogDensity, eta0: Floats, A: Floats, codes: npt.NDArray[np.int32]) -> float:
    """Return the same by sums over a fine grid of the effects of every level, from -9 to 9 standard deviations."""
    n_levels = int(codes.max()) + 1
    q = A.shape[1] // n_levels
    line = np.linspace(-9, 9, 2001 if q == 1 else 121)
    sums = []
    for place in np.ndindex(*(len(line),) * q):
        u = line[list(place)]
        eta = eta0 + A @ np.tile(u, n_levels)
        density = -0.5 * u @ u + q * np.log((line[1] - line[0]) / np.sqrt(2 * np.pi))
        sums.append(np.bincount(codes, log_density(eta)) + density)
    return float(-2 * special.logsumexp(sums, axis=0).sum())


def design(codes: Sequence[npt.NDArray[np.int32]], Z: Sequence[Floats], Lambdas: Sequence[Floats]) -> Floats:
    """Return Z Lambda, (n, n_effects)."""
    blocks = []
    for code, z, Lambda in zip(codes, Z, Lambdas, strict=True):
        n_levels, q = int(code.max()) + 1, z.shape[1]
        block = np.zeros((len(code), n_levels, q))
        block[np.arange(len(code)), code] = z @ Lambda
        blocks.append(block.reshape(len(code), -1))
    return np.hstack(blocks)
