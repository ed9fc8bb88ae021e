"""Slopes of a numeric variable for each level of a grouping factor: fixed slope and predicted deviation.

The slope of level j is l'beta + w'b_j, l and w the derivatives of its rows of X and Z. Its predictor
l'beta^ + w'b^_j misses it by an error whose variance counts the estimation of beta and the prediction of b_j together
(Henderson 1975), at the estimated variance parameters; degrees of freedom are Satterthwaite's for that variance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.errors import InferenceError, nearest, unknown_group
from mixedmodels.fit.findings import listing
from mixedmodels.inference.approximation import RowEstimates
from mixedmodels.inference.comparisons import check_hypothesis, hypothesis_notes, row_tests
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.degrees import DDF_NAMES
from mixedmodels.inference.margins import check_at, read_names
from mixedmodels.inference.nested_factors import partners_of
from mixedmodels.inference.reference_grid import MAX_ROWS, check_variable, predictors, reference_grid
from mixedmodels.inference.response_scale import is_transformed
from mixedmodels.inference.slopes import check_numeric, derivative, is_curved
from mixedmodels.predict.error_variance import ErrorVariance
from mixedmodels.predict.rows import Rows

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FitState

DDF = ("satterthwaite", "normal")
OF_FIXED_ALONE = " That method is for fixed effects alone, and these slopes have predicted effects in them."


def level_slopes(
    state: FitState,
    variable: str,
    group: str | None = None,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    *,
    ddf: str = "satterthwaite",
    null: float = 0.0,
    side: str = "two-sided",
    delta: float = 0.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the slope of each level of a grouping factor, one row each.

    Variables that do not change within levels, such as the arm that a subject is in, have each level's own values;
    other categorical ones are averaged over with equal weights, other numeric ones are at their means.

    Parameters
    ----------
    state
        The fit.
    variable
        The numeric variable.
    group
        The grouping factor; None if there is one only. The effects of factors that it is nested in are added.
    by
        Variables whose levels have a slope each, within each level of the group.
    at
        Values of variables, as for ``margins``.
    ddf
        ``"satterthwaite"`` or ``"normal"``.
    null, side, delta, level
        As for ``margins``.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, indexed by ``by`` and the group;
        ``attrs["notes"]`` says what the standard errors count.

    Raises
    ------
    InferenceError
        If a variable, group, level or argument is not allowed, or the variable is not numeric.
    """
    refuse_absorbed(state.design.absorbed, "slopes_by_level()")
    hypothesis = check_hypothesis(null, side, delta, level)
    if ddf not in DDF:
        raise InferenceError(
            f"ddf={ddf!r} is not available for slopes of levels; it must be 'satterthwaite' or 'normal'."
            f"{OF_FIXED_ALONE if ddf in DDF_NAMES else nearest(str(ddf), DDF)}"
        )
    design = state.design
    check_numeric(design, variable)
    k = _factor(design, group)
    used = _told_factors(design, k)
    grid = _level_grid(design, used, read_names(by, "by"), check_at(at))
    X = grid.average(derivative(design, grid.rows, variable, design.recipe.fixed_matrix))
    X = estimable_where_known(state, X, [str(label) for label in grid.index])
    matrices: list[Callable[[pd.DataFrame], Floats]] = [
        design.recipe.fixed_matrix,
        *(partial(design.recipe.random_matrix, k=j) for j in used),
    ]
    curved = any(is_curved(design, grid.rows[: grid.n_each], variable, matrix) for matrix in matrices)
    known = np.asarray(~np.isnan(X).any(axis=1))
    codes, Z = _random_part(design, variable, grid, used)
    estimate = X @ state.beta
    for place, z, b in zip(codes, Z, state.b, strict=True):
        estimate = estimate + np.where(place >= 0, np.sum(z * b[place], axis=1), 0.0)
    n = len(X)
    rows = Rows(np.where(known[:, None], X, 0.0), np.zeros(n), codes, Z, ~known, None)
    error = ErrorVariance(state, rows, codes, (False,) * len(codes), 0.0)
    variance = np.where(known, error.value, np.nan)
    df = np.full(n, np.inf) if ddf == "normal" else error.satterthwaite_df
    table = row_tests(RowEstimates(estimate, np.sqrt(variance), np.where(known, df, np.nan)), grid.index, hypothesis)
    added = [design.factors[j].name for j in used if j != k]
    own = f" of {design.response_name}" if is_transformed(state) else ""
    others = f", those of {listing(added)} too" if added else ""
    table.attrs["notes"] = (
        f"Slopes{own} in {variable} of each level of {design.factors[k].name}: fixed effects and predicted random ones"
        f"{others}.",
        *([] if Z[k].any() else [f"No random effect of {design.factors[k].name} changes with {variable}."]),
        *grid.notes(_concerned(design, used, variable) - ({variable} if not curved else set())),
        "Standard errors count the estimation of the fixed effects and the prediction of the random ones together, at "
        "the estimated variance parameters.",
        "Tests and intervals use Student's t with Satterthwaite's degrees of freedom."
        if ddf == "satterthwaite"
        else "Tests and intervals use the normal distribution.",
        *hypothesis_notes(hypothesis),
    )
    return table


def _factor(design: Design, group: str | None) -> int:
    names = [factor.name for factor in design.factors]
    if group is None and len(names) > 1:
        raise InferenceError(f"There are several grouping factors: {', '.join(names)}. Name one of them.")
    if group is None and names:
        return 0
    if group not in names:
        raise unknown_group(group, names)
    return names.index(str(group))


