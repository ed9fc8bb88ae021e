"""F tests of the contrasts among marginal means, a term at a time and by levels of other variables.

For variables A, B, ... the means over the others have contrasts c_a d_b ..., products of differences of neighbouring
levels; a numeric variable's part is the derivative at its mean. All of one term are tested to be zero together. Where
every cell has data and no covariate interacts, these are tests of type 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.fit.findings import listing
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.comparisons import labels_index
from mixedmodels.inference.contrast import dropped_columns, estimable_part
from mixedmodels.inference.contrast_kinds import interaction_weights
from mixedmodels.inference.degrees import approximation, joint_test
from mixedmodels.inference.grid_average import WEIGHTS, grid_means
from mixedmodels.inference.margins import check_at, check_weights, read_names
from mixedmodels.inference.nested_factors import find_nesting, variables_of_terms
from mixedmodels.inference.reference_grid import check_variable, predictors, reference_grid
from mixedmodels.inference.slopes import check_numeric, derivative

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation
    from mixedmodels.inference.nested_factors import Nesting
    from mixedmodels.inference.reference_grid import ReferenceGrid

COLUMNS = ("num_df", "den_df", "f_value", "p_value")
NOTHING = 1e-9
"""Size of contrasts, relative to the means, that counts as rounding: the model has no such effect."""


def joint_tests(
    state: FixedFit,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    *,
    ddf: str | Approximation = "satterthwaite",
    weights: str = "equal",
) -> pd.DataFrame:
    """Return F tests of each term's effects, one row a term, within the levels of some variables.

    Parameters
    ----------
    state
        The fit.
    by
        Variables within whose levels the others are tested.
    at, weights
        As for ``margins``.
    ddf
        As for ``degrees.approximation``.

    Returns
    -------
    pandas.DataFrame
        ``num_df, den_df, f_value, p_value``, indexed by ``by`` and ``term``. Of what the data do not determine the rest
        is tested, with fewer degrees of freedom, and a note says so; with none left there is no test.

    Raises
    ------
    InferenceError
        If a variable, level or argument is not allowed, or nothing is left to test.
    """
    by, at = read_names(by, "by"), check_at(at)
    check_weights(weights)
    names = predictors(state.design)
    for name in by:
        check_variable(name, names)
    grid = reference_grid(state.design, at)
    for name in by:
        if name not in grid.categorical and name not in at:
            raise InferenceError(
                f"{name!r} is continuous and has no levels. Give the values to use, such as at={{{name!r}: [...]}}."
            )
    method = approximation(state, ddf)
    nesting = find_nesting(state.design, grid.categorical)
    labels: list[tuple[Any, ...]] = []
    rows: list[tuple[float, ...]] = []
    reduced: list[str] = []
    means = _Means(state, grid, nesting, by, weights)
    for term in _terms(state, nesting, by):
        for cell, L in means.contrasts(term):
            estimable = estimable_part(state, L)
            label = ":".join(term)
            if not len(estimable):
                labels.append((*cell, label))
                rows.append((0, np.nan, np.nan, np.nan))
                continue
            test = joint_test(state, estimable, method)
            labels.append((*cell, label))
            rows.append((test.num_df, test.den_df, test.f_value, test.p_value))
            if len(estimable) < len(L) and np.linalg.matrix_rank(estimable) < np.linalg.matrix_rank(L):
                reduced.append(" ".join(map(str, labels[-1])))
    if not rows:
        raise InferenceError("There is nothing to test: the fixed part has no variable besides those of by.")
    order = sorted(range(len(rows)), key=lambda i: _first(labels, i, len(by)))
    table = pd.DataFrame(
        [rows[i] for i in order],
        index=labels_index((*by, "term"), [labels[i] for i in order]),
        columns=list(COLUMNS),
    )
    table["num_df"] = table["num_df"].astype(int)
    why = dropped_columns(state)
    fewer = f"Fewer degrees of freedom, for what the data determine: {listing(reduced)}, because {why}."
    table.attrs["notes"] = (*([fewer] if reduced else []), *means.notes(at), *doubts(method))
    return table


def _first(labels: Sequence[tuple[Any, ...]], i: int, n_by: int) -> int:
    """Return where the levels of ``by`` of one label stand first."""
    return next(j for j, label in enumerate(labels) if label[:n_by] == labels[i][:n_by])


def _terms(state: FixedFit, nesting: Nesting, by: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the variables whose effects are tested, as terms of the model are ordered and name them.

    Effects that are part of a term only stand before it.
    """
    names = [name for name in predictors(state.design) if name not in by]
    terms = variables_of_terms(state.design)
    places = {frozenset(term): place for place, term in reversed(list(enumerate(terms)))}
    found: dict[frozenset[str], int] = {}
    for place, term in enumerate(terms):
        own = [name for name in names if name in term]
        for size in range(1, len(own) + 1):
            for chosen in combinations(own, size):
                whole = frozenset({*chosen, *nesting.outer_of(chosen, beside=by)})
                found.setdefault(whole, places.get(whole, place))
    ordered = sorted(found, key=lambda whole: (found[whole], len(whole)))
    return [terms[places[whole]] if whole in places else tuple(n for n in names if n in whole) for whole in ordered]


