"""Predictions and their uncertainty.

The predictor of x'beta + z'b + offset is x'beta^ + z'b^. Intervals use Student's t with Satterthwaite's degrees of
freedom for the whole variance of its error, which ``error_variance`` forms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import check_level, t_quantile
from mixedmodels.predict.choice import chosen_columns
from mixedmodels.predict.error_variance import ErrorVariance
from mixedmodels.predict.rows import Rows, fitted_rows, new_rows, with_columns

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, MixedFit

INTERVALS = ("confidence", "prediction")
DDF = ("satterthwaite", "normal")
CORRECTIONS = ("kackar-harville",)
LEVEL = 0.95


def predict(
    state: FitState,
    data: object = None,
    *,
    random_effects: str | Iterable[str] = "conditional",
    new_levels: str = "raise",
    interval: str | None = None,
    level: float = LEVEL,
    ddf: str = "satterthwaite",
    weights: object = None,
    correction: str | None = None,
) -> pd.Series[float] | pd.DataFrame:
    """Return predictions of the response for the rows of the fit or for new data.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.
    random_effects
        ``"conditional"``: with the effects of all grouping factors; ``"population"``: of none; or names of grouping
        factors and texts of terms, ``"(1 | Subject)"``.
    new_levels
        ``"raise"``, or ``"population"``: rows of a level that the fit did not have get none of its effects (but those
        of the factors whose level is known).
    interval
        ``"confidence"``: of the mean; ``"prediction"``: of a new observation; None for none.
    level
        Coverage.
    ddf
        ``"satterthwaite"`` or ``"normal"`` (much cheaper for very many rows).
    weights
        Weights of new observations, for prediction intervals: a number, (n_rows,) or the name of a column of new data;
        None takes those of the fit for its own rows, and the column that it took them from in new data.
    correction
        ``"kackar-harville"`` widens se by what estimating the variance parameters adds; None takes them as known, as
        the intervals of the fixed effects do with Satterthwaite's degrees of freedom.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        In units of the response, missing where a needed value is missing; with an interval ``mean, se, lower, upper``,
        where se is that of the mean or of a new observation.

    Raises
    ------
    DataError, InferenceError
        As for ``rows.new_rows``; if an argument is not allowed.
    """
    _check_choices(interval, level, ddf, correction)
    if weights is not None and interval != "prediction":
        raise InferenceError("weights scale the residual of a new observation; they go with interval='prediction'.")
    chosen = chosen_columns(state.design, random_effects)
    used = tuple(bool(columns.any()) for columns in chosen)
    observation = interval == "prediction"
    if observation and any(columns.any() and not columns.all() for columns in chosen):
        raise InferenceError(
            "A prediction interval counts the effects that are not chosen as unknown, which it cannot for a part of a "
            "grouping factor's. Choose whole factors, or interval='confidence'."
        )
    rows = fitted_rows(state) if data is None else new_rows(state, data, used, new_levels, spread=observation)
    rows = with_columns(rows, chosen)
    mean = predicted_mean(state, rows, used)
    mean[rows.missing] = np.nan
    if interval is None:
        return pd.Series(mean, index=rows.index, name="predicted")
    refuse_absorbed(state.design.absorbed, "An interval of predictions")
    codes = tuple(c if u else np.full(rows.n_rows, -1, dtype=np.int32) for u, c in zip(used, rows.codes, strict=True))
    unknown = tuple(u or observation for u in used)
    residual = residual_share(state, rows, data, weights) if observation else 0.0
    error = ErrorVariance(state, rows, codes, unknown, residual)
    variance = error.value if correction is None else error.value + error.correction
    df = error.satterthwaite_df if ddf == "satterthwaite" else np.full(rows.n_rows, np.inf)
    se = np.where(rows.missing, np.nan, np.sqrt(variance))
    half = t_quantile(df, 0.5 + level / 2) * se
    return pd.DataFrame({"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}, index=rows.index)


def _check_choices(interval: str | None, level: float, ddf: str, correction: str | None) -> None:
    check_level(level)
    if interval is not None and interval not in INTERVALS:
        raise InferenceError(
            f"interval={interval!r} is not available; it must be 'confidence', 'prediction' or None."
            f"{nearest(str(interval), INTERVALS)}"
        )
    if ddf not in DDF:
        raise InferenceError(f"ddf={ddf!r} is not available for predictions; it must be 'satterthwaite' or 'normal'.")
    if correction is not None and correction not in CORRECTIONS:
        raise InferenceError(f"correction={correction!r} is not available; it must be 'kackar-harville' or None.")
    if correction is not None and interval is None:
        raise InferenceError("correction widens an interval; pass interval='confidence' or 'prediction' too.")
    if interval is None and (level != LEVEL or ddf != DDF[0]):
        raise InferenceError("level and ddf are for an interval; pass interval='confidence' or 'prediction' too.")


def predicted_mean(state: MixedFit, rows: Rows, used: tuple[bool, ...]) -> Floats:
    """Return X beta + Z b + offset with the effects of some factors, (n_rows,)."""
    mean = rows.X @ state.beta + rows.offset
    for k, b in enumerate(state.b):
        if not used[k]:
            continue
        effects = np.vstack([b, np.zeros((1, b.shape[1]))])[rows.codes[k]]  # -1 is the row of zeros
        Z = rows.Z[k]
        mean += effects[:, 0] if Z is None else np.einsum("ij,ij->i", Z, effects)
    return np.asarray(mean)


def residual_share(state: FitState, rows: Rows, data: object, weights: object) -> Floats | float:
    """Return 1 / w of each row, (n_rows,) or one number; nan where the column of weights has no value.

    Raises
    ------
    DataError
        If weights name a column that is not there.
    InferenceError
        If weights are not positive, or not one number or one for each row; or the fit has weights and new data none.
    """
    own = state.design.weights
    if weights is None:
        if own is None:
            return 1.0
        if data is None:
            return np.asarray(1.0 / own)
        weights = _column_of_weights(state, data)
    missing: Any = False
    if isinstance(weights, str):
        if data is None:
            raise InferenceError("weights name a column of new data; pass data too, or leave weights out.")
        frame = open_frame(data)
        if weights not in frame.names:
            raise unknown_column(weights, frame.names)
        column = frame.read(weights)
        weights = column.values if column.is_number else np.nan
        missing = np.zeros(rows.n_rows, dtype=bool) if column.missing is None else column.missing
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in {(), (rows.n_rows,)} or not ((values > 0) | missing).all():
        raise InferenceError(f"weights must be positive: one number, or one for each of the {rows.n_rows} rows.")
    return np.where(missing, np.nan, 1.0 / np.where(missing, 1.0, values))


def _column_of_weights(state: FitState, data: object) -> str:
    name = state.design.recipe.weights
    if name is not None and name in open_frame(data).names:
        return name
    where = "were an array" if name is None else f"are the column {name!r}, which the new data do not have"
    raise InferenceError(
        f"The weights of the fit {where}. Pass weights=: a number (1 for an observation of weight one), one for each "
        "row, or the name of a column."
    )
