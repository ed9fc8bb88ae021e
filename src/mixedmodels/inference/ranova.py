"""Likelihood-ratio tests of the random terms, with the boundary taken into account.

Under a zero variance the statistic is not chi-squared, because a variance cannot be negative. If r columns with m
covariances to columns that stay are taken out, it is a mixture of chi-squared laws (Self and Liang 1987). For one
column it is half chi2(m) and half chi2(m + 1) (Stram and Lee 1994, case 3), where chi2(0) is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.errors import InferenceError
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem
from mixedmodels.inference import criteria
from mixedmodels.inference.exact_rlrt import simulate_rlrt
from mixedmodels.inference.random_reductions import Reduction, reductions

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState

COLUMNS = ("n_params", "llf", "aic", "chisq", "df", "p_value", "p_boundary")


def ranova(state: FitState, n_exact: int = 0, seed: int | np.random.Generator | None = None) -> pd.DataFrame:
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
        (``"<none>"``) and one for each reduction. ``p_value`` is the naive one, from chi-squared with ``df``.
        ``attrs["notes"]`` says how to read it.

    Raises
    ------
    InferenceError
        If ``n_exact`` is asked for where the exact law is not known.
    """
    _check_exact(state, n_exact)
    tests = list(reductions(state.design))
    rows = [(state.n_params, criteria.log_likelihood(state), criteria.aic(state), *[math.nan] * 4)]
    rows += [_test(state, reduction) for reduction in tests]
    index = pd.Index(["<none>", *(reduction.label for reduction in tests)], name="term")
    table = pd.DataFrame(rows, index=index, columns=list(COLUMNS))
    table["df"] = table["df"].astype("Int64")
    if n_exact:
        law = simulate_rlrt(state.design, n_exact, seed)
        at_least = np.count_nonzero(law >= table["chisq"].iloc[1])
        table["p_exact"] = [math.nan, (1 + at_least) / (1 + n_exact)]
    table.attrs["notes"] = tuple(_notes(state, tests, n_exact))
    return table


def chi_bar_p(chisq: float, removed: int, partners: int) -> float:
    """Return the p-value of taking out one column of random effects that has covariances with others.

    Parameters
    ----------
    chisq
        Likelihood-ratio statistic.
    removed
        Columns taken out; NaN is returned for more than one, where the weights of the mixture have no closed form.
    partners
        Columns that stay and had covariances with them.
    """
    if removed != 1:
        return math.nan
    if chisq <= 0:
        return 1.0
    lower = special.chdtrc(partners, chisq) if partners else 0.0
    return float(0.5 * lower + 0.5 * special.chdtrc(partners + 1, chisq))


def _check_exact(state: FitState, n_exact: int) -> None:
    if not isinstance(n_exact, int) or isinstance(n_exact, bool) or n_exact < 0:
        raise InferenceError(f"n_exact is {n_exact!r}; it must be a number of simulations, such as 10000, or 0.")
    if n_exact and (len(state.theta) != 1 or not state.reml):
        why = f"this one has {len(state.theta)} variance parameters" if state.reml else "this one is by ML"
        raise InferenceError(
            f"The exact law is known for REML fits with a single variance parameter; {why}. "
            "Leave n_exact out and use p_boundary, or compare by bootstrap."
        )


def _test(state: FitState, reduction: Reduction) -> tuple[int, float, float, float, int, float, float]:
    """Return a row of the table."""
    if reduction.design is None:
        deviance, n_theta = state.problem.deviance(np.zeros_like(state.theta), state.reml), 0
    else:
        problem = Problem(reduction.design, n_threads=state.control.n_threads)
        smaller = fit_problem(problem, reml=state.reml, control=state.control)
        deviance, n_theta = smaller.optimum.deviance, len(smaller.theta)
    n_params = state.n_params - len(state.theta) + n_theta
    chisq, df = deviance - state.optimum.deviance, len(state.theta) - n_theta
    naive = float(special.chdtrc(df, max(chisq, 0.0)))
    boundary = chi_bar_p(chisq, reduction.removed, reduction.partners)
    return n_params, -0.5 * deviance, deviance + 2.0 * n_params, chisq, df, naive, boundary


def _notes(state: FitState, tests: list[Reduction], n_exact: int) -> Iterator[str]:
    method = "REML" if state.reml else "ML"
    yield f"Likelihood ratios by {method}. p_value is too large, because a zero variance is on the boundary."
    yield "p_boundary is from the mixture of chi-squared laws for a variance at zero (Stram and Lee 1994)."
    if any(test.removed > 1 for test in tests):
        yield "p_boundary is missing where several columns are taken out together."
    if n_exact:
        yield f"p_exact is from {n_exact} simulations of the exact law (Crainiceanu and Ruppert 2004)."
