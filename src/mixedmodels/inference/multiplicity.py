"""P-values and intervals of several comparisons at once.

For comparisons t_1 .. t_m with the correlations R and nu degrees of freedom, the exact single-step p-value of t is
P(max abs(T_j) >= abs(t)), T multivariate t. For all pairs of k means this is Tukey's studentized range of
sqrt(2) abs(t) (Tukey 1953; Kramer 1956 for unequal variances), for differences from a control Dunnett's (1955). Both
are integrals over a standard normal z and, for nu degrees of freedom, over s = chi_nu / sqrt(nu):

    Tukey    P = E_s int phi(z) k [Phi(z)^(k-1) - (Phi(z) - Phi(z - s q))^(k-1)] dz,   q = sqrt(2) abs(t)
    Dunnett  P = E_s int phi(z) [1 - prod_j P(abs(lambda_j z + c_j e) < s abs(t))] dz,  c_j^2 = 1 - lambda_j^2

where R_ij = lambda_i lambda_j, as it is where the means are independent; other R go to randomised lattice rules (Genz
and Bretz 2009) with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import t_quantile, two_sided_p

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

ADJUSTMENTS = ("tukey", "dunnett", "holm", "bonferroni", "sidak", "none")

_NORMAL_NODES = 128
_CHI_NODES = 160
_NORMAL_LIMIT = 9.0
_LOG_SMALL, _LOG_ZERO = -30.0, -340.0
"""Logarithms of chi / sqrt(df) below which it is integrated by itself, and counts as zero."""
_PRODUCT_TOL = 1e-8
"""Difference of a correlation from lambda_i lambda_j that counts as rounding."""

Survival = Callable[[float, float], float]
"""P(max abs(T) >= t) of t and degrees of freedom."""


def check_adjust(adjust: str) -> None:
    """Raise unless the adjustment is known.

    Raises
    ------
    InferenceError
        If it is not one of ``ADJUSTMENTS``.
    """
    if adjust not in ADJUSTMENTS:
        known = ", ".join(f'"{name}"' for name in ADJUSTMENTS)
        raise InferenceError(
            f"adjust={adjust!r} is not available; it must be one of {known}.{nearest(str(adjust), ADJUSTMENTS)}"
        )


def adjusted_p(adjust: str, t: Floats, df: Floats, survival: Survival | None) -> Floats:
    """Return the p-values of one family of comparisons, (m,).

    Parameters
    ----------
    adjust
        One of ``ADJUSTMENTS``.
    t, df
        Statistics and their degrees of freedom, (m,).
    survival
        P(max abs(T) >= t) for ``"tukey"`` and ``"dunnett"``.
    """
    p = two_sided_p(df, t)
    m = len(p)
    if survival is not None:
        return np.array([survival(abs(t_j), df_j) for t_j, df_j in zip(t, df, strict=True)])
    if adjust == "bonferroni":
        return np.minimum(1.0, m * p)
    if adjust == "sidak":
        return np.asarray(-np.expm1(m * np.log1p(-p)))
    return _holm(p) if adjust == "holm" else p


def adjusted_quantile(adjust: str, m: int, df: Floats, level: float, survival: Survival | None) -> Floats:
    """Return the half-widths of simultaneous intervals in standard errors, (m,).

    Holm's procedure has no intervals of its own: those of Bonferroni, which it improves, stand for them.

    Parameters
    ----------
    adjust, df, survival
        As for `adjusted_p`.
    m
        Comparisons in the family.
    level
        Coverage of all intervals together.
    """
    if survival is not None:
        return np.array([_root(survival, 1 - level, df_j) for df_j in df])
    tail = 1 - level
    if adjust in ("bonferroni", "holm"):
        tail /= m
    elif adjust == "sidak":
        tail = -float(np.expm1(np.log(level) / m))
    return t_quantile(df, 1 - tail / 2)


def tukey_survival(k: int) -> Survival:
    """Return P(max abs(T) >= t) of all pairs of k means."""

    @cache
    def survival(t: float, df: float) -> float:
        z, weight = _normal_rule()
        s, s_weight = _chi_rule(df)
        q = np.sqrt(2.0) * t * s[:, None]
        inside = special.ndtr(z)
        missed = _power_loss(special.ndtr(z - q) / inside, k - 1)
        return float(np.clip(s_weight @ (missed @ (weight * k * inside ** (k - 1))), 0.0, 1.0))

    return survival


def dunnett_survival(correlation: Floats) -> Survival:
    """Return P(max abs(T) >= t) of comparisons with given correlations.

    Parameters
    ----------
    correlation
        R, (m, m).
    """
    loadings = _loadings(correlation)
    if loadings is None:
        return _lattice_survival(correlation)

    rest = np.sqrt(1 - loadings**2)

    @cache
    def survival(t: float, df: float) -> float:
        z, weight = _normal_rule()
        s, s_weight = _chi_rule(df)
        centre, limit = loadings * z[:, None], (s * t)[:, None, None]
        outside = special.ndtr((centre - limit) / rest) + special.ndtr((-centre - limit) / rest)
        missed = -np.expm1(np.log1p(-np.minimum(outside, 1.0 - 1e-16)).sum(axis=2))
        return float(np.clip(s_weight @ (missed @ weight), 0.0, 1.0))

    return survival


def _lattice_survival(correlation: Floats) -> Survival:
    # scipy.stats takes longer to import than most fits take, and few designs need it.
    from scipy.stats import multivariate_normal, multivariate_t  # noqa: PLC0415

    m = len(correlation)

    @cache
    def survival(t: float, df: float) -> float:
        limit = np.full(m, t)
        if np.isinf(df):
            normal = multivariate_normal(np.zeros(m), correlation, allow_singular=True, seed=0)
            return float(1 - normal.cdf(limit, lower_limit=-limit))
        degrees: Any = df  # the stubs of scipy know whole numbers only
        student = multivariate_t(np.zeros(m), correlation, degrees, allow_singular=True, seed=0)
        inside = student.cdf(limit, maxpts=20_000 * m, lower_limit=-limit, random_state=0)
        return float(np.clip(1 - inside, 0.0, 1.0))

    return survival


def _holm(p: Floats) -> Floats:
    """Return Holm's (1979) step-down p-values."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _power_loss(u: Floats, m: int) -> Floats:
    """Return 1 - (1 - u)^m without cancellation."""
    return np.asarray(-np.expm1(m * np.log1p(-np.minimum(u, 1.0 - 1e-16))))


