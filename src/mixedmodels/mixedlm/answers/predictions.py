"""Predictions for new rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.fit.records import FitState
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.description.recipe import NewRows


def read_new_data(model: ModelDescription, exog: Any, transform: bool) -> Any:
    """Return new data as a frame, or as they are where no formula is applied to them.

    Raises
    ------
    DataError
        If a formula is to be applied to something that is no table, or to columns of different lengths.
    """
    if model.formulas is None or not transform:
        is_row = np.ndim(exog) == 1 and len(exog) == model.k_fe != 1
        if isinstance(exog, pd.Series):
            return exog.to_frame().T if is_row else exog.to_frame()
        return np.asarray(exog)[None, :] if is_row else exog
    if isinstance(exog, pd.Series):
        return exog.to_frame().T.infer_objects()
    if isinstance(exog, Mapping):
        return _table(dict(exog))
    frame = exog.to_pandas() if hasattr(exog, "to_pandas") else exog
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            "This model has a formula, so predict needs a DataFrame with its columns; "
            "pass transform=False to give columns of the fixed effects."
        )
    return frame


def _table(columns: dict[Any, Any]) -> pd.DataFrame:
    """Return columns as a frame, single values as one row."""
    is_row = all(np.ndim(column) == 0 for column in columns.values())
    try:
        return pd.DataFrame(columns, index=[0] if is_row else None)
    except ValueError as error:
        raise DataError(f"The columns to predict for make no table: {error}.") from error


def predicted(state: FitState, fixed: Floats, rows: NewRows, used: Sequence[bool]) -> Floats:
    """Return X b of new rows, and Z g of some grouping factors, (n_rows,).

    Parameters
    ----------
    state
        The fit.
    fixed
        All fixed effects, (k_fe,).
    rows
        The new rows.
    used
        Which grouping factors' effects are added: zero for levels that the fit did not have, nan for none.
    """
    recipe: Any = state.design.recipe
    total: Floats = recipe.fixed_matrix(rows) @ fixed
    for k, b in enumerate(state.b):
        if not used[k]:
            continue
        codes = recipe.level_codes(rows, k)
        known = codes >= 0
        Z = recipe.random_matrix(rows, k)[known]
        total[known] += np.einsum("ij,ij->i", Z, b[codes[known]])
        total[recipe.level_table(rows, k).isna().any(axis=1).to_numpy()] = np.nan
    return total
