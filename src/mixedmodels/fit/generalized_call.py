"""What the user asked of ``glmer``, and the problem that it describes."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from mixedmodels.design.build import build_design
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.response import read_categories, read_numbers, read_successes
from mixedmodels.design.zero_part import read_zero_part, zero_formula
from mixedmodels.errors import FormulaError
from mixedmodels.families.named import with_zeros
from mixedmodels.fit.call import Call, check_evaluation, check_plain
from mixedmodels.fit.generalized import GeneralizedProblem
from mixedmodels.formula.parse import parse_formula

if TYPE_CHECKING:
    from mixedmodels.families.family import Family

READERS = MappingProxyType({"numbers": read_numbers, "successes": read_successes, "categories": read_categories})
"""How the left-hand side becomes numbers, by what a family says of its responses."""


@dataclass(frozen=True, repr=False)
class GeneralizedCall(Call):
    """The arguments of ``glmer`` that make the design, with its family as the user gave it."""

    family: object = "binomial"
    link: str | None = None
    n_agq: int = 1
    zero_inflation: str | None = None

    @property
    def _function(self) -> str:
        return "glmer"


def build_generalized(call: GeneralizedCall, family: Family) -> GeneralizedProblem:
    """Return the problem of a generalised model that a call describes.

    Raises
    ------
    DataError, FitError, FormulaError
        As ``build_problem``, and if the responses are not the family's or quadrature is not for the model.
    """
    began = perf_counter()
    family = with_zeros(family, call.zero_inflation)
    formula = parse_formula(call.formula)
    if formula.absorbed:
        raise FormulaError(
            "glmer does not absorb fixed effects: estimates of nonlinear models with an effect a level are biased. "
            "Make the levels random, or write few as a fixed term.",
            formula.text,
            formula.text.find("fe("),
        )
    check_evaluation(formula, call.evaluate, call.contrasts)
    if call.zero_inflation is not None:
        check_evaluation(zero_formula(call.zero_inflation, formula), call.evaluate)
    check_plain(formula, "generalised models")
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
    zeros = None
    if family.has_zeros:
        text = "~ 1" if call.zero_inflation is None else call.zero_inflation
        zeros, design = read_zero_part(text, call.data, design)
    return GeneralizedProblem(design, family, zeros, n_agq=call.n_agq, design_seconds=perf_counter() - began)
