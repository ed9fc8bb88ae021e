"""Models side by side, against the reference fits' own numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from display.cases import two_crossed
from display.test_summary import Balance
from fixed_theta import reference_state
from mixedmodels.fit.records import FitState

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
    assert ["(9.747)", "(6.825)"] in [line.split() for line in text.splitlines()]
    assert cells(text, "Intercept with Days by Subject") == ["0.07"]
    assert cells(text, "Observations") == ["180", "180"]
    assert "(1): Reaction ~ Days + (1 | Subject)" in text
    assert "cannot be compared" not in text


@dataclass(frozen=True)
class Given:
    """A fit at a given theta."""

    state: FitState
    ddf: str = "satterthwaite"

    def check_estimated(self, what: str) -> None:
        """Do nothing."""


def printed_at(width: int) -> str:
    names = ("sleepstudy_uncorr", "sleepstudy_slope", "cake_factor", "pastes_nested")
    uncorrelated, slopes, cake, pastes = (Given(reference_state(name)[0]) for name in names)
    tables = [
        mm.table(uncorrelated, slopes, width=width),
        mm.table(uncorrelated, slopes, cake, pastes, Given(two_crossed()), ddf="normal", below="interval", width=width),
        mm.table(
            cake, pastes, names=["cake", "pastes"], below="p_value", stars=True, digits=2, random="sd", width=width
        ),
    ]
    return "\n\n".join(tables)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_text(width: int) -> None:
    expected = Path(__file__).parent / "expected" / str(width) / "tables.txt"
    assert f"{printed_at(width)}\n" == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_lines_fit(width: int) -> None:
    assert max(map(len, printed_at(width).splitlines())) <= width


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


def test_rows_are_chosen_and_renamed() -> None:
    text = mm.table(
        INTERCEPTS,
        SLOPES,
        terms=["Days"],
        labels={"Days": "Day", "Subject": "person", "Fit": "Quality", "AIC": "Akaike"},
        random="sd",
        facts=["AIC", "Levels"],
        below="nothing",
    )
    labels = [re.split(r"  +", line.strip())[0] for line in text.splitlines()[4:12]]
    assert labels == [
        "Day",
        "Standard deviations",
        "Intercept by person",
        "Day by person",
        "Residual",
        "Quality",
        "Akaike",
        "Levels of person",
    ]
    assert "cannot be compared" not in mm.table(INTERCEPTS, PASTES, random="none", facts=[])
    assert "Residual" not in mm.table(SLOPES, random="none")
    whole = mm.table(SLOPES, labels={"Intercept with Days by Subject": "correlation"})
    assert cells(whole, "correlation") == ["0.07"]
    assert cells(whole, "Days by Subject") == ["5.922"]


def test_digits_and_stars() -> None:
    text = mm.table(SLOPES, digits=1, stars=True)
    assert cells(text, "Days") == ["10.5***"]
    assert cells(text, "Residual") == ["25.6"]
    assert "* p < 0.05, ** p < 0.01, *** p < 0.001." in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["Days"].index(".") == lines["(1.5)"].index(".") == lines["Residual"].index(".")
    p = mm.lmer("angle ~ recipe * temp + (1 | replicate)", load("cake")).coef_table()["p_value"]
    starred = mm.table(mm.lmer("angle ~ recipe * temp + (1 | replicate)", load("cake")), stars=True)
    for term, value in p.items():
        assert cells(starred, str(term))[0].count("*") == sum(value < limit for limit in (0.05, 0.01, 0.001))


def test_wide_tables_go_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    many = mm.table(*[INTERCEPTS, SLOPES] * 5, below="interval", width=80)
    assert max(map(len, many.splitlines())) <= 80
    assert re.findall(r"\(\d+\)(?!:)", many) == [f"({i})" for i in range(1, 11)]
    monkeypatch.setenv("COLUMNS", "200")
    assert max(map(len, mm.table(*[INTERCEPTS, SLOPES] * 5).splitlines())) > 100


def test_a_document_of_word_holds_all_texts(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    summary = mm.table(INTERCEPTS, SLOPES, stars=True)
    summary.to_docx(tmp_path / "models.docx")
    document = docx.Document(str(tmp_path / "models.docx"))
    (read,) = document.tables
    (made,) = summary.tables
    texts = [tuple(cell.text for cell in row.cells) for row in read.rows]
    plain = [
        tuple(text.replace("\u2212", "-").replace("\u2007", "").replace("\u200b", "") for text in row) for row in texts
    ]
    assert plain == [tuple(text.strip() for text in row) for row in (made.header, *made.rows)]
    words = [paragraph.text for paragraph in document.paragraphs]
    assert words[0] == summary.heading
    assert set(summary.notes) <= set(words)
    SLOPES.summary().to_docx(tmp_path / "summary.docx")
    assert len(docx.Document(str(tmp_path / "summary.docx")).tables) == len(SLOPES.summary().tables)
    with pytest.raises(mm.DataError, match="cannot be written"):
        summary.to_docx(tmp_path / "nowhere" / "models.docx")


@pytest.mark.skipif(None in (shutil.which("soffice"), shutil.which("pdftotext")), reason="no office is installed")
def test_numbers_and_names_stay_whole_in_word(tmp_path: Path) -> None:
    """As an office sets them: 16 coefficients of long names, their intervals, and four models on a page."""
    pytest.importorskip("docx")
    data = mm.load_dataset("fhch2010").iloc[::40]
    fit = mm.lmer("log_rt ~ task * stimulus * density * frequency + (1 | id)", data)
    made = {"summary": fit.summary(), "models": mm.table(*[fit] * 4, below="interval", stars=True)}
    for name, summary in made.items():
        summary.to_docx(tmp_path / f"{name}.docx")
        settings = f"-env:UserInstallation={(tmp_path / 'settings').as_uri()}"
        office = ["soffice", settings, "--headless", "--convert-to", "pdf", "--outdir", tmp_path, f"{name}.docx"]
        subprocess.run(office, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        asked = ["pdftotext", "-layout", tmp_path / f"{name}.pdf", "-"]
        page = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.replace("\u2212", "-")
        words = set(page.replace("\u200b", "").split())
        cells = {text.strip() for table in summary.tables for row in table.rows for text in row[1:]}
        assert {part for text in cells for part in text.split()} <= words
        assert {"task[T.lexdec]", "stimulus[T.nonword]", "density[T.high]", "frequency[T.high]"} <= words


def test_word_is_asked_for_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(mm.MixedModelsError, match=r"python.* -m pip install python-docx"):
        SLOPES.summary().to_docx("models.docx")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="TeX is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    odd = {"y": np.resize([1.0, 3.0, 2.0], 40), "a_b%": np.arange(40.0), "g&h": np.repeat(np.arange(10), 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        fit = mm.lmer("y ~ `a_b%` + I(`a_b%` ** 2 > 50) + (1 | `g&h`)", odd)
    parts = [
        mm.table(INTERCEPTS, SLOPES, fit, stars=True, below="interval", labels={"Days": "[*] Days"}).to_latex(),
        fit.summary(correlation=True).to_latex(),
        SLOPES.summary().to_latex(),
    ]
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "page.tex").write_text(head + "\n\n".join(parts) + "\n\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "booktabs.sty' not found" in done.stdout:
        pytest.skip("booktabs is not installed")
    assert done.returncode == 0, done.stdout[-2000:]


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
        ([SLOPES, SLOPES], {"names": ["a", "a"]}, "names has 'a' twice"),
        ([SLOPES], {"names": [1]}, "it must be a list of texts"),
        ([SLOPES], {"terms": ["day"]}, "terms asks for 'day', which is no fixed effect; there are Intercept, Days"),
        ([SLOPES], {"facts": "aic"}, "facts asks for 'aic', which is no fact.*mean 'AIC'"),
        ([SLOPES], {"random": "sds"}, "random is 'sds'.*mean 'sd'"),
        ([SLOPES], {"labels": {"day": "Day"}}, "labels renames 'day', which is in no row.*mean 'Days'"),
        ([SLOPES], {"labels": ["Day"]}, "it must map names of rows to texts"),
        ([SLOPES], {"digits": -1}, "digits is -1; it must be a number of decimals from 0 to 12"),
        ([SLOPES], {"stars": 3}, "stars is 3; it must be True or False"),
        ([SLOPES], {"width": 20}, "width is 20"),
    ],
)
def test_bad_arguments_are_refused(fits: list[object], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.table(*fits, **arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    assert str(mm.table(SLOPES, digits=np.int64(2))) == str(mm.table(SLOPES, digits=2))
    assert str(mm.table(SLOPES, stars=np.True_)) == str(mm.table(SLOPES, stars=True))
    assert mm.compare(INTERCEPTS, SLOPES, refit=np.False_).equals(mm.compare(INTERCEPTS, SLOPES, refit=False))
    assert SLOPES.step(alpha_fixed=np.float32(0.5)).fixed.equals(SLOPES.step(alpha_fixed=0.5).fixed)


def test_the_random_part_is_shown_or_not() -> None:
    assert str(mm.table(SLOPES, random=False)) == str(mm.table(SLOPES, random="none")) != str(mm.table(SLOPES))
    assert str(mm.table(SLOPES, random=True)) == str(mm.table(SLOPES))


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(mm.UnknownArgumentError, match=r"table\(\) has no argument 'star'.*mean 'stars'"):
        mm.table(SLOPES, star=True)


def test_maketables_reads_a_fit() -> None:
    extractor = pytest.importorskip("maketables.extractors").get_extractor(SLOPES)
    table = extractor.coef_table(SLOPES)
    assert table.loc["Days", "b"] == SLOPES.fe_params["Days"]
    assert table.loc["Days", "se"] == pytest.approx(SLOPES.bse_fe["Days"], rel=1e-14)
    assert extractor.depvar(SLOPES) == "Reaction"
    assert extractor.stat(SLOPES, "SD Days by Subject") == "5.922"
    assert set(extractor.default_stat_keys(SLOPES)) == set(extractor.stat_labels(SLOPES))


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_maketables_reads_generalised_fits() -> None:
    extractors = pytest.importorskip("maketables.extractors")
    cbpp = mm.load_dataset("cbpp")
    sick = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, "betabinomial")
    extractor = extractors.get_extractor(sick)
    table = extractor.coef_table(sick)
    assert table.loc["period[T.2]", "b"] == sick.fe_params["period[T.2]"]
    assert table.loc["period[T.2]", "p"] == sick.coef_table().loc["period[T.2]", "p_value"]
    assert extractor.depvar(sick) == "cbind(incidence, size - incidence)"
    assert extractor.stat(sick, "N") == "56"
    assert float(extractor.stat(sick, "dispersion")) == pytest.approx(sick.dispersion, rel=1e-3)
    assert "SD Residual" not in extractor.stat_labels(sick)
    zeros = mm.glmer("incidence ~ period + (1 | herd)", cbpp, "hurdle_poisson", zero_inflation="~ size")
    table = extractor.coef_table(zeros)
    assert table.loc["zero_inflation: size", "b"] == zeros.zero_table().loc["size", "estimate"]
