"""Profile intervals beside residuals with a structure, against refits by R with the parameter held.

The limits of ``profile_residuals.R`` are where the criterion is higher by the quantile of chi-squared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from reference.test_known_residual import METAFOR

LIMITS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "profile_residuals.json").read_text(encoding="utf-8")
)


def fitted(case: str) -> mm.CorrelatedResult:
    """Return the fit of a case."""
    if case == "known":
        data, V = pd.DataFrame(METAFOR["data"]["simulated"]), np.array(METAFOR["V"]["simulated"])
        fit = mm.lmer("yi ~ 1 + (1 | study)", data, residual=V, sigma=1)
    else:
        children = mm.load_dataset("Orthodont")
        children["v"] = ((children["age"] - 8) / 2).astype(int)
        on_residuals: dict[str, dict[str, Any]] = {
            "ar1": {"residual": "ar1(v | Subject)"},
            "ident": {"variance": "ident(Sex)"},
            "power": {"variance": "power(age)"},
            "ident ML": {"variance": "ident(Sex)", "reml": False},
        }
        fit = mm.lmer("distance ~ age * Sex + (1 | Subject)", children, **on_residuals[case])
    assert isinstance(fit, mm.CorrelatedResult)
    return fit


@pytest.mark.parametrize("theirs", LIMITS, ids=lambda theirs: f"{theirs['case']} {theirs['parameter']}")
def test_limits_of_profiles(theirs: dict[str, Any]) -> None:
    fit = fitted(theirs["case"])
    if theirs["case"] != "known":  # metafor counts log det X'X
        assert fit.deviance == pytest.approx(theirs["criterion"], abs=1e-6)
    found = fit.conf_int("profile", which=[theirs["parameter"]]).loc[theirs["parameter"]]
    width = theirs["upper"] - theirs["lower"]
    np.testing.assert_allclose(found, [theirs["lower"], theirs["upper"]], atol=2e-4 * width)
