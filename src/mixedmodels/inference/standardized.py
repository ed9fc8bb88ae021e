"""Fixed effects in standard deviations of the response, for a standard deviation of a variable.

``refit`` fits the model to z-scores of the response and of the numeric variables of the terms; products are then of
z-scores, so that a slope that interacts is the one at the others' means. ``basic`` multiplies each coefficient by the
standard deviation of its column of X, indicators and products included, over that of the response. ``pseudo`` takes
standard deviations within groups for what varies within them, and of group means between them for what does not
(Hoffman 2015, page 342): of the response they are those of a model with an intercept by group alone. Means and
standard deviations count each row once, whatever its weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.standardized import standardized_design
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference.drop1 import with_fixed_columns
from mixedmodels.inference.wald import coef_table

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.approximation import Approximation

METHODS = ("refit", "basic", "pseudo")
OTHER_MODEL = 1e-3
"""Change of a fitted value, in standard deviations of the response, by which a model counts as another one."""
SAME = 1e-10
"""Distance from the mean of a level, relative to the largest spread, that counts as none."""
WEIGHTED = "Means and standard deviations count each row once, whatever its weight."
SCALED = ("estimate", "std_error", "ci_lower", "ci_upper")


def standardized(
    state: FitState, method: str = "refit", ddf: str | Approximation = "satterthwaite", level: float = 0.95
) -> pd.DataFrame:
    """Return standardised fixed effects, a row each, in the columns of ``coef_table``.

    Parameters
    ----------
    state
        The fit.
    method
        ``"refit"``, ``"basic"`` or ``"pseudo"``; the latter two have no intercept.
    ddf, level
        As for ``coef_table``.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or the method does not apply to this fit.
    """
    refuse_sampled(state, "standardized()")
    if not isinstance(method, str) or method not in METHODS:
        raise InferenceError(
            f"method is {method!r}; it must be 'refit', 'basic' or 'pseudo'.{nearest(str(method), METHODS)}"
        )
    if method == "refit":
        return _refitted(state, ddf, level)
    table = coef_table(state, ddf, level)
    X = state.design.X[:, list(state.kept)]
    scale = _basic(state, X) if method == "basic" else _pseudo(state, X)
    table[list(SCALED)] = table[list(SCALED)].mul(scale, axis=0)
    note = {
        "basic": "Coefficients times the standard deviation of their column over that of the response.",
        "pseudo": f"Standard deviations within and between levels of {state.design.factors[0].name}.",
    }
    table = table.drop(index=INTERCEPT, errors="ignore")
    table.attrs["notes"] = (note[method], *_of_weights(state))
    if table["estimate"].isna().any():
        table.attrs["notes"] += ("The response has no variance between them; what varies between only has no size.",)
    return table


def _refitted(state: FitState, ddf: str | Approximation, level: float) -> pd.DataFrame:
    if not isinstance(ddf, str):
        raise InferenceError(
            "ddf is a covariance of this fit, which is fitted anew. Name it, such as ddf='CR2', or use method='basic'."
        )
    problem = Problem(standardized_design(state.design), n_threads=state.control.n_threads)
    fitted = fit_problem(problem, reml=state.reml, control=state.control)
    table = coef_table(fitted, ddf, level)
    notes = ["Fitted anew with z-scores of the response and of numeric variables; categories keep their coding."]
    before = conditional_fitted(state)
    design, y = state.design, state.design.y
    after = conditional_fitted(fitted) * np.std(y, ddof=1) + y.mean()
    change = float(np.abs(after - before).max() / np.std(y, ddof=1)) if design.n_obs else 0.0
    if change > OTHER_MODEL:
        notes.append(
            f"This is another model, with fitted values up to {change:.2g} standard deviations away: what lacks an "
            "intercept, or a covariance with one, depends on where a variable is zero."
        )
    table.attrs["notes"] = (*notes, *_of_weights(state))
    return table


def _of_weights(state: FitState) -> tuple[str, ...]:
    return () if state.design.weights is None else (WEIGHTED,)


def _basic(state: FitState, X: Floats) -> Floats:
    return np.asarray(_sd(X) / _sd(state.design.y))


def _pseudo(state: FitState, X: Floats) -> Floats:
    """Return what each coefficient is multiplied by, (n_fixed,)."""
    design = state.design
    if len(design.factors) > 1:
        names = ", ".join(factor.name for factor in design.factors)
        raise InferenceError(
            f"method='pseudo' tells variances within from those between the levels of one grouping factor, but there "
            f"are {names}. Use 'refit' or 'basic'."
        )
    factor = design.factors[0]
    alone = replace(factor, columns=(INTERCEPT,), Z=None, block_sizes=(1,))
    null = replace(with_fixed_columns(design, np.ones((design.n_obs, 1))), factors=(alone,))
    fitted = fit_problem(Problem(null, n_threads=state.control.n_threads), reml=True, control=state.control)
    within, between = fitted.sigma, fitted.sigma * float(abs(fitted.theta[0]))
    counts = np.bincount(factor.codes, minlength=factor.n_levels)
    apart = X - X[0]
    means = np.array([np.bincount(factor.codes, column, factor.n_levels) for column in apart.T]).T / counts[:, None]
    inside = np.abs(apart - means[factor.codes]).max(axis=0, initial=0.0)
    varies = inside > SAME * np.abs(apart).max(axis=0, initial=0.0)
    own, of_response = np.where(varies, _sd(X), _sd(means)), np.where(varies, within, between)
    return np.asarray(own / np.where(of_response > 0, of_response, np.nan))


def _sd(values: Floats) -> Floats:
    """Return standard deviations of columns, far from zero too."""
    return np.asarray(np.std(values - values[0], axis=0, ddof=1))
