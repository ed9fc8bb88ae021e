"""What each term adds to the variance that the fixed part explains: part R-squared.

The variance of the fixed part less that of the model without the term, fitted to the same rows, over the variance of
the whole: (var(X beta) - var(X_0 beta_0)) / (var(X beta) + sigma_r^2 + sigma^2) (Stoffel, Nakagawa and Schielzeth
2021). What terms explain together is in none of the parts, so that they do not sum to the marginal R-squared; what they
suppress in each other may make one negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.fixed_terms import term_matrix
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference.drop1 import with_fixed_columns
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.inference.r2 import variance_parts

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


ROUNDING = 1e-9
"""Less than this below zero is no negative part."""

NEGATIVE = "A part is negative where the fixed part explains more without the term, since terms suppress each other."


def part_r2(state: FitState) -> pd.DataFrame:
    """Return the part R-squared of the terms that can be taken out, those of ``drop1``.

    Parameters
    ----------
    state
        The fit, whose criterion is that of the smaller models too.

    Returns
    -------
    pandas.DataFrame
        ``df``, the columns by which the model is larger, ``part_r2`` and ``without``, the share of the whole that the
        fixed part explains without the term; by term, after a row for all of them. ``attrs["notes"]`` says what
        negative parts mean.
    """
    refuse_sampled(state, "part_r2()")
    contrasts = TermContrasts.of(state)
    fixed, random, residual = variance_parts(state)
    whole = fixed + sum(random.values()) + residual
    has_intercept = state.design.absorbed is not None or INTERCEPT in state.fixed_names
    rows = {"<all>": (state.fixed_rank - has_intercept, fixed / whole, 0.0)}
    matrix = term_matrix(state.design).matrix
    for k, term in enumerate(contrasts.terms):
        if not contrasts.can_go(k):
            continue
        kept = contrasts.without(k)
        left = fixed
        if len(kept) < state.n_fixed:
            design = with_fixed_columns(state.design, matrix[:, kept])
            problem = Problem(design, n_threads=state.control.n_threads)
            left = variance_parts(fit_problem(problem, reml=state.reml, control=state.control))[0]
        rows[term.name] = (state.n_fixed - len(kept), (fixed - left) / whole, left / whole)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["df", "part_r2", "without"]).rename_axis("term")
    if (table["part_r2"] < -ROUNDING).any():
        table.attrs["notes"] = (NEGATIVE,)
    return table
