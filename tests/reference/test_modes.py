"""Conditional modes with their standard errors against lme4: ``modes.json`` by ``modes.R``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from data_loader import load

MODES = json.loads((Path(__file__).parent / "modes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODES)
def test_modes_in_one_frame(name: str) -> None:
    case = MODES[name]
    fit = mm.lmer(case["formula"], load(case["data"]), weights="size" if name == "weighted" else None)
    ours = fit.random_effects_frame(level=0.9)
    assert list(ours) == ["group", "level", "effect", "estimate", "std_error", "lower", "upper"]
    theirs = pd.DataFrame({key: case[key] for key in ("group", "level", "effect", "estimate", "std_error")})
    theirs["effect"] = theirs["effect"].replace({"(Intercept)": "Intercept"})
    theirs["effect"] = theirs["effect"].str.replace(r"^Machine(.)$", r"Machine[\1]", regex=True)
    keys = ["group", "level", "effect"]
    found = ours.assign(level=ours["level"].astype(str)).set_index(keys)
    assert len(found) == len(theirs)
    found = found.loc[pd.MultiIndex.from_frame(theirs[keys])]
    size = theirs["estimate"].abs().max()
    np.testing.assert_allclose(found["estimate"], theirs["estimate"], rtol=1e-5, atol=1e-5 * size)
    np.testing.assert_allclose(found["std_error"], theirs["std_error"], rtol=1e-5)
    half = stats.norm.ppf(0.95) * found["std_error"]
    np.testing.assert_allclose(found["upper"] - found["estimate"], half)
    np.testing.assert_allclose(found["estimate"] - found["lower"], half)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_modes_are_those_of_the_dicts_in_their_order() -> None:
    sleep = mm.load_dataset("sleepstudy")
    rng = np.random.default_rng(2)
    sleep["day"] = pd.Timestamp("2024-02-01", tz="Asia/Tokyo") + pd.to_timedelta(rng.integers(0, 7, 180), unit="D")
    sleep["far"] = sleep["Days"] + 1e7
    fit = mm.lmer("Reaction ~ far + (far | Subject) + (1 | day) + (1 | Days)", sleep)
    frame = fit.random_effects_frame()
    for group, modes in fit.random_effects.items():
        own = frame[frame["group"] == group]
        assert own["level"].tolist() == np.repeat(modes.index.astype(object), modes.shape[1]).tolist()
        assert own["effect"].tolist() == modes.shape[0] * list(modes.columns)
        assert own["estimate"].tolist() == modes.to_numpy().ravel().tolist()
        variances = [np.diag(block) for block in fit.random_effects_cov[group]]
        np.testing.assert_array_equal(own["std_error"], np.sqrt(np.ravel(variances)))
    with pytest.raises(mm.InferenceError, match="level is 95; it must lie between 0 and 1"):
        fit.random_effects_frame(95)
