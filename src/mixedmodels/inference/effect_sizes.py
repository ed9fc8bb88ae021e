"""How large the effects of terms are: partial eta, epsilon and omega squared of their F tests, with intervals.

With F on ``num_df`` and ``den_df`` degrees of freedom (Kelley 1935; Hays 1963; Olejnik and Algina 2003)

    eta^2 = num_df F / (num_df F + den_df),
    epsilon^2 = num_df (F - 1) / (num_df F + den_df),
    omega^2 = num_df (F - 1) / (num_df F + den_df + 1),

the latter two not below zero. In a mixed model the denominator is what the term is tested against, not the variance of
an observation: the sizes are shares of that, and those of terms within and between groups do not compare.

An interval holds the sizes lambda / (lambda + den_df), lambda being the noncentralities under which the statistic lies
between the quantiles of the noncentral F law that the level leaves out on both sides (Steiger 2004). For epsilon and
omega squared the statistic is the F that would give that size as eta squared, as in R's effectsize.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.anova import anova
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation

KINDS: Mapping[str, Callable[[float, float, float], float]] = MappingProxyType({
    "eta": lambda f, k, m: k * f / (k * f + m),
    "epsilon": lambda f, k, m: max(0.0, k * (f - 1) / (k * f + m)),
    "omega": lambda f, k, m: max(0.0, k * (f - 1) / (k * f + m + 1)),
})  # fmt: skip
"""The sizes as functions of F and its degrees of freedom."""

NAMES = MappingProxyType({"eta2": "eta", "eta_squared": "eta", "omega2": "omega", "epsilon2": "epsilon"})
LARGEST = 1e9
"""Noncentrality that is looked for at most, relative to the statistic."""


def effect_sizes(
    state: FixedFit,
    kind: str = "eta",
    type: int = 3,
    ddf: str | Approximation = "satterthwaite",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the partial effect size of each term of the fixed part.

    Parameters
    ----------
    state
        The fit.
    kind
        ``"eta"``, ``"epsilon"`` or ``"omega"``.
    type, ddf
        Of the F tests, as for ``anova``.
    level
        Coverage of the intervals, whose ends leave out the same share on both sides.

    Returns
    -------
    pandas.DataFrame
        ``num_df, den_df, f_value``, the size, called ``eta_sq``, ``epsilon_sq`` or ``omega_sq``, ``ci_lower`` and
        ``ci_upper``, by term.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or ``ddf`` does not apply or has no degrees of freedom.
    """
    check_level(level)
    if not isinstance(kind, str) or kind not in KINDS:
        near = nearest(NAMES.get(str(kind).casefold(), str(kind)), KINDS)
        raise InferenceError(f"kind is {kind!r}; it must be 'eta', 'epsilon' or 'omega'.{near}")
    table = anova(state, type, ddf)
    if np.isinf(table["den_df"]).any():
        raise InferenceError(
            "Effect sizes are made of the denominator degrees of freedom, which ddf='normal' takes for infinite. "
            "Choose another, such as 'satterthwaite'."
        )
    sizes = [
        size_with_interval(kind, *test, level=level)
        for test in zip(table["f_value"], table["num_df"], table["den_df"], strict=True)
    ]
    columns = [f"{kind}_sq", "ci_lower", "ci_upper"]
    sized = table[["num_df", "den_df", "f_value"]].join(pd.DataFrame(sizes, index=table.index, columns=columns))
    sized.attrs["notes"] = (
        *table.attrs.get("notes", ()),
        "Partial sizes: shares of the variance that each term is tested against.",
    )
    return sized


def size_with_interval(
    kind: str, f_value: float, num_df: float, den_df: float, *, level: float
) -> tuple[float, float, float]:
    """Return a size and the ends of its interval; nan where there is no test.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    f_value, num_df, den_df
        The test.
    level
        Coverage.
    """
    if not (math.isfinite(f_value) and den_df > 0):
        return math.nan, math.nan, math.nan
    size = KINDS[kind](f_value, num_df, den_df)
    statistic = size / (1 - size) * den_df / num_df
    low, high = (noncentrality(statistic, num_df, den_df, p) for p in (0.5 + level / 2, 0.5 - level / 2))
    return size, low / (low + den_df), high / (high + den_df)


def noncentrality(f_value: float, num_df: float, den_df: float, probability: float) -> float:
    """Return the noncentrality for which F is not larger than ``f_value`` with a probability; zero if there is none.

    Parameters
    ----------
    f_value, num_df, den_df
        The statistic and its degrees of freedom.
    probability
        Of a statistic that is not larger.
    """

    def excess(noncentral: float) -> float:
        return noncentral_f(f_value, num_df, den_df, noncentral) - probability

    if f_value <= 0 or excess(0.0) <= 0:
        return 0.0
    high = num_df * f_value + 1.0
    while excess(high) > 0 and high < LARGEST * (f_value + 1):
        high *= 2
    from scipy.optimize import brentq  # noqa: PLC0415  # takes longer to import than most fits take

    return float(brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-12))


def noncentral_f(f_value: float, num_df: float, den_df: float, noncentrality: float) -> float:
    """Return the probability that a noncentral F is not larger than ``f_value``, to rounding.

    It is a mixture of central laws with Poisson weights (Johnson, Kotz and Balakrishnan 1995, equation 30.10). That of
    SciPy 1.12 has four digits.

    Parameters
    ----------
    f_value, num_df, den_df
        The statistic and its degrees of freedom.
    noncentrality
        At least zero.
    """
    mean = 0.5 * noncentrality
    reach = 10 * math.sqrt(mean) + 40
    j = np.arange(max(0.0, math.floor(mean - reach)), mean + reach)
    weights = np.exp(special.xlogy(j, mean) - mean - special.gammaln(j + 1))
    share = num_df * f_value / (num_df * f_value + den_df)
    return float(weights @ special.betainc(0.5 * num_df + j, 0.5 * den_df, share))
