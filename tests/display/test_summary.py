"""Summaries word for word at given theta, without an optimiser; and the same tables as HTML, LaTeX and Markdown."""

from __future__ import annotations

import html.parser
import pickle
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from display.cases import CASES
from fixed_theta import reference_state
from mixedmodels.display.summary import Summary, one_line, summarize
from mixedmodels.display.varcorr import VarCorr
from mixedmodels.inference.wald import coef_table

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[str, Summary]:
    make, options = CASES[request.param]
    return request.param, summarize(make(), **options, width=80)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_text(case: tuple[str, Summary], width: int) -> None:
    name, _ = case
    make, options = CASES[name]
    summary = summarize(make(), **options, width=width)
    assert f"{summary}\n" == (EXPECTED / str(width) / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
@pytest.mark.parametrize("name", CASES)
def test_lines_fit_and_nothing_is_broken_or_lost(name: str, width: int) -> None:
    make, options = CASES[name]
    state = make()
    summary = summarize(state, **options, width=width)
    lines = summary.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    effects = [effect for factor in state.design.factors for effect in factor.columns]
    for label in (*state.fixed_names, *effects, *(factor.name for factor in state.design.factors)):
        assert any(re.search(rf"(?<!\S){re.escape(label)}(?!\S)", line) for line in lines), label
        assert len(label) > width / 5 or label not in map(str.strip, lines)  # short ones stand beside their numbers
    for table in summary.tables:
        for cell in chain.from_iterable(table.rows):
            assert cell in summary


def test_numbers_are_those_of_the_frame(case: tuple[str, Summary]) -> None:
    name, summary = case
    make, options = CASES[name]
    frame = coef_table(make(), options.get("ddf", "satterthwaite"), options.get("level", 0.95))
    (table,) = (table for table in summary.tables if table.title == "Fixed effects")
    assert [row[0] for row in table.rows] == list(frame.index)
    columns = [column for column in frame.columns if column != "df" or len(table.header) == len(frame.columns) + 1]
    for row, (_, values) in zip(table.rows, frame[columns].iterrows(), strict=True):
        for cell, value in zip(row[1:], values, strict=True):
            mantissa, _, exponent = cell.removeprefix("<").partition("e")
            unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
            assert abs(float(cell.removeprefix("<")) - value) <= (unit if cell.startswith("<") else 0.5000001 * unit)


def test_sixteen_coefficients_and_twelve_effects_are_one_screen() -> None:
    make, options = CASES["two_crossed"]
    state = make()
    assert (state.n_fixed, [factor.n_effects for factor in state.design.factors]) == (16, [6, 6])
    lines = summarize(state, **options, width=100).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


def test_correlations_stand_beside_the_standard_deviations() -> None:
    make, _ = CASES["two_crossed"]
    state = make()
    varcorr = VarCorr.from_state(state)
    for width in (80, 100):
        (table,) = varcorr.tables(width)
        triangle = [[cell for cell in row[5:] if cell] for row in table.rows]
        assert [len(cells) for cells in triangle] == [*range(6), *range(6), 0]
        for factor, rows in zip(varcorr.factors, (triangle[:6], triangle[6:12]), strict=True):
            shown = np.array([float(cell) for row in rows for cell in row])
            np.testing.assert_allclose(shown, factor.correlation[np.tril_indices(6, -1)], atol=0.00501)
    assert len(varcorr.tables(60)) == 3


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
