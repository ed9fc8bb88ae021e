"""Generalised and correlated models without each level: refits by lme4 and nlme."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import mixedmodels as mm

THEIRS: dict[str, Any] = json.loads((Path(__file__).parent / "influence.json").read_text())


def test_herds_left_out() -> None:
    theirs = THEIRS["cbpp"]
    fit = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", mm.load_dataset("cbpp"))
    ours = fit.influence("herd", progress=False)
    at = [list(map(str, ours.fe_params.index)).index(label) for label in theirs["left_out"]]
    difference = ours.fe_params.to_numpy()[at] - np.array(theirs["fixef"])
    assert np.abs(difference / fit.bse_fe.to_numpy()).max() < 1e-5
    np.testing.assert_allclose(ours.variance_parameters.iloc[at, 0], theirs["sd"], rtol=1e-5)


def test_people_left_out() -> None:
    theirs = THEIRS["orthodont"]
    fit = mm.mmrm("distance ~ age * Sex + us(age | Subject)", mm.load_dataset("Orthodont"))
    ours = fit.influence("Subject", progress=False)
    assert list(ours.fe_params.columns) == ["Intercept", "age", "Sex[T.Female]", "age:Sex[T.Female]"]
    np.testing.assert_allclose(ours.fe_params.loc[theirs["left_out"]], theirs["fixef"], rtol=1e-4, atol=1e-5)
