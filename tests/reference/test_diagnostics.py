"""Variance inflation and whitened residuals beside R's: ``diagnostics.R`` made ``diagnostics.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import mixedmodels as mm
from data_loader import load

THEIRS: dict[str, Any] = json.loads((Path(__file__).parent / "diagnostics.json").read_text(encoding="utf-8"))


def test_generalised_variance_inflation_is_that_of_car() -> None:
    theirs = THEIRS["vif"]
    data = load("dietox")
    table = mm.lmer(theirs["formula"], data[np.arange(1, len(data) + 1) % 7 != 0]).vif().loc[theirs["terms"]]
    assert list(table["df"]) == theirs["df"]
    np.testing.assert_allclose(table["gvif"], theirs["gvif"], rtol=1e-5)
    np.testing.assert_allclose(table["gvif_scaled"], theirs["scaled"], rtol=1e-5)


def test_residuals_whitened_by_the_covariance_of_a_subject() -> None:
    theirs = THEIRS["whitened"]
    ours = mm.lmer(theirs["formula"], load("sleepstudy")).residuals("cholesky")
    np.testing.assert_allclose(ours, theirs["values"], atol=1e-4)
