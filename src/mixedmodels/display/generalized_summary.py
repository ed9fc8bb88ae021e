"""The summary of a generalised linear mixed model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.display.summary import Summary, coefficient_table
from mixedmodels.display.table import Table
from mixedmodels.display.varcorr import VarCorr, correlation_tables
from mixedmodels.inference import criteria
from mixedmodels.inference.degrees import WALD_NOTE
from mixedmodels.inference.generalized import z_values
from mixedmodels.inference.thresholds import threshold_table
from mixedmodels.inference.zero_effects import zero_table
from mixedmodels.texts import numbers
from mixedmodels.texts.layout import text_width

if TYPE_CHECKING:
    from mixedmodels.fit.generalized import GlmmState


def summarize_generalized(
    state: GlmmState, level: float = 0.95, correlation: bool = False, *, width: int | None = None
) -> Summary:
    """Return the summary of a fit.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage of the intervals.
    correlation
        Show the correlations of the fixed effects.
    width
        Columns of a line; None for those of the terminal.
    """
    width = text_width(width)
    tables = [_facts(state), *VarCorr.from_state(state).tables(width)]
    own = state.own_fixed
    names = state.fixed_names[own]
    if names:
        tables.append(coefficient_table(names, z_values(state, level), level, whole_df=True))
    if state.design.categories:
        tables.append(_thresholds(state, level))
    if state.problem.zeros is not None:
        tables.append(_zeros(state, level))
    if correlation and names:
        scale = np.sqrt(np.diag(state.cov_beta))
        matrix = (state.cov_beta / np.outer(scale, scale))[own, own]
        tables.extend(correlation_tables("Correlations of the fixed effects", names, matrix, width))
    family = state.family.name.replace("_", " ")
    heading = f"Generalised linear mixed model: {family}, {state.family.link} link; {_approximation(state)}"
    return Summary(heading, state.design.formula.text, tables, list(_notes(state)), width)


def _approximation(state: GlmmState) -> str:
    if state.n_agq == 1:
        return "Laplace's approximation"
    several = state.design.factors[0].n_effects > 1
    return f"adaptive quadrature, {state.n_agq} nodes{' an effect' if several else ''}"


def one_line_generalized(state: GlmmState) -> str:
    """Return a fit in one line."""
    value = numbers.criterion(state.optimum.deviance)
    text = state.design.formula.text
    return f"<GlmmResult: {text}; {state.family.name}, deviance {value}, {state.design.n_obs} observations>"


def _facts(state: GlmmState) -> Table:
    design = state.design
    used = f"{design.n_obs} of {design.n_rows}" if design.n_dropped else f"{design.n_obs}"
    rows = (
        ("Observations", used, "Log-likelihood", numbers.criterion(criteria.log_likelihood(state))),
        ("Parameters", str(state.n_params), "AIC", numbers.criterion(criteria.aic(state))),
        ("Deviance", numbers.criterion(state.optimum.deviance), "BIC", numbers.criterion(criteria.bic(state))),
    )
    return Table("", (), rows, "lrlr")


def _thresholds(state: GlmmState, level: float) -> Table:
    table = threshold_table(state, level)
    tail = 100 * (1 - level) / 2
    header = ("", "Estimate", "Std. error", f"{tail:.3g} %", f"{100 - tail:.5g} %")
    places = numbers.places(table["std_error"].tolist())
    values = zip(table.index, table.to_numpy().tolist(), places, strict=True)
    rows = tuple((name, *numbers.to_place(row, place)) for name, row, place in values)
    return Table("Thresholds", header, rows, "lnnnn")


def _zeros(state: GlmmState, level: float) -> Table:
    table = zero_table(state, level)[["estimate", "std_error", "ci_lower", "ci_upper"]]
    tail = 100 * (1 - level) / 2
    header = ("", "Estimate", "Std. error", f"{tail:.3g} %", f"{100 - tail:.5g} %")
    places = numbers.places(table["std_error"].tolist())
    values = zip(table.index, table.to_numpy().tolist(), places, strict=True)
    rows = tuple((name, *numbers.to_place(row, place)) for name, row, place in values)
    whose = "a zero" if state.family.name.startswith("hurdle") else "an excess zero"
    return Table(f"Chance p of {whose} (logit)", header, rows, "lnnnn")


def _notes(state: GlmmState) -> Iterator[str]:
    if state.dispersion is not None:
        value = numbers.column([state.dispersion])[0]
        yield f"The dispersion d is {value}; {state.family.variance_sentence}."
    if state.design.offset is not None:
        yield "An offset is part of the linear predictor."
    yield from (finding.message for finding in state.findings)
    if state.n_fixed:
        yield WALD_NOTE
