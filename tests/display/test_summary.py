"""Summaries word for word at given theta, without an optimiser; and the same tables as HTML, LaTeX and Markdown."""

from __future__ import annotations

import html.parser
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from display.cases import CASES
from fixed_theta import reference_state
from mixedmodels.display.summary import Summary, one_line, summarize
from mixedmodels.display.table import TEXT_WIDTH

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[str, Summary]:
    make, options = CASES[request.param]
    return request.param, summarize(make(), **options)


def test_text(case: tuple[str, Summary]) -> None:
    name, summary = case
    assert f"{summary}\n" == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


def test_text_fits_a_terminal(case: tuple[str, Summary]) -> None:
    _, summary = case
    assert max(map(len, summary.splitlines())) <= TEXT_WIDTH
    assert not [line for line in summary.splitlines() if line != line.rstrip()]


def test_html_is_well_formed_and_complete(case: tuple[str, Summary]) -> None:
    _, summary = case
    assert summary._repr_html_() == summary.to_html()
    parser = Balance()
    parser.feed(summary.to_html())
    assert parser.open == []
    words = " ".join(parser.words)
    for table in summary.tables:
        for text in (table.title, *table.header, *(cell for row in table.rows for cell in row)):
            assert text in words
    assert all(note in words for note in summary.notes)


class Balance(html.parser.HTMLParser):
    """Collects words and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_markdown_rows_have_one_width(case: tuple[str, Summary]) -> None:
    _, summary = case
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", summary.to_markdown(), re.MULTILINE)
    assert len(blocks) == len(summary.tables)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_latex_rows_have_one_width_and_nothing_unescaped(case: tuple[str, Summary]) -> None:
    _, summary = case
    latex = summary.to_latex()
    for table in summary.tables:
        rows = [line for line in table.to_latex().splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(table.rows) + bool(table.header)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.alignment) - 1}
    assert not re.search(r"(?<!\\)[_%#]", latex)
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")


def test_summary_is_text_that_pickles() -> None:
    summary = summarize(reference_state("sleepstudy_slope")[0])
    copy = pickle.loads(pickle.dumps(summary))
    assert isinstance(copy, str)
    assert copy == summary
    assert copy.tables == summary.tables


def test_numbers_are_those_of_r() -> None:
    state, theirs = reference_state("sleepstudy_slope", "ML")
    text = str(summarize(state))
    for value in (theirs["deviance"], theirs["logLik"], theirs["AIC"], theirs["BIC"], *theirs["fixef"]["estimate"]):
        assert f"{value:.3f}" in text
    for value in (*theirs["fixef"]["t"], theirs["varcorr"][0]["corr"][0][1]):
        assert f"{value:.2f}" in text


def test_in_one_line() -> None:
    state, _ = reference_state("pastes_nested", "ML")
    assert one_line(state) == "<LmmResult: strength ~ 1 + (1 | batch/cask); deviance 247.994, 60 observations>"


def test_markdown_escapes_notes_and_formulas() -> None:
    data = {"y": np.resize([1.0, -1.0, 2.0, -2.0], 40), "g|h*": np.repeat(np.arange(10), 4)}
    with pytest.warns(mm.SingularFitWarning):
        text = mm.lmer("y ~ 1 + (1 | `g|h*`)", data).summary().to_markdown()
    assert "\n`` y ~ 1 + (1 | `g|h*`) ``\n" in text
    assert r"the variance of Intercept in g\|h\* is estimated as zero" in text
