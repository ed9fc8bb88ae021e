"""Wald tests and intervals of the fixed effects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.criteria import residual_df

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

DDF_METHODS = ("normal", "residual")
"""Degrees of freedom there are: infinite, or rows less fixed effects."""


def coef_table(state: FitState, ddf: str = "normal", level: float = 0.95) -> pd.DataFrame:
    """Return estimates, standard errors, tests against zero and confidence intervals of the fixed effects.

    Parameters
    ----------
    state
        The fit.
    ddf
        ``"normal"``: the standard normal distribution, right for many groups; ``"residual"``: Student's t with
        n - p degrees of freedom.
    level
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, indexed by fixed effect; df is infinite
        for ``"normal"``.

    Raises
    ------
    InferenceError
        If ``ddf`` or ``level`` is not one of those allowed.
    """
    check_level(level)
    df = np.full(state.n_fixed, degrees_of_freedom(state, ddf))
    std_error = np.sqrt(np.diag(state.cov_beta))
    statistic = state.beta / std_error
    half_width = t_quantile(df, 0.5 * (1 + level)) * std_error
    columns = {
        "estimate": state.beta,
        "std_error": std_error,
        "df": df,
        "statistic": statistic,
        "p_value": two_sided_p(df, statistic),
        "ci_lower": state.beta - half_width,
        "ci_upper": state.beta + half_width,
    }
    return pd.DataFrame(columns, index=pd.Index(state.fixed_names, name="term"))


def degrees_of_freedom(state: FitState, ddf: str) -> float:
    """Return the degrees of freedom of every test.

    Raises
    ------
    InferenceError
        If there is no such method.
    """
    if ddf not in DDF_METHODS:
        allowed = " and ".join(f'"{name}"' for name in DDF_METHODS)
        raise InferenceError(f"ddf={ddf!r} is not available; there are {allowed}.{nearest(str(ddf), DDF_METHODS)}")
    return math.inf if ddf == "normal" else float(residual_df(state))


def check_level(level: float) -> None:
    """Raise unless level is a coverage.

    Raises
    ------
    InferenceError
        If it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InferenceError(f"level is {level!r}; it must lie between 0 and 1, such as 0.95.")


def two_sided_p(df: Floats, statistic: Floats) -> Floats:
    """Return P(abs(T) > abs(t)) from the survival side, normal where df is infinite."""
    tail = -np.abs(statistic)
    return np.asarray(2 * np.where(np.isinf(df), special.ndtr(tail), special.stdtr(df, tail)))


def t_quantile(df: Floats, probability: float) -> Floats:
    """Return the quantile of Student's t, normal where df is infinite."""
    return np.asarray(np.where(np.isinf(df), special.ndtri(probability), special.stdtrit(df, probability)))
