"""The report: what it says, that it needs nothing else, and how a browser sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from display.test_summary import Balance
from mixedmodels import cli
from mixedmodels.diagnose.check import check
from mixedmodels.display.report_tables import check_table
from mixedmodels.report.mathematics import equations
from mixedmodels.report.page import report_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell")
SLEEP = mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy"))
COUNT_IMAGES = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  document.body.dataset.images = images.length;
  document.body.dataset.drawn = images.filter(image => image.naturalWidth > 0).length;
  document.body.dataset.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
});
</script>"""


@pytest.fixture(scope="module")
def page() -> str:
    return report_page(SLEEP)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")
def test_a_term_without_a_test_has_a_row() -> None:
    data = load("sleepstudy")
    fit = mm.lmer("Reaction ~ Days + x + (1 | Subject)", data.assign(x=2 * data["Days"]))
    assert ">x<" in report_page(fit)


def test_page_is_well_formed(page: str) -> None:
    class Page(Balance):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "link", "img"):
                super().handle_starttag(tag, attrs)

    parser = Page()
    parser.feed(page)
    assert parser.open == []


def test_page_needs_nothing_else(page: str) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_page_says_what_was_found(page: str) -> None:
    for text in ("Reaction ~ Days + (Days | Subject)", "180 observations", "18 levels of Subject", "251.405", "10.467"):
        assert text in page
    for heading in ("Model", "Data", "Estimates", "Pictures of the fit", "Checks", "How it was fitted"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<img") == 11
    assert all(alt for alt in re.findall(r'alt="([^"]*)"', page))


def test_names_of_the_data_are_escaped() -> None:
    data = load("sleepstudy").rename(columns={"Days": "<Days> & more", "Subject": 'Sub"ject'})
    fit = mm.lmer('Reaction ~ `<Days> & more` + (1 | `Sub"ject`)', data)
    page = report_page(fit, title="<b>Title</b>")
    assert "<Days>" not in page
    assert "<b>Title" not in page
    assert "&lt;Days&gt; &amp; more" in page


@pytest.mark.parametrize(
    ("formula", "data", "options"),
    [
        ("score ~ Machine + (0 + Machine | Worker)", "Machines", {}),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", {"reml": False}),
        ("angle ~ recipe * temperature + (1 | replicate:recipe)", "cake", {}),
        ("incidence ~ offset(size / 10) + (1 | herd)", "cbpp", {"weights": "size"}),
    ],
)
def test_other_models_have_reports_and_mathematics(formula: str, data: str, options: dict[str, object]) -> None:
    fit = mm.lmer(formula, load(data), **options)
    page = report_page(fit, ddf="normal", level=0.9)
    assert "<h2>Checks</h2>" in page
    for equation in equations(fit.state):
        ET.fromstring(f"<div>{equation}</div>")


def test_mathematics_of_the_model() -> None:
    words = ["".join(ET.fromstring(f"<div>{equation}</div>").itertext()) for equation in equations(SLEEP.state)]
    invisible = "\N{INVISIBLE TIMES}"
    assert words[0].replace(invisible, "").replace(" ", "") == (
        "Reactioni=β0+β1Daysi+bIntercept,Subject[i]+bDays,Subject[i]Daysi+ei"
    )
    assert "612.090" in words[1]  # lme4 prints 612.10
    assert words[2].endswith("σ=25.59")


def test_effects_that_cannot_be_computed_for_new_rows_are_left_out() -> None:
    page = report_page(mm.lmer("Reaction ~ I(Days - np.mean(Days)) + (1 | Subject)", load("sleepstudy")))
    assert "Estimated means" not in page
    assert "Conditional modes" in page


def test_singular_fits_and_dropped_rows_are_told() -> None:
    data = load("Dyestuff2")
    data.loc[3, "Yield"] = None
    with pytest.warns(mm.MixedModelsWarning):
        fit = mm.lmer("Yield ~ 1 + (1 | Batch)", data)
    page = report_page(fit)
    assert "Singular fit" in page
    assert "Left out: missing Yield" in page


def test_report_is_written_and_bad_paths_are_refused(tmp_path: Path) -> None:
    SLEEP.report(tmp_path / "sleep.html", title="Sleep")
    assert "<title>Sleep</title>" in (tmp_path / "sleep.html").read_text(encoding="utf-8")
    with pytest.raises(mm.DataError, match="cannot be written: No such file"):
        SLEEP.report(tmp_path / "nowhere" / "sleep.html")


def test_command_line_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    assert cli.main(["fit", "Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "--report", str(path)]) == 0
    assert "Linear mixed model fitted by REML" in capsys.readouterr().out
    assert "Linear mixed model of diameter" in path.read_text(encoding="utf-8")


def test_command_line_says_before_the_fit_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(cli, "lmer", None)
    path = tmp_path / "report.html"
    assert cli.main(["fit", "Dyestuff", "Yield ~ 1 + (1 | Batch)", "--report", str(path)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"Install it with: {sys.executable} -m pip install matplotlib")
    assert not path.exists()


def seen_by_browser(page: str, width: int, folder: Path) -> tuple[dict[str, str], str]:
    """Return how many images a page has and shows and how far it is wider than its window, and its contents."""
    path = folder / "report.html"
    path.write_text(page.replace("</body>", COUNT_IMAGES + "</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},900"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000"]
    command = [str(CHROMIUM), *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return dict(re.findall(r'data-(images|drawn|overflow)="(\d+)"', done.stdout)), done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
@pytest.mark.parametrize("width", [500, 1200])
def test_browser_shows_everything_without_complaint(page: str, width: int, tmp_path: Path) -> None:
    seen, contents = seen_by_browser(page, width, tmp_path)
    assert seen == {"images": "11", "drawn": "11", "overflow": "0"}
    assert "<math" in contents
    assert "251.405" in contents


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_long_names_stay_on_the_page(tmp_path: Path) -> None:
    dose = "dose of the drug that was given in the first week, or placebo"
    data = load("sleepstudy").rename(columns={"Days": dose, "Subject": "participant of the sleep laboratory"})
    fit = mm.lmer(f"Reaction ~ `{dose}` + (`{dose}` | `participant of the sleep laboratory`)", data)
    seen, _ = seen_by_browser(report_page(fit), 500, tmp_path)
    assert seen["overflow"] == "0"


def test_counts_of_levels_stand_apart_from_their_names() -> None:
    data = load("sleepstudy").assign(arm=lambda d: np.where(d["Days"] < 3, "drug, 5 mg", "none"))
    page = report_page(mm.lmer("Reaction ~ arm + (1 | Subject)", data))
    assert "drug, 5 mg (54), none (126)" in page


def test_advice_is_a_column_only_where_there_is_any(page: str) -> None:
    assert "Advice" in page
    quiet = check_table(check(SLEEP.state).assign(advice=""))
    assert quiet.header == ("", "Verdict", "Found")
    assert all(len(row) == 3 for row in quiet.rows)


def test_numbers_of_rows_and_levels_have_thousands_apart() -> None:
    codes = np.repeat(np.arange(1_500), 2)
    y = np.random.default_rng(0).normal(size=1_500)[codes] + np.random.default_rng(1).normal(size=3_000)
    page = report_page(mm.lmer("y ~ 1 + (1 | g)", {"y": y, "g": codes}))
    assert "to 3,000 observations (1,500 levels of g)" in page


def test_panels_that_are_left_out_are_counted_and_can_be_had() -> None:
    rng = np.random.default_rng(5)
    data = {f"x{i}": rng.normal(size=400) for i in range(8)} | {"g": np.repeat(np.arange(40), 10)}
    data["y"] = rng.normal(size=40)[data["g"]] + rng.normal(size=400)
    fit = mm.lmer(f"y ~ {' + '.join(f'x{i}' for i in range(8))} + (1 | g)", data)
    page = report_page(fit)
    assert "2 more panels are drawn by mm.plot.effects(fit)." in page
    assert "mm.plot.caterpillar" not in page
    assert len(mm.plot.effects(fit)) == 8


def test_many_coefficients_have_a_forest_plot_and_a_short_equation() -> None:
    fit = mm.lmer("value ~ treatment * phase * hour + (1 | id)", mm.load_dataset("obk_long"))
    [predictor, *_] = equations(fit.state)
    words = "".join(ET.fromstring(f"<div>{predictor}</div>").itertext()).replace(" ", "")
    assert words == "valuei=xi′β+bid[i]+ei"
    assert "Fixed effects with 95 % intervals." in report_page(fit)


def test_crossed_factors_have_a_picture_of_the_design() -> None:
    fit = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", load("Penicillin"))
    assert "Rows of the data by pairs of levels." in report_page(fit)


def test_long_names_may_be_broken_between_variables() -> None:
    page = report_page(mm.lmer("value ~ treatment * phase + (1 | id)", mm.load_dataset("obk_long")))
    assert "treatment[T.A]:<wbr>phase[T.post]</td>" in page


@pytest.mark.skipif(None in (CHROMIUM, shutil.which("pdftotext")), reason="no browser is installed")
def test_a_table_stays_whole_on_paper(tmp_path: Path) -> None:
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    mm.lmer("value ~ treatment * phase + (1 | id)", mm.load_dataset("obk_long")).report(page)
    asked = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    made = [*map(str, asked), f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    read = subprocess.run(["pdftotext", "-layout", paper, "-"], check=True, capture_output=True, text=True)
    (sheet,) = [sheet for sheet in read.stdout.split("\f") if "Fixed effects\n" in sheet]
    table = sheet[sheet.index("Fixed effects\n") :]
    assert "Intercept" in table
    assert "treatment[T.B]:phase[T.pre]" in table.replace("\n", "")
