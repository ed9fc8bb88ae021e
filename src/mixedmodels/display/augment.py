"""Rows of data with what a fit says of each: one frame for fits of every kind, which say what they add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import narwhals as nw
import numpy as np
import pandas as pd

from mixedmodels.design.frame import open_frame
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.fit.rowless import is_rowless
from mixedmodels.predict.rows import fitted_rows, new_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

SAME = 1e-8
"""Difference, relative to the size of a column, that counts as rounding."""


class Added(Protocol):
    """What a fit adds to rows of data."""

    @property
    def state(self) -> FixedFit:
        """The fit."""
        ...

    def of_rows_used(self) -> dict[str, Floats]:
        """Return columns for the rows of the fit, by name."""
        ...

    def of_new_rows(self, data: object) -> dict[str, Floats]:
        """Return columns for other rows, by name."""
        ...


def augment(added: Added, data: object) -> pd.DataFrame:
    """Return the rows used, or rows of new data, with what a fit adds to them.

    Parameters
    ----------
    added
        What it adds.
    data
        The data of the fit, all rows or those used, or new data: pandas, polars, pyarrow or a mapping of columns.

    Raises
    ------
    DataError, InferenceError
        As for ``predict``.
    """
    frame = _as_pandas(data)
    used = _rows_used(added.state, frame)
    return frame.assign(**added.of_new_rows(data)) if used is None else used.assign(**added.of_rows_used())


def _rows_used(state: FixedFit, frame: pd.DataFrame) -> pd.DataFrame | None:
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


def _as_pandas(data: object) -> pd.DataFrame:
    open_frame(data)  # says what is wrong with them
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping):
        return pd.DataFrame(dict(data))
    native: Any = data
    frame = nw.from_native(native, eager_only=True)
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
