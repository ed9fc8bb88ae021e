"""The summary of a fit."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.display.table import Table, to_latex_text, to_markdown_text
from mixedmodels.display.varcorr import VarCorr, correlation_tables
from mixedmodels.display.word import write_docx
from mixedmodels.fit.rowless import is_rowless
from mixedmodels.fit.sampled_fit import SampledState
from mixedmodels.inference import criteria
from mixedmodels.inference.degrees import FixedDegrees, approximation, estimate_rows
from mixedmodels.inference.wald import row_values
from mixedmodels.texts import numbers
from mixedmodels.texts.layout import fold_sentence, one_line_text, text_width

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit
    from mixedmodels.inference.approximation import Approximation


class Summary(str):
    """The summary as text, with the tables it is made of; HTML in notebooks.

    Attributes
    ----------
    heading, formula
        First two lines.
    tables
        Facts, scaled residuals, random effects, fixed effects and correlations, as ``Table`` records.
    notes
        Sentences below the tables.
    width
        Columns of a line of the text.
    """

    __slots__ = ("formula", "heading", "notes", "tables", "width")

    heading: str
    formula: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    width: int

    def __new__(
        cls, heading: str, formula: str, tables: Sequence[Table], notes: Sequence[str], width: int | None = None
    ) -> Summary:
        width = text_width(width)
        head = "\n".join([heading, *fold_sentence(formula, width)])
        foot = "\n".join(line for note in notes for line in fold_sentence(note, width, "- ", "  "))
        self = super().__new__(
            cls, "\n\n".join(filter(None, [head, *[table.to_text(width) for table in tables], foot]))
        )
        self.heading, self.formula, self.tables, self.notes = heading, formula, tuple(tables), tuple(notes)
        self.width = width
        return self

    def __reduce__(self) -> tuple[type[Summary], tuple[str, str, tuple[Table, ...], tuple[str, ...], int]]:
        return type(self), (self.heading, self.formula, self.tables, self.notes, self.width)

    def to_html(self) -> str:
        """Return the summary as an HTML fragment."""
        formula = f"<br><code>{html.escape(self.formula)}</code>" if self.formula else ""
        return "\n".join(
            [
                f"<div><p><strong>{html.escape(self.heading)}</strong>{formula}</p>",
                *[table.to_html() for table in self.tables],
                *[f"<p>{html.escape(note)}</p>" for note in self.notes],
                "</div>",
            ]
        )

    def to_latex(self) -> str:
        """Return the tables as LaTeX, for the packages booktabs and nothing else."""
        head = _latex_title(self.heading) + (f"\\texttt{{{to_latex_text(self.formula)}}}" if self.formula else "")
        tables = [_latex_title(table.title) + table.to_latex() for table in self.tables]
        return "\n\n\\medskip\n".join([head, *tables, *[to_latex_text(note) for note in self.notes]])

    def to_markdown(self) -> str:
        """Return the summary in Markdown."""
        tables = [
            f"**{to_markdown_text(t.title)}**\n\n{t.to_markdown()}" if t.title else t.to_markdown() for t in self.tables
        ]
        notes = "\n".join(f"- {to_markdown_text(note)}" for note in self.notes)
        formula = _markdown_code(self.formula) if self.formula else ""
        return "\n\n".join(filter(None, [f"**{to_markdown_text(self.heading)}**", formula, *tables, notes]))

    def to_docx(self, path: str | PathLike[str]) -> None:
        """Write the summary as a document of Word.

        Parameters
        ----------
        path
            Where to; the ending ``.docx`` is usual.

        Raises
        ------
        MixedModelsError
            If python-docx (extra ``docx``) is not installed, or the file cannot be written.
        """
        write_docx(path, self.heading, self.formula, self.tables, self.notes)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return str(self)


def _markdown_code(text: str) -> str:
    """Return the text as code, between more backticks than it has in a row; spaces keep its own apart."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{one_line_text(text)}{gap}{fence}"


def _latex_title(title: str) -> str:
    return f"\\textbf{{{to_latex_text(title)}}}\\\\\n" if title else ""


