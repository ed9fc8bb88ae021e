"""What the user asked of ``mmrm``, or of ``lmer`` about residuals, and the problem that it describes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from mixedmodels.design.block_rows import joins_too_many
from mixedmodels.design.build import build_design
from mixedmodels.design.chains import are_chains
from mixedmodels.design.frame import open_frame
from mixedmodels.design.known_residual import is_matrix, read_known_residual
from mixedmodels.design.open_rows import is_stream
from mixedmodels.errors import DataError, FormulaError
from mixedmodels.fit.call import Call, check_evaluation, check_plain
from mixedmodels.fit.chains import ChainProblem
from mixedmodels.fit.correlated import CorrelatedProblem, check_sigma, has_visits_alone
from mixedmodels.fit.coupled import CoupledProblem
from mixedmodels.fit.marginal import MarginalProblem
from mixedmodels.formula.parse import parse_correlated_formula, parse_formula, parse_marginal_formula

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.formula.terms import Formula


@dataclass(frozen=True, repr=False)
class CorrelatedCall(Call):
    """The arguments of ``lmer`` that make the design, with those on the residuals."""

    residual: object = None
    variance: str | None = None
    sigma: float | None = None

    @property
    def structure(self) -> str | None:
        """What the residuals' structure is, in words of a formula; None where there is none, or a known covariance."""
        return self.residual if isinstance(self.residual, str) else None


def build_correlated(call: CorrelatedCall, n_threads: int = 0) -> MarginalProblem:
    """Return the problem of a model with something on its residuals that a call describes.

    Raises
    ------
    DataError, DesignError, FormulaError
        As ``build_problem``, and if the residuals cannot be what is said of them.
    """
    began = perf_counter()
    formula = parse_correlated_formula(call.formula, call.structure, call.variance)
    if formula.absorbed:
        raise FormulaError(
            f"{call.formula!r} absorbs fixed effects, fe(...), which residual, variance and sigma do not take beside "
            "them yet. Make them terms of the fixed part."
        )
    if not formula.random and call.residual is None and call.variance is None:
        parse_formula(call.formula)  # which says what is missing
    check_evaluation(formula, call.evaluate, call.contrasts)
    check_plain(formula, "models with residual, variance or sigma")
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
    if is_matrix(call.residual):
        design = _with_known_residual(call, design)
    return _with_structure(design, check_sigma(call.sigma, design), n_threads, perf_counter() - began)


def _with_known_residual(call: CorrelatedCall, design: Design) -> Design:
    """Return the design with the covariance of its residuals that a call has."""
    for name, value in (("weights", call.weights), ("variance", call.variance)):
        if value is not None:
            raise DataError(
                f"residual is a covariance matrix, which says the variances of the rows, and so does {name}. Leave one "
                "of them out."
            )
    known = read_known_residual(call.residual, design.n_rows, open_frame(call.data).index, design.rows)
    return replace(design, known_residual=known)


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
    """Return the problem of a design: by visits in common where they are all, else by neighbours, blocks or levels."""
    if sigma is None and not design.variance and has_visits_alone(design):
        return MarginalProblem(design, n_threads=n_threads, design_seconds=seconds)
    if are_chains(design):
        return ChainProblem(design, sigma=sigma, n_threads=n_threads, design_seconds=seconds)
    if joins_too_many(design):
        return CoupledProblem(design, sigma=sigma, n_threads=n_threads, design_seconds=seconds)
    return CorrelatedProblem(design, sigma=sigma, n_threads=n_threads, design_seconds=seconds)


def build_on_residuals(call: Call, n_threads: int = 0) -> MarginalProblem:
    """Return the problem of a model with something on its residuals, by ``mmrm``'s call or ``lmer``'s."""
    return build_correlated(call, n_threads) if isinstance(call, CorrelatedCall) else build_marginal(call, n_threads)


def parse_on_residuals(call: Call, text: str) -> Formula:
    """Return the formula of such a call with another text."""
    if isinstance(call, CorrelatedCall):
        return parse_correlated_formula(text, call.structure, call.variance)
    return parse_marginal_formula(text)
