"""P-values and intervals of several comparisons at once.

For comparisons t_1 .. t_m with the correlations R and nu degrees of freedom, the exact single-step p-value of t is
P(max abs(T_j) >= abs(t)), T multivariate t; on one side P(max T_j >= t). For all pairs of k means this is Tukey's
studentized range of sqrt(2) abs(t) (Tukey 1953; Kramer 1956 for unequal variances), for differences from a control
Dunnett's (1955). Both are integrals over a standard normal z and, for nu degrees of freedom, over
s = chi_nu / sqrt(nu):

    Tukey    P = E_s int phi(z) k [Phi(z)^(k-1) - (Phi(z) - Phi(z - s q))^(k-1)] dz,   q = sqrt(2) abs(t)
    Dunnett  P = E_s int phi(z) [1 - prod_j P(abs(lambda_j z + c_j e) < s abs(t))] dz,  c_j^2 = 1 - lambda_j^2

where R_ij = lambda_i lambda_j, as it is where the means are independent. For any other R = AA' of rank r, T = A x / s
has x of random length and direction u, and the squared length over r s^2 is F with r and nu degrees of freedom:

    P = E_u P(F_(r,nu) >= t^2 / (r h^2)),    h = max_j abs(a_j'u)

the mean over directions by the points of Richtmyer (1951), the same each time. Scheffe's (1953) method covers all
combinations of the family, h = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count, islice, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import t_quantile

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "tukey": "Tukey's method",
        "dunnett": "Dunnett's method",
        "mvt": "the multivariate t distribution",
        "scheffe": "Scheffe's method",
        "holm": "Holm's method",
        "bonferroni": "Bonferroni's method",
        "sidak": "Sidak's method",
        "fdr": "Benjamini and Hochberg's method, for the false discovery rate",
        "none": "nothing",
    }
)
"""The adjustments, and what adjusts."""

ADJUSTMENTS = tuple(NAMES)
OF_P = frozenset({"holm", "bonferroni", "sidak", "fdr", "none"})
"""Those that know p-values alone, whatever these test."""

_NORMAL_NODES = 128
_CHI_NODES = 160
_NORMAL_LIMIT = 9.0
_LOG_SMALL, _LOG_ZERO = -30.0, -340.0
"""Logarithms of chi / sqrt(df) below which it is integrated by itself, and counts as zero."""
_PRODUCT_TOL = 1e-8
"""Difference of a correlation from lambda_i lambda_j that counts as rounding."""

_N_DIRECTIONS, _CHUNK, _N_BINS = 2**17, 2**14, 2**11
_RANK_TOL = 1e-10
"""Eigenvalue of a correlation matrix, relative to the largest, that counts as zero."""

SIDES = ("two-sided", "greater", "less")
"""Where values lie that speak against a hypothesis."""

Survival = Callable[[float, float], float]
"""P(max abs(T) >= t), or P(max T >= t) on one side, of t and degrees of freedom."""


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


def tail_p(df: Floats, statistic: Floats, side: str = "two-sided") -> Floats:
    """Return the probability of what speaks more against a hypothesis than Student's t does, normal for infinite df."""
    tail = {"two-sided": -np.abs(statistic), "greater": -statistic, "less": statistic}[side]
    p = np.asarray(np.where(np.isinf(df), special.ndtr(tail), special.stdtr(df, tail)))
    return 2 * p if side == "two-sided" else p


def adjusted_p(adjust: str, t: Floats, df: Floats, survival: Survival | None, *, side: str = "two-sided") -> Floats:
    """Return the p-values of one family of comparisons, (m,).

    Parameters
    ----------
    adjust
        One of ``ADJUSTMENTS``.
    t, df
        Statistics and their degrees of freedom, (m,).
    survival
        What `family_survival` returns.
    side
        One of ``SIDES``.
    """
    p = tail_p(df, t, side)
    m = len(p)
    if survival is not None:
        towards = {"two-sided": np.abs(t), "greater": t, "less": -t}[side]
        joint = np.array([survival(t_j, df_j) for t_j, df_j in zip(towards, df, strict=True)])
        # by sums over directions deep tails are known no better than by their bounds
        return np.clip(joint, p, np.minimum(1.0, m * p)) if adjust in ("mvt", "dunnett") else joint
    if adjust == "bonferroni":
        return np.minimum(1.0, m * p)
    if adjust == "sidak":
        return np.asarray(-np.expm1(m * np.log1p(-p)))
    if adjust == "fdr":
        return _false_discovery(p)
    return _holm(p) if adjust == "holm" else p


def adjusted_quantile(
    adjust: str, m: int, df: Floats, level: float, survival: Survival | None, *, side: str = "two-sided"
) -> Floats:
    """Return the half-widths of simultaneous intervals in standard errors, (m,); of one-sided ones their only width.

    The procedures of Holm and of Benjamini and Hochberg have no intervals of their own: those of Bonferroni stand for
    them.

    Parameters
    ----------
    adjust, df, survival, side
        As for `adjusted_p`.
    m
        Comparisons in the family.
    level
        Coverage of all intervals together.
    """
    if survival is not None:
        return np.array([_root(survival, 1 - level, df_j) for df_j in df])
    tail = 1 - level
    if adjust in ("bonferroni", "holm", "fdr"):
        tail /= m
    elif adjust == "sidak":
        tail = -float(np.expm1(np.log(level) / m))
    return t_quantile(df, 1 - (tail / 2 if side == "two-sided" else tail))


