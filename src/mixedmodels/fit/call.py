"""What the user asked for, kept so that it can be asked again with changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.effect_kinds import DIAGONAL, UNSTRUCTURED
from mixedmodels.design.build import build_design
from mixedmodels.design.coding import contrasts_in_use
from mixedmodels.design.frame import open_frame
from mixedmodels.design.open_rows import is_stream, open_rows
from mixedmodels.errors import DataError, FormulaError, nearest
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.streamed import streamed_problem
from mixedmodels.formula.parse import parse_formula
from mixedmodels.formula.restricted import check_restricted
from mixedmodels.formula.terms import Formula

EVALUATIONS = ("python", "restricted")
"""What expressions of a formula may be."""


@dataclass(frozen=True)
class Call:
    """The arguments of ``lmer`` that make the design, as given there."""

    formula: str
    data: object
    weights: object = None
    offset: object = None
    contrasts: Mapping[str, object] | str | None = None
    missing: str = "drop"
    evaluate: str = "python"
    method: str = "auto"

    def __repr__(self) -> str:
        options = [(f.name, _shown(getattr(self, f.name)), repr(f.default)) for f in fields(self)[2:]]
        changed = "".join(f", {name}={shown}" for name, shown, default in options if shown != default)
        return f"{self._function}({self.formula!r}, {_shown(self.data)}{changed})"

    @property
    def _function(self) -> str:
        return "lmer"


@dataclass(frozen=True, repr=False)
class RelatedCall(Call):
    """The arguments of ``lmer`` that make the design, with known covariances among levels."""

    relationship: Mapping[str, object] | None = None


def _shown(argument: object) -> str:
    """Return texts, whole numbers and mappings of them as the user would write them; of anything longer the type."""
    parts = argument.values() if isinstance(argument, Mapping) else [argument]
    short = all(part is None or isinstance(part, str | int) for part in parts)
    return repr(argument) if short else f"<{type(argument).__name__}>"


def build_problem(call: Call) -> Problem:
    """Return the problem that a call describes.

    Raises
    ------
    FormulaError
        If ``evaluate`` is not what it may be, or forbids an expression.
    """
    began = perf_counter()
    formula = parse_formula(call.formula)
    check_evaluation(formula, call.evaluate, call.contrasts)
    relationships = call.relationship if isinstance(call, RelatedCall) else None
    if is_stream(call.data):
        if relationships is not None:
            raise DataError("relationship needs all rows at once, and these data are read in parts. Use a data frame.")
        return streamed_problem(
            formula,
            open_rows(call.data),
            weights=call.weights,
            offset=call.offset,
            contrasts=call.contrasts,
            missing=call.missing,
            method=call.method,
        )
    design = build_design(
        formula,
        call.data,
        weights=call.weights,
        offset=call.offset,
        contrasts=call.contrasts,
        missing=call.missing,
        relationships=relationships,
    )
    return Problem(design, design_seconds=perf_counter() - began)


def check_plain(formula: Formula, where: str) -> None:
    """Refuse structured covariances of random effects.

    Parameters
    ----------
    formula
        The formula.
    where
        Of what models.

    Raises
    ------
    FormulaError
        There are some.
    """
    plain = (UNSTRUCTURED, DIAGONAL)
    special = next((term for term in formula.random if term.kind not in plain or term.relationship), None)
    if special is not None:
        raise FormulaError(
            f"{special.text}: random effects of {where} have no structured covariances. Use (... | g) for any "
            "covariance, or (... || g)."
        )


def check_evaluation(formula: Formula, evaluate: str, contrasts: object = None) -> None:
    """Refuse expressions that may not be run.

    Parameters
    ----------
    formula, contrasts
        Where they stand.
    evaluate
        One of ``EVALUATIONS``.

    Raises
    ------
    FormulaError
        If ``evaluate`` is not what it may be, or forbids an expression.
    """
    check_evaluate(evaluate)
    if evaluate == "restricted":
        check_restricted(formula, contrasts)


def check_evaluate(evaluate: str) -> None:
    """Refuse a way to evaluate expressions that there is not.

    Raises
    ------
    FormulaError
        If it is none of ``EVALUATIONS``.
    """
    if evaluate not in EVALUATIONS:
        raise FormulaError(
            f"evaluate is {evaluate!r}; it must be 'python', or 'restricted' for formulas that strangers write."
            f"{nearest(evaluate, EVALUATIONS)}"
        )


def without_stale_contrasts(call: Call, parse: Callable[[str], Formula] = parse_formula) -> Call:
    """Return the call without the contrasts of columns that are not in its formula, as ``parse`` reads it."""
    names = open_rows(call.data).kinds.names if is_stream(call.data) else open_frame(call.data).names
    return replace(call, contrasts=contrasts_in_use(call.contrasts, parse(call.formula), names))


def without_stale_relationships(call: Call) -> Call:
    """Return the call without relationships of levels whose terms are not in its formula."""
    if not isinstance(call, RelatedCall) or call.relationship is None:
        return call
    named = {term.relationship or term.group_name for term in parse_formula(call.formula).random}
    kept = {name: known for name, known in call.relationship.items() if name in named}
    return replace(call, relationship=kept or None)


def with_columns(call: Call, names: Collection[str]) -> Call:
    """Return the call with some columns of its data alone; other data than pandas', polars' and arrow's become pandas'.

    Parameters
    ----------
    call
        The arguments.
    names
        The columns.
    """
    data = call.data
    if isinstance(data, pd.DataFrame):
        return replace(call, data=data[[name for name in data.columns if name in names]])
    if isinstance(data, Mapping):
        return replace(call, data={name: values for name, values in data.items() if name in names})
    frame = nw.from_native(data, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return call
    frame = frame.select([name for name in frame.columns if name in names])
    is_kept = frame.implementation.is_polars() or frame.implementation.is_pyarrow()
    return replace(call, data=frame.to_native() if is_kept else frame.to_pandas())


def with_rows(call: Call, rows: npt.NDArray[np.intp]) -> Call:
    """Return the call with some rows of its data, weights and offset alone.

    Parameters
    ----------
    call
        The arguments.
    rows
        Positions, (n_taken,).
    """
    data = call.data
    if isinstance(data, Mapping):
        taken: object = {name: values_at(values, rows) for name, values in data.items()}
    elif isinstance(data, pd.DataFrame):
        taken = data.iloc[rows]
    else:
        taken = nw.from_native(data, eager_only=True)[rows.tolist()].to_native()  # type: ignore[call-overload]  # narwhals' types know no list of rows
    return replace(call, data=taken, weights=values_at(call.weights, rows), offset=values_at(call.offset, rows))


def values_at(values: Any, rows: npt.NDArray[np.intp] | None) -> Any:
    """Return some values of an array, all for None; the name of a column and None are for any rows."""
    if values is None or rows is None or isinstance(values, str):
        return values
    return values.iloc[rows] if isinstance(values, pd.Series) else np.asarray(values)[rows]


def snapshot(data: object) -> object:
    """Return the data such that columns the user adds or replaces later do not reach it; no values are copied."""
    if isinstance(data, pd.DataFrame):
        return data.copy(deep=False)
    return dict(data) if isinstance(data, Mapping) else data
