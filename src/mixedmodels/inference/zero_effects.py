"""Effects on the chance of a zero, in zero-inflated and hurdle models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    from mixedmodels.fit.generalized import GlmmState


def zero_table(state: GlmmState, level: float = 0.95) -> pd.DataFrame:
    """Return effects on the logit of the chance of a zero, with normal tests and intervals, a row each.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage of the intervals.

    Raises
    ------
    InferenceError
        If zeros have no chance of their own.
    """
    check_level(level)
    zeros = state.problem.zeros
    if zeros is None:
        raise InferenceError(
            f"Zeros have no chance of their own in the family {state.family.name!r}: fit with zero_inflation='~ 1'."
        )
    estimate, se = state.zero_effects, np.sqrt(np.diag(state.cov_zero_effects))
    se = np.where(state.zero_effects_without_end, np.nan, se)
    z = estimate / se
    half = special.ndtri(0.5 + level / 2) * se
    columns = {
        "estimate": estimate,
        "std_error": se,
        "statistic": z,
        "p_value": 2 * special.ndtr(-np.abs(z)),
        "ci_lower": estimate - half,
        "ci_upper": estimate + half,
    }
    return pd.DataFrame(columns, index=list(zeros.names))
