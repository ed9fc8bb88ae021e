"""Ordered categories against the R package ordinal; ordinal.R is beside the numbers.

clmm ends some 1e-5 above or below its own criterion, whose inner iteration has noise; where it is known better, ours is
lower. Without an effect of the bottles, which temperature and contact are made of, a fit is that of clm, exactly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

import mixedmodels as mm
from data_loader import load

REFERENCE = json.loads((Path(__file__).parent / "ordinal.json").read_text(encoding="utf-8"))
MARGINS = json.loads((Path(__file__).parent / "ordinal_margins.json").read_text(encoding="utf-8"))


def by_name(values: dict[str, float], like: pd.Series[float]) -> list[float]:
    """Return R's coefficients in our order: temp[T.warm] is tempwarm."""
    return [values[name.replace("[T.", "").removesuffix("]")] for name in like.index]


@pytest.mark.parametrize("case", REFERENCE["clmm"], ids=lambda case: case["id"])
@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_clmm(case: dict[str, Any]) -> None:
    fit = mm.glmer(case["formula"], load(case["data"]), "ordinal", link=case["link"])
    assert fit.converged
    assert fit.deviance == pytest.approx(case["deviance"], abs=2e-5)
    assert list(fit.thresholds.index) == list(case["thresholds"])
    tolerance = max(2e-4, 2 * case["max_gradient"])
    np.testing.assert_allclose(fit.thresholds, list(case["thresholds"].values()), atol=tolerance)
    np.testing.assert_allclose(fit.fe_params, by_name(case["beta"], fit.fe_params), atol=tolerance)
    for group, sd in case["sd"].items():
        np.testing.assert_allclose(np.sqrt(np.diag(fit.varcorr[group])), sd, atol=3e-4)


@pytest.mark.parametrize(("name", "nodes"), [("wine_ordinal", 1), ("wine_ordinal_agq10", 10)])
def test_the_optimum_of_wine(name: str, nodes: int) -> None:
    """The polished one of the collection of references; clmm's standard errors are right with many nodes."""
    case = json.loads((Path(__file__).parent / "ordinal" / f"{name}.json").read_text(encoding="utf-8"))
    reference = case["fits"][f"nAGQ{nodes}"]
    fit = mm.glmer(case["formula"], load("wine"), "ordinal", n_agq=nodes)
    assert fit.deviance == pytest.approx(reference["minus2_loglik"], abs=1e-6)
    np.testing.assert_allclose(fit.thresholds, reference["thresholds"], atol=2e-5)
    np.testing.assert_allclose(fit.fe_params, reference["fixef"]["estimate"], atol=2e-5)
    assert fit.varcorr["judge"].iloc[0, 0] == pytest.approx(reference["varcorr"][0]["cov"][0][0], rel=2e-5)
    if reference["fixef"]["se"] is not None:
        np.testing.assert_allclose(fit.bse_fe, reference["fixef"]["se"], rtol=1e-5)


@pytest.mark.parametrize("case", REFERENCE["clm"], ids=lambda case: case["link"])
@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_clm(case: dict[str, Any]) -> None:
    wine = load("wine")
    fit = mm.glmer("rating ~ temp + contact + (1 | bottle)", wine, "ordinal", link=case["link"])
    assert fit.is_singular
    assert fit.deviance == pytest.approx(case["deviance"], abs=1e-7)
    table = fit.threshold_table()
    np.testing.assert_allclose(table["estimate"], list(case["thresholds"].values()), atol=1e-5)
    np.testing.assert_allclose(table["std_error"], [case["se"][name] for name in table.index], rtol=1e-5)
    np.testing.assert_allclose(fit.fe_params, by_name(case["beta"], fit.fe_params), atol=1e-5)
    np.testing.assert_allclose(fit.bse_fe, by_name(case["se"], fit.bse_fe), rtol=1e-5)
    new = pd.DataFrame({"temp": case["temp"], "contact": case["contact"]})
    np.testing.assert_allclose(fit.predict(new, random_effects="population"), case["fit"], atol=1e-6)
    shown = fit.predict(new, random_effects="population", interval="confidence")
    np.testing.assert_allclose(shown["se"].to_numpy().reshape(4, 5), case["se_fit"], rtol=2e-5)
    for limit in ("lower", "upper"):  # formed as logits, of which those of 1e-11 have 23 times the relative error
        np.testing.assert_allclose(
            logit(shown[limit].to_numpy().reshape(4, 5)), logit(case[limit]), rtol=2e-5, atol=1e-5
        )


@pytest.mark.parametrize("case", MARGINS, ids=lambda case: case["id"])
def test_marginal_chances(case: dict[str, Any]) -> None:
    wine = load("wine").assign(late=lambda d: d["bottle"].astype(int) / 8)
    fit = mm.glmer(case["formula"], wine, "ordinal", link=case["link"], n_agq=10)
    assert fit.deviance == pytest.approx(case["deviance"], abs=1e-6)
    keys = pd.MultiIndex.from_arrays([*case["levels"], case["categories"]])
    chances = fit.margins(case["specs"])
    theirs = pd.DataFrame({"estimate": case["chance"], "std_error": case["chance_se"]}, index=keys).loc[chances.index]
    np.testing.assert_allclose(chances["estimate"], theirs["estimate"], atol=3e-6)
    np.testing.assert_allclose(chances["std_error"], theirs["std_error"], rtol=1e-4)
    means = fit.margins(case["specs"], scale="mean_class")
    keys = (
        pd.MultiIndex.from_arrays(case["mean_levels"]) if len(case["specs"]) > 1 else pd.Index(case["mean_levels"][0])
    )
    theirs = pd.DataFrame({"mean": case["mean_class"], "se": case["mean_class_se"]}, index=keys).loc[means.index]
    np.testing.assert_allclose(means["estimate"], theirs["mean"], atol=5e-6)
    np.testing.assert_allclose(means["std_error"], theirs["se"], rtol=1e-4)


def test_differences_of_marginal_chances() -> None:
    case = MARGINS[0]
    fit = mm.glmer(case["formula"], load("wine"), "ordinal", link=case["link"], n_agq=10)
    pairs = fit.margins("temp", pairwise=True, adjust="none")
    assert [str(rating) for rating, _ in pairs.index] == case["pair_categories"]
    np.testing.assert_allclose(pairs["estimate"], case["difference"], atol=3e-6)
    np.testing.assert_allclose(pairs["std_error"], case["difference_se"], rtol=1e-4)
    classes = fit.margins("temp", scale="mean_class", pairwise=True)
    assert classes["estimate"].iloc[0] == pytest.approx(case["class_difference"], abs=1e-5)
    assert classes["p_value"].iloc[0] == pytest.approx(case["class_p"], rel=1e-3)
    case = MARGINS[1]
    fit = mm.glmer(case["formula"], load("wine"), "ordinal", link=case["link"], n_agq=10)
    classes = fit.margins(case["specs"], scale="mean_class", pairwise=True)
    np.testing.assert_allclose(
        np.sort(np.abs(classes["estimate"])), np.sort(np.abs(case["class_difference"])), atol=1e-5
    )
    np.testing.assert_allclose(np.sort(classes["p_value"]), np.sort(case["class_p"]), rtol=2e-3, atol=1e-8)
