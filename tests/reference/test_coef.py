"""Coefficients by level against lme4: ``coef.json`` by ``coef.R``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load

COEF = json.loads((Path(__file__).parent / "coef.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", COEF)
def test_coefficients_by_level(name: str) -> None:
    case = COEF[name]
    fit = mm.lmer(case["formula"], load(case["data"]))
    assert list(case["groups"]) == list(fit.n_groups)
    for group, theirs in case["groups"].items():
        ours = fit.coef_by_level(group)
        assert ours.index.name == group
        columns = [column.replace("(Intercept)", "Intercept") for column in theirs["names"]]
        assert set(ours.columns) == set(columns)
        assert list(ours.columns[: len(fit.fe_params)]) == list(fit.fe_params.index)
        np.testing.assert_allclose(
            ours.set_axis(ours.index.astype(str)).loc[theirs["levels"], columns], theirs["values"], rtol=1e-5, atol=1e-5
        )
