"""A fit as one HTML page, which needs neither a network nor another file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.fixed_terms import WITHOUT_COLUMNS, can_tell_terms
from mixedmodels.diagnose.check import check
from mixedmodels.display.data_tables import grouping_table, row_table, variable_tables
from mixedmodels.display.report_tables import anova_table, check_table, share_table
from mixedmodels.display.summary import summarize
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.anova import anova
from mixedmodels.inference.icc import icc
from mixedmodels.inference.r2 import r2
from mixedmodels.plot.canvas import count_of
from mixedmodels.report.mathematics import equations
from mixedmodels.report.pictures import Picture, diagnostic_pictures, fit_pictures

if TYPE_CHECKING:
    from os import PathLike

    from mixedmodels.display.table import Table
    from mixedmodels.fit.records import FitState, Fitted

PAGE_WIDTH = 100
"""Columns up to which correlations stand beside their standard deviations."""

NAME = re.compile(r"(<tr><td[^>]*>)([^<]*)")
"""First cell of a row of a table."""

STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.5rem; border-bottom: 1px solid #ccc; }
code { background: #f4f4f4; padding: 0.1em 0.3em; }
pre { white-space: pre-wrap; }
math { font-size: 1.1em; }
mtable { border: solid; border-width: 0 1.5px; border-radius: 0.5em; padding: 0 0.2em; }
.equation { margin: 0.6rem 0; line-height: 2; overflow-x: auto; overflow-y: hidden; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding: 0.4rem 0; }
th, td { padding: 0.15rem 0.6rem; vertical-align: top; }
th { border-bottom: 1px solid #888; white-space: nowrap; }
thead + tbody tr:nth-child(even) { background: #f7f7f7; }
figure { margin: 1rem 0 1.5rem; }
.panels { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: flex-end; }
img { max-width: 100%; height: auto; }
figcaption, footer { color: #555; font-size: 0.9rem; }
footer { margin-top: 3rem; border-top: 1px solid #ccc; }
.sentences td:nth-child(n + 3) { min-width: 11rem; }
@media (max-width: 40rem) { th, td { padding: 0.15rem 0.35rem; font-size: 0.85rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; }
  figure, .equation, tr, table:not(:has(tr:nth-child(9))) { break-inside: avoid; }
  caption, tr:nth-child(-n + 3) { break-after: avoid; }
  .scroll, .equation { overflow: visible; }
  /* a table breaks below its heading, whatever it is told; an inline block does not */
  .scroll:not(:has(tr:nth-child(25))) { display: inline-block; width: 100%; }
  img { max-height: 20cm; }
  .panels img { max-width: 47%; }
  .panels img:only-child { max-width: 80%; }
}
"""


def write_report(
    fit: Fitted,
    path: str | PathLike[str],
    *,
    title: str | None = None,
    ddf: str = "satterthwaite",
    level: float = 0.95,
) -> None:
    """Write a fit as one HTML page: the model in mathematics, data, tables, checks and plots.

    Parameters
    ----------
    fit
        The fit.
    path
        Where to; the ending ``.html`` is usual.
    title
        Heading of the page; None names the response.
    ddf, level
        Degrees of freedom of the tests and coverage of the intervals, as for ``coef_table``.

    Raises
    ------
    MixedModelsError
        If matplotlib is not installed, ``ddf`` or ``level`` is not allowed, or the file cannot be written.
    """
    refuse_absorbed(fit.state.design.absorbed, "report()")
    page = report_page(fit, title=title, ddf=ddf, level=level)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def report_page(fit: Fitted, *, title: str | None = None, ddf: str = "satterthwaite", level: float = 0.95) -> str:
    """Return the page that ``write_report`` writes."""
    state = fit.state
    if title is not None and not isinstance(title, str):
        raise InferenceError(f"title is of type {type(title).__name__!r}; it must be a text, or None.")
    heading = escape(title or f"Linear mixed model of {state.design.response_name}")
    sections = {
        "Model": _model(state),
        "Data": [_table(t) for t in _data_tables(state)],
        "Estimates": _estimates(state, ddf, level),
        "Pictures of the fit": _figures(fit_pictures(fit, ddf, level)),
        "Checks": [_table(check_table(check(state)), "scroll sentences"), *_figures(diagnostic_pictures(fit))],
        "How it was fitted": _making(state),
    }
    body = "\n".join(f"<section>\n<h2>{name}</h2>\n{_joined(parts)}\n</section>" for name, parts in sections.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<h1>{heading}</h1>
{body}
<footer><p>Made by mixedmodels {escape(version("mixedmodels"))}.</p></footer>
</body>
</html>
"""


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _model(state: FitState) -> Iterator[str]:
    design = state.design
    groups = ", ".join(f"{count_of(factor.n_levels, 'level')} of {factor.name}" for factor in design.factors)
    method = "restricted maximum likelihood (REML)" if state.reml else "maximum likelihood (ML)"
    yield f"<p><code>{escape(design.formula.text)}</code></p>"
    yield f"<p>Fitted by {method} to {count_of(design.n_obs, 'observation')} ({escape(groups)}).</p>"
    yield from (f'<div class="equation">{equation}</div>' for equation in equations(state))


def _data_tables(state: FitState) -> list[Table]:
    design = state.design
    return [row_table(design), grouping_table(design.factors), *variable_tables(design)]


def _estimates(state: FitState, ddf: str, level: float) -> Iterator[str]:
    summary = summarize(state, ddf, level, width=PAGE_WIDTH)
    yield from (_table(table) for table in summary.tables)
    if not can_tell_terms(state.design):
        yield f"<p>Tests of the terms are left out: they need columns that {WITHOUT_COLUMNS}.</p>"
    elif len(tests := anova(state, 3, ddf)):
        yield _table(anova_table(tests))
    yield _table(share_table(r2(state), icc(state)))
    yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in summary.notes) + "</ul>"


def _making(state: FitState) -> Iterator[str]:
    optimum = state.optimum
    reml = "" if state.reml else ", reml=False"
    seconds = sum(optimum.seconds.values())
    if state.design.formula.random:  # else it is no formula of lmer's
        yield f"<pre><code>mixedmodels.lmer({escape(repr(state.design.formula.text))}, data{reml})</code></pre>"
    yield (
        f"<p>The optimiser stopped after {optimum.n_iterations} iterations: {escape(optimum.status)}. "
        f"The fit took {seconds:.3g} s.</p>"
    )


def _table(table: Table, kind: str = "scroll") -> str:
    """Return a table whose names, in its first column, may be broken after their colons."""
    broken = NAME.sub(lambda cell: cell[1] + re.sub(r":(?=\S)", ":<wbr>", cell[2]), table.to_html())
    return f'<div class="{kind}">{broken}</div>'


def _figures(pictures: Iterable[Picture]) -> Iterator[str]:
    for picture in pictures:
        caption = escape(picture.caption)
        images = "".join(f'<img src="{source}" alt="{caption}">' for source in picture.sources)
        yield f'<figure><div class="panels">{images}</div><figcaption>{caption}</figcaption></figure>'
