"""Variance inflation of the fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.fixed_terms import columns_by_term
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
    terms = estimated_terms(state)
    if len(terms) < 2:
        raise InferenceError("Variance inflation compares at least two terms beside the intercept; this fit has fewer.")
    sd = np.sqrt(np.diag(state.cov_beta))
    correlation = state.cov_beta / np.outer(sd, sd)
    every = sorted(place for own in terms.values() for place in own)
    whole = np.linalg.slogdet(correlation[np.ix_(every, every)])[1]
    rows = {}
    for term, own in terms.items():
        others = [j for j in every if j not in own]
        parts = sum(np.linalg.slogdet(correlation[np.ix_(p, p)])[1] for p in (own, others))
        gvif = float(np.exp(parts - whole))
        rows[term] = (len(own), gvif, gvif ** (1 / (2 * len(own))))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["df", "gvif", "gvif_scaled"]).rename_axis("term")


def estimated_terms(state: FitState) -> dict[str, list[int]]:
    """Return the positions of each term's coefficients among the fixed effects, the intercept not among them."""
    place = {column: i for i, column in enumerate(state.kept)}
    by_term = columns_by_term(state.design).items()
    return {term: own for term, columns in by_term if (own := [place[j] for j in columns if j in place])}
