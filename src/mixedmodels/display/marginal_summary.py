"""The summary of a model with correlated residuals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.residual import correlations
from mixedmodels.display.summary import Summary, coefficient_table, notes
from mixedmodels.display.table import Table
from mixedmodels.display.varcorr import correlation_tables
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.subjects import normalized
from mixedmodels.inference import criteria
from mixedmodels.inference.degrees import FixedDegrees, approximation, estimate_rows
from mixedmodels.inference.sas_criteria import sas_criteria
from mixedmodels.inference.wald import row_values
from mixedmodels.texts import numbers
from mixedmodels.texts.layout import text_width

if TYPE_CHECKING:
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.inference.approximation import Approximation

COUNTED = "AIC and BIC count all parameters and rows; those of SAS count {} and subjects."


def summarize_marginal(
    state: MarginalState, ddf: str | Approximation = "satterthwaite", level: float = 0.95, *, width: int | None = None
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
    tables = [_facts(state), _residuals(state), *covariance_tables(state, width)]
    if state.n_fixed:
        values = row_values(estimate_rows(state, np.eye(state.n_fixed), tests), level)
        tables.append(coefficient_table(state.fixed_names, values, level, isinstance(tests, FixedDegrees)))
    method = "REML" if state.reml else "maximum likelihood"
    counted = "parameters of the covariance" if state.reml else "all parameters"
    return Summary(
        f"Mixed model for repeated measures fitted by {method}",
        state.design.formula.text,
        tables,
        [*notes(state, tests), COUNTED.format(counted)],
        width,
    )


def one_line_marginal(state: MarginalState) -> str:
    """Return a fit in one line."""
    name = "REML criterion" if state.reml else "deviance"
    value = numbers.criterion(state.optimum.deviance)
    return f"<MmrmResult: {state.design.formula.text}; {name} {value}, {state.design.n_obs} observations>"


def _facts(state: MarginalState) -> Table:
    design, rows = state.design, state.problem.rows
    used = f"{design.n_obs} of {design.n_rows}" if design.n_dropped else f"{design.n_obs}"
    aic, bic = sas_criteria(state)
    name = "REML criterion" if state.reml else "Deviance"
    shown = numbers.criterion
    facts = (
        ("Observations", used, "Log-likelihood", shown(criteria.log_likelihood(state))),
        (f"Subjects ({rows.term.subject})", str(rows.n_subjects), "AIC", shown(criteria.aic(state))),
        (f"Visits ({', '.join(rows.term.visits)})", str(len(rows.visits)), "BIC", shown(criteria.bic(state))),
        ("Parameters", f"{state.n_fixed} + {state.n_covariance}", "AIC (SAS)", shown(aic)),
        (name, shown(state.optimum.deviance), "BIC (SAS)", shown(bic)),
    )
    return Table("", (), facts, "lrlr")


def _residuals(state: MarginalState) -> Table:
    r = normalized(state, state.design.y - marginal_fitted(state))
    texts = (numbers.fixed(float(q), 3) for q in np.quantile(r, [0, 0.25, 0.5, 0.75, 1]))
    return Table(
        "", ("", "Min", "1Q", "Median", "3Q", "Max"), (("Normalized residuals", *texts),), "lrrrrr", ruled=False
    )


def covariance_tables(state: MarginalState, width: int) -> Iterator[Table]:
    """Yield variances of the visits by group with correlations beside them, or behind where they are many.

    Parameters
    ----------
    state
        The fit.
    width
        Columns of a line.
    """
    rows = state.problem.rows
    title = f"Residual covariance, {state.problem.structure.title}"
    table = _covariances(state, title, beside=True)
    if table.grid().least_width() <= width:
        yield table
        return
    yield _covariances(state, title, beside=False)
    for label, Sigma in zip(rows.groups, state.residual_covariance, strict=True):
        of_group = f", {rows.term.group} {label}" if rows.term.group else ""
        yield from correlation_tables(
            f"Correlations of residuals{of_group}", rows.visits.labels, correlations(Sigma), width
        )


def _covariances(state: MarginalState, title: str, *, beside: bool) -> Table:
    rows, Sigmas = state.problem.rows, state.residual_covariance
    diagonal = np.diagonal(Sigmas, axis1=1, axis2=2).ravel()
    variances, deviations = numbers.column(diagonal.tolist()), numbers.column(np.sqrt(diagonal).tolist())
    n_beside = len(rows.visits) - 1 if beside else 0
    named = rows.term.group is not None
    out = []
    for g, label in enumerate(rows.groups):
        R = correlations(Sigmas[g])
        for v, visit in enumerate(rows.visits.labels):
            at = g * len(rows.visits) + v
            corr = [numbers.fixed(float(R[v, w]), 2) for w in range(min(v, n_beside))]
            first = (str(label) if v == 0 else "",) if named else ()
            out.append((*first, str(visit), variances[at], deviations[at], *corr, *[""] * (n_beside - len(corr))))
    head = (*([rows.term.group] if rows.term.group else []), ", ".join(rows.term.visits))
    header = (*head, "Variance", "Std. dev.", *(["Corr."] + [""] * n_beside)[:n_beside])
    return Table(title, header, tuple(out), "l" * len(head) + "nn" + "n" * n_beside, n_labels=len(head))
