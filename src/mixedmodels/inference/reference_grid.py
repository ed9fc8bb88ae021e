"""The reference grid: one row of predictors for each combination of levels, and its fixed-effect columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.fixed_terms import WITHOUT_COLUMNS
from mixedmodels.design.labels import level_text, shown_level
from mixedmodels.errors import InferenceError, nearest

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.evaluation import MatrixRecipe
    from mixedmodels.design.frame import Column
    from mixedmodels.design.recipe import DesignRecipe
    from mixedmodels.design.records import Floats
    from mixedmodels.design.zero_part import ZeroPart

ROUNDING = 1e-13
"""Size, relative to the largest of the fit, of what is zero but for rounding: a centred covariate at its mean."""

MAX_ROWS = 100_000


@dataclass(frozen=True)
class ReferenceGrid:
    """Combinations of levels of the predictors in the fixed part.

    Attributes
    ----------
    values
        (n_rows, n_variables), the predictors; the last variable changes fastest.
    levels
        The values of each variable in the grid.
    categorical
        Names of the categorical variables.
    counts
        Rows of the data with the levels of each categorical variable, by name: codes into ``levels``, -1 for a level
        that is not in the grid; (n_obs,).
    X
        Fixed columns of the grid's rows, (n_rows, n_columns).
    frequency
        How many rows of the data each of ``counts`` stands for, where that is not one.
    """

    values: pd.DataFrame
    levels: Mapping[str, Sequence[Any]]
    categorical: frozenset[str]
    counts: Mapping[str, Any]
    X: Floats
    frequency: Floats | None = None


def reference_grid(design: Design, at: Mapping[str, object], zeros: ZeroPart | None = None) -> ReferenceGrid:
    """Return the grid of all levels of the categorical variables, numeric ones at their means.

    Parameters
    ----------
    design
        The model's arrays and its recipe.
    at
        Other values: variable -> one value or several. Levels of categorical variables, any numbers otherwise.
    zeros
        Covariates of a chance of zeros, whose columns then stand behind those of the fixed part, as its variables do.

    Raises
    ------
    InferenceError
        If ``at`` names an unknown variable or level, or the grid is too large.
    """
    names = predictors(design, zeros)
    _check_kept(design, names)
    for name in at:
        check_variable(name, names)
    recipes = (design.recipe,) if zeros is None else (design.recipe, zeros.recipe)
    categorical = frozenset(name for name in names if any(_is_coded(design, name, recipe.fixed) for recipe in recipes))
    all_levels = {name: _levels(design.cells[name]) for name in categorical}
    levels = {
        name: _chosen(name, at[name], all_levels.get(name))
        if name in at
        else all_levels.get(name) or _mean(design, name)
        for name in names
    }
    n_rows = int(np.prod([len(values) for values in levels.values()], dtype=float))
    if n_rows > MAX_ROWS:
        raise InferenceError(
            f"The reference grid of {', '.join(names)} has {n_rows} rows; at most {MAX_ROWS} are allowed. "
            "Choose fewer levels with at."
        )
    values = pd.DataFrame(list(product(*levels.values())), columns=list(names))
    counts = {name: _codes(design.cells[name], levels[name]) for name in categorical}
    X = _columns(design.recipe, values, design.moment_rows)
    X[np.abs(X) < ROUNDING * np.abs(design.moment_rows).max(axis=0)] = 0.0
    if zeros is not None:
        X = np.hstack([X, _columns(zeros.recipe, values, zeros.X)])
    return ReferenceGrid(values, levels, categorical, counts, X, design.frequency)


def _columns(recipe: DesignRecipe, values: pd.DataFrame, rows: Floats) -> Floats:
    """Return the columns of a grid's rows, which are those of any row of the fit where no variable is in them."""
    if recipe.fixed.columns:
        return recipe.fixed_matrix(values)
    return rows[:1].repeat(max(len(values), 1), axis=0)


def predictors(design: Design, zeros: ZeroPart | None = None) -> tuple[str, ...]:
    """Return the data columns that the fixed part uses, and then those that a chance of zeros has beside."""
    return tuple(dict.fromkeys([*design.recipe.fixed.columns, *(zeros.recipe.fixed.columns if zeros else ())]))


def check_variable(name: object, names: Sequence[str]) -> None:
    """Raise unless a name is a predictor.

    Raises
    ------
    InferenceError
        If it is not among the names.
    """
    if name not in names:
        listed = ", ".join(names) if names else "none"
        is_formula = isinstance(name, str) and ("~" in name or "|" in name)
        hint = (
            " Write margins('a', by='b') for means of a at each b, and pairwise=True for their differences."
            if is_formula
            else nearest(str(name), names)
        )
        raise InferenceError(f"There is no variable {name!r} in the fixed part; its variables are: {listed}.{hint}")


def _check_kept(design: Design, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in design.cells]
    if missing:
        raise InferenceError(f"Marginal means need the data column {missing[0]!r}, which {WITHOUT_COLUMNS}.")


def is_categorical(design: Design, name: str) -> bool:
    """Return True for labels and booleans, for numbers that are coded by their values, and for dates that are coded."""
    return _is_coded(design, name, design.recipe.fixed)


def _is_coded(design: Design, name: str, fixed: MatrixRecipe) -> bool:
    column = design.cells[name]
    if column.is_boolean or column.levels is not None:
        return True
    if not fixed.is_computed:
        return False
    coded, using = fixed.coded_levels, fixed.factors_of(name)
    if not column.is_number:
        return using <= coded.keys()
    values = set(_levels(column))
    return any(values <= set(coded[expr]) for expr in using & coded.keys())


def _levels(column: Column) -> list[Any]:
    if column.levels is not None:
        return list(column.levels.tolist())
    return list(pd.Index(np.unique(column.values)).tolist())


def _chosen(name: str, wanted: Any, levels: Sequence[Any] | None) -> list[Any]:
    """Return the values that the user wants, as a list."""
    values: list[Any] = [wanted] if np.ndim(wanted) == 0 else list(np.asarray(wanted, dtype=object))
    if not values:
        raise InferenceError(f"at has no values for {name!r}. Give one or several.")
    if levels is not None:
        by_text = {level_text(level): level for level in levels if not isinstance(level, str)}
        values = [value if value in levels else by_text.get(shown_level(value), value) for value in values]
    for value in values:
        if levels is None:
            _check_number(name, value)
        elif value not in levels:
            listed = ", ".join(repr(shown_level(level)) for level in levels[:20])
            near = nearest(str(value), [level for level in levels if isinstance(level, str)])
            raise InferenceError(f"{name!r} has no level {value!r}; its levels are {listed}.{near}")
    values = [float(value) for value in values] if levels is None else values
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise InferenceError(f"at has the value {repeated[0]!r} of {name!r} twice. Give it once.")
    return values


def _check_number(name: str, value: Any) -> None:
    try:
        finite = bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise InferenceError(f"{name!r} is numeric; at must give it numbers, not {value!r}.")


def _mean(design: Design, name: str) -> list[float]:
    column = design.cells[name]
    if not column.is_number:
        raise InferenceError(f"{name!r} has no mean. Give the values to use, such as at={{{name!r}: [...]}}.")
    return [float(np.average(column.values, weights=design.frequency))]


def _codes(column: Column, levels: Sequence[Any]) -> Any:
    values = column.values if column.levels is None else column.levels.take(column.values)
    return pd.Index(levels).get_indexer(pd.Index(values))
