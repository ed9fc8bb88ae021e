"""Joint tests against emmeans and lmerTest: ``joint_tests.json`` by ``joint_tests.R``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from reference.test_margins import fitted

JOINT = json.loads((Path(__file__).parent / "joint_tests.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def fit_of(file: dict[str, Any]) -> mm.LmmResult:
    """Return our fit; levels in the order of their appearance, one cell without rows where R left it out."""
    if file["change"] != "empty":
        change = "whole" if file["change"] == "complete" else file["change"]
        return fitted(file["data"], tuple(file["factors"]), change, file["formula"])
    frame = pd.read_csv(DATA / f"{file['data']}.csv", keep_default_na=False, na_values=["NA"])
    for name in file["factors"]:
        text = frame[name].astype(str)
        frame[name] = pd.Categorical(text, categories=text.unique())
    row = frame.index + 1
    frame = frame[(row % 7 != 0) & (row % 11 != 3)]
    return mm.lmer(file["formula"], frame[(frame["Date"] != "S20") | (frame["Variety"] != "Cossack")])


@pytest.mark.parametrize("name", JOINT)
def test_agrees_with_emmeans(name: str) -> None:
    file = JOINT[name]
    table = fit_of(file).joint_tests(**file["args"])
    keys = {("term" if key == "model term" else key): values for key, values in file["keys"].items()}
    ours = table.reset_index().astype(dict.fromkeys(keys, str))
    rows = {tuple(row): i for i, row in enumerate(ours[list(keys)].itertuples(index=False))}
    assert len(rows) == len(file["num_df"])
    ours = ours.iloc[[rows[key] for key in zip(*keys.values(), strict=True)]]
    np.testing.assert_array_equal(ours["num_df"], file["num_df"])
    np.testing.assert_allclose(ours["f_value"], file["f_value"], rtol=1e-5, atol=5.01e-4)  # R's have three decimals
    if "den_df" in file:
        simple = ours[~ours["term"].str.contains(":")]
        own = simple[simple["term"] == simple["term"].iloc[0]] if name != "two_by" else simple[simple["term"] == "Cu"]
        np.testing.assert_allclose(own["den_df"], file["den_df"], rtol=1e-4)


def test_cells_with_data_and_no_covariates_are_tests_of_type_3() -> None:
    file = JOINT["all"]
    fit = fit_of(file)
    columns = ["num_df", "den_df", "f_value", "p_value"]
    ours, tests = fit.joint_tests(ddf="kenward-roger")[columns], fit.anova(ddf="kenward-roger")[columns]
    np.testing.assert_allclose(ours, tests, rtol=1e-6)
    ours, tests = fit.joint_tests(), fit.anova()
    np.testing.assert_allclose(ours["f_value"], tests["f_value"], rtol=1e-7)
    # Fai and Cornelius' degrees of freedom depend a little on the rows that span a hypothesis.
    np.testing.assert_allclose(ours["den_df"], tests["den_df"], rtol=1e-3)


def test_nested_levels_are_compared_within() -> None:
    """Each level of the outer variable by itself, as the model of the cells has them."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 12), "a": np.tile(list("xyxyxy"), 24)})
    data["b"] = np.where(data.a == "x", rng.choice(list("pq"), 144), rng.choice(list("rst"), 144))
    data["y"] = rng.normal(size=144) + rng.normal(size=12)[data.g]
    table = mm.lmer("y ~ a / b + (1 | g)", data).joint_tests()
    assert table.index.tolist() == ["a", "a:b"]
    cells = mm.lmer("y ~ 0 + b + (1 | g)", data)
    within = cells.contrast(["b[p] - b[q]", "b[r] - b[s]", "b[s] - b[t]"], joint=True).loc["joint"]
    assert table.loc["a:b", "num_df"] == 3
    assert table.loc["a:b", "f_value"] == pytest.approx(within["statistic"], rel=1e-7)
    assert table.loc["a:b", "den_df"] == pytest.approx(within["df"], rel=1e-6)
    by = mm.lmer("y ~ a / b + (1 | g)", data).joint_tests(by="a")
    assert by.index.tolist() == [("x", "b"), ("y", "b")]
    assert by["num_df"].tolist() == [1, 2]


def test_terms_that_are_columns_alone() -> None:
    """One slope's test is that of its coefficient."""
    sleep = mm.load_dataset("sleepstudy").assign(z=lambda data: np.cos(data["Days"]))
    for formula in ("Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + z + (Days | Subject)"):
        fit = mm.lmer(formula, sleep)
        coefficients, table = fit.coef_table().iloc[1:], fit.joint_tests()
        assert table.index.tolist() == coefficients.index.tolist()
        np.testing.assert_allclose(table["f_value"], coefficients["statistic"] ** 2, rtol=1e-9)
        np.testing.assert_allclose(table["den_df"], coefficients["df"], rtol=1e-9)


@pytest.mark.parametrize(
    "fixed", ["zeta * alpha + x", "x * zeta + alpha:zeta", "zeta + alpha:zeta + x", "zeta / alpha"]
)
def test_terms_are_named_and_ordered_as_in_anova(fixed: str) -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {"zeta": np.tile(list("abc"), 40), "alpha": np.repeat(list("uv"), 60), "g": np.arange(120) % 10}
    )
    data["x"], data["y"] = rng.normal(size=120), rng.normal(size=10)[data.g] + rng.normal(size=120)
    for fit in (mm.lmer(f"y ~ {fixed} + (1 | g)", data), mm.mixedlm(f"y ~ {fixed}", data, groups="g").fit()):
        assert list(fit.joint_tests().index) == list(fit.anova().index)


def test_bad_input() -> None:
    fit = mm.lmer("yield ~ Variety + (1 | Block)", mm.load_dataset("Oats"))
    with pytest.raises(mm.InferenceError, match=r"There is no variable 'Varety' .* Did you mean 'Variety'"):
        fit.joint_tests("Varety")
    with pytest.raises(mm.InferenceError, match="nothing to test: the fixed part has no variable besides"):
        fit.joint_tests("Variety")
    with pytest.raises(mm.InferenceError, match="weights is 'rows'"):
        fit.joint_tests(weights="rows")
    line = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    with pytest.raises(mm.InferenceError, match="'Days' is continuous and has no levels"):
        line.joint_tests(by="Days")
