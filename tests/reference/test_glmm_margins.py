"""Means, contrasts, slopes, joint tests and errors of predictions: ``glmm_margins.json`` by ``glmm_margins.R``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

FOUND = json.loads((Path(__file__).parent / "glmm_margins.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fits() -> dict[str, mm.GlmmResult]:
    used = load("Contraception")
    used["livch"] = pd.Categorical(used["livch"].astype(str), categories=["0", "1", "2", "3+"])
    return {
        "cbpp": mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", mm.load_dataset("cbpp")),
        "used": mm.glmer("use ~ age * urban + livch + (1 | district)", used),
        "ticks": mm.glmer("TICKS ~ YEAR * cHEIGHT + (1 | BROOD)", load("grouseticks"), family="negative_binomial"),
    }


CASES: dict[str, Any] = {
    "cbpp_link": lambda f: f.margins("period", scale="link"),
    "cbpp_response": lambda f: f.margins("period"),
    "cbpp_odds": lambda f: f.margins("period", pairwise=True, adjust="holm"),
    "used_response": lambda f: f.margins(["livch", "urban"], at={"age": [5]}),
    "used_slopes": lambda f: f.slopes("age", by="urban"),
    "ticks_response": lambda f: f.margins("YEAR"),
    "ticks_ratios": lambda f: f.margins("YEAR", pairwise=True, adjust="none"),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_emmeans(fits: dict[str, mm.GlmmResult], name: str) -> None:
    expected = FOUND[name]
    table = CASES[name](fits[name.split("_", maxsplit=1)[0]])
    if name == "used_response":  # emmeans' first variable varies fastest
        table = table.sort_index(level=["urban", "livch"], sort_remaining=False)
    se = np.array(expected["std_error"])
    for column, theirs in (("estimate", "estimate"), ("ci_lower", "lower"), ("ci_upper", "upper")):
        if name != "cbpp_odds" or column == "estimate":  # its intervals are Bonferroni's there
            np.testing.assert_allclose((table[column] - expected[theirs]) / se, 0, atol=2e-3, err_msg=column)
    np.testing.assert_allclose(table["std_error"], se, rtol=2e-4)
    if not name.endswith(("response", "link")):
        np.testing.assert_allclose(table["p_value"], expected["p_value"], rtol=5e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["used", "ticks"])
def test_joint_tests_agree_with_emmeans(fits: dict[str, mm.GlmmResult], name: str) -> None:
    expected = FOUND[f"{name}_joint"]
    table = fits[name].joint_tests().loc[expected["term"]]
    assert table["df"].tolist() == expected["df"]
    np.testing.assert_allclose(table["chisq"], expected["chisq"], rtol=2e-3, atol=6e-3)


@pytest.mark.parametrize("name", ["cbpp", "ticks"])
def test_errors_of_conditional_predictions_agree(fits: dict[str, mm.GlmmResult], name: str) -> None:
    expected = FOUND[f"{name}_predicted"]
    table = fits[name].predict(scale="link", interval="confidence")
    np.testing.assert_allclose(table["mean"], expected["estimate"], atol=1e-4)
    np.testing.assert_allclose(table["se"], expected["std_error"], rtol=1e-3)
