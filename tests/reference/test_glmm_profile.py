"""Profile-likelihood intervals of generalised models: ``glmm_profile.json`` by ``glmm_profile.R``.

R's profiles are splines through points of criteria that stop early, so that they agree to a hundredth of a standard
error; what holds to many digits are the twins in ``tests/unit/inference/test_generalized_intervals.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

CASES = json.loads((Path(__file__).parent / "glmm_profile.json").read_text(encoding="utf-8"))["cases"]
FAMILIES = {"nbinom2": "negative_binomial"}


@pytest.mark.parametrize("case", CASES, ids=[case["data"] for case in CASES])
def test_agrees_with_profiles_of_r(case: dict[str, Any]) -> None:
    data = load(case["data"]).iloc[:: case.get("every", 1)]
    if case["data"] == "bacteria":
        arms = pd.Categorical(data["trt"].astype(str), categories=sorted(data["trt"].astype(str).unique()))
        data = data.assign(yes=(data["y"] == "y").astype(int), trt=arms)
    if case["data"] == "Contraception":
        data = data.assign(used=(data["use"] == "Y").astype(int))
    if case["data"] == "epil":
        data = data.assign(lbase=np.log(data["base"] / 4), lage=np.log(data["age"]))
    family = FAMILIES.get(case["family"], case["family"])
    fit = mm.glmer(case["formula"], data, family=family, link=case["link"])
    found = fit.conf_int("profile")
    # where R's profile ended before the level there is no limit to compare
    lower, upper = (np.array([np.nan if v == "NA" else v for v in case[side]], float) for side in ("lower", "upper"))
    if case["family"] == "nbinom2":  # theirs is the size, 1 / dispersion
        at = case["names"].index("betad")
        lower[at], upper[at] = 1 / upper[at], 1 / lower[at]
    order = places(fit, case["names"], list(found.index))
    found = found.iloc[order]
    width = upper - lower
    assert np.isnan(width).sum() <= 1
    width[np.isnan(width)] = 1.0
    for ours, theirs in ((found["lower"], lower), (found["upper"], upper)):
        known = np.isfinite(theirs)
        np.testing.assert_allclose(((ours - theirs) / width)[known], 0, atol=3e-3)


def places(fit: mm.GlmmResult, theirs: list[str], ours: list[str]) -> list[int]:
    """Return where R's parameters stand among ours: theirs in the order of the formula, ours by levels."""
    fixed = list(range(len(fit.fe_params)))
    if "beta" not in theirs:  # lme4's standard deviations come first
        return [len(ours) - 1, *fixed]
    names = [f"sd_Intercept|{term.group[0]}" for term in fit.state.design.formula.random]
    if len(ours) - len(fixed) == 3 and len(names) == 1:  # a slope: log sds, then the root of the correlation
        return [*fixed, *(ours.index(name) for name in ours[len(fixed) :] if name.startswith("sd_")), len(fixed) + 1]
    rest = [ours.index(name) for name in names]
    return [*fixed, *([len(ours) - 1] if "betad" in theirs else []), *rest]