def _told_factors(design: Design, k: int) -> dict[int, Codes]:
    """Return the level in each factor, (n_levels of k,), for the k-th and those where a level of it tells theirs."""
    own = design.factors[k]
    first = np.unique(own.codes, return_index=True)[1]
    found = {}
    for j, factor in enumerate(design.factors):
        codes = factor.codes[first]
        if (codes[own.codes] == factor.codes).all():
            found[j] = codes
    return {k: found.pop(k), **found}


@dataclass(frozen=True)
class _LevelGrid:
    """Rows for each level of a factor, each level's own values among them.

    Attributes
    ----------
    rows
        Values of the variables, (n_slopes * n_each, n_variables); the rows of a slope stand together.
    index
        Names of the slopes.
    levels
        The level of each slope, (n_slopes,).
    n_each
        Rows that a slope is averaged over.
    own
        Variables that have each level's own values.
    averaged, held
        Those that are averaged over, and those at their means.
    """

    rows: pd.DataFrame
    index: pd.Index
    levels: npt.NDArray[np.intp]
    n_each: int
    own: tuple[str, ...]
    averaged: tuple[str, ...]
    held: tuple[str, ...]

    def average(self, X: Floats) -> Floats:
        """Return the averages of each slope's rows, (n_slopes, n_columns)."""
        return np.asarray(X.reshape(len(self.index), self.n_each, -1).mean(axis=1))

    def notes(self, of: Collection[str]) -> Iterator[str]:
        """Yield at which values of some variables slopes are."""
        own, averaged, held = ([name for name in names if name in of] for names in (self.own, self.averaged, self.held))
        if own:
            yield f"At each level's own {listing(own)}."
        if averaged:
            yield f"Averaged over {listing(averaged)} with equal weights."
        if held:
            yield f"At the mean of {listing(held)}."


def _level_grid(design: Design, used: Mapping[int, Codes], by: tuple[str, ...], at: Mapping[str, object]) -> _LevelGrid:
    factor = design.factors[next(iter(used))]
    names = predictors(design)
    for name in by:
        check_variable(name, names)
    chosen = reference_grid(design, at)
    random = [name for j in used for matrix in design.recipe.factors[j].matrices for name in matrix.columns]
    first = np.unique(factor.codes, return_index=True)[1]
    own: dict[str, Any] = {}
    free: dict[str, Sequence[Any]] = {}
    for name in dict.fromkeys([*names, *random]):
        column = design.columns[name]
        if name not in at and (column.values[first][factor.codes] == column.values).all():
            own[name] = column.to_series().iloc[first].to_numpy()
        elif name in names:
            free[name] = chosen.levels[name]
        else:
            free[name] = [float(np.mean(column.values))] if column.is_number else list(column.to_series().unique())
    for name in by:
        if name in free and name not in chosen.categorical and name not in at:
            raise InferenceError(
                f"{name!r} is continuous and has no levels. Give the values to use, such as at={{{name!r}: [...]}}."
            )
    own_by, rest = [name for name in by if name in free], [name for name in free if name not in by]
    groups, each = list(product(*(free[n] for n in own_by))), list(product(*(free[n] for n in rest)))
    n_slopes, n_levels = len(groups) * factor.n_levels, factor.n_levels
    if n_slopes * len(each) > MAX_ROWS:
        raise InferenceError(
            f"{n_levels} levels of {factor.name} with {len(groups) * len(each)} combinations of other variables are "
            f"more than {MAX_ROWS} rows. Choose fewer values with at."
        )
    level = np.tile(np.arange(n_levels), len(groups))
    values: dict[str, Any] = {name: np.repeat(column[level], len(each)) for name, column in own.items()}
    for i, name in enumerate(own_by):
        values[name] = np.repeat([group[i] for group in groups], n_levels * len(each))
    for i, name in enumerate(rest):
        values[name] = np.tile(np.array([one[i] for one in each], dtype=object), n_slopes)
    rows = pd.DataFrame(values).infer_objects()
    labels = [rows[name].to_numpy()[:: len(each)] for name in by]
    index: pd.Index = factor.levels[level].rename(factor.name)
    if by:
        index = pd.MultiIndex.from_arrays([*labels, index], names=[*by, factor.name])
    kept = tuple(name for name in own if name not in by)
    averaged = tuple(name for name in rest if len(free[name]) > 1)
    held = tuple(name for name in rest if len(free[name]) == 1 and name not in at and design.columns[name].is_number)
    return _LevelGrid(rows, index, level, len(each), kept, averaged, held)


def _concerned(design: Design, used: Mapping[int, Codes], variable: str) -> set[str]:
    """Return the variables that the slope may change with: those of a term with it, of the fixed or the random part."""
    found = set(partners_of(design, variable))
    for j in used:
        found |= {name for own in design.recipe.factors[j].matrices if variable in own.columns for name in own.columns}
    return found


def _random_part(
    design: Design, variable: str, grid: _LevelGrid, used: Mapping[int, Codes]
) -> tuple[tuple[Codes, ...], tuple[Floats, ...]]:
    """Return the level of each slope in each factor, -1 where its effect is not used, and the derivatives there."""
    codes, Z = [], []
    for j, factor in enumerate(design.factors):
        if j not in used:
            codes.append(np.full(len(grid.index), -1, dtype=np.int32))
            Z.append(np.zeros((len(grid.index), factor.n_effects)))
            continue
        codes.append(used[j][grid.levels].astype(np.int32))
        Z.append(grid.average(derivative(design, grid.rows, variable, partial(design.recipe.random_matrix, k=j))))
    return tuple(codes), tuple(Z)
