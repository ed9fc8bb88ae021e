"""A model as one frozen record, and the engine's view of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.packed import lower_places
from mixedmodels.design.design import Design
from mixedmodels.design.frame import Column, open_frame
from mixedmodels.design.known_effects import with_known_effects
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.fit.problem import Problem
from mixedmodels.mixedlm.description.data import ModelData
from mixedmodels.mixedlm.description.design import RandomPart, Structure, build_design, build_random
from mixedmodels.mixedlm.description.layout import Layout
from mixedmodels.mixedlm.description.recipe import ModelFormulas, ModelRecipe
from mixedmodels.mixedlm.reading.components import Component
from mixedmodels.mixedlm.reading.groups import Groups
from mixedmodels.mixedlm.reading.specification import VCSpec


@dataclass(frozen=True)
class ModelDescription:
    """What a model is: its rows, its random structure and what everything is called.

    Attributes
    ----------
    data
        Response, fixed part and random coefficients of the rows used, and names.
    groups, labels
        The top-level groups, and the label of each row.
    group_name
        What the groups are called.
    spec, components
        The variance components, as given and as the engine knows them.
    use_sqrt
        Packed parameters given to the likelihood are roots of covariances.
    has_default_re
        Nothing was said about random effects: there is an intercept.
    rows
        Positions in the user's data of the rows used, or None when all are.
    n_rows
        Rows in the user's data.
    k_constant
        1 if the fixed part has a constant column.
    formulas
        The formulas, None for a model of arrays.
    """

    data: ModelData
    groups: Groups
    labels: npt.NDArray[Any]
    group_name: str
    spec: VCSpec
    components: tuple[Component, ...]
    use_sqrt: bool
    has_default_re: bool
    rows: npt.NDArray[np.intp] | None
    n_rows: int
    k_constant: int
    formulas: ModelFormulas | None = None

    @property
    def endog(self) -> Floats:
        """Response, (nobs,)."""
        return self.data.endog

    @property
    def exog(self) -> Floats:
        """Columns of the fixed effects, (nobs, k_fe)."""
        return self.data.exog

    @property
    def exog_re(self) -> Floats | None:
        """Columns of the random coefficients, (nobs, k_re); None if there are only variance components."""
        return self.data.exog_re

    @property
    def k_fe(self) -> int:
        """Number of fixed effects."""
        return len(self.data.xnames)

    @property
    def k_re(self) -> int:
        """Number of random coefficients."""
        return len(self.data.exog_re_names)

    @property
    def k_re2(self) -> int:
        """Number of their variances and covariances."""
        return self.k_re * (self.k_re + 1) // 2

    @property
    def k_vc(self) -> int:
        """Number of variance components."""
        return len(self.components)

    @property
    def nobs(self) -> int:
        """Rows used."""
        return len(self.groups.codes)

    @property
    def is_pandas(self) -> bool:
        """Whether the data were pandas objects."""
        return self.data.row_labels is not None

    @property
    def param_names(self) -> list[str]:
        """Names of all parameters, in packed order."""
        return self.data.param_names

    @property
    def terms(self) -> list[tuple[str, list[int]]]:
        """Terms of the formula and the positions of their columns; of a model of arrays, each column."""
        if self.data.recipe is None:
            return [(name, [k]) for k, name in enumerate(self.data.xnames)]
        used = range(self.k_fe) if self.formulas is None else self.formulas.columns
        places = self.data.recipe.terms.items()
        pairs = [(name, [k for k, j in enumerate(used) if j in its]) for name, its in places]
        return [(name, columns) for name, columns in pairs if columns]

    def pair(self, index: int) -> tuple[int, int] | None:
        """Return the two random coefficients of a packed covariance, the later first; None for a component."""
        if index >= self.k_re2:
            return None
        row, column = lower_places(self.k_re)
        return int(row[index]), int(column[index])

    def is_variance(self, index: int) -> bool:
        """Return whether a packed covariance is a variance."""
        pair = self.pair(index)
        return pair is None or pair[0] == pair[1]

    def with_response(self, y: Floats) -> ModelDescription:
        """Return the same model of another response.

        Raises
        ------
        DataError
            If it has another shape.
        """
        if y.shape != self.endog.shape:
            raise DataError(f"The new response has shape {y.shape}; the model has {self.nobs} rows.")
        return replace(self, data=replace(self.data, endog=np.ascontiguousarray(y, dtype=np.float64)))

    def without_rows(self) -> ModelDescription:
        """Return the description without its rows: the groups' labels and sizes stay."""
        labels = {"endog_labels": self.data.endog_labels, "exog_labels": self.data.exog_labels}
        nothing: dict[str, Any] = {"endog": np.empty(0), "exog": np.empty((0, self.k_fe))}
        nothing |= dict.fromkeys(("exog_re", "frame"))
        nothing |= {name: None if index is None else index[:0] for name, index in labels.items()}
        data = replace(self.data, **nothing)
        components = tuple(
            replace(part, codes=None if part.codes is None else part.codes[:0], values=None, Z=None)
            for part in self.components
        )
        spec = VCSpec(self.spec.names, self.spec.colnames, [])
        return replace(self, data=data, labels=self.labels[:0], components=components, spec=spec, rows=None)

    # The engine's view

    @property
    def full_structure(self) -> Structure:
        """One block for all random coefficients, and every component."""
        return Structure((tuple(range(self.k_re)),) if self.k_re else (), tuple(range(self.k_vc)))

    def build(self, structure: Structure) -> tuple[Problem, Layout]:
        """Return the problem of a covariance structure, and where its parameters stand."""
        if structure == self.full_structure:
            return self._unstructured
        return self._build(structure)

    def likelihood(self, reml: bool, held: Mapping[int, float] | None = None) -> Likelihood:
        """Return the likelihood in all covariances, and in the fixed effects that are not held.

        Parameters
        ----------
        reml
            Restricted likelihood.
        held
            Fixed effects held: position -> value; what they add is taken off the response.
        """
        problem, layout = self._unstructured
        if held:
            beta = np.zeros(self.k_fe)
            beta[list(held)] = list(held.values())
            problem = Problem(with_known_effects(problem.design, beta, sorted(held)))
        return Likelihood(problem, layout.covariances, reml)

    @cached_property
    def _unstructured(self) -> tuple[Problem, Layout]:
        return self._build(self.full_structure)

    def _build(self, structure: Structure) -> tuple[Problem, Layout]:
        data = self.data
        part = RandomPart(self.groups, self.group_name, self.exog_re, data.exog_re_names, self.components)
        factors, layout = build_random(part, structure)
        recipe = ModelRecipe(
            names=tuple(data.xnames),
            formula=self.formulas,
            group_name=self.group_name,
            group_labels=tuple(self.groups.labels),
            k_re=self.k_re,
            is_random_intercept=self._is_random_intercept,
            components=self.components,
            frame=data.frame,
            factors=factors,
            layout=layout,
        )
        design: Design = build_design(
            data.formula or f"{data.ynames} ~ {' + '.join(data.xnames) or '0'}",
            data.ynames,
            self.endog,
            self.exog,
            data.xnames,
            factors,
            recipe,
            self.rows,
            self.n_rows,
        )
        return Problem(replace(design, columns=self._columns)), layout

    @property
    def _is_random_intercept(self) -> bool:
        return self.exog_re is not None and self.k_re == 1 and bool((self.exog_re == 1).all())

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """Data of a formula's fixed part, for what is asked by terms; none if some of its columns are left out."""
        formulas, frame = self.formulas, self.data.frame
        if formulas is None or frame is None or len(formulas.columns) < len(formulas.fixed.names):
            return {}
        read = open_frame(frame).read
        return {name: read(name) for name in formulas.fixed.variables([str(name) for name in frame.columns])}
