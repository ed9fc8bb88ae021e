"""Structured covariances of random effects against glmmTMB: ``effect_structures.json`` by ``effect_structures.R``."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.result.lmm import LmmResult

GLMMTMB = json.loads((Path(__file__).parent / "effect_structures.json").read_text(encoding="utf-8"))
MODELS = [name for name in GLMMTMB if name != "versions"]
NAMES = {"(Intercept)": "Intercept", "SexMale": "Sex[T.Male]", "age:SexMale": "age:Sex[T.Male]"}
NO_OPTIMUM = 1e-3
"""A gradient from which glmmTMB's end is no optimum."""


@cache
def frame(name: str) -> pd.DataFrame:
    """Return the rows that R had."""
    if name == "machines":
        return pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    if name == "oats":
        return pd.read_csv(DATA / "Oats.csv")
    read = pd.read_csv(DATA / "Orthodont.csv")
    read = read[np.arange(1, len(read) + 1) % 7 != 3]
    read["Sex"] = pd.Categorical(read["Sex"], ["Female", "Male"])
    return read.assign(visit=pd.Categorical(read["age"].astype(str), ["8", "10", "12", "14"]))


def quiet(formula: str, data: pd.DataFrame, reml: bool) -> LmmResult:
    """Return a fit that may be at an end of a range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.SingularFitWarning)
        return mm.lmer(formula, data, reml=reml)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", MODELS)
def test_criterion_coefficients_and_standard_errors(name: str, method: str) -> None:
    theirs = GLMMTMB[name][method]
    fit = quiet(GLMMTMB[name]["formula"], frame(name.split("_", maxsplit=1)[0]), method == "REML")
    assert fit.converged
    if theirs["minus2_loglik"] == "NA" or theirs["gradient"] > NO_OPTIMUM:
        assert name == "orthodont_ar1"
        return
    # glmmTMB stops within 2e-5 of its lowest
    assert theirs["minus2_loglik"] - 2e-5 < fit.deviance < theirs["minus2_loglik"] + 1e-8
    ours = fit.fe_params
    for their_name, value in theirs["fixef"].items():
        own = NAMES.get(their_name, their_name.replace("Machine", "Machine[T.") + "]" * ("Machine" in their_name))
        assert ours[own] == pytest.approx(value, rel=1e-4)
        if method == "ML" and not fit.is_singular:  # its are those of a joint Hessian
            assert fit.bse_fe[own] == pytest.approx(theirs["std_errors"][their_name], rel=2e-4)


@pytest.mark.parametrize(("reml", "expected"), [(True, 1734.186468), (False, 1743.061866)])
def test_a_first_order_process_with_a_nugget_is_that_of_nlme(reml: bool, expected: float) -> None:
    # gls(Reaction ~ Days, correlation = corExp(form = ~ Days | Subject, nugget = TRUE)) of nlme 3.1
    fit = mm.lmer("Reaction ~ Days + ar1(0 + factor(Days) | Subject)", mm.load_dataset("sleepstudy"), reml=reml)
    assert fit.deviance == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("reml", "best", "other"), [(True, 432.0532, 433.3897), (False, 426.7426, 428.4610)])
def test_of_two_optima_the_lower_is_found_and_the_other_told(reml: bool, best: float, other: float) -> None:
    # the higher one is that of gls with corARMA(p = 1, q = 1) of nlme, which has no other; the lower has rho = -1
    data = pd.read_csv(DATA / "Orthodont.csv")
    fit = quiet("distance ~ age * Sex + (1 | Subject) + ar1(0 + factor(age) | Subject)", data, reml)
    assert fit.deviance == pytest.approx(best, abs=1e-4)
    assert fit.state.optimum.other_optima == pytest.approx((other,), abs=1e-4)
    (finding,) = [finding for finding in fit.findings if finding.kind == "singular"]
    assert finding.data["boundaries"] == ["cor_ar1|Subject"]


def test_a_reduced_rank_is_the_lowest_of_its_rank() -> None:
    # glmmTMB's rr with d = 2 of ten effects, and with d = 1 of three
    sleep = mm.load_dataset("sleepstudy")
    fit = mm.lmer("Reaction ~ Days + rr(0 + factor(Days) | Subject, d=2)", sleep)
    assert fit.deviance == pytest.approx(1721.0411957015, abs=1e-6)
    assert fit.sigma == pytest.approx(23.0011750688205, rel=1e-5)
    for reml, expected in ((True, 254.496109274605), (False, 260.049749669478)):
        fit = mm.lmer("score ~ Machine + rr(0 + Machine | Worker, d=1)", frame("machines"), reml=reml)
        assert fit.deviance == pytest.approx(expected, abs=1e-6)
