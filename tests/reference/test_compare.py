"""Likelihood-ratio tests of the reference fits against R's anova."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from reference.test_lmm import CASES, LARGE, LMM

FILES: dict[str, Any] = {name: json.loads((LMM / f"{name}.json").read_text(encoding="utf-8")) for name in CASES}
TESTED = [name for name, file in FILES.items() if file.get("likelihood_ratio_test")]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


@pytest.mark.parametrize("name", TESTED)
def test_likelihood_ratio(name: str) -> None:
    file = FILES[name]
    theirs = file["likelihood_ratio_test"]
    data, weights = load(file["data"]), file.get("weights")
    fits = [mm.lmer(formula, data, weights=weights) for formula in (file["formula"], theirs["reduced_formula"])]
    table = mm.compare(*[fit.update(reml=False) for fit in fits])
    tolerance = 1e-5 if file["n"] > LARGE else 1e-6
    reduced, full = table.iloc[0], table.iloc[1]
    assert reduced["deviance"] == pytest.approx(theirs["reduced"]["deviance"], abs=tolerance)
    assert reduced["n_params"] == theirs["reduced"]["df"]
    assert reduced["aic"] == pytest.approx(theirs["reduced"]["AIC"], abs=tolerance)
    assert reduced["bic"] == pytest.approx(theirs["reduced"]["BIC"], abs=tolerance)
    assert full["chisq"] == pytest.approx(theirs["chisq"], abs=2 * tolerance)
    assert full["df"] == theirs["df"]
    assert full["p_value"] == pytest.approx(theirs["p"], rel=1e-4, abs=1e-300)
    if not np.array_equal(fits[0].fe_params.index, fits[1].fe_params.index):
        refitted = mm.compare(*fits)
        np.testing.assert_allclose(refitted["chisq"].iloc[1], theirs["chisq"], atol=2 * tolerance)
        assert refitted.attrs["notes"][0].startswith("Fitted anew by ML")
