"""A fitted state without the rows it was fitted to: parameters, tests and new predictions stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from mixedmodels.design.design import Design
from mixedmodels.design.records import RandomFactor
from mixedmodels.errors import InferenceError
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState
from mixedmodels.mixedlm.description.model import ModelDescription

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.fit.fixed_root import FixedRoot

ROWS_OF_A_RECORD = ("y", "X", "codes", "Z")


Record = TypeVar("Record")

_REFUSAL = "This needs the rows of the fit, which remove_data let go of."


class _NoRows(Problem):
    """A problem whose engine is asked for in vain; what combinations of the fixed effects need is kept."""

    def __init__(self, design: Design, root: FixedRoot) -> None:
        super().__init__(design)
        self._root = root

    def fixed_root(self, theta: npt.ArrayLike, in_engine: bool = False) -> FixedRoot:
        """Return the root at the estimates."""
        return self._root

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


def without_rows(state: FitState, description: ModelDescription) -> FitState:
    """Return a copy of a fitted state that holds no rows but the groups' labels and sizes.

    Parameters
    ----------
    state
        The state.
    description
        The model, its rows left out too.
    """
    design = state.design
    factors = tuple(_bare(_BareFactor, factor) for factor in design.factors)
    recipe: Any = design.recipe
    recipe = replace(recipe, components=description.components, frame=None, factors=factors)
    nothing: dict[str, Any] = {"offset": None, "weights": None, "rows": None, "labels": None, "columns": {}}
    bare = _bare(_BareDesign, design, n_used=design.n_obs, factors=factors, recipe=recipe, **nothing)
    return replace(state, design=bare, problem=_NoRows(bare, state.fixed_root))


def _bare(kind: type[Record], record: object, **changes: Any) -> Record:
    """Return a record without its rows."""
    bare = object.__new__(kind)
    vars(bare).update({name: value for name, value in vars(record).items() if name not in ROWS_OF_A_RECORD} | changes)
    return bare
