"""Predictions of ordered categories: chances of each, and the linear predictor from which thresholds are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.inference.thresholds import chance_errors, ordinal_family

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.predict.rows import Rows


def predict_categories(
    state: GlmmState,
    rows: Rows,
    eta: Floats,
    variance: Floats | None,
    *,
    scale: str,
    level: float | None,
    errors: Callable[[], Floats] | None = None,
) -> pd.Series[float] | pd.DataFrame:
    """Return chances of the categories or the linear predictor.

    Parameters
    ----------
    state
        The fit.
    rows
        The rows.
    eta
        The engine's linear predictor with the effects that are chosen, (n_rows,).
    variance
        Of the effects that chances are averaged over, (n_rows,); None for no average.
    scale
        ``"response"`` or ``"link"``.
    level
        Coverage of intervals; None for none.
    errors
        Makes the standard errors of the chances, (n_rows, n_categories); None: those without random effects.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        Chances, (n_rows, n_categories), a column a category; with intervals ``mean, se, lower, upper`` by row and
        category, formed on the logit scale of each chance. The linear predictor x'beta + z'b has no intercept.
    """
    family = ordinal_family(state, "Chances of categories")
    if scale == "link":
        return _linear(state, rows, eta, level)
    chances = family.chances(eta, state.phi) if variance is None else family.averaged_chances(eta, state.phi, variance)
    chances[rows.missing] = np.nan
    columns = pd.Index(state.design.categories, name=state.design.response_name)
    table = pd.DataFrame(chances, index=rows.index, columns=columns)
    if level is None:
        return table
    se = chance_errors(state, rows.X, eta) if errors is None else errors()
    within = chances * (1 - chances)
    half = special.ndtri(0.5 + level / 2) * se / np.where(within > 0, within, np.inf)
    centre = special.logit(chances)
    bounds = special.expit(centre - half), special.expit(centre + half)
    values = np.stack([chances, np.where(np.isnan(chances), np.nan, se), *bounds], axis=-1).reshape(-1, 4)
    labels = pd.RangeIndex(len(table)) if rows.index is None else rows.index
    index = pd.MultiIndex.from_product([labels, columns], names=[labels.name, columns.name])
    return pd.DataFrame(values, index=index, columns=["mean", "se", "lower", "upper"])


def _linear(state: GlmmState, rows: Rows, eta: Floats, level: float | None) -> pd.Series[float] | pd.DataFrame:
    mean = np.where(rows.missing, np.nan, eta - state.beta[0])
    if level is None:
        return pd.Series(mean, index=rows.index, name="predicted")
    X = rows.X.copy()
    X[:, 0] = 0.0
    se = np.where(rows.missing, np.nan, np.sqrt((state.fixed_root.whiten(X) ** 2).sum(axis=1)))
    half = special.ndtri(0.5 + level / 2) * se
    return pd.DataFrame({"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}, index=rows.index)


def as_categories(state: GlmmState, codes: Floats) -> npt.NDArray[Any]:
    """Return the categories at positions, of the same shape; None where there is none."""
    labels = np.array([*state.design.categories, None], dtype=object)
    places = np.where(np.isnan(codes), len(labels) - 1, codes).astype(np.intp)
    found = labels[places]
    numbers = all(isinstance(label, int) for label in state.design.categories) and not np.isnan(codes).any()
    return found.astype(np.int64) if numbers else found
