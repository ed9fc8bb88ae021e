"""Zero-inflated and hurdle models against glmmTMB: polished optima (`glmm_zeros.R`), means (`glmm_zeros_means.R`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

CASES = json.loads((Path(__file__).parent / "glmm_zeros.json").read_text(encoding="utf-8"))
MEANS = json.loads((Path(__file__).parent / "glmm_zeros_means.json").read_text(encoding="utf-8"))
FAMILIES = {
    "poisson": "poisson",
    "nbinom2": "negative_binomial",
    "truncated_poisson": "hurdle_poisson",
    "truncated_nbinom2": "hurdle_negative_binomial",
}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_optimum(case: dict[str, Any]) -> None:
    fit = mm.glmer(case["formula"], load(case["data"]), FAMILIES[case["family"]], zero_inflation=case["zero_inflation"])
    names, estimate, se = (np.array(case[key]) for key in ("names", "estimate", "se"))
    assert fit.converged
    assert fit.deviance == pytest.approx(case["deviance"], abs=1e-6)
    assert fit.df_model_total == len(names)
    fixed, zeros = names == "beta", names == "betazi"
    np.testing.assert_array_less(np.abs(fit.fe_params - estimate[fixed]), 1e-5 * se[fixed])
    np.testing.assert_allclose(fit.bse_fe, se[fixed], rtol=1e-5)
    table = fit.zero_table()
    np.testing.assert_array_less(np.abs(table["estimate"] - estimate[zeros]), 1e-5 * se[zeros])
    np.testing.assert_allclose(table["std_error"], se[zeros], rtol=2e-5)
    if "betad" in names:
        assert fit.dispersion == pytest.approx(np.exp(-estimate[names == "betad"][0]), rel=2e-5)
    sd = np.sqrt(np.diag(next(iter(fit.varcorr.values()))))
    np.testing.assert_allclose(sd, np.exp(estimate[names == "theta"][: len(sd)]), rtol=1e-5)


@pytest.fixture(scope="module", params=MEANS, ids=[case["name"] for case in MEANS])
def means(request: pytest.FixtureRequest) -> tuple[dict[str, Any], mm.GlmmResult]:
    case, data = request.param, load("epil").astype({"V4": "category"})
    family, zeros = FAMILIES[case["family"]], case["zero_inflation"]
    return case, mm.glmer(case["formula"], data, family, zero_inflation=zeros)


@pytest.mark.parametrize("choice", ["conditional", "population"])
def test_means(means: tuple[dict[str, Any], mm.GlmmResult], choice: str) -> None:
    case, fit = means
    assert fit.deviance == pytest.approx(case["deviance"], abs=1e-6)
    rows = np.array(case["rows"], dtype=int)
    table = fit.predict(random_effects=choice, interval="confidence").iloc[rows]
    np.testing.assert_allclose(table["mean"], case[choice], rtol=2e-5)  # their optimum is not polished
    np.testing.assert_allclose(table["se"], case[f"{choice}_se"], rtol=2e-5)


def test_marginal_means(means: tuple[dict[str, Any], mm.GlmmResult]) -> None:
    case, fit = means
    table = fit.margins("trt")
    np.testing.assert_allclose(table["estimate"], case["emmean"], rtol=2e-5)
    np.testing.assert_allclose(table["std_error"], case["emmean_se"], rtol=2e-5)