def family_survival(adjust: str, n_means: int, covariance: Floats, side: str = "two-sided") -> Survival | None:
    """Return the law of the largest of a family of comparisons; None where p-values are adjusted without it.

    Parameters
    ----------
    adjust
        One of ``ADJUSTMENTS``.
    n_means
        Means that are compared.
    covariance
        Of the comparisons, (m, m).
    side
        One of ``SIDES``; Tukey's and Scheffe's laws have two.
    """
    if adjust in OF_P:
        return None
    if adjust == "tukey":
        return tukey_survival(n_means)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    if adjust == "scheffe":
        return scheffe_survival(_root_of(correlation).shape[1])
    return dunnett_survival(correlation) if side == "two-sided" else one_sided_survival(correlation)


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
        return _survival_by_directions(correlation, np.abs)

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


def one_sided_survival(correlation: Floats) -> Survival:
    """Return P(max T >= t) of comparisons with given correlations, (m, m); by symmetry P(min T <= -t) too."""
    return _survival_by_directions(correlation, lambda x: x)


def scheffe_survival(rank: int) -> Survival:
    """Return the probability that some combination of a family of this rank is as far off as t."""

    def survival(t: float, df: float) -> float:
        return float(_squared_tail(rank, df, np.array(t**2)))

    return survival


def _survival_by_directions(correlation: Floats, size: Callable[[Floats], Floats]) -> Survival:
    """Return the survival by the mean over directions, ``size`` being the absolute value or, on one side, the value."""
    root = _root_of(correlation)
    rank = root.shape[1]
    h = np.concatenate([size(u @ root.T).max(axis=1) for u in _directions(rank)])
    ahead, behind = (_binned(side**-2) for side in (h[h > 0], h[h < 0]))

    @cache
    def survival(t: float, df: float) -> float:
        if t >= 0:
            return float(_squared_tail(rank, df, t**2 * ahead[0]) @ ahead[1] / len(h))
        return float(1 - _squared_tail(rank, df, t**2 * behind[0]) @ behind[1] / len(h))

    return survival


def _binned(values: Floats) -> tuple[Floats, Floats]:
    """Return means of neighbouring values and how many these are: sums of a smooth function are as good by them."""
    if len(values) <= _N_BINS:
        return values, np.ones(len(values))
    edges = np.linspace(0, len(values), _N_BINS + 1).astype(int)
    counts = np.diff(edges).astype(float)
    return np.add.reduceat(np.sort(values), edges[:-1]) / counts, counts


def _squared_tail(rank: int, df: float, square: Floats) -> Floats:
    """Return P(abs(x)^2 / s^2 >= square) of x normal in some dimensions and s^2 chi-squared over its df."""
    if np.isinf(df):
        return np.asarray(special.chdtrc(rank, square))
    return np.asarray(special.fdtrc(rank, df, square / rank))


def _root_of(correlation: Floats) -> Floats:
    """Return A, (m, rank), with R = AA'."""
    values, vectors = np.linalg.eigh(correlation)
    kept = values > _RANK_TOL * values[-1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _directions(rank: int) -> Iterator[Floats]:
    """Yield unit vectors that fill the sphere evenly, some at a time, (n, rank)."""
    if rank == 1:
        yield np.array([[1.0], [-1.0]])
        return
    steps = np.sqrt(list(islice(_primes(), rank)))
    for start in range(0, _N_DIRECTIONS, _CHUNK):
        i = np.arange(start + 1, start + _CHUNK + 1)[:, None]
        if rank == 2:
            angle = 2 * np.pi * (i - 0.5) / _N_DIRECTIONS
            yield np.hstack([np.cos(angle), np.sin(angle)])
            continue
        x = special.ndtri(np.clip(np.abs(2 * ((i * steps + 0.5) % 1.0) - 1), 1e-12, 1 - 1e-12))
        yield x / np.linalg.norm(x, axis=1)[:, None]


def _primes() -> Iterator[int]:
    found: list[int] = []
    for n in count(2):
        if all(n % prime for prime in found):
            found.append(n)
            yield n


def _holm(p: Floats) -> Floats:
    """Return Holm's (1979) step-down p-values."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _false_discovery(p: Floats) -> Floats:
    """Return Benjamini and Hochberg's (1995) step-up p-values."""
    order = np.argsort(p)[::-1]
    stepped = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
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
    """Return t with P(max >= t) = tail."""
    from scipy.optimize import brentq  # noqa: PLC0415  # takes longer to import than most fits take

    low, high = 0.0, 4.0
    while survival(high, df) > tail:
        high *= 2
    if survival(low, df) < tail:  # one-sided, of less coverage than a half
        low = -4.0
        while survival(low, df) < tail:
            low *= 2
    return float(brentq(lambda t: survival(t, df) - tail, low, high, xtol=1e-10))