def _loadings(correlation: Floats) -> Floats | None:
    """Return lambda with R_ij = lambda_i lambda_j off the diagonal, or None if there is none."""
    R, m = correlation, len(correlation)
    if m == 1:
        return np.zeros(1)
    if not R.all():
        return None
    if m == 2:
        square = np.full(2, abs(R[0, 1]))
    else:
        others = [[j for j in range(m) if j != i][:2] for i in range(m)]
        square = np.array([R[i, j] * R[i, k] / R[j, k] for i, (j, k) in enumerate(others)])
    if square.min() <= 0 or square.max() > 1 - _PRODUCT_TOL:
        return None
    loadings = np.sqrt(square) * np.sign(np.r_[1.0, R[0, 1:]])
    product = np.outer(loadings, loadings)
    np.fill_diagonal(product, 1.0)
    return loadings if np.abs(product - R).max() < _PRODUCT_TOL else None


@cache
def _normal_rule() -> tuple[Floats, Floats]:
    """Return nodes and weights with sum w f(z) = int phi(z) f(z) dz."""
    x, w = np.polynomial.legendre.leggauss(_NORMAL_NODES)
    z = _NORMAL_LIMIT * x
    return z, _NORMAL_LIMIT * w * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


@cache
def _chi_rule(df: float) -> tuple[Floats, Floats]:
    """Return nodes and weights with sum w f(s) = E f(chi_df / sqrt(df)); for infinite df, one node at 1."""
    if np.isinf(df):
        return np.ones(1), np.ones(1)
    x, w = np.polynomial.legendre.leggauss(_CHI_NODES)
    with np.errstate(divide="ignore"):  # quantiles of few degrees of freedom underflow
        low, high = (0.5 * np.log(special.chdtri(df, tail) / df) for tail in (1 - 1e-15, 1e-18))
    ends = [max(low, _LOG_ZERO), *([_LOG_SMALL] if low < _LOG_SMALL else []), high]
    log_s = np.concatenate([0.5 * (a + b + (b - a) * x) for a, b in pairwise(ends)])
    log_density = np.log(2) + 0.5 * df * (np.log(df / 2) + 2 * log_s - np.exp(2 * log_s)) - special.gammaln(df / 2)
    weights = np.concatenate([0.5 * (b - a) * w for a, b in pairwise(ends)]) * np.exp(log_density)
    below = special.chdtr(df, df * np.exp(2 * ends[0]))
    return np.exp(np.append(ends[0], log_s)), np.append(below, weights * (1 - below) / weights.sum())


def _root(survival: Survival, tail: float, df: float) -> float:
    """Return t with P(max abs(T) >= t) = tail."""
    from scipy.optimize import brentq  # noqa: PLC0415  # takes longer to import than most fits take

    high = 4.0
    while survival(high, df) > tail:
        high *= 2
    return float(brentq(lambda t: survival(t, df) - tail, 0.0, high, xtol=1e-10))
