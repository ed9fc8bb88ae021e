"""Fits as tidy data frames: one row a term, a model, an observation (Bolker and Robinson's broom.mixed)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.frame import open_frame
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.rowless import is_rowless
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table, names_in
from mixedmodels.predict.predict import LEVEL, predict
from mixedmodels.predict.rows import check_new_levels, fitted_rows, new_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit
    from mixedmodels.inference.approximation import Approximation

EFFECTS = ("fixed", "ran_pars")
SAME = 1e-8
"""Difference, relative to the size of a column, that counts as rounding."""


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


def augment(
    state: FitState,
    data: object,
    *,
    interval: str | None = None,
    level: float = LEVEL,
    ddf: str = "satterthwaite",
    new_levels: str = "raise",
    weights: object = None,
) -> pd.DataFrame:
    """Return the rows used, or rows of new data, with predictions and residuals added.

    Parameters
    ----------
    state
        The fit.
    data
        The data of the fit, all rows or those used, or new data: pandas, polars, pyarrow or a mapping of columns.
    interval
        ``"confidence"`` or ``"prediction"`` adds ``.se``, ``.lower`` and ``.upper``, those of ``predict``.
    level, ddf, new_levels, weights
        As for ``predict``.

    Returns
    -------
    pandas.DataFrame
        The data with ``.fitted`` (conditional), ``.resid`` (response less that; not there if new data lack the
        response) and ``.fixed`` (X beta + offset), in units of the response.

    Raises
    ------
    DataError, InferenceError
        As for ``predict``.
    """
    refuse_absorbed(state.design.absorbed, "augment()")
    frame = _as_pandas(data)
    used = _rows_used(state, frame)
    options: dict[str, Any] = {"interval": interval, "level": level, "ddf": ddf, "weights": weights}
    if used is None:
        return frame.assign(**added_columns(state, data, new_levels=new_levels, **options))
    check_new_levels(new_levels)
    added = {".fitted": conditional_fitted(state), ".resid": residuals(state), ".fixed": marginal_fitted(state)}
    return used.assign(**added, **_limits(predict(state, **options)))


def added_columns(state: FitState, data: object, *, new_levels: str = "raise", **options: Any) -> dict[str, Floats]:
    """Return what `augment` adds to rows of new data, by name.

    Parameters
    ----------
    state, data, new_levels, options
        As for `augment`.
    """
    predicted = predict(state, data, new_levels=new_levels, **options)
    fitted = predicted if isinstance(predicted, pd.Series) else predicted["mean"]
    response = _response(state, data)
    added = {".fitted": np.asarray(fitted)}
    if response is not None:
        added[".resid"] = response - added[".fitted"]
    added[".fixed"] = np.asarray(predict(state, data, random_effects="population"))
    return added | _limits(predicted)


def _limits(predicted: pd.Series | pd.DataFrame) -> dict[str, Floats]:
    if isinstance(predicted, pd.Series):
        return {}
    return {f".{name}": predicted[name].to_numpy() for name in ("se", "lower", "upper")}


def _rows_used(state: FitState, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the rows of a frame that the fit used; None if the frame is not that of the fit.

    Where new data cannot be brought through the model, as many rows as those of the fit are taken for them.
    """
    design = state.design
    if is_rowless(design) or len(frame) not in (design.n_rows, design.n_obs):
        return None
    own = frame if design.rows is None or len(frame) == design.n_obs else frame.iloc[design.rows]
    recipe = design.recipe
    if not isinstance(recipe, DesignRecipe) or (design.offset is not None and not recipe.offsets):
        return own
    if recipe.of_all_rows - {design.response_name}:
        return own
    found, known = new_rows(state, own, (True,) * len(design.factors), "population"), fitted_rows(state)
    pairs = [(found.X, known.X), (found.offset, known.offset), *zip(found.codes, known.codes, strict=True)]
    pairs += [(found.columns(k), known.columns(k)) for k in range(len(design.factors))]
    return own if not found.missing.any() and all(_are_same(*pair) for pair in pairs) else None


def _are_same(found: Any, known: Any) -> bool:
    """Return whether columns are the same but for rounding."""
    return bool((np.abs(found - known) <= SAME * np.abs(known).max(axis=0, initial=0.0)).all())


def _response(state: FitState, data: object) -> Floats | None:
    recipe = state.design.recipe
    return recipe.response(data, state.design.response_name) if isinstance(recipe, DesignRecipe) else None


def random_parameters(state: MixedFit, sigma: float | None) -> pd.DataFrame:
    """Return standard deviations and correlations of the random effects, and sigma if there is one, as rows."""
    table = covariance_frame(factor_covariances(state), sigma)
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
