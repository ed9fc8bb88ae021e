"""How new data become rows of the same model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.design.evaluation import MatrixRecipe
from mixedmodels.design.fixed_terms import FixedTerm, TermMatrix
from mixedmodels.design.records import Codes, Floats, RandomFactor
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.mixedlm.description.layout import Layout
from mixedmodels.mixedlm.reading.component_recipes import ComponentRecipe, Membership, NewColumns, given
from mixedmodels.mixedlm.reading.components import Component
from mixedmodels.mixedlm.reading.formula_recipe import INTERCEPT, FormulaRecipe, mentioned
from mixedmodels.mixedlm.reading.formulas import on_new_data, with_plain_columns
from mixedmodels.mixedlm.reading.frames import check_told_apart
from mixedmodels.mixedlm.reading.groups import label_array
from mixedmodels.mixedlm.reading.tables import read_table


@dataclass(frozen=True)
class ModelFormulas:
    """The formulas of a model.

    Attributes
    ----------
    fixed, columns
        Recipe of the fixed part, and the positions of those of its columns that are used.
    random
        That of the random coefficients; None for an intercept or nothing.
    group
        Name of the column with the groups; None if they were given as an array.
    components
        How new rows get their columns of each variance component.
    """

    fixed: FormulaRecipe
    columns: tuple[int, ...]
    random: FormulaRecipe | None
    group: str | None
    components: Mapping[str, ComponentRecipe]


@dataclass(frozen=True)
class NewRows:
    """New rows of a model, and what their frame does not hold.

    Attributes
    ----------
    exog
        Columns of the fixed effects, (n_rows, k_fe), or data for the formulas.
    groups
        Label of each row's group; None where the data hold it, or only fixed effects are wanted.
    exog_re
        Columns of the random coefficients; None for an intercept, or those of the formula.
    exog_vc
        Designs of the variance components, name -> group -> (its rows here, columns); None for those of the formulas.
    """

    exog: Any
    groups: Any = None
    exog_re: Any = None
    exog_vc: Mapping[str, Mapping[Any, Any]] | None = None

    @cached_property
    def frame(self) -> pd.DataFrame | None:
        """Data for formulas, rows numbered from 0; None if there are arrays only."""
        return self.exog.reset_index(drop=True) if isinstance(self.exog, pd.DataFrame) else None

    def __len__(self) -> int:
        return len(self.exog)


@dataclass(frozen=True)
class PatsyMatrix(MatrixRecipe):
    """A model matrix that patsy makes.

    Attributes
    ----------
    recipe
        How it makes it.
    used
        Positions of its columns that are used.
    """

    recipe: FormulaRecipe
    used: tuple[int, ...]

    @property
    def is_computed(self) -> bool:
        """Whether there are terms that something is computed for."""
        return True

    @property
    def column_terms(self) -> list[str]:
        """The term of each column, ``"1"`` for the intercept."""
        names = {j: name for name, places in self.recipe.terms.items() for j in places}
        return ["1" if names[j] == INTERCEPT else names[j] for j in self.used]

    @property
    def coded_levels(self) -> Mapping[str, Sequence[Any]]:
        """Levels of the categorical expressions."""
        return self.recipe.levels

    def factors_of(self, column: str) -> set[str]:
        """Return the expressions that a column of the data is used in."""
        return {factor for factor in self.recipe.factors if column in mentioned(factor)}


@dataclass(frozen=True)
class ModelRecipe:
    """Answers for a ``MixedLM`` what a ``DesignRecipe`` answers for a formula with bars.

    Attributes
    ----------
    names
        Of the fixed effects.
    formula
        The formulas; None for a model of arrays.
    group_name, group_labels
        What the groups are called, and their labels, sorted.
    k_re, is_random_intercept
        Number of random coefficients, and whether there is an intercept alone.
    components
        The variance components.
    frame
        The data of a formula, None without one.
    factors, layout
        The grouping factors and where effects stand in them.
    """

    names: tuple[str, ...]
    formula: ModelFormulas | None
    group_name: str
    group_labels: tuple[Any, ...]
    k_re: int
    is_random_intercept: bool
    components: tuple[Component, ...]
    frame: pd.DataFrame | None
    factors: tuple[RandomFactor, ...]
    layout: Layout
    offsets: tuple[str, ...] = ()

    @property
    def fixed(self) -> MatrixRecipe:
        """Recipe of the fixed part."""
        if self.formula is None:
            return MatrixRecipe(self.names, self.names, None)
        columns = () if self.frame is None else tuple(map(str, self.frame.columns))
        recipe = self.formula.fixed
        return PatsyMatrix(self.names, recipe.variables(columns), None, recipe, self.formula.columns)

    def term_matrix(self) -> TermMatrix:
        """Return the fixed part by terms, with a column for every level of a categorical variable.

        Only where there is a formula.

        Raises
        ------
        InferenceError
            If its data were let go of.
        """
        assert self.formula is not None
        if self.frame is None:
            raise InferenceError("Questions by terms need the rows of the fit, which remove_data let go of.")
        recipe = self.formula.fixed
        info, terms = recipe.indicators()
        matrix = recipe.matrix(with_plain_columns(self.frame), info)
        coded = frozenset(recipe.levels)
        of_column: list[int] = []
        found: list[FixedTerm] = []
        for name, factors, width in terms:
            of_column += [len(found) if factors else -1] * width
            if factors:
                found.append(FixedTerm(name, factors - coded, factors & coded))
        return TermMatrix(matrix, tuple(found), np.array(of_column, dtype=np.intp))

    def fixed_matrix(self, data: Any) -> Floats:
        """Return X for other data, (n_rows, k_fe).

        Raises
        ------
        DataError
            If the data do not have what the model needs.
        """
        formula, rows = self.formula, _as_rows(data)
        frame = rows.frame
        if formula is None or frame is None:
            values = read_table("exog", rows.exog).values
            if np.ndim(rows.exog) == 1 and len(values) == len(self.names):
                values = values.T
            if values.shape[1] != len(self.names):
                raise DataError(f"exog has {values.shape[1]} columns; the model has {len(self.names)}.")
            return values
        values = on_new_data(formula.fixed, frame)
        return np.ascontiguousarray(values[:, list(formula.columns)])

    def random_matrix(self, data: Any, k: int) -> Floats:
        """Return the columns of the k-th factor for other data, (n_rows, n_effects)."""
        rows = _as_rows(data)
        Z = np.zeros((len(rows), self.factors[k].n_effects))
        for block in self.layout.blocks:
            if block.factor == k and block.component < 0:
                Z[:, list(block.columns)] = self._coefficients(rows)[:, list(block.effects)]
            elif block.factor == k:
                Z[:, list(block.columns)] = self._component_values(rows, block.component)
        return Z

    def level_codes(self, data: Any, k: int) -> Codes:
        """Return the level of each row in the k-th factor, (n_rows,); -1 where it is missing or new."""
        rows = _as_rows(data)
        own = self._own_component(k)
        groups = self._groups(rows)
        return groups.codes if own is None else self._component(rows, own).codes

    def level_table(self, data: Any, k: int) -> pd.DataFrame:
        """Return what says which level of the k-th factor each row has: the group, and what is below it."""
        rows = _as_rows(data)
        own = self._own_component(k)
        table = {self.group_name: pd.Series(self._groups(rows).labels)}
        if own is not None:
            table[f"{self.factors[k].name} of a group"] = pd.Series(self._component(rows, own).keys)
        return pd.DataFrame(table)

    def offset(self, data: Any) -> Floats:
        """Return zeros, (n_rows,): these models have no offset."""
        return np.zeros(len(data))

    def _own_component(self, k: int) -> int | None:
        """Return the component whose columns are the levels of the k-th factor; None where these are the groups."""
        for block in self.layout.blocks:
            if block.factor == k:
                is_top = block.component < 0 or self._shape(block.component).codes is None
                if is_top or (self._shape(block.component).counts == 1).all():
                    return None
                return block.component
        return None

    def _shape(self, component: int) -> Component:
        return self.components[component]

    def _groups(self, rows: NewRows) -> Membership:
        groups = self._known_groups(rows)
        if groups is None:
            raise DataError(
                "Random effects of new rows need their groups: a column of the data where groups was a name, "
                "else groups=..., one label for each row."
            )
        return groups

    def _known_groups(self, rows: NewRows) -> Membership | None:
        formula, frame = self.formula, rows.frame
        labels = rows.groups
        if labels is None and formula is not None and frame is not None and formula.group in frame:
            check_told_apart(frame, [formula.group])
            labels = frame[formula.group]
        if labels is None:
            return None
        array = label_array(labels)
        if array.shape != (len(rows),):
            raise DataError(
                f"groups has the shape {array.shape}, but there are {len(rows)} new rows. Pass one label for each."
            )
        index = pd.Index(array)
        codes = pd.Index(self.group_labels).get_indexer(index)
        return Membership(index, np.where(index.isna(), -1, codes).astype(np.int32))

    def _coefficients(self, rows: NewRows) -> Floats:
        formula, frame = self.formula, rows.frame
        if rows.exog_re is not None:
            values = read_table("exog_re", rows.exog_re).values
            if values.shape != (len(rows), self.k_re):
                raise DataError(
                    f"exog_re has the shape {values.shape}; there are {len(rows)} new rows and {self.k_re} random "
                    "coefficients."
                )
            return values
        if formula is not None and formula.random is not None and frame is not None:
            return on_new_data(formula.random, frame)
        if self.is_random_intercept:
            return np.ones((len(rows), 1))
        raise DataError("Random effects of new rows need the columns of their coefficients: exog_re=....")

    def _component_recipe(self, component: int) -> ComponentRecipe | None:
        formula = self.formula
        return None if formula is None else formula.components.get(self._shape(component).name)

    def _component_values(self, rows: NewRows, component: int) -> Floats:
        recipe, frame = self._component_recipe(component), rows.frame
        if recipe is None or frame is None:
            return self._component(rows, component).values
        return recipe.values(frame, self._known_groups(rows), self._shape(component))

    def _component(self, rows: NewRows, component: int) -> NewColumns:
        recipe, frame, shape = self._component_recipe(component), rows.frame, self._shape(component)
        if recipe is not None and frame is not None:
            return recipe.columns(frame, self._known_groups(rows), shape)
        if rows.exog_vc is None or shape.name not in rows.exog_vc:
            raise DataError(
                f"The variance component {shape.name!r} was given as matrices. New rows need theirs: "
                f"exog_vc={{{shape.name!r}: {{group: matrix, ...}}}}, with the rows of each group among the new ones."
            )
        return given(shape.name, rows.exog_vc[shape.name], self._groups(rows), shape)


def _as_rows(data: Any) -> NewRows:
    return data if isinstance(data, NewRows) else NewRows(data)
