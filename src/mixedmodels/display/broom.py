"""Fits as tidy data frames: one row a term, a model, an observation (Bolker and Robinson's broom.mixed)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table, names_in

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit
    from mixedmodels.inference.approximation import Approximation

EFFECTS = ("fixed", "ran_pars")


def tidy(
    state: FitState,
    effects: str | Iterable[str] = EFFECTS,
    ddf: str | Approximation = "satterthwaite",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return one row a parameter.

    Parameters
    ----------
    state
        The fit.
    effects
        ``"fixed"``: the fixed effects; ``"ran_pars"``: standard deviations (``sd__Days``), correlations
        (``cor__Intercept.Days``) and the residual standard deviation (``sd__Observation``).
    ddf, level
        As for ``coef_table``.

    Returns
    -------
    pandas.DataFrame
        ``effect, group, term, estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``; missing where a
        parameter has none.

    Raises
    ------
    InferenceError
        If there is no such kind of effect.
    """
    return tidied(effects, coef_table(state, ddf, level), lambda: random_parameters(state, state.sigma))


def tidied(effects: str | Iterable[str], fixed: pd.DataFrame, parameters: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of ``tidy`` from tables of their kinds.

    Parameters
    ----------
    effects
        As for ``tidy``.
    fixed
        Tests of the fixed effects, by term.
    parameters
        Makes the rows ``effect, group, term, estimate`` of the others.

    Raises
    ------
    InferenceError
        If there is no such kind of effect.
    """
    wanted = names_in(effects)
    if not wanted:
        raise InferenceError(f"effects is empty; pass some of {', '.join(EFFECTS)}.")
    for effect in wanted:
        if effect not in EFFECTS:
            known = " and ".join(f'"{name}"' for name in EFFECTS)
            raise InferenceError(f"There are no {effect!r} effects; there are {known}.{nearest(str(effect), EFFECTS)}")
    fixed = fixed.reset_index()
    fixed.insert(0, "effect", "fixed")
    fixed.insert(1, "group", None)
    if "ran_pars" not in wanted:
        return fixed
    random = parameters()
    if "fixed" not in wanted:
        return random.reindex(columns=fixed.columns)
    return pd.concat([fixed.astype({"group": object}), random], ignore_index=True)


def glance(state: FixedFit) -> pd.DataFrame:
    """Return a fit in one row.

    Returns
    -------
    pandas.DataFrame
        ``nobs, sigma, llf, deviance, aic, bic, aicc, df_model_total, df_resid, reml, converged, is_singular``;
        ``deviance`` is -2 llf: the REML criterion under REML. A generalised model has no ``sigma`` and no ``reml``.
    """
    row = {
        "nobs": state.design.n_obs,
        **({"sigma": state.sigma} if state.has_residual else {}),
        "llf": criteria.log_likelihood(state),
        "deviance": state.optimum.deviance,
        "aic": criteria.aic(state),
        "bic": criteria.bic(state),
        "aicc": criteria.aicc(state),
        "df_model_total": state.n_params,
        "df_resid": criteria.residual_df(state),
        **({"reml": state.reml} if state.has_residual else {}),
        "converged": state.optimum.converged,
        "is_singular": state.is_singular,
    }
    return pd.DataFrame([row])


def random_parameters(state: MixedFit, sigma: float | None) -> pd.DataFrame:
    """Return standard deviations and correlations of the random effects, and sigma if there is one, as rows."""
    table = covariance_frame(factor_covariances(state), sigma)
    is_sd = table["effect_2"].isna()
    effect = table["effect_1"].fillna("Observation")
    term = np.where(is_sd, "sd__" + effect, "cor__" + effect + "." + table["effect_2"].fillna(""))
    return pd.DataFrame({"effect": "ran_pars", "group": table["group"], "term": term, "estimate": table["sd_or_corr"]})
