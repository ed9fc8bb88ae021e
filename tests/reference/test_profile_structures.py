"""Profile intervals of structured random effects, against refits by R with the parameter held.

The limits of ``profile_structures.R`` are where the criterion is higher by the quantile of chi-squared.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm

LIMITS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "profile_structures.json").read_text(encoding="utf-8")
)


@cache
def fitted(case: str) -> mm.LmmResult:
    """Return the fit of a case."""
    if case == "cs":
        machines = mm.load_dataset("Machines")
        return mm.lmer("score ~ Machine + cs(0 + Machine | Worker)", machines, reml=False)
    sleep = mm.load_dataset("sleepstudy")
    return mm.lmer("Reaction ~ Days + ar1(0 + factor(Days) | Subject)", sleep, reml=False)


@pytest.mark.parametrize("theirs", LIMITS, ids=lambda theirs: f"{theirs['case']} {theirs['parameter']}")
def test_limits_of_profiles(theirs: dict[str, Any]) -> None:
    fit = fitted(theirs["case"])
    assert fit.deviance == pytest.approx(theirs["criterion"], abs=1e-5)
    found = fit.conf_int("profile", which=[theirs["parameter"]]).loc[theirs["parameter"]]
    width = theirs["upper"] - theirs["lower"]
    np.testing.assert_allclose(found, [theirs["lower"], theirs["upper"]], atol=5e-4 * width)
