"""Analysis of variance of the fixed effects by terms."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.contrast import dropped_columns
from mixedmodels.inference.degrees import approximation, joint_test
from mixedmodels.inference.marginality import TermContrasts

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation

TYPES = (1, 2, 3)
TYPE_BY_TEXT = {"I": 1, "II": 2, "III": 3, "1": 1, "2": 2, "3": 3}
COLUMNS = ("sum_sq", "mean_sq", "num_df", "den_df", "f_value", "p_value")


def anova(state: FixedFit, type: int = 3, ddf: str | Approximation = "satterthwaite") -> pd.DataFrame:
    """Return F tests of the fixed effects, one row a term.

    Parameters
    ----------
    state
        The fit.
    type
        1: each term after those before it in the formula. 2: after all terms that do not contain it. 3: after all other
        terms, averaged over the levels of those that contain it. A term is contained in another that has the same
        numeric variables and more categorical ones. With one term the three are the same.
    ddf
        As for ``degrees.approximation``.

    Returns
    -------
    pandas.DataFrame
        ``sum_sq, mean_sq, num_df, den_df, f_value, p_value``, indexed by term; ``mean_sq`` is F, without Kenward and
        Roger's factor, times the residual variance. A term without estimable coefficients has ``num_df`` 0 and no test.
        ``attrs["notes"]`` warns of type 3 where columns were dropped, and of degrees of freedom that may be wrong.

    Raises
    ------
    InferenceError
        If ``type`` or ``ddf`` is not allowed, or ``ddf`` does not apply to this fit.
    """
    _check_type(type)
    method = approximation(state, ddf)
    contrasts = TermContrasts.of(state)
    rows = [f_row(state, contrasts.hypothesis(k, type), method) for k in range(len(contrasts.terms))]
    table = f_table(rows, [term.name for term in contrasts.terms])
    table.attrs["notes"] = (*(_caution(state, type) if type > 1 else ()), *doubts(method))
    return table


def f_table(rows: Sequence[tuple[float, ...]], terms: Sequence[str]) -> pd.DataFrame:
    """Return the table of F tests, whose columns are numbers also where it has no row."""
    table = pd.DataFrame(rows, index=pd.Index(terms, name="term"), columns=list(COLUMNS))
    return table if len(table) else table.astype(float).astype({"num_df": int})


def f_row(state: FixedFit, L: Floats, method: Approximation) -> tuple[float, float, int, float, float, float]:
    """Return the columns of the table for the hypothesis L beta = 0, (n_rows, n_fixed); no test without rows."""
    if not len(L):
        return np.nan, np.nan, 0, np.nan, np.nan, np.nan
    test = joint_test(state, L, method)
    mean_sq = test.f_value / test.scale * state.sigma**2
    return test.num_df * mean_sq, mean_sq, test.num_df, test.den_df, test.f_value, test.p_value


def _caution(state: FixedFit, type: int) -> tuple[str, ...]:
    """Return what to know about tests of type 2 or 3 of a fit whose columns could not all be estimated."""
    dropped = dropped_columns(state)
    if not dropped:
        return ()
    return (
        f"Read tests of type {type} with care: {dropped}, so what they test depends on which cells have data, or on "
        "which of the aliased columns was kept.",
    )


def _check_type(type: object) -> None:
    if hasattr(type, "state"):
        raise InferenceError("anova tests the terms of one fit. To compare fits, use mixedmodels.compare(fit, other).")
    if not isinstance(type, Integral) or type not in TYPES:
        meant = TYPE_BY_TEXT.get(str(type).upper())
        hint = f" Did you mean type={meant}?" if meant else ""
        raise InferenceError(f"type is {type!r}; it must be 1, 2 or 3.{hint}")
