"""Likelihood-ratio tests of the random terms, with the boundary taken into account.

Under a zero variance the statistic is not chi-squared, because a variance cannot be negative. If r columns with m
covariances to columns that stay are taken out, it is a mixture of chi-squared laws (Self and Liang 1987). For one
column it is half chi2(m) and half chi2(m + 1) (Stram and Lee 1994, case 3), where chi2(0) is zero; for more the weights
are those of ``boundary_law``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.long_work import carry_out
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference import criteria
from mixedmodels.inference.bootstrap import check_seed
from mixedmodels.inference.boundary_law import boundary_law
from mixedmodels.inference.chi_bar import mixture_p
from mixedmodels.inference.exact_rlrt import simulate_rlrt
from mixedmodels.inference.random_reductions import Reduction, reductions
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState

ROUNDING = 1e-11
"""Difference of deviances, relative to them, that counts as none."""
MAX_LEVELS = 5_000
_Row = tuple[int, float, float, float, float, float, float]
COLUMNS = ("n_params", "llf", "aic", "chisq", "df", "p_value", "p_boundary")


def ranova(
    state: FitState,
    n_exact: int = 0,
    seed: int | np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return likelihood-ratio tests of each random term, by the criterion of the fit (REML or ML).

    Parameters
    ----------
    state
        The fit.
    n_exact
        Simulations of the exact law of the statistic, for REML fits with a single variance parameter; 0 for none.
    seed
        Of the simulations.

    Returns
    -------
    pandas.DataFrame
        ``n_params, llf, aic, chisq, df, p_value, p_boundary``, and ``p_exact`` if simulated, a row for the fit
        (``"<none>"``) and one for each reduction. ``p_value`` is the naive one, from chi-squared with ``df``, the
        parameters less that the data determine.
        ``attrs["notes"]`` says how to read it.

    Raises
    ------
    InferenceError
        If ``n_exact`` is asked for where the exact law is not known.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` is the table of the terms that were tested, None if there are none.
    """
    refuse_sampled(state, "ranova()")
    _check_exact(state, n_exact)
    if n_exact and not isinstance(seed, np.random.Generator):
        check_seed(seed)
    tests = list(reductions(state.design))
    nan = math.nan
    rows: list[_Row] = [(state.n_params, criteria.log_likelihood(state), criteria.aic(state), nan, nan, nan, nan)]
    exact: list[float] = []

    def blocks() -> Iterator[int]:
        for reduction in tests:
            rows.append(_test(state, reduction))
            yield 1
        if n_exact:
            law = simulate_rlrt(state.design, n_exact, seed)
            exact.append((1 + np.count_nonzero(law >= rows[1][3])) / (1 + n_exact))

    def made() -> pd.DataFrame | None:
        return show_notes(_table(state, tests, rows, exact, n_exact)) if len(rows) > 1 else None

    return carry_out(blocks(), len(tests), "ranova", shown=False, made=made)


def _table(state: FitState, tests: list[Reduction], rows: list[_Row], exact: list[float], n_exact: int) -> pd.DataFrame:
    """Return the rows that there are, and what is to be known of them and of those that are missing in the notes."""
    done = tests[: len(rows) - 1]
    index = pd.Index(["<none>", *(reduction.label for reduction in done)], name="term")
    table = pd.DataFrame(rows, index=index, columns=list(COLUMNS))
    table["df"] = table["df"].astype("Int64")
    if exact:
        table["p_exact"] = [math.nan, *exact]
    notes = list(_notes(state, done, n_exact if exact else 0, bool(table["p_boundary"].iloc[1:].isna().any())))
    if len(done) < len(tests):
        notes.append(f"The tests were interrupted: {len(done)} of {len(tests)} were made.")
    elif n_exact and not exact:
        notes.append("The simulation of the exact law was interrupted.")
    table.attrs["notes"] = tuple(notes)
    return table


def _check_exact(state: FitState, n_exact: int) -> None:
    if not isinstance(n_exact, int | np.integer) or isinstance(n_exact, bool) or n_exact < 0:
        raise InferenceError(f"n_exact is {n_exact!r}; it must be a number of simulations, such as 10000, or 0.")
    if n_exact and (len(state.theta) != 1 or not state.reml):
        why = f"this one has {len(state.theta)} variance parameters" if state.reml else "this one is by ML"
        raise InferenceError(
            f"The exact law is known for REML fits with a single variance parameter; {why}. "
            "Leave n_exact out and use p_boundary, or compare by bootstrap."
        )
    if n_exact:
        refuse_absorbed(state.design.absorbed, "The exact law of ranova()")
    factor = state.design.factors[0]
    if n_exact and factor.n_effects > 1:
        raise InferenceError("The exact law is known for one random effect a level; these share a variance.")
    n_levels = factor.n_levels
    if n_exact and n_levels > MAX_LEVELS:
        raise InferenceError(
            f"The exact law needs the eigenvalues of a matrix of {n_levels} levels; at most {MAX_LEVELS} are allowed. "
            "With so many levels p_boundary is as good."
        )


def _test(state: FitState, reduction: Reduction) -> _Row:
    """Return a row of the table."""
    if reduction.design is None:
        theta, deviance = np.empty(0), state.problem.deviance(np.zeros_like(state.theta), state.reml)
        determined = state.fixed_rank + 1
    else:
        problem = Problem(reduction.design, n_threads=state.control.n_threads)
        smaller = fit_problem(problem, reml=state.reml, control=state.control)
        theta, deviance, determined = smaller.theta, smaller.optimum.deviance, smaller.n_determined
    n_params = state.n_params - len(state.theta) + len(theta)
    chisq, df = deviance - state.optimum.deviance, state.n_determined - determined
    if abs(chisq) < ROUNDING * (1 + abs(deviance)) or df == 0:
        chisq = 0.0  # the law of a variance at zero has a mass there
    naive = float(special.chdtrc(df, max(chisq, 0.0))) if df else 1.0
    if df == state.n_params - n_params:
        boundary = mixture_p(chisq, *boundary_law(state, reduction, theta))
    else:  # what is taken out is not the cone that its parameters make
        boundary = math.nan if df else 1.0
    return n_params, -0.5 * deviance, deviance + 2.0 * n_params, chisq, df, naive, boundary


def _notes(state: FitState, tests: list[Reduction], n_exact: int, unknown: bool) -> Iterator[str]:
    method = "REML" if state.reml else "ML"
    yield f"Likelihood ratios by {method}. p_value is too large, because a zero variance is on the boundary."
    yield "p_boundary is from the mixture of chi-squared laws for variances at zero (Stram and Lee 1994)."
    if any(test.removed > 1 for test in tests):
        yield "Where several columns go together, its weights are from 10000 simulated projections, seed 0."
    if unknown:
        yield "It is missing where the data do not tell apart the variances that go, from each other or from others."
    if n_exact:
        yield f"p_exact is from {n_exact} simulations of the exact law (Crainiceanu and Ruppert 2004)."
