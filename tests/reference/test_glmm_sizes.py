"""Variances of R-squared of generalised models: ``glmm_sizes.json`` by ``glmm_sizes.R``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mixedmodels as mm
from data_loader import load

FOUND = json.loads((Path(__file__).parent / "glmm_sizes.json").read_text(encoding="utf-8"))
MODELS = {
    "used": ("use ~ age + urban + (1 | district)", "Contraception", mm.families.Binomial()),
    "used_probit": ("use ~ age + urban + (1 | district)", "Contraception", mm.families.Binomial("probit")),
    "epil": ("y ~ trt + lbase + (1 | subject)", "epil", mm.families.Poisson()),
    "ticks": ("TICKS ~ YEAR + (1 | BROOD)", "grouseticks", mm.families.NegativeBinomial()),
}


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_variances_of_r(name: str) -> None:
    formula, data, family = MODELS[name]
    fit, v = mm.glmer(formula, load(data), family=family), FOUND[name]
    total = sum(v.values())
    assert fit.r2()["marginal"] == pytest.approx(v["fixed"] / total, rel=2e-5)
    assert fit.r2()["conditional"] == pytest.approx((v["fixed"] + v["random"]) / total, rel=2e-5)
    assert fit.icc()["adjusted"] == pytest.approx(v["random"] / (v["random"] + v["residual"]), rel=2e-5)
    assert fit.icc()["unadjusted"] == pytest.approx(v["random"] / total, rel=2e-5)
