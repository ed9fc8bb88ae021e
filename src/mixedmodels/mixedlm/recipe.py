"""How new data become rows of the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.evaluation import MatrixRecipe, Memory
from mixedmodels.design.records import Codes, Floats, RandomFactor
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.formulas import Context, Formulas, on_new_data
from mixedmodels.mixedlm.layout import Layout
from mixedmodels.mixedlm.reading import read_table

if TYPE_CHECKING:
    from mixedmodels.mixedlm.model import MixedLM


@dataclass(frozen=True)
class FormulaRecipe:
    """The formulas of a model.

    Attributes
    ----------
    fixed, columns
        formulaic's recipe of the fixed part, and which of its columns are used.
    random
        That of the random coefficients; None for an intercept or nothing.
    group
        Name of the column with the groups; None if they were given as an array.
    vc
        Formulas of the variance components.
    context
        What formulas see beside the columns.
    """

    fixed: Any
    columns: tuple[str, ...]
    random: Any
    group: str | None
    vc: Mapping[str, str]
    context: Context


@dataclass(frozen=True)
class NewRows:
    """New rows of a model given as arrays.

    Attributes
    ----------
    exog
        Columns of the fixed effects, (n_rows, k_fe).
    groups
        Label of each row's group, or None where only fixed effects are wanted.
    exog_re
        Columns of the random coefficients; None for an intercept.
    """

    exog: Any
    groups: Any = None
    exog_re: Any = None


@dataclass(frozen=True)
class ModelRecipe:
    """Answers for a ``MixedLM`` what a ``DesignRecipe`` answers for a formula with bars.

    Attributes
    ----------
    model
        The model.
    factors, layout
        Its grouping factors and where its effects stand in them.
    """

    model: MixedLM
    factors: tuple[RandomFactor, ...]
    layout: Layout
    offsets: tuple[str, ...] = ()
    levels: Mapping[str, pd.Index] = field(default_factory=dict)
    contrasts: Mapping[str, Any] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    @property
    def fixed(self) -> MatrixRecipe:
        """Recipe of the fixed part."""
        names = tuple(self.model.exog_names)
        formula = self.model._formula_recipe
        spec = None if formula is None else formula.fixed
        used = tuple(sorted(map(str, spec.required_variables))) if spec is not None else names
        return MatrixRecipe(names, used, spec)

    def fixed_matrix(self, data: Any) -> Floats:
        """Return X for other data, (n_rows, k_fe).

        Raises
        ------
        DataError
            If the data do not have what the model needs.
        """
        formula = self.model._formula_recipe
        if formula is None or not isinstance(data, pd.DataFrame):
            exog = data.exog if isinstance(data, NewRows) else data
            values = read_table("exog", exog).values
            if values.shape[1] != self.model.k_fe and values.shape[0] == self.model.k_fe:
                values = values.T
            if values.shape[1] != self.model.k_fe:
                raise DataError(f"exog has {values.shape[1]} columns; the model has {self.model.k_fe}.")
            return values
        frame = data.reset_index(drop=True)
        values = on_new_data(formula.fixed, frame, formula.context)
        names = list(formula.fixed.column_names)
        return np.ascontiguousarray(values[:, [names.index(name) for name in formula.columns]])

    def random_matrix(self, data: Any, k: int) -> Floats:
        """Return the columns of the k-th factor for other data, (n_rows, n_effects)."""
        Z = np.zeros((self._n_rows(data), self.factors[k].n_effects))
        for block in self.layout.blocks:
            if block.factor == k and block.component < 0:
                Z[:, list(block.columns)] = self._coefficients(data)[:, list(block.effects)]
            elif block.factor == k:
                Z[:, list(block.columns)] = self._component(data, block.component)[1]
        return Z

    def level_codes(self, data: Any, k: int) -> Codes:
        """Return the level of each row in the k-th factor, (n_rows,); -1 where it is new."""
        for block in self.layout.blocks:
            if block.factor == k and block.component >= 0 and self.factors[k].name != self.model._group_name:
                return self._component(data, block.component)[0]
        return self._group_codes(data)

    def offset(self, data: Any) -> Floats:
        """Return zeros, (n_rows,): these models have no offset."""
        return np.zeros(self._n_rows(data))

    def _n_rows(self, data: Any) -> int:
        return len(data.exog) if isinstance(data, NewRows) else len(data)

    def _group_codes(self, data: Any) -> Codes:
        formula = self.model._formula_recipe
        if isinstance(data, NewRows):
            labels = data.groups
        elif formula is not None and formula.group is not None and formula.group in data:
            labels = data[formula.group]
        else:
            labels = None
        if labels is None:
            raise DataError(
                "Random effects of new rows need their groups: a column of the data where groups was a name, "
                "else groups=..., one label for each row."
            )
        table = pd.Index(self.model.group_labels)
        return np.asarray(table.get_indexer(pd.Index(np.asarray(labels))), dtype=np.int32)

    def _coefficients(self, data: Any) -> Floats:
        formula, model = self.model._formula_recipe, self.model
        if isinstance(data, NewRows):
            if data.exog_re is not None:
                return read_table("exog_re", data.exog_re).values
        elif formula is not None and formula.random is not None:
            return on_new_data(formula.random, data.reset_index(drop=True), formula.context)
        if model.exog_re is not None and (model.exog_re == 1).all():
            return np.ones((self._n_rows(data), 1))
        raise DataError("Random effects of new rows need the columns of their coefficients: exog_re=....")

    def _component(self, data: Any, component: int) -> tuple[Codes, Floats]:
        """Return the column of each new row in a component, -1 for a new one, and its values, (n_rows, columns)."""
        formula, model = self.model._formula_recipe, self.model
        name = model.exog_vc.names[component]
        if formula is None or name not in formula.vc or not isinstance(data, pd.DataFrame):
            raise DataError(
                f"The variance component {name!r} was given as matrices, which new rows do not have. "
                "Predict without random effects, or use vc_formula."
            )
        frame = data.reset_index(drop=True)
        groups = self._group_codes(data)
        known = model._components[component]
        starts = np.cumsum(known.counts) - known.counts
        codes = np.full(len(frame), -1, dtype=np.int32)
        width = 1 if known.codes is not None else int(known.counts.max())
        values = np.zeros((len(frame), width))
        for group in np.unique(groups[groups >= 0]):
            rows = np.flatnonzero(groups == group)
            part = Formulas(frame, formula.context).one_sided(formula.vc[name], rows.tolist())
            places = {label: j for j, label in enumerate(model.exog_vc.colnames[component][group])}
            for j, label in enumerate(part.names):
                used = np.flatnonzero(part.values[:, j])
                if label not in places:
                    continue
                if known.codes is None:
                    values[rows, places[label]] = part.values[:, j]
                else:
                    codes[rows[used]] = starts[group] + places[label]
                    values[rows[used], 0] = part.values[used, j]
        return codes, values
