"""The summary of a model with something on its residuals and random effects beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.display.summary import Summary, coefficient_table, notes
from mixedmodels.display.table import Table
from mixedmodels.display.varcorr import VarCorr
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.fit.subjects import normalized
from mixedmodels.inference import criteria
from mixedmodels.inference.degrees import FixedDegrees, approximation, estimate_rows
from mixedmodels.inference.residual_parameters import residual_parameters
from mixedmodels.inference.wald import row_values
from mixedmodels.texts import numbers
from mixedmodels.texts.layout import text_width

if TYPE_CHECKING:
    from mixedmodels.fit.correlated_fit import CorrelatedState
    from mixedmodels.inference.approximation import Approximation


def summarize_correlated(
    state: CorrelatedState, ddf: str | Approximation = "satterthwaite", level: float = 0.95, *, width: int | None = None
) -> Summary:
    """Return the summary of a fit.

    Parameters
    ----------
    state
        The fit.
    ddf, level
        Degrees of freedom of the tests and coverage of the intervals, as for ``coef_table``.
    width
        Columns of a line; None for those of the terminal.
    """
    width = text_width(width)
    tests = approximation(state, ddf)
    tables = [_facts(state), _quantiles(state)]
    if state.design.factors:
        tables += VarCorr.from_state(state).tables(width)
    if any(state.parameters):
        tables.append(_parameters(state, level))
    if state.n_fixed:
        values = row_values(estimate_rows(state, np.eye(state.n_fixed), tests), level)
        tables.append(coefficient_table(state.fixed_names, values, level, isinstance(tests, FixedDegrees)))
    method = "REML" if state.reml else "maximum likelihood"
    return Summary(
        f"{correlated_heading(state)} fitted by {method}", _text(state), tables, [*notes(state, tests)], width
    )


def one_line_correlated(state: CorrelatedState) -> str:
    """Return a fit in one line."""
    name = "REML criterion" if state.reml else "deviance"
    value = numbers.criterion(state.optimum.deviance)
    return f"<CorrelatedResult: {_text(state)}; {name} {value}, {state.design.n_obs} observations>"


def correlated_heading(state: CorrelatedState) -> str:
    """Return the kind of the model in words."""
    if state.design.residual is not None:
        return "Linear mixed model with correlated residuals"
    known = state.problem.known_sigma is not None
    if state.design.known_residual is not None:
        return f"Linear mixed model with residuals of known covariance{'' if known else ' but for its scale'}"
    return f"Linear mixed model with residuals of {'known' if known else 'unequal'} variance"


def _text(state: CorrelatedState) -> str:
    """Return formula and what is said of the residuals."""
    text, known = state.design.formula.described, state.problem.known_sigma
    return text if known is None else f"{text}, sigma {known:g}"


def _facts(state: CorrelatedState) -> Table:
    design, own = state.design, state.design.residual
    used = f"{design.n_obs} of {design.n_rows}" if design.n_dropped else f"{design.n_obs}"
    name = "REML criterion" if state.reml else "Deviance"
    shown = numbers.criterion
    blocks = f"{state.problem.n_subjects}"
    subjects = (
        ("Independent blocks", blocks) if own is None else (f"Subjects ({own.term.subject})", f"{own.n_subjects}")
    )
    facts = (
        ("Observations", used, "Log-likelihood", shown(criteria.log_likelihood(state))),
        (*subjects, "AIC", shown(criteria.aic(state))),
        ("Parameters", f"{state.n_fixed} + {state.n_covariance}", "BIC", shown(criteria.bic(state))),
        (name, shown(state.optimum.deviance), "", ""),
    )
    return Table("", (), facts, "lrlr")


def _quantiles(state: CorrelatedState) -> Table:
    r = normalized(state, state.design.y - conditional_fitted(state))
    texts = (numbers.fixed(float(q), 3) for q in np.quantile(r, [0, 0.25, 0.5, 0.75, 1]))
    return Table(
        "", ("", "Min", "1Q", "Median", "3Q", "Max"), (("Normalized residuals", *texts),), "lrrrrr", ruled=False
    )


def _parameters(state: CorrelatedState, level: float) -> Table:
    """Return the parameters of the residuals with their intervals."""
    found = residual_parameters(state, level)
    columns = [numbers.column(found[name].tolist()) for name in found.columns]
    rows = [(str(name), *texts) for name, *texts in zip(found.index, *columns, strict=True)]
    interval = f"{100 * level:g}% interval"
    header = ("Parameter", "Estimate", "Std. error", interval, "")
    title = state.problem.covariance.title if state.design.known_residual is None else "times a known covariance"
    return Table(f"Residuals, {title}", header, tuple(rows), "lnnnn", n_labels=1)
