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
from mixedmodels.display.data_tables import grouping_table, row_table, variable_tables
from mixedmodels.display.report_tables import check_table
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.degrees import tests_of
from mixedmodels.inference.wald import check_level
from mixedmodels.plot.canvas import count_of
from mixedmodels.report.parts import Parts, parts_of
from mixedmodels.report.pictures import Picture, diagnostic_pictures, fit_pictures

if TYPE_CHECKING:
    from os import PathLike

    from mixedmodels.design.design import Design
    from mixedmodels.display.table import Table
    from mixedmodels.fit.records import FixedFit, HoldsFixed
    from mixedmodels.inference.approximation import Approximation

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
    fit: HoldsFixed,
    path: str | PathLike[str],
    *,
    title: str | None = None,
    ddf: str | None = None,
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
        Degrees of freedom of the tests and coverage of the intervals, as for ``coef_table``; None: those that the fit
        takes by itself.

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


def report_page(fit: HoldsFixed, *, title: str | None = None, ddf: str | None = None, level: float = 0.95) -> str:
    """Return the page that ``write_report`` writes."""
    state = fit.state
    if title is not None and not isinstance(title, str):
        raise InferenceError(f"title is of type {type(title).__name__!r}; it must be a text, or None.")
    parts, [tests] = parts_of(state), tests_of([fit], ddf)
    check_level(level)
    heading = escape(title or f"{parts.heading} of {state.design.response_name}")
    sections = {
        "Model": _model(state, parts),
        "Data": [_table(t) for t in _data_tables(state.design)],
        "Estimates": _estimates(state, parts, tests, level),
        "Pictures of the fit": _figures(fit_pictures(fit, ddf, level)),
        "Checks": [
            _checks(parts),
            *_figures(diagnostic_pictures(fit)),
        ],
        "How it was fitted": _making(state, parts),
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


def _model(state: FixedFit, parts: Parts) -> Iterator[str]:
    design = state.design
    counts = {factor.name: factor.n_levels for factor in design.factors} | parts.n_subjects
    groups = ", ".join(f"{count_of(n, 'level')} of {name}" for name, n in counts.items())
    yield f"<p><code>{escape(design.formula.described)}</code></p>"
    of_groups = f" ({escape(groups)})" if groups else ""
    yield f"<p>Fitted by {parts.method} to {count_of(design.n_obs, 'observation')}{of_groups}.</p>"
    yield from (f'<div class="equation">{equation}</div>' for equation in parts.equations())


def _data_tables(design: Design) -> list[Table]:
    groups = [grouping_table(design.factors)] if design.factors else []
    return [row_table(design), *groups, *variable_tables(design)]


def _estimates(state: FixedFit, parts: Parts, tests: Approximation, level: float) -> Iterator[str]:
    summary = parts.summary(tests, level, PAGE_WIDTH)
    yield from (_table(table) for table in summary.tables)
    if not can_tell_terms(state.design):
        yield f"<p>Tests of the terms are left out: they need columns that {WITHOUT_COLUMNS}.</p>"
    elif (of_terms := parts.terms(tests)) is not None:
        yield _table(of_terms)
    if (shares := parts.shares()) is not None:
        yield _table(shares)
    yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in summary.notes) + "</ul>"


def _checks(parts: Parts) -> str:
    try:
        return _table(check_table(parts.checks()), "scroll sentences")
    except InferenceError as error:  # crossed factors beside residuals with a structure
        return f"<p>Checks are left out. {escape(str(error))}</p>"


def _making(state: FixedFit, parts: Parts) -> Iterator[str]:
    optimum = state.optimum
    seconds = sum(optimum.seconds.values())
    if state.design.formula.random or parts.n_subjects:  # else it is no formula of ours
        yield f"<pre><code>mixedmodels.{escape(parts.door)}</code></pre>"
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