def summarize(
    state: FitState,
    ddf: str | Approximation = "satterthwaite",
    level: float = 0.95,
    correlation: bool = False,
    *,
    width: int | None = None,
) -> Summary:
    """Return the summary of a fit.

    Parameters
    ----------
    state
        The fit.
    ddf, level
        Degrees of freedom of the tests and coverage of the intervals, as for ``coef_table``.
    correlation
        Show the correlations of the fixed effects.
    width
        Columns of a line; None for those of the terminal.
    """
    width = text_width(width)
    tests = approximation(state, ddf)
    coefficients = row_values(estimate_rows(state, np.eye(state.n_fixed), tests), level)
    of_rows = [] if is_rowless(state.design) else [residual_table(state)]
    tables = [facts_table(state), *of_rows, *VarCorr.from_state(state).tables(width)]
    if state.n_fixed:
        tables.append(coefficient_table(state.fixed_names, coefficients, level, isinstance(tests, FixedDegrees)))
    if correlation:
        scale = np.sqrt(np.diag(state.cov_beta))
        matrix = state.cov_beta / np.outer(scale, scale)
        tables.extend(correlation_tables("Correlations of the fixed effects", state.fixed_names, matrix, width))
    method = "REML" if state.reml else "maximum likelihood"
    heading = f"Linear mixed model fitted by {method}{_by_sampling(state)}"
    return Summary(heading, state.design.formula.text, tables, list(notes(state, tests)), width)


def _by_sampling(state: FitState) -> str:
    if not isinstance(state, SampledState) or state.monte_carlo is None:
        return ""
    return f", sampled: criterion +- {numbers.significant(state.monte_carlo.std_error, 2)}"


def one_line(state: FitState) -> str:
    """Return a fit in one line."""
    name = "REML criterion" if state.reml else "deviance"
    value = numbers.criterion(state.optimum.deviance)
    return f"<LmmResult: {state.design.formula.text}; {name} {value}, {state.design.n_obs} observations>"


def facts_table(state: FitState) -> Table:
    """Return counts on the left, likelihood and criteria on the right."""
    name = "REML criterion" if state.reml else "Deviance"
    design = state.design
    used = f"{design.n_obs} of {design.n_rows}" if design.n_dropped else f"{design.n_obs}"
    rows = (
        ("Observations", used, "Log-likelihood", numbers.criterion(criteria.log_likelihood(state))),
        ("Parameters", str(state.n_params), "AIC", numbers.criterion(criteria.aic(state))),
        (name, numbers.criterion(state.optimum.deviance), "BIC", numbers.criterion(criteria.bic(state))),
    )
    return Table("", (), rows, "lrlr")


def residual_table(state: FitState) -> Table:
    """Return the quartiles of the standardized residuals (quantiles of type 7 of Hyndman and Fan 1996)."""
    quartiles = np.quantile(residuals(state, "standardized"), [0, 0.25, 0.5, 0.75, 1])
    texts = (numbers.fixed(float(q), 3) for q in quartiles)
    header = ("", "Min", "1Q", "Median", "3Q", "Max")
    return Table("", header, (("Standardized residuals", *texts),), "lrrrrr", ruled=False)


def coefficient_table(names: Sequence[str], values: Floats, level: float, whole_df: bool) -> Table:
    """Return the fixed effects, each with the digits that its standard error allows.

    Parameters
    ----------
    names, values
        Of the fixed effects, and their row of ``coef_table``, (n_fixed, 7).
    level
        Coverage of the intervals.
    whole_df
        Degrees of freedom are whole by their kind, not by rounding.
    """
    is_normal = bool(np.isinf(values[:, 2]).all())
    symbol = "z" if is_normal else "t"
    tail = 100 * (1 - level) / 2
    bounds = (f"{tail:.3g} %", f"{100 - tail:.5g} %")
    header = ("", "Estimate", "Std. error", *([] if is_normal else ["df"]), symbol, f"P>|{symbol}|", *bounds)
    rows = []
    places = numbers.places(values[:, 1].tolist())
    for name, row, place in zip(names, values.tolist(), places, strict=True):
        estimate, error, df, statistic, p, lower, upper = row
        dfs = [] if is_normal else [numbers.fixed(df, 0 if whole_df else 1)]
        tests = numbers.statistic(statistic), numbers.p_value(p)
        shown = numbers.to_place([estimate, error, lower, upper], place)
        rows.append((name, *shown[:2], *dfs, *tests, *shown[2:]))
    return Table("Fixed effects", header, tuple(rows), "l" + "n" * (len(header) - 1))


def notes(state: FixedFit, tests: Approximation) -> Iterator[str]:
    """Yield what a reader must know: the distribution of the tests, weights, offset, findings."""
    if state.n_fixed:
        yield from tests.notes
    design = state.design
    if design.absorbed is not None:
        levels = ", ".join(f"{factor.n_levels:,} levels of {factor.name}" for factor in design.absorbed.factors)
        yield f"Absorbed fixed effects: {levels}; {design.n_absorbed:,} are estimated and counted as parameters."
    if design.weights is not None:
        yield "The residual variance is that of an observation of weight 1."
    if design.offset is not None:
        yield "An offset is part of the linear predictor."
    yield from (finding.message for finding in state.findings)
