"""Fits as tidy data frames: one row a term, a model, an observation (Bolker and Robinson's broom.mixed)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from mixedmodels.design.frame import open_frame
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table, names_in

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState
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
    wanted = names_in(effects)
    if not wanted:
        raise InferenceError(f"effects is empty; pass some of {', '.join(EFFECTS)}.")
    for effect in wanted:
        if effect not in EFFECTS:
            known = " and ".join(f'"{name}"' for name in EFFECTS)
            raise InferenceError(f"There are no {effect!r} effects; there are {known}.{nearest(str(effect), EFFECTS)}")
    fixed = coef_table(state, ddf, level).reset_index()
    fixed.insert(0, "effect", "fixed")
    fixed.insert(1, "group", None)
    if "ran_pars" not in wanted:
        return fixed
    parameters = _random_parameters(state)
    if "fixed" not in wanted:
        return parameters.reindex(columns=fixed.columns)
    return pd.concat([fixed.astype({"group": object}), parameters], ignore_index=True)


def glance(state: FitState) -> pd.DataFrame:
    """Return a fit in one row.

    Returns
    -------
    pandas.DataFrame
        ``nobs, sigma, llf, deviance, aic, bic, aicc, df_model_total, df_resid, reml, converged, is_singular``;
        ``deviance`` is -2 llf: the REML criterion under REML.
    """
    row = {
        "nobs": state.design.n_obs,
        "sigma": state.sigma,
        "llf": criteria.log_likelihood(state),
        "deviance": state.optimum.deviance,
        "aic": criteria.aic(state),
        "bic": criteria.bic(state),
        "aicc": criteria.aicc(state),
        "df_model_total": state.n_params,
        "df_resid": criteria.residual_df(state),
        "reml": state.reml,
        "converged": state.optimum.converged,
        "is_singular": state.is_singular,
    }
    return pd.DataFrame([row])


def augment(state: FitState, data: object) -> pd.DataFrame:
    """Return the rows used with ``.fitted``, ``.resid`` (both conditional) and ``.fixed`` (X beta + offset) added.

    Parameters
    ----------
    state
        The fit.
    data
        The data of the fit, all rows or those used: pandas, polars, pyarrow or a mapping of columns.

    Raises
    ------
    InferenceError
        If the number of rows is neither.
    """
    frame = _as_pandas(data)
    design = state.design
    if len(frame) not in (design.n_rows, design.n_obs):
        raise InferenceError(
            f"augment got {len(frame)} rows; the model was fitted to {design.n_obs} of {design.n_rows}. "
            "Pass the same data."
        )
    if design.rows is not None and len(frame) == design.n_rows:
        frame = frame.iloc[design.rows]
    added = {
        ".fitted": conditional_fitted(state),
        ".resid": residuals(state),
        ".fixed": marginal_fitted(state),
    }
    return frame.assign(**added)


def _random_parameters(state: FitState) -> pd.DataFrame:
    table = covariance_frame(factor_covariances(state), state.sigma)
    is_sd = table["effect_2"].isna()
    effect = table["effect_1"].fillna("Observation")
    term = np.where(is_sd, "sd__" + effect, "cor__" + effect + "." + table["effect_2"].fillna(""))
    return pd.DataFrame({"effect": "ran_pars", "group": table["group"], "term": term, "estimate": table["sd_or_corr"]})


def _as_pandas(data: object) -> pd.DataFrame:
    open_frame(data)  # says what is wrong with them
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping):
        return pd.DataFrame(dict(data))
    native: Any = data
    frame = nw.from_native(native, eager_only=True)
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
