"""Wald tests and intervals of the fixed effects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.degrees import approximation, estimate_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation, RowEstimates

COLUMNS = pd.Index(["estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper"])
"""Of a table of tests, made once: labels cost pandas more than a few numbers do."""


def coef_table(
    state: FixedFit,
    ddf: str | Approximation = "satterthwaite",
    level: float = 0.95,
    exponentiate: bool = False,
) -> pd.DataFrame:
    """Return estimates, standard errors, tests against zero and confidence intervals of the fixed effects.

    Parameters
    ----------
    state
        The fit.
    ddf
        As for ``degrees.approximation``.
    level
        Coverage of the intervals, between 0 and 1.
    exponentiate
        Return exp of estimates and bounds, ratios of odds or of means, with standard errors by the delta method; tests
        stay those of the coefficients.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, indexed by fixed effect; df is infinite
        for ``"normal"``. ``attrs["notes"]`` says why degrees of freedom may be wrong.

    Raises
    ------
    InferenceError
        If ``ddf`` or ``level`` is not one of those allowed, or ``ddf`` does not apply to this fit.
    """
    method = approximation(state, ddf)
    own = state.own_fixed
    values = row_values(estimate_rows(state, np.eye(state.n_fixed)[own], method), level)
    if exponentiate:
        values[:, 0] = np.exp(values[:, 0])
        values[:, 1] *= values[:, 0]
        values[:, 5:] = np.exp(values[:, 5:])
    table = pd.DataFrame(values, index=pd.Index(state.fixed_names[own], name="term"), columns=COLUMNS)
    table.attrs["notes"] = doubts(method)
    return table


def row_table(rows: RowEstimates, labels: pd.Index, level: float = 0.95, rhs: Floats | float = 0.0) -> pd.DataFrame:
    """Return tests of each row against its hypothesis and confidence intervals, in the columns of ``coef_table``.

    Parameters
    ----------
    rows, level, rhs
        As for ``row_values``.
    labels
        One a row, the index of the table.

    Raises
    ------
    InferenceError
        If ``level`` is not allowed.
    """
    return pd.DataFrame(row_values(rows, level, rhs), index=labels, columns=COLUMNS)


def row_values(rows: RowEstimates, level: float = 0.95, rhs: Floats | float = 0.0) -> Floats:
    """Return the numbers of ``row_table``, (n_rows, 7).

    Parameters
    ----------
    rows
        As ``degrees.estimate_rows`` returns them.
    level
        Coverage of the intervals, between 0 and 1.
    rhs
        Values under the hypothesis, (n_rows,) or one for all.

    Raises
    ------
    InferenceError
        If ``level`` is not allowed.
    """
    check_level(level)
    certain = rows.std_error == 0
    statistic = (rows.estimate - rhs) / np.where(certain, np.nan, rows.std_error)
    half_width = np.where(certain, 0.0, t_quantile(rows.df, 0.5 * (1 + level)) * rows.std_error)
    p_value = two_sided_p(rows.df, statistic)
    bounds = rows.estimate - half_width, rows.estimate + half_width
    return np.column_stack([rows.estimate, rows.std_error, rows.df, statistic, p_value, *bounds])


def names_in(names: object) -> list[Any]:
    """Return one name, or several, as a list; what holds no names stands for itself, to be refused as one.

    Raises
    ------
    InferenceError
        If there are tables or arrays of several dimensions among them.
    """
    found = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    for each in found:
        if getattr(each, "ndim", 0) or isinstance(each, list | dict | set):
            raise InferenceError(f"Names are wanted, one or a list of them, but one is a {type(each).__name__!r}.")
    return found


def check_level(level: object) -> None:
    """Raise unless level is a coverage.

    Raises
    ------
    InferenceError
        If it is not a number between 0 and 1.
    """
    if not isinstance(level, int | float | np.floating) or not 0 < level < 1:
        raise InferenceError(f"level is {level!r}; it must lie between 0 and 1, such as 0.95.")


def two_sided_p(df: Floats, statistic: Floats) -> Floats:
    """Return P(abs(T) > abs(t)) from the survival side, normal where df is infinite."""
    tail = -np.abs(statistic)
    return np.asarray(2 * np.where(np.isinf(df), special.ndtr(tail), special.stdtr(df, tail)))


def t_quantile(df: Floats, probability: float) -> Floats:
    """Return the quantile of Student's t, normal where df is infinite."""
    return np.asarray(np.where(np.isinf(df), special.ndtri(probability), special.stdtrit(df, probability)))
