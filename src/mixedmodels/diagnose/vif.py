"""Variance inflation of the fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


def vif(state: FitState) -> pd.DataFrame:
    """Return the generalised variance-inflation factor of each fixed term but the intercept (Fox and Monette 1992).

    From the correlations R of the estimated fixed effects: det(R_11) det(R_22) / det(R), R_11 those of the term's
    columns.

    Returns
    -------
    pandas.DataFrame
        ``df, gvif, gvif_scaled`` by term; the last is gvif^(1 / (2 df)), comparable between terms.

    Raises
    ------
    InferenceError
        If there are fewer than two terms beside the intercept.
    """
    names = [name for name in state.fixed_names if name != INTERCEPT]
    keep = [state.fixed_names.index(name) for name in names]
    terms: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        terms.setdefault(_term(name), []).append(place)
    if len(terms) < 2:
        raise InferenceError("Variance inflation compares at least two terms beside the intercept; this fit has fewer.")
    covariance = state.cov_beta[np.ix_(keep, keep)]
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    whole = np.linalg.slogdet(correlation)[1]
    rows = {}
    for term, own in terms.items():
        others = [j for j in range(len(names)) if j not in own]
        parts = sum(np.linalg.slogdet(correlation[np.ix_(p, p)])[1] for p in (own, others))
        gvif = float(np.exp(parts - whole))
        rows[term] = (len(own), gvif, gvif ** (1 / (2 * len(own))))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["df", "gvif", "gvif_scaled"]).rename_axis("term")


def _term(column: str) -> str:
    """Return the term of a column: its name without the levels in brackets."""
    parts, depth = [], 0
    for character in column:
        depth += character == "["
        if depth == 0:
            parts.append(character)
        depth -= character == "]"
    return "".join(parts)
