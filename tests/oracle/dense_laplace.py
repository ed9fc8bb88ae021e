"""Laplace's approximation with dense matrices, SciPy's densities and second differences: slow and without shortcuts."""

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


def laplace(log_density: LogDensity, eta0: Floats, A: Floats) -> float:
    """Return -2 log of int exp(sum l(eta0 + A u)) phi(u) du by Laplace's approximation at the mode.

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
    H = np.eye(len(u)) - A.T @ (d2[:, None] * A)
    return h(u) + float(np.linalg.slogdet(H)[1])


def design(codes: Sequence[npt.NDArray[np.int32]], Z: Sequence[Floats], Lambdas: Sequence[Floats]) -> Floats:
    """Return Z Lambda, (n, n_effects)."""
    blocks = []
    for code, z, Lambda in zip(codes, Z, Lambdas, strict=True):
        n_levels, q = int(code.max()) + 1, z.shape[1]
        block = np.zeros((len(code), n_levels, q))
        block[np.arange(len(code)), code] = z @ Lambda
        blocks.append(block.reshape(len(code), -1))
    return np.hstack(blocks)
