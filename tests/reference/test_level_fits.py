"""Regressions of each level against lmList of lme4: ``level_fits.R``'s numbers, 1e-9 relative."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA

CASES = json.loads((Path(__file__).parent / "level_fits.json").read_text(encoding="utf-8"))


def frame(change: str) -> pd.DataFrame:
    data = pd.read_csv(DATA / f"{change.split(', ', maxsplit=1)[0]}.csv")
    if "Reaction" not in data:
        return data
    row = np.arange(1, len(data) + 1)
    data = data.assign(Subject=data["Subject"].astype(str), w=1 + row % 3, k=np.array(["a", "b"])[row // 2 % 2])
    if "thin" not in change:
        return data
    thin = data[row % 7 != 0].reset_index(drop=True)
    thin.loc[[3, 29], "Reaction"] = np.nan
    return thin


@pytest.mark.parametrize("name", CASES)
def test_lmlist(name: str) -> None:
    case = CASES[name]
    options = {key: case[key][0] for key in ("weights", "offset") if case[key]}
    each = mm.fit_each(case["formula"][0].replace("^", "**"), frame(case["change"][0]), **options)
    order = [str(level) for level in each.coef.index]
    assert set(order) == set(case["levels"])
    place = [case["levels"].index(level) for level in order]
    np.testing.assert_allclose(each.coef, np.array(case["coef"])[place], rtol=1e-8)
    np.testing.assert_allclose(each.unscaled, np.array(case["unscaled"])[place], rtol=1e-8)
    assert (each.sigma, each.df_resid) == (pytest.approx(case["sigma"][0], rel=1e-9), case["df"][0])
    np.testing.assert_array_equal(each.levels["n_obs"], np.array(case["n"])[place])
    np.testing.assert_array_equal(each.levels["df_resid"], np.array(case["own_df"])[place])
    np.testing.assert_allclose(each.levels["sigma"], np.array(case["own_sigma"])[place], rtol=1e-8)
    assert (each.levels["note"] == "").all()
    pooled, own = each.coef_table(), each.coef_table(pool=False)
    np.testing.assert_allclose(pooled["ci_lower"], np.array(case["lower"])[place].ravel(), rtol=1e-6)
    np.testing.assert_allclose(own["ci_lower"], np.array(case["own_lower"])[place].ravel(), rtol=1e-6)
    np.testing.assert_allclose(own["p_value"], np.array(case["own_p"])[place].ravel(), rtol=1e-6)
