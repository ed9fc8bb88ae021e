"""Rows to predict for: those of the fit, or new data brought through the fit's own recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.evaluation import check_finite
from mixedmodels.design.labels import level_text
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.contrast import estimable_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FixedFit

    Mask = npt.NDArray[np.bool_]

NEW_LEVELS = ("raise", "population")


@dataclass(frozen=True)
class Rows:
    """What a prediction needs of each row.

    Attributes
    ----------
    X
        Fixed columns that were estimated, (n_rows, n_fixed).
    offset
        (n_rows,), with it the fixed effects of absorbed levels.
    codes
        Level in each grouping factor, (n_rows,); -1 for a level that the fit did not have.
    Z
        Columns of each grouping factor, (n_rows, n_effects), or None for ones.
    missing
        Rows with a missing value where one is needed, (n_rows,); their numbers above mean nothing.
    index
        Labels of the rows in the user's data.
    """

    X: Floats
    offset: Floats
    codes: tuple[Codes, ...]
    Z: tuple[Floats | None, ...]
    missing: Mask
    index: pd.Index | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    def columns(self, k: int) -> Floats:
        """Return the columns of factor k with ones written out."""
        Z = self.Z[k]
        return np.ones((self.n_rows, 1)) if Z is None else Z


def fitted_rows(state: FixedFit) -> Rows:
    """Return the rows of the fit."""
    design = state.design
    n = design.n_obs
    offset = np.zeros(n) if design.offset is None else design.offset
    if design.absorbed is not None:
        offset = offset + design.absorbed.sum_of(state.absorbed_effects)
    X = np.ascontiguousarray(design.X[:, list(state.kept)])
    codes, Z = tuple(f.codes for f in design.factors), tuple(f.Z for f in design.factors)
    return Rows(X, offset, codes, Z, np.zeros(n, dtype=bool), design.row_labels)


def check_new_levels(new_levels: object) -> None:
    """``new_levels`` must be one of its choices.

    Raises
    ------
    InferenceError
        It is not.
    """
    if not isinstance(new_levels, str) or new_levels not in NEW_LEVELS:
        raise InferenceError(f"new_levels={new_levels!r} is not available; it must be 'raise' or 'population'.")


def new_rows(state: FixedFit, data: object, used: tuple[bool, ...], new_levels: str, *, spread: bool = False) -> Rows:
    """Return new data as rows of the fit's design.

    Parameters
    ----------
    state
        The fit.
    data
        Anything that ``lmer`` takes.
    used
        Which grouping factors' effects are used; the variables of the others need not be there.
    new_levels
        ``"raise"`` or ``"population"`` (a level that the fit did not have gets code -1).
    spread
        Read the columns of the random effects of the other factors too, whose variance counts.

    Raises
    ------
    DataError
        If a column is missing, of another kind, infinite, or has a categorical level that the fit did not have; with
        ``new_levels="raise"`` also for new levels of a grouping factor.
    InferenceError
        If ``new_levels`` is not one of these, the fit had an offset that was given as an array, or a row needs a fixed
        effect that the fit could not estimate.
    """
    check_new_levels(new_levels)
    design = state.design
    recipe: Any = design.recipe
    if design.offset is not None and not recipe.offsets:
        raise InferenceError(
            "The fit had an offset given as an array, which new data do not have. Put it in a column and write "
            "offset(column) in the formula."
        )
    X = recipe.fixed_matrix(data)
    if not isinstance(recipe, DesignRecipe):  # which refuses infinite values itself
        check_finite(design.x_names, X, "the new data")
    offset = recipe.offset(data)
    missing = np.isnan(X).any(axis=1) | np.isnan(offset)
    codes: list[Codes] = []
    Z: list[Floats | None] = []
    for k, factor in enumerate(design.factors):
        if used[k]:
            codes.append(recipe.level_codes(data, k))
            table = level_table(state, data, k)
            gap = table.isna().any(axis=1).to_numpy()
            unknown = (codes[k] < 0) & ~gap
            if new_levels == "raise" and unknown.any():
                raise _new_level(state, table, k, int(np.argmax(unknown)))
            missing |= gap
        else:
            codes.append(np.full(len(X), -1, dtype=np.int32))
        if isinstance(recipe, DesignRecipe) and factor.Z is None:
            Z.append(None)
        elif used[k] or spread:
            columns = recipe.random_matrix(data, k)
            missing |= np.isnan(columns).any(axis=1)
            Z.append(columns)
        else:
            Z.append(np.zeros((len(X), factor.n_effects)))
    offset = offset + _absorbed_part(state, data, missing)
    index = data.index if isinstance(data, pd.DataFrame) else None
    if missing.any():
        for values in (X, offset, *Z):
            if values is not None:
                values[missing] = 0.0
    return Rows(_estimated(state, X), offset, tuple(codes), tuple(Z), missing, index)


def _absorbed_part(state: FixedFit, data: object, missing: Mask) -> Floats | float:
    """Return the sum of the effects of absorbed levels of new rows, (n_rows,); rows without a level become missing.

    Raises
    ------
    DataError
        A level is new: it has no effect that could be known.
    """
    recipe: Any = state.design.recipe
    absorbed = state.design.absorbed
    if absorbed is None:
        return 0.0
    total = np.zeros(len(missing))
    for k, (factor, effects) in enumerate(zip(absorbed.factors, state.absorbed_effects, strict=True)):
        table = pd.DataFrame(
            {
                name: column.to_series() if column.missing is None else column.to_series().mask(column.missing)
                for name, column in recipe.absorbed_values(data, k)
            }
        )
        codes, gap = recipe.absorbed_codes(data, k), table.isna().any(axis=1).to_numpy()
        unknown = (codes < 0) & ~gap
        if unknown.any():
            row = int(np.argmax(unknown))
            label = ":".join(level_text(column.iloc[row]) for _, column in table.items())
            raise DataError(
                f"Row {row} (counted from 0) has the level {label!r} of the absorbed factor fe({factor.name}), which "
                "the fit did not have: its fixed effect is not known. Leave such rows out, or make the factor random."
            )
        missing |= gap
        total += np.where(codes < 0, 0.0, effects[codes])
    return total


def _estimated(state: FixedFit, X: Floats) -> Floats:
    if X.shape[1] == state.n_fixed:
        return X
    if state.design.absorbed is not None:  # what levels leave of a column tells nothing of these rows
        return np.ascontiguousarray(X[:, list(state.kept)])
    return np.ascontiguousarray(estimable_rows(state, X, [f"row {i} of the new data" for i in range(len(X))]))


def with_columns(rows: Rows, chosen: Sequence[Mask]) -> Rows:
    """Return the rows with zeros in the random-effect columns that are not chosen from among those of a factor."""
    Z = [
        z if z is None or columns.all() or not columns.any() else z * columns
        for z, columns in zip(rows.Z, chosen, strict=True)
    ]
    return replace(rows, Z=tuple(Z))


def level_table(state: FixedFit, data: object, k: int) -> pd.DataFrame:
    """Return the variables that say which level of the k-th factor each row of new data has, (n_rows, n_variables)."""
    recipe: Any = state.design.recipe
    if not isinstance(recipe, DesignRecipe):
        return pd.DataFrame(recipe.level_table(data, k))
    series = {
        name: column.to_series() if column.missing is None else column.to_series().mask(column.missing)
        for name, column in recipe.grouping_values(data, k)
    }
    return pd.DataFrame(series)


def _new_level(state: FixedFit, table: pd.DataFrame, k: int, row: int) -> DataError:
    label = ":".join(level_text(column.iloc[row]) for _, column in table.items())
    return DataError(
        f"Row {row} (counted from 0) has the level {label!r} of {state.design.factors[k].name!r}, which the fit did "
        "not have. Pass new_levels='population' to predict such rows without that effect."
    )
