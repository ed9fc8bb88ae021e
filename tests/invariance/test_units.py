"""A fit does not depend on the units and origins of covariates and response."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedmodels as mm
from data_loader import load
from invariance.models import SHAPES, Units, assert_same

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "lmm"

UNITS = {
    "times 1e6": Units(scale=1e6),
    "times 1e-6": Units(scale=1e-6),
    "plus 10,000": Units(shift=1e4),
    "calendar year": Units(scale=3.0, shift=2010.0),
    "minus 100, in thousands": Units(scale=1e-3, shift=-0.1),
    "response times 1e6 plus 1e6": Units(y_scale=1e6, y_shift=1e6),
    "response times 1e-6": Units(y_scale=1e-6),
    "response plus 1e4": Units(y_shift=1e4),
    "all of it": Units(scale=1e6, shift=1e7, y_scale=1e6, y_shift=1e6),
}

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_units(shape: str, units: str, reml: bool, seed: int) -> None:
    formula, data, change = SHAPES[shape].formula, SHAPES[shape].data(seed), UNITS[units]
    assert_same(mm.lmer(formula, data, reml=reml), mm.lmer(formula, change.apply(data), reml=reml), change)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    seed=st.integers(100, 10_000),
    powers=st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    origins=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_any_units(shape: str, seed: int, powers: tuple[float, float], origins: tuple[float, float]) -> None:
    formula, data = SHAPES[shape].formula, SHAPES[shape].data(seed)
    scale, y_scale = 10.0 ** np.array(powers)
    change = Units(scale, scale * origins[0], y_scale, y_scale * origins[1])
    assert_same(mm.lmer(formula, data), mm.lmer(formula, change.apply(data)), change)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("formula", ["y ~ x + (x || g)", "y ~ x + (0 + x | g)"])
def test_scale_of_a_slope_without_covariance(formula: str, scale: float) -> None:
    data, change = SHAPES["one_factor"].data(1), Units(scale=scale)
    assert_same(mm.lmer(formula, data), mm.lmer(formula, change.apply(data)), change)


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e3, 0.0), (1e-3, 0.0), (1.0, 1e4), (1.0, 100.0)])
def test_sleepstudy(scale: float, shift: float) -> None:
    """The case on which every published engine stops short of the optimum, some by 40."""
    reference = json.loads((REFERENCE / "sleepstudy_slope.json").read_text(encoding="utf-8"))
    sleep = load("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    before, after = mm.lmer(formula, sleep), mm.lmer(formula, sleep.assign(Days=scale * sleep["Days"] + shift))
    expected = reference["fits"]["REML"]["minus2_loglik"] + 2 * np.log(scale)
    assert after.deviance == pytest.approx(expected, rel=0, abs=1e-6)
    assert after.optimizer.n_iterations == before.optimizer.n_iterations


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_what_is_asked_of_a_fit_in_units_far_from_one(unit: float) -> None:
    sleep = load("sleepstudy")
    plain = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    scaled = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep.assign(Reaction=sleep.Reaction * unit))
    for method, options in (("wald", {}), ("bootstrap", {"n": 30, "seed": 1})):
        expected = plain.conf_int(method, **options)
        units = np.where(expected.index.str.startswith("cor_"), 1.0, unit)[:, None]
        np.testing.assert_allclose(scaled.conf_int(method, **options) / units, expected, rtol=1e-8)
    np.testing.assert_allclose(scaled.criteria()["n_params"], plain.criteria()["n_params"], rtol=1e-8)
    assert scaled.check().astype(str).equals(plain.check().astype(str))
