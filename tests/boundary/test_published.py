"""Cases on which other engines are known to stop short, and simulations like those whose data are not public."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from boundary.search import TOL, assert_optimal, lowest
from data_loader import load

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
def test_early(reml: bool) -> None:
    """Intercepts and slopes correlate by exactly -1."""
    model = mm.LinearMixedModel("cog ~ I(age - 0.5) * trt + (I(age - 0.5) | id)", load("Early"))
    fit = assert_optimal(model, reml=reml)
    assert fit.theta.iloc[-1] == 0.0
    S = fit.varcorr["id"].to_numpy()
    assert S[0, 1] == pytest.approx(-np.sqrt(S[0, 0] * S[1, 1]), rel=1e-12)


@pytest.mark.filterwarnings("ignore::mixedmodels.IdentificationWarning")  # Source is constant within lots
@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
def test_oxide(reml: bool) -> None:
    """A correlation of one is reached from either side."""
    data = mm.load_dataset("Oxide")
    data["Source"] = data["Source"].astype(str)
    model = mm.LinearMixedModel("Thickness ~ Source + (Source | Lot) + (Source | Lot:Wafer)", data)
    assert_optimal(model, reml=reml)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_nearly_collinear_slopes(noise: float) -> None:
    """Slopes of x and of x plus a little noise are slopes of x and of the noise, in another basis."""
    rng = np.random.default_rng(2)
    sleep = load("sleepstudy").assign(z=lambda d: rng.normal(size=len(d)))
    sleep["near"] = sleep["Days"] + noise * sleep["z"]
    apart = mm.LinearMixedModel("Reaction ~ Days + (Days + z | Subject)", sleep)
    near = mm.lmer("Reaction ~ Days + (Days + near | Subject)", sleep)
    best = min(apart.fit().deviance, lowest(apart, reml=True))
    assert near.deviance <= best + TOL


SCENARIOS = {"1e4": (1e4, 0.0), "1e-4": (1e-4, 0.0), "plus 100": (1.0, 100.0), "calendar year": (3.0, 2010.0)}


def random_slopes(seed: int) -> pd.DataFrame:
    """Return 15 groups of 6 rows."""
    rng = np.random.default_rng([seed, 15])
    g = np.repeat(np.arange(15), 6)
    x = rng.normal(size=90)
    y = 1 + x + rng.normal(size=15)[g] + 0.5 * rng.normal(size=15)[g] * x + rng.normal(size=90)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def crossed_slopes(seed: int) -> pd.DataFrame:
    """Return 20 subjects by 12 items."""
    rng = np.random.default_rng([seed, 20])
    s, i = (index.ravel() for index in np.indices((20, 12)))
    x = rng.normal(size=240)
    y = x + rng.normal(size=20)[s] + 0.5 * rng.normal(size=20)[s] * x + 0.5 * rng.normal(size=12)[i]
    return pd.DataFrame({"y": y + rng.normal(size=240), "x": x, "s": s, "i": i})


@pytest.mark.parametrize("seed", range(30))
def test_scenarios_of_units(seed: int) -> None:
    data = random_slopes(seed)
    best = lowest(mm.LinearMixedModel("y ~ x + (x | g)", data), reml=True, n_starts=6)
    assert mm.lmer("y ~ x + (x | g)", data).deviance <= best + TOL
    for scale, shift in SCENARIOS.values():
        fit = mm.lmer("y ~ x + (x | g)", data.assign(x=scale * data["x"] + shift))
        assert fit.converged
        assert fit.deviance - 2 * np.log(scale) <= best + TOL


@pytest.mark.parametrize("seed", range(15))
def test_calendar_year_in_a_crossed_model(seed: int) -> None:
    data = crossed_slopes(seed)
    best = lowest(mm.LinearMixedModel("y ~ x + (x | s) + (1 | i)", data), reml=True, n_starts=4)
    fit = mm.lmer("y ~ x + (x | s) + (1 | i)", data.assign(x=3 * data["x"] + 2010))
    assert fit.converged
    assert fit.deviance - 2 * np.log(3) <= best + TOL


def test_saddle_between_two_minima() -> None:
    """From a start on the boundary, where the gradient vanishes, the fit goes down."""
    data = random_slopes(0)
    model = mm.LinearMixedModel("y ~ x + (x | g)", data)
    best = lowest(model, reml=True)
    for start in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.5], [1.0, 0.3, 0.0], [0.0, 0.5, 0.0]):
        assert model.fit(start=start).deviance <= best + TOL