@dataclass(frozen=True)
class _Means:
    """Means of a fit within the levels of ``by``, averaged as the weights say."""

    state: FixedFit
    grid: ReferenceGrid
    nesting: Nesting
    by: tuple[str, ...]
    weights: str

    def contrasts(self, term: tuple[str, ...]) -> list[tuple[tuple[Any, ...], Floats]]:
        """Return the contrasts of a term, in all columns of the design, within each combination of ``by``.

        Levels of a nested variable are compared within those of its outer variables. Variables with one level, and
        effects that the model does not have, have no contrasts.
        """
        design, grid, nesting, by = self.state.design, self.grid, self.nesting, self.by
        matrix = design.recipe.fixed_matrix
        numeric = [name for name in term if name not in grid.categorical]
        outer = tuple(name for name in term if any(name in nesting.outer.get(other, ()) for other in term))
        inner = tuple(name for name in term if name not in (*numeric, *outer))
        if any(len(grid.levels[name]) == 1 for name in inner):
            return []
        X = grid.X
        for i, name in enumerate(numeric):
            check_numeric(design, name)
            if i:
                matrix = partial(derivative, design, variable=numeric[i - 1], matrix=matrix)
            X = derivative(design, grid.values, name, matrix)
        means = grid_means(replace(grid, X=X), nesting, inner, (*by, *outer), self.weights)
        n_by = len(means.by)
        places = [means.by.index(name) for name in by]
        found: dict[tuple[Any, ...], list[Floats]] = {}
        for group, members in groupby(range(len(means.cells)), key=lambda i: means.cells[i][:n_by]):
            own = list(members)
            weights = np.eye(len(own))
            if inner:
                cells = [means.cells[i][n_by:] for i in own]
                kinds = dict.fromkeys(means.specs, "consecutive")
                weights = interaction_weights(kinds, means.specs, cells).rows
            rows = weights @ means.rows[own]
            if (np.abs(rows) > NOTHING * (np.abs(weights) @ np.abs(means.rows[own]))).any():
                found.setdefault(tuple(group[i] for i in places), []).append(rows)
        return [(cell, np.vstack(parts)) for cell, parts in found.items()]

    def notes(self, at: Mapping[str, object]) -> list[str]:
        """Return what is averaged over and held."""
        grid = self.grid
        numeric = [name for name in grid.levels if name not in (*grid.categorical, *at, *self.by)]
        categorical = [name for name in grid.levels if name in grid.categorical and name not in self.by]
        notes = []
        if len(categorical) > 1 or (categorical and numeric):
            notes.append(f"Averaged over other variables with {WEIGHTS[self.weights]}.")
        if numeric:
            notes.append(f"Numeric variables by their slopes, at the mean of {listing(numeric)}.")
        return notes
