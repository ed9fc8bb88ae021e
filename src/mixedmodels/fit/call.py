"""What the user asked for, kept so that it can be asked again with changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from time import perf_counter
from types import MappingProxyType
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.effect_kinds import DIAGONAL, UNSTRUCTURED
from mixedmodels.design.build import build_design
from mixedmodels.design.coding import contrasts_in_use
from mixedmodels.design.design import Design
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.frame import open_frame
from mixedmodels.design.open_rows import is_stream, open_rows
from mixedmodels.design.response import read_categories, read_numbers, read_successes
from mixedmodels.errors import DataError, FormulaError, nearest
from mixedmodels.families import Family
from mixedmodels.fit.correlated import CorrelatedProblem, check_sigma, has_visits_alone
from mixedmodels.fit.generalized import GeneralizedProblem
from mixedmodels.fit.marginal import MarginalProblem
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.streamed import streamed_problem
from mixedmodels.formula.parse import parse_correlated_formula, parse_formula, parse_marginal_formula
from mixedmodels.formula.restricted import check_restricted
from mixedmodels.formula.terms import Formula

EVALUATIONS = ("python", "restricted")
"""What expressions of a formula may be."""

READERS = MappingProxyType({"numbers": read_numbers, "successes": read_successes, "categories": read_categories})
"""How the left-hand side becomes numbers, by what a family says of its responses."""


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
class GeneralizedCall(Call):
    """The arguments of ``glmer`` that make the design, with its family as the user gave it."""

    family: object = "binomial"
    link: str | None = None
    n_agq: int = 1

    @property
    def _function(self) -> str:
        return "glmer"


@dataclass(frozen=True, repr=False)
class CorrelatedCall(Call):
    """The arguments of ``lmer`` that make the design, with those on the residuals."""

    residual: str | None = None
    variance: str | None = None
    sigma: float | None = None


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
    if is_stream(call.data):
        return streamed_problem(
            formula,
            open_rows(call.data),
            weights=call.weights,
            offset=call.offset,
            contrasts=call.contrasts,
            missing=call.missing,
        )
    design = build_design(
        formula,
        call.data,
        weights=call.weights,
        offset=call.offset,
        contrasts=call.contrasts,
        missing=call.missing,
    )
    return Problem(design, design_seconds=perf_counter() - began)


def build_correlated(call: CorrelatedCall, n_threads: int = 0) -> MarginalProblem:
    """Return the problem of a model with something on its residuals that a call describes.

    Raises
    ------
    DataError, DesignError, FormulaError
        As ``build_problem``, and if the residuals cannot be what is said of them.
    """
    began = perf_counter()
    formula = parse_correlated_formula(call.formula, call.residual, call.variance)
    if formula.absorbed:
        raise FormulaError(
            f"{call.formula!r} absorbs fixed effects, fe(...), which residual, variance and sigma do not take beside "
            "them yet. Make them terms of the fixed part."
        )
    if not formula.random and call.residual is None and call.variance is None:
        parse_formula(call.formula)  # which says what is missing
    check_evaluation(formula, call.evaluate, call.contrasts)
    _check_plain(formula, "models with residual, variance or sigma")
    if is_stream(call.data):
        raise DataError(
            "residual, variance and sigma need all rows at once, and these data are read in parts. Use a data frame."
        )
    design = build_design(
        formula,
        call.data,
        weights=call.weights,
        offset=call.offset,
        contrasts=call.contrasts,
        missing=call.missing,
        residual=call.sigma is None,
    )
    return _with_structure(design, check_sigma(call.sigma, design), n_threads, perf_counter() - began)


def build_generalized(call: GeneralizedCall, family: Family) -> GeneralizedProblem:
    """Return the problem of a generalised model that a call describes.

    Raises
    ------
    DataError, FitError, FormulaError
        As ``build_problem``, and if the responses are not the family's or quadrature is not for the model.
    """
    began = perf_counter()
    formula = parse_formula(call.formula)
    if formula.absorbed:
        raise FormulaError(
            "glmer does not absorb fixed effects: estimates of nonlinear models with an effect a level are biased. "
            "Make the levels random, or write few as a fixed term.",
            formula.text,
            formula.text.find("fe("),
        )
    check_evaluation(formula, call.evaluate, call.contrasts)
    _check_plain(formula, "generalised models")
    design = build_design(
        formula,
        call.data,
        weights=call.weights,
        offset=call.offset,
        contrasts=call.contrasts,
        missing=call.missing,
        read_response=READERS[family.responses],
        residual=False,
    )
    if design.categories and INTERCEPT not in design.x_names[:1]:
        raise FormulaError(
            f"{formula.text!r} has no intercept; an ordinal model has thresholds in its place, and is written with it: "
            "leave out '0 +' or '- 1'."
        )
    return GeneralizedProblem(design, family, n_agq=call.n_agq, design_seconds=perf_counter() - began)


def build_marginal(call: Call, n_threads: int = 0) -> MarginalProblem:
    """Return the problem of a model with correlated residuals that a call describes.

    Parameters
    ----------
    call
        The arguments.
    n_threads
        Threads of the engine; 0 takes what the machine has.

    Raises
    ------
    FormulaError
        If ``evaluate`` is not what it may be, or forbids an expression.
    """
    began = perf_counter()
    formula = parse_marginal_formula(call.formula)
    check_evaluation(formula, call.evaluate, call.contrasts)
    design = build_design(
        formula,
        call.data,
        weights=call.weights,
        offset=call.offset,
        contrasts=call.contrasts,
        missing=call.missing,
    )
    return _with_structure(design, None, n_threads, perf_counter() - began)


def _with_structure(design: Design, sigma: float | None, n_threads: int, seconds: float) -> MarginalProblem:
    """Return the problem of a design, by visits in common where they are all there is."""
    if sigma is None and not design.variance and has_visits_alone(design):
        return MarginalProblem(design, n_threads=n_threads, design_seconds=seconds)
    return CorrelatedProblem(design, sigma=sigma, n_threads=n_threads, design_seconds=seconds)


def build_on_residuals(call: Call, n_threads: int = 0) -> MarginalProblem:
    """Return the problem of a model with something on its residuals, by ``mmrm``'s call or ``lmer``'s."""
    return build_correlated(call, n_threads) if isinstance(call, CorrelatedCall) else build_marginal(call, n_threads)


def parse_on_residuals(call: Call, text: str) -> Formula:
    """Return the formula of such a call with another text."""
    if isinstance(call, CorrelatedCall):
        return parse_correlated_formula(text, call.residual, call.variance)
    return parse_marginal_formula(text)


def _check_plain(formula: Formula, where: str) -> None:
    special = next((term for term in formula.random if term.kind not in (UNSTRUCTURED, DIAGONAL)), None)
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
