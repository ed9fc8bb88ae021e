"""Models with correlated residuals by dense matrices, from Sigma as a function: slow, plain twins of the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def covariance(Sigma: Floats, subject: Floats, visit: Floats, group: Floats, weights: Floats) -> Floats:
    """Return V, (n, n), from Sigma (G, V, V)."""
    same = subject[:, None] == subject[None]
    V = same * Sigma[group[:, None], visit[:, None], visit[None]]
    return np.asarray(V / np.sqrt(np.outer(weights, weights)))


def deviance(y: Floats, X: Floats, V: Floats, reml: bool) -> float:
    """Return -2 log-likelihood, restricted under REML."""
    n, p = X.shape
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ y)
    r = y - X @ beta
    value = np.linalg.slogdet(V)[1] + r @ inverse @ r + (n - p * reml) * np.log(2 * np.pi)
    return float(value + reml * np.linalg.slogdet(information)[1])


def difference(f: Callable[[Floats], Floats], x: Floats, h: float = 1e-5) -> Floats:
    """Return the derivatives of an array in x, (k, ...), by differences on both sides, of fourth order."""
    out = []
    for e in np.eye(len(x)):
        out.append((8 * (f(x + h * e) - f(x - h * e)) - (f(x + 2 * h * e) - f(x - 2 * h * e))) / (12 * h))
    return np.array(out)


def kenward_roger(X: Floats, V: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return V_A of Kenward and Roger (2009) and W, from dV (k, n, n) and d2V (k, k, n, n)."""
    K = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ K @ X)
    P = K - K @ X @ Phi @ X.T @ K
    W = 2 * np.linalg.inv(np.einsum("ab,ibc,cd,jda->ij", P, first, P, first, optimize=True))
    KX = K @ X
    Pi = np.einsum("na,inm,mb->iab", KX, first, KX)
    Q = np.einsum("na,inm,mr,jrs,sb->ijab", KX, first, K, first, KX, optimize=True)
    bend = np.einsum("ij,ijnm->nm", W, second)
    t = np.einsum("ab,jbc,cd,da->j", P, first, P, bend, optimize=True)
    bias = -W @ t / 4
    inner = np.einsum("ij,ijab->ab", W, Q) - np.einsum("ij,iab,bc,jcd->ad", W, Pi, Phi, Pi, optimize=True)
    adjusted = 2 * inner - KX.T @ bend @ KX / 2 - np.einsum("i,iab->ab", bias, Pi)
    return Phi + Phi @ adjusted @ Phi, W
