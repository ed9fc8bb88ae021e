"""A fit without the rows that it was fitted to, for files: parameters, tests and predictions stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.design import Design
from mixedmodels.design.left_out import LeftOut
from mixedmodels.fit.information import Identification
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import COMPUTED, FitState
from mixedmodels.fit.sampled_fit import SampledProblem, SampledState

COSTLY = ("covariance_derivatives",)
"""What is kept if it was asked for before."""


@dataclass(frozen=True)
class RowlessFit:
    """A fit without its rows.

    Attributes
    ----------
    state
        The fit; where it had rows it has what says that there are none.
    computed
        What it computed of its rows, by name.
    identification
        What the data cannot tell.
    of_all_rows
        Expressions that give a row another value among other rows.
    """

    state: FitState
    computed: Mapping[str, Any]
    identification: Identification
    of_all_rows: frozenset[str]


def is_rowless(design: Design) -> bool:
    """Return whether a design has no rows."""
    return isinstance(design.y, LeftOut)


def without_rows(state: FitState) -> RowlessFit:
    """Return a fit without its rows, what is computed of them computed."""
    refuse_absorbed(state.design.absorbed, "save(data=False)")
    computed = state.computed() | {name: vars(state)[name] for name in COSTLY if name in vars(state)}
    design = _without_rows(state.design)
    kind = SampledProblem if isinstance(state, SampledState) else Problem
    problem = kind(design, n_threads=state.problem.n_threads)
    problem.seconds = state.problem.seconds
    bare = replace(state, design=design, problem=problem)
    return RowlessFit(bare, computed, state.problem.identification, state.design.recipe.of_all_rows)


def _without_rows(design: Design) -> Design:
    rows: Any = LeftOut("the rows of the fit", design.n_obs)
    columns: Any = LeftOut("the rows of the fit")
    factors = tuple(replace(f, codes=rows, Z=None if f.Z is None else rows) for f in design.factors)
    return replace(
        design,
        y=rows,
        X=rows,
        offset=None if design.offset is None else rows,
        weights=None if design.weights is None else rows,
        factors=factors,
        rows=None,
        labels=None,
        recipe=replace(design.recipe, probe=None),
        columns=columns,
    )


def restored(state: FitState, computed: dict[str, Any], identification: Identification, of_all_rows: Any) -> FitState:
    """Return the fit of a `RowlessFit`, which knows what was computed."""
    vars(state).update({name: value for name, value in computed.items() if name in (*COMPUTED, *COSTLY)})
    vars(state.problem)["identification"] = identification
    vars(state.design.recipe)["of_all_rows"] = of_all_rows
    return state
