"""A result without the rows it was fitted to: parameters, tests and new predictions stay."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.fit.problem import Problem
from mixedmodels.mixedlm.specification import VCSpec

if TYPE_CHECKING:
    from mixedmodels.design.records import Design
    from mixedmodels.mixedlm.model import MixedLM
    from mixedmodels.mixedlm.results import MixedLMResults

ROWS_OF_A_MODEL = ("endog", "exog", "exog_re", "groups", "_rows")
MADE_FROM_ROWS = ("_unstructured", "_columns")


def without_rows(result: MixedLMResults) -> MixedLMResults:
    """Return a copy of a result that holds no rows but the groups' labels and sizes.

    Parameters
    ----------
    result
        The result; what is computed from rows and kept is in it already.
    """
    bare = copy(result)
    bare.model = _model_without_rows(result.model)
    design = _without_rows(result.state.design)
    recipe: Any = design.recipe
    design = replace(design, recipe=replace(recipe, model=bare.model, factors=design.factors))
    bare.state = replace(result.state, design=design, problem=Problem(design))
    bare._is_bare = True
    bare.__dict__.pop("_likelihood", None)
    return bare


def _without_rows(design: Design) -> Design:
    factors = tuple(replace(f, codes=f.codes[:0], Z=None if f.Z is None else f.Z[:0]) for f in design.factors)
    return replace(
        design, y=design.y[:0], X=design.X[:0], offset=None, weights=None, factors=factors, rows=None, columns={}
    )


def _model_without_rows(model: MixedLM) -> MixedLM:
    bare = copy(model)
    for name in ROWS_OF_A_MODEL:
        if name in bare.__dict__:
            bare.__dict__[name] = None
    for name in MADE_FROM_ROWS:
        bare.__dict__.pop(name, None)
    spec = model.exog_vc
    bare.exog_vc = VCSpec(spec.names, spec.colnames, [])
    bare._components = tuple(
        replace(part, codes=None if part.codes is None else part.codes[:0], values=None, Z=None)
        for part in model._components
    )
    rows: dict[str, Any] = {"endog": np.empty(0), "exog": np.empty((0, 0))}
    rows |= dict.fromkeys(("exog_re", "orig_endog", "orig_exog", "frame", "row_labels"))
    bare.data = replace(model.data, **rows)
    return bare
