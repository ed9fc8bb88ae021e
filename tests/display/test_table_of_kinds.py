"""Fits of every kind in one table, against the numbers of lme4, ordinal and nlme."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

REFERENCE = Path(__file__).parents[1] / "reference"
BINARY = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", load("cbpp"), "binomial")
RATINGS = mm.glmer("rating ~ temp + contact + (1 | judge)", load("wine"), "ordinal")
COUNTS = mm.glmer("y ~ trt + lbase + (1 | subject)", load("epil"), "negative_binomial")
TEETH = mm.load_dataset("Orthodont")
TEETH["visit"] = TEETH["age"].astype(int).astype("category")
PLAIN = mm.lmer("distance ~ age * Sex + (1 | Subject)", TEETH)
LATER = mm.lmer("distance ~ age * Sex + (1 | Subject)", TEETH, residual="ar1(visit | Subject)")
VISITS = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", TEETH, ddf="kenward-roger")


@cache
def reference(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def cells(summary: str, label: str) -> list[str]:
    """Return the texts in the row of that label."""
    lines = (line.strip() for line in summary.splitlines())
    return next(line.removeprefix(label).split() for line in lines if line.startswith(f"{label}  "))


def below(summary: str, label: str) -> list[str]:
    """Return the texts in the row below that label."""
    lines = summary.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.strip().startswith(f"{label}  ")) + 1].split()


def near(text: str, value: float) -> bool:
    """Return whether a text is the number to all its decimals, the last give or take one."""
    shown = re.sub(r"[^0-9.\-]", "", text)
    return abs(float(shown) - value) < 1.01 * 10.0 ** -len(shown.partition(".")[2])


def test_a_binomial_model_is_that_of_lme4() -> None:
    theirs = reference("glmm/cbpp_binomial.json")["fits"]["nAGQ1"]
    text = mm.table(BINARY)
    assert text.splitlines()[0].startswith("Generalised linear mixed models of ")
    for label, estimate, error in zip(
        ("Intercept", "period[T.2]", "period[T.3]", "period[T.4]"),
        theirs["fixef"]["estimate"],
        theirs["fixef"]["se_hessian"],
        strict=True,
    ):
        assert near(cells(text, label)[0], estimate)
        assert near(below(text, label)[0], error)
    assert near(cells(text, "Intercept by herd")[0], theirs["varcorr"][0]["sd"][0])
    assert near(cells(text, "Log-likelihood")[0], -theirs["minus2_loglik"] / 2)
    assert cells(text, "Family") + cells(text, "Link") == ["binomial", "logit"]
    assert cells(text, "Method") == ["Laplace"]
    assert "Residual" not in text


def test_ratios_are_exponentials_with_errors_by_the_delta_method() -> None:
    theirs = reference("glmm/cbpp_binomial.json")["fits"]["nAGQ1"]["fixef"]
    text = mm.table(BINARY, PLAIN, exponentiate=True)
    ratio = np.exp(theirs["estimate"][1])
    assert near(cells(text, "period[T.2]")[0], ratio)
    assert near(below(text, "period[T.2]")[0], ratio * theirs["se_hessian"][1])
    assert near(cells(text, "age")[0], PLAIN.fe_params["age"])
    assert "(1): exp of the coefficients, which are ratios of odds." in text
    assert "ratios of means" in mm.table(COUNTS, exponentiate=True)
    bounds = np.exp(BINARY.coef_table().loc["period[T.2]", ["ci_lower", "ci_upper"]])
    shown = below(mm.table(BINARY, exponentiate=True, below="interval"), "period[T.2]")
    assert all(near(text, value) for text, value in zip(shown, bounds, strict=True))


def test_thresholds_and_dispersions_are_rows() -> None:
    theirs = next(case for case in reference("ordinal.json")["clmm"] if case["id"] == "wine_logit")
    text = mm.table(RATINGS, COUNTS, width=120)
    for name, value in theirs["thresholds"].items():
        assert abs(float(cells(text, name)[0]) - value) < 2e-3
    assert "Intercept" in text
    assert len(cells(text, "Intercept")) == 1  # of the counts alone
    assert near(cells(text, "Dispersion d")[0], float(COUNTS.dispersion or 0))
    assert f"(2): the variance of a response with the mean m is {COUNTS.family.variance_text}." in text
    assert "1|2" not in mm.table(RATINGS, terms=["temp[T.warm]"])
    assert "1|2" not in mm.table(RATINGS, below="p_value").splitlines()[-1]


def test_parameters_of_a_structure_are_rows_beside_those_of_lmer() -> None:
    text = mm.table(PLAIN, LATER, VISITS, width=120)
    assert text.splitlines()[0] == "Mixed models of distance"
    assert "(2): distance ~ age * Sex + (1 | Subject), residual ar1(visit | Subject)" in text
    assert len(cells(text, "Residual")) == 2
    parameters = VISITS.residual_parameters()["estimate"]
    for name, value in parameters.items():
        assert near(cells(text, f"Residual {name}")[0], value)
    sd, correlation = LATER.residual_parameters()["estimate"]
    assert near(cells(text, "Residual")[1], sd)
    assert near(cells(text, "Residual correlation")[0], correlation)
    assert cells(text, "Levels of Subject") == ["27", "27", "27"]
    few = mm.table(VISITS, random="sd")
    assert "Residual sd(8)" in few
    assert "correlation" not in few


def test_mmrm_beside_nlme() -> None:
    theirs = reference("structures.json")["us"]["REML"]
    frame = TEETH[np.arange(1, len(TEETH) + 1) % 7 != 3]
    text = mm.table(mm.mmrm("distance ~ age * Sex + us(visit | Subject)", frame))
    assert near(cells(text, "Log-likelihood")[0], -theirs["minus2_loglik"] / 2)
    for label, value in zip(
        ("Intercept", "age", "Sex[T.Female]", "age:Sex[T.Female]"), theirs["coefficients"], strict=True
    ):
        assert near(cells(text, label)[0], value)


def test_each_fit_has_its_own_degrees_of_freedom_unless_others_are_named() -> None:
    own = mm.table(VISITS, PLAIN, BINARY, below="p_value")
    assert "Kenward and Roger" in own
    assert "Satterthwaite" in own
    assert "Wald's" in own
    named = mm.table(VISITS, PLAIN, BINARY, below="p_value", ddf="residual")
    assert "residual degrees of freedom" in named
    assert "Kenward" not in named
    assert "Wald's" in named
    with pytest.raises(mm.InferenceError, match=r'tests of generalised models are normal.*write "normal"'):
        mm.table(BINARY, ddf="kenward-roger")
    assert str(mm.table(BINARY, ddf="normal")) == str(mm.table(BINARY))


def test_what_criteria_cannot_be_compared() -> None:
    assert "generalised models cannot be compared" in mm.table(
        mm.lmer("y ~ trt + (1 | subject)", load("epil")), mm.glmer("y ~ trt + (1 | subject)", load("epil"), "poisson")
    )
    nodes = mm.glmer(BINARY.formula, load("cbpp"), "binomial", n_agq=9)
    text = mm.table(BINARY, nodes)
    assert "different numbers of nodes" in text
    assert cells(text, "Method") == ["Laplace", "9", "nodes"]
    poisson = mm.glmer("y ~ trt + lbase + (1 | subject)", load("epil"), "poisson")
    assert "cannot be compared" not in mm.table(COUNTS, poisson)


def test_every_form_holds_the_same_numbers(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    summary = mm.table(BINARY, RATINGS, VISITS, LATER, exponentiate=True)
    shown = cells(mm.table(RATINGS), "2|3")[0]
    for text in (summary.to_html(), summary.to_latex(), summary.to_markdown()):
        assert shown in text
        assert "2|3" in text.replace("\\textbar{}", "|").replace("\\|", "|").replace("&#124;", "|")
    summary.to_docx(tmp_path / "all.docx")
    read = docx.Document(str(tmp_path / "all.docx")).tables[0]
    assert any(shown in cell.text for row in read.rows for cell in row.cells)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(mm.InferenceError, match="none of these has one"):
        mm.table(PLAIN, exponentiate=True)
    with pytest.raises(mm.InferenceError, match="exponentiate is 1"):
        mm.table(BINARY, exponentiate=1)
    with pytest.raises(mm.InferenceError, match=r"facts asks for 'Links'.*mean 'Link'"):
        mm.table(BINARY, facts=["Links"])
    assert cells(mm.table(PLAIN, facts=["Family"]), "Family") == ["normal"]
