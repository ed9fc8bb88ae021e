"""The page of generalised models and of those with correlated residuals: what it says, and how a browser sees it."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from display.test_summary import Balance
from mixedmodels import cli
from mixedmodels.report.page import report_page
from unit.report.test_report import CHROMIUM, seen_by_browser

mpl.use("Agg")

TEETH = mm.load_dataset("Orthodont")
TEETH["visit"] = TEETH["age"].astype(int).astype("category")


def own_times() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"id": np.repeat(np.arange(40), 5), "when": rng.uniform(1, 30, 200).round(2)})
    return frame.sort_values(["id", "when"]).assign(y=rng.normal(size=200).cumsum() / 5)


PAGES = {
    "binomial": mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", load("cbpp"), "binomial"),
    "counts": mm.glmer("y ~ trt * lbase + (1 | subject)", load("epil"), "negative_binomial"),
    "ordinal": mm.glmer("rating ~ temp + contact + (1 | judge)", load("wine"), "ordinal", n_agq=5),
    "trial": mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", TEETH, ddf="kenward-roger"),
    "groups": mm.mmrm("distance ~ visit + Sex + ar1(visit | Sex / Subject)", TEETH),
    "beside": mm.lmer("distance ~ age * Sex + (1 | Subject)", TEETH, residual="ar1(visit | Subject)"),
    "times": mm.lmer("y ~ when", own_times(), residual="car1(when | id)"),
    "variances": mm.lmer("distance ~ age + (1 | Subject)", TEETH, variance="ident(Sex)", reml=False),
    "known": mm.lmer("distance ~ age + (1 | Subject)", TEETH, sigma=1.4),
}


class Page(Balance):
    """Whether all that is opened is closed."""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link", "img", "wbr"):
            super().handle_starttag(tag, attrs)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: report_page(fit) for name, fit in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_well_formed_and_say_how_they_were_made(name: str, pages: dict[str, str]) -> None:
    parser = Page()
    parser.feed(pages[name])
    assert parser.open == []
    call = {
        "binomial": "data, family=&#x27;binomial&#x27;)",
        "counts": "data, family=&#x27;negative_binomial&#x27;)",
        "ordinal": "data, family=&#x27;ordinal&#x27;, n_agq=5)",
        "trial": "mixedmodels.mmrm(&#x27;distance ~ visit * Sex + us(visit | Subject)&#x27;, data)",
        "groups": "ar1(visit | Sex / Subject)&#x27;, data)",
        "beside": "data, residual=&#x27;ar1(visit | Subject)&#x27;)",
        "times": "data, residual=&#x27;car1(when | id)&#x27;)",
        "variances": "data, variance=&#x27;ident(Sex)&#x27;, reml=False)",
        "known": "data, sigma=1.4)",
    }
    assert call[name] in pages[name]


def test_calls_on_pages_make_the_same_fit(pages: dict[str, str]) -> None:
    for name, fit in PAGES.items():
        text = pages[name].partition("<pre><code>mixedmodels.")[2].partition("</code>")[0].replace("&#x27;", "'")
        data = fit.call.data if fit.call is not None else None
        again = eval(f"mm.{text}", {"mm": mm, "data": data})
        assert again.deviance == pytest.approx(fit.deviance, abs=1e-6), text


def test_a_generalised_models_page(pages: dict[str, str]) -> None:
    page = pages["binomial"]
    assert "<h1>Generalised linear mixed model of cbind(incidence, size - incidence)</h1>" in page
    assert "maximum likelihood by Laplace&#x27;s approximation" in page or "by Laplace's approximation" in page
    assert "<mtext>logit</mtext>" in page
    assert "Chisq" in page
    assert "Ratios of odds" in page
    assert "Average residuals of rows" in page
    assert "separation" in page
    fit = PAGES["counts"]
    assert "<mi>d</mi><mo>=</mo>" in pages["counts"]
    assert f"{fit.dispersion:.4g}" in pages["counts"]
    assert "Ratios of means" in pages["counts"]


def test_ordered_categories_are_counted_and_have_thresholds(pages: dict[str, str]) -> None:
    page = pages["ordinal"]
    counts = load("wine")["rating"].value_counts().sort_index()
    assert ", ".join(f"{level} ({n})" for level, n in counts.items()) in page
    assert "<mi>θ</mi>" in page
    assert "Thresholds" in page
    assert "adaptive quadrature with 5 nodes" in page


def test_the_page_of_a_trial(pages: dict[str, str]) -> None:
    page = pages["trial"]
    assert "27 levels of Subject" in page
    assert "Kenward and Roger" in page
    assert "Estimated means at visits" in page
    assert "Correlations of the residuals of a subject by visits." in page
    assert "Autocorrelations" in page
    assert "<mtable>" in page
    assert "Sex Female: " in pages["groups"]
    assert "Semivariances" in pages["times"]
    assert "Autocorrelations" not in pages["times"]
    assert "ident(Sex)" in pages["variances"]


def test_named_degrees_of_freedom_are_taken_or_refused() -> None:
    assert "residual degrees of freedom" in report_page(PAGES["trial"], ddf="residual")
    with pytest.raises(mm.InferenceError, match="tests of generalised models are normal"):
        report_page(PAGES["binomial"], ddf="residual")
    with pytest.raises(mm.InferenceError, match="level is 95"):
        report_page(PAGES["binomial"], level=95)


def test_reports_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sick = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    assert cli.main(["fit", "cbpp", sick, "--family", "binomial", "--report", str(tmp_path / "a.html")]) == 0
    trial = "distance ~ age * Sex + ar1(age | Subject)"
    assert cli.main(["mmrm", "Orthodont", trial, "--report", str(tmp_path / "b.html")]) == 0
    beside = ["--residual", "ar1(age | Subject)", "--report", str(tmp_path / "c.html")]
    assert cli.main(["fit", "Orthodont", "distance ~ age * Sex", *beside]) == 0
    assert all("</html>" in (tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in "abc")
    assert cli.main(["mmrm", "Orthodont", trial, "--report", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
@pytest.mark.parametrize("width", [500, 1200])
@pytest.mark.parametrize("name", ["binomial", "ordinal", "trial", "groups", "times"])
def test_browser_shows_everything(name: str, width: int, pages: dict[str, str], tmp_path: Path) -> None:
    seen, _ = seen_by_browser(pages[name], width, tmp_path)
    assert seen["images"] == seen["drawn"]
    assert int(seen["images"]) > 4
    assert seen["overflow"] == "0"


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_a_fit_whose_estimates_have_no_bound_is_shown_with_what_is_known_of_it() -> None:
    data = mm.load_dataset("fhch2010").iloc[::6]  # nobody erred in naming
    with pytest.warns(mm.IdentificationWarning, match="without error"):
        fit = mm.glmer("correct ~ task * stimulus + (1 | id)", data, "binomial")
    tests = fit.anova()
    assert list(tests["df"]) == [1, 1, 1]
    assert tests["p_value"].isna().all()
    text = mm.table(fit, exponentiate=True)
    assert "Estimates without bound: model 1." in text
    assert max(map(len, text.splitlines())) < 80
    page = report_page(fit)
    assert "estimates grow without bound" in page
