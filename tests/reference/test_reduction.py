"""drop1 and step against lmerTest, drop1 by likelihood ratio against lme4: ``reduction.R``'s numbers.

F and degrees of freedom 5e-6 relative, likelihood ratios 1e-4, as R optimises to fewer digits; p-values follow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from reference.test_anova import agree, data_of
from reference.test_lmm import canonical

CASES = json.loads((Path(__file__).parent / "reduction.json").read_text(encoding="utf-8"))
STEPPED = [name for name, case in CASES.items() if "step" in case and name != "no_intercept"]
"""Without an intercept drop1 differs, see there, and so what is eliminated."""

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def fitted(name: str) -> mm.LmmResult:
    case = CASES[name]
    data = data_of(case)
    if case["data"] == ["sleepstudy"]:
        row = np.arange(1, len(data) + 1)
        data = data.assign(Subject=data["Subject"].astype(str), item=row % 7, w=1 + row % 3, noise=np.sin(row * 2.7))
        if case["change"] == ["missing"]:
            data.loc[np.array([3, 50, 51, 120]) - 1, "noise"] = np.nan
        data["item"] = data["item"].astype(str)
    formula = case["formula"][0].replace("10 * Days", "10*Days")
    fit = mm.lmer(formula, data, weights="w" if case["change"] == ["weights"] else None)
    assert fit.nobs == case["n"][0]
    return fit


def numbers(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if value in (None, "NA") else value for value in values], float)


def part(theirs: dict[str, Any], keep: list[bool]) -> dict[str, Any]:
    """Return some rows of one of R's tables."""
    return {key: [v for v, k in zip(values, keep, strict=True) if k] for key, values in theirs.items() if values}


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("name", CASES)
def test_drop1_by_f(name: str, ddf: str) -> None:
    if (name, ddf) == ("weights", "kenward-roger"):
        pytest.skip("pbkrtest leaves weights out")
    table = fitted(name).drop1(ddf=ddf)
    theirs = CASES[name][ddf]
    assert {canonical(str(term)) for term in table.index} == {canonical(term) for term in theirs["terms"]}
    if name == "no_intercept":
        # lmerTest tests that all means at one level of the other factor are zero, not the model without the term
        assert table.loc["Variety", "num_df"] == CASES[name]["lrt"]["df"][theirs["terms"].index("Variety") + 1]
        table = table.drop("Variety")
        theirs = part(theirs, [term != "Variety" for term in theirs["terms"]])
    agree(table, theirs, 5e-6)


@pytest.mark.parametrize("name", CASES)
def test_drop1_by_likelihood_ratio(name: str) -> None:
    table = fitted(name).drop1("LRT")
    theirs = CASES[name]["lrt"]
    names = {canonical(str(term)): term for term in table.index[1:]}
    table = table.loc[["<none>", *(names.pop(canonical(term)) for term in theirs["terms"][1:])]]
    assert not names
    np.testing.assert_array_equal(table["df"].iloc[1:], numbers(theirs["df"])[1:])
    np.testing.assert_allclose(table["aic"], numbers(theirs["aic"]), rtol=1e-6)
    np.testing.assert_allclose(table["chisq"], numbers(theirs["chisq"]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table["p_value"], numbers(theirs["p"]), rtol=1e-3)


@pytest.mark.parametrize("name", STEPPED)
def test_step(name: str) -> None:
    """Eliminated rows come in lmerTest's order; those left in the order of either's formula."""
    theirs = CASES[name]["step"]
    steps = fitted(name).step()
    random, fixed = steps.random.reset_index(), steps.fixed
    eliminated = numbers(theirs["random"]["eliminated"])
    ours = random["eliminated"].to_numpy(float, na_value=np.nan)
    np.testing.assert_array_equal(ours, eliminated)
    left = np.nan_to_num(eliminated, nan=-1.0) == 0
    for column, key in (("n_params", "n_params"), ("llf", "llf"), ("chisq", "chisq"), ("df", "df"), ("p_value", "p")):
        values = random[column].to_numpy(float, na_value=np.nan)
        them = numbers(theirs["random"][key])
        tolerance = {"rtol": 1e-2 if key == "p" else 1e-5, "atol": 1e-5}
        np.testing.assert_allclose(values[~left], them[~left], **tolerance)
        np.testing.assert_allclose(np.sort(values[left]), np.sort(them[left]), **tolerance)
    gone = [e > 0 for e in theirs["fixed"]["eliminated"]]
    for keep in (True, False):
        ours_part = fixed[(fixed["eliminated"] > 0) == keep]
        their_part = part(theirs["fixed"], [g == keep for g in gone])
        assert {canonical(str(t)) for t in ours_part.index} == set(map(canonical, their_part.get("terms", [])))
        if len(ours_part):
            agree(ours_part, their_part, 1e-4)
    order = [canonical(str(t)) for t in fixed.index[fixed["eliminated"] > 0]]
    assert order == [canonical(t) for t, g in zip(theirs["fixed"]["terms"], gone, strict=True) if g]
    assert steps.fit.deviance == pytest.approx(theirs["minus2_loglik"][0], abs=1e-4)


def test_the_model_left_is_that_of_its_formula() -> None:
    for name in STEPPED:
        fit = fitted(name)
        left = fit.step().fit
        again = mm.lmer(left.formula, left.call.data, weights=left.call.weights)
        assert again.deviance == pytest.approx(left.deviance, abs=1e-6)
        assert left.nobs == fit.nobs
        pd.testing.assert_frame_equal(again.anova(), left.anova(), rtol=1e-4)
