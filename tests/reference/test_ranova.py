"""Tests of random terms against lmerTest's ranova and RLRsim."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mixedmodels as mm
from reference.test_lmm import CASES, LMM, case

FILES: dict[str, Any] = {name: json.loads((LMM / f"{name}.json").read_text(encoding="utf-8")) for name in CASES}


def key(label: str) -> tuple[str, frozenset[str]]:
    """Return what is tested, and the grouping variables in no order."""
    left, _, group = label.rstrip(")").partition(" | ")
    return left, frozenset(group.split(":"))


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.get("ranova_reml")])
def test_ranova(name: str) -> None:
    theirs = FILES[name]["ranova_reml"]
    table = case(name, "REML").fit.ranova()

    ours = {key(str(label)): i for i, label in enumerate(table.index)}
    table = table.iloc[[ours[key(label)] for label in theirs["dropped"]]]
    np.testing.assert_array_equal(table["n_params"], theirs["npar"])
    np.testing.assert_allclose(table["llf"], theirs["logLik"], atol=1e-6)
    np.testing.assert_allclose(table["aic"], theirs["AIC"], atol=1e-6)
    np.testing.assert_allclose(table["chisq"].iloc[1:], theirs["LRT"][1:], atol=3e-6)
    np.testing.assert_array_equal(table["df"].iloc[1:], theirs["df"][1:])
    np.testing.assert_allclose(table["p_value"].iloc[1:], theirs["p"][1:], rtol=1e-4)
    for chisq, df, boundary in table[["chisq", "df", "p_boundary"]].iloc[1:].to_numpy(float):
        lower = stats.chi2.sf(chisq, df - 1) if df > 1 else 0.0
        assert boundary == pytest.approx((lower + stats.chi2.sf(chisq, df)) / 2, rel=1e-8)


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.get("exact_rlrt")])
def test_exact_law(name: str) -> None:
    theirs, n = FILES[name]["exact_rlrt"], 50_000
    table = case(name, "REML").fit.ranova(n_exact=n, seed=1)
    assert table["chisq"].iloc[1] == pytest.approx(theirs["statistic"], abs=1e-6)
    p = theirs["p_simulated"]
    error = np.sqrt(max(p, 1e-4) * (1 / n + 1 / theirs["simulations"]))
    assert abs(table["p_exact"].iloc[1] - p) < 4 * error


def test_exact_law_of_a_balanced_layout() -> None:
    """In a balanced one-way layout the statistic grows with F, whose law is known."""
    n = 200_000
    table = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff")).ranova(n_exact=n, seed=3)
    groups = [rows.to_numpy() for _, rows in mm.load_dataset("Dyestuff").groupby("Batch", observed=True)["Yield"]]
    p = stats.f_oneway(*groups).pvalue
    assert abs(table["p_exact"].iloc[1] - p) < 4 * np.sqrt(p / n)
