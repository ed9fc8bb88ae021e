"""A result without the rows it was fitted to: parameters, tests and new predictions stay."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mixedmodels.design.design import Design
from mixedmodels.design.records import RandomFactor
from mixedmodels.errors import InferenceError
from mixedmodels.fit.problem import Problem
from mixedmodels.mixedlm.reading.specification import VCSpec

if TYPE_CHECKING:
    from mixedmodels.mixedlm.model import MixedLM
    from mixedmodels.mixedlm.results import MixedLMResults

ROWS_OF_A_MODEL = ("endog", "exog", "exog_re", "groups", "_rows")
ROWS_OF_A_RECORD = ("y", "X", "codes", "Z")
MADE_FROM_ROWS = ("_unstructured", "_columns")


Record = TypeVar("Record")

_REFUSAL = "This needs the rows of the fit, which remove_data let go of."


class _NoRows(Problem):
    """A problem whose engine is asked for in vain."""

    @property
    def model(self) -> Any:
        """Refuse.

        Raises
        ------
        InferenceError
            Always.
        """
        raise InferenceError(_REFUSAL)


class _Refusing:
    """A record without its rows, which are asked for in vain."""

    def __getattr__(self, name: str) -> Any:
        if name in ROWS_OF_A_RECORD:
            raise InferenceError(_REFUSAL)
        raise AttributeError(name)


class _BareFactor(_Refusing, RandomFactor):
    pass


class _BareDesign(_Refusing, Design):
    n_used: int

    @property
    def n_obs(self) -> int:
        """Rows used."""
        return self.n_used


def without_rows(result: MixedLMResults) -> MixedLMResults:
    """Return a copy of a result that holds no rows but the groups' labels and sizes.

    Parameters
    ----------
    result
        The result; what is computed from rows and kept is in it already.
    """
    bare = copy(result)
    bare.model = _model_without_rows(result.model)
    design = _without_rows(result.state.design, bare.model)
    bare.state = replace(result.state, design=design, problem=_NoRows(design))
    bare._is_bare = True
    bare.__dict__.pop("_likelihood", None)
    return bare


def _without_rows(design: Design, model: MixedLM) -> Design:
    factors = tuple(_bare(_BareFactor, factor) for factor in design.factors)
    recipe: Any = design.recipe
    recipe = replace(recipe, model=model, factors=factors)
    nothing: dict[str, Any] = {"offset": None, "weights": None, "rows": None, "labels": None, "columns": {}}
    return _bare(_BareDesign, design, n_used=design.n_obs, factors=factors, recipe=recipe, **nothing)


def _bare(kind: type[Record], record: object, **changes: Any) -> Record:
    """Return a record without its rows."""
    bare = object.__new__(kind)
    vars(bare).update({name: value for name, value in vars(record).items() if name not in ROWS_OF_A_RECORD} | changes)
    return bare


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
