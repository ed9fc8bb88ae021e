"""Models side by side, against the reference fits' own numbers."""

from __future__ import annotations

import pytest

import mixedmodels as mm
from data_loader import load
from display.test_summary import Balance

SLEEP = load("sleepstudy")
INTERCEPTS = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
SLOPES = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
PASTES = mm.lmer("strength ~ 1 + (1 | batch / cask)", load("Pastes"), reml=False)


def cells(summary: str, label: str) -> list[str]:
    """Return the texts in the row of that label."""
    lines = (line.strip() for line in summary.splitlines())
    return next(line.removeprefix(label).split() for line in lines if line.startswith(f"{label}  "))


def test_text_of_two_nested_models() -> None:
    # lme4 prints 251.405 (9.7467) and 251.405 (6.8246) for the intercept, sd 37.12, and 24.741, 5.922 with 0.07
    text = mm.table(INTERCEPTS, SLOPES)
    assert text.splitlines()[0] == "Linear mixed models of Reaction"
    assert cells(text, "Intercept") == ["251.405", "251.405"]
    assert "(9.747)   (6.825)" in text
    assert cells(text, "Intercept with Days by Subject") == ["0.07"]
    assert cells(text, "Observations") == ["180", "180"]
    assert "(1): Reaction ~ Days + (1 | Subject)" in text
    assert "cannot be compared" not in text


def test_missing_terms_are_blank() -> None:
    text = mm.table(SLOPES, PASTES, names=["sleep", "paste"], below="nothing")
    assert text.splitlines()[0] == "Linear mixed models"
    assert cells(text, "Days") == ["10.467"]
    assert cells(text, "Levels of batch") == ["10"]
    assert "different numbers of rows" in text


@pytest.mark.parametrize(("below", "shown"), [("interval", "[7.206, 13.729]"), ("p_value", "(<0.001)")])
def test_what_stands_below(below: str, shown: str) -> None:
    text = mm.table(SLOPES, below=below)
    assert shown in text
    assert "Satterthwaite" in text


def test_criteria_that_cannot_be_compared_are_named() -> None:
    other = mm.lmer("Reaction ~ 1 + (1 | Subject)", SLEEP)
    assert "different fixed effects cannot be compared" in mm.table(INTERCEPTS, other)
    assert "REML and ML fits cannot be compared" in mm.table(INTERCEPTS, INTERCEPTS.update(reml=False))


def test_other_rows_and_other_responses_are_named() -> None:
    one, other = (SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != row)) for row in (3, 7))
    with pytest.warns(mm.MixedModelsWarning, match="Left out 1 of 180 rows"):
        fits = [mm.lmer("Reaction ~ Days + (1 | Subject)", data) for data in (one, other)]
    assert "different rows or responses; their criteria cannot be compared" in mm.table(*fits)
    logged = mm.lmer("log(Reaction) ~ Days + (1 | Subject)", SLEEP)
    assert "different responses; their criteria cannot be compared" in mm.table(INTERCEPTS, logged)
    assert "cannot be compared" not in mm.table(INTERCEPTS, SLOPES)


def test_html_latex_and_markdown_hold_the_same_numbers() -> None:
    summary = mm.table(INTERCEPTS, SLOPES)
    parser = Balance()
    parser.feed(summary.to_html())
    assert parser.open == []
    for text in (summary.to_html(), summary.to_latex(), summary.to_markdown()):
        assert "37.124" in text
        assert "(6.825)" in text
    assert "<code>" not in summary.to_html()
    assert r"\texttt{}" not in summary.to_latex()


@pytest.mark.parametrize(
    ("fits", "arguments", "message"),
    [
        ([], {}, "one fit at least"),
        (["x"], {}, "argument 1 is of type 'str'"),
        ([SLOPES], {"names": ["a", "b"]}, "2 names for 1 fits"),
        ([SLOPES], {"below": "std_eror"}, r"below is 'std_eror'.*mean 'std_error'"),
        ([SLOPES], {"level": 95}, "between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(fits: list[object], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.table(*fits, **arguments)


def test_maketables_reads_a_fit() -> None:
    extractor = pytest.importorskip("maketables.extractors").get_extractor(SLOPES)
    table = extractor.coef_table(SLOPES)
    assert table.loc["Days", "b"] == SLOPES.fe_params["Days"]
    assert table.loc["Days", "se"] == pytest.approx(SLOPES.bse_fe["Days"], rel=1e-14)
    assert extractor.depvar(SLOPES) == "Reaction"
    assert extractor.stat(SLOPES, "SD Days by Subject") == "5.922"
    assert set(extractor.default_stat_keys(SLOPES)) == set(extractor.stat_labels(SLOPES))
