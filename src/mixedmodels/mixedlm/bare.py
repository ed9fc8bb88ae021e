"""A result without rows."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.fit.problem import Problem

if TYPE_CHECKING:
    from mixedmodels.mixedlm.model import MixedLM
    from mixedmodels.mixedlm.results import MixedLMResults

_BY_ROW = ("row_indices", "endog_li", "exog_li", "exog_re_li", "exog_re2_li", "_unstructured")


def without_rows(result: MixedLMResults) -> MixedLMResults:
    """Return a copy that keeps parameters, random effects and names, and no rows; the original stays as it is."""
    state = result.state
    design = state.design
    empty = np.zeros(0)
    factors = tuple(replace(f, codes=np.zeros(0, dtype=np.int32), Z=None) for f in design.factors)
    model = _without_rows(result.model)
    recipe: Any = replace(design.recipe, model=model, factors=factors)  # type: ignore[type-var]
    bare_design = replace(
        design, y=empty, X=np.zeros((0, design.X.shape[1])), factors=factors, rows=None, offset=None, recipe=recipe
    )
    bare = copy.copy(result)
    bare.__dict__.pop("_likelihood", None)
    bare.state = replace(state, design=bare_design, problem=Problem(bare_design))
    bare.model = model
    bare._is_bare = True
    return bare


def _without_rows(model: MixedLM) -> MixedLM:
    bare = copy.copy(model)
    for name in _BY_ROW:
        bare.__dict__.pop(name, None)
    bare.__dict__["group_sizes"] = model.group_sizes
    nothing = np.zeros(0)
    bare.endog, bare.exog, bare.groups = nothing, np.zeros((0, model.k_fe)), nothing
    bare.exog_re = None if model.exog_re is None else np.zeros((0, model.k_re))
    bare._rows = None
    bare.data = replace(
        model.data, endog=nothing, exog=bare.exog, exog_re=bare.exog_re, orig_endog=None, orig_exog=None, frame=None,
        row_labels=None,
    )  # fmt: skip
    bare._groups = replace(model._groups, codes=np.zeros(0, dtype=np.int32))
    bare._components = tuple(_component_without_rows(component) for component in model._components)
    return bare


def _component_without_rows(component: Any) -> Any:
    codes = None if component.codes is None else component.codes[:0]
    values = None if component.values is None else component.values[:0]
    return replace(component, codes=codes, values=values, Z=None if component.Z is None else component.Z[:0])
