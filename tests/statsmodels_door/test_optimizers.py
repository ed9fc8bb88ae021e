"""Named optimisers: whatever they end at, the fit is the optimum, or says that it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.mixedlm.fitting.optimizers import METHODS

QUICK = [name for name in METHODS if name != "basinhopping"]
MODELS: dict[str, dict[str, Any]] = {
    "intercepts": {},
    "slopes": {"re_formula": "~x"},
    "component": {"re_formula": "1", "vc_formula": {"h": "0 + C(h)"}},
}
pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


class Ridge:
    """A penalty on the fixed effects, so weak that it moves nothing."""

    def __init__(self, unit_of_x: float = 1.0) -> None:
        self.weight = 1e-12 * unit_of_x**2

    def func(self, params: Any) -> float:
        return self.weight * float(params @ params)

    def deriv(self, params: Any) -> Any:
        return 2 * self.weight * params


def simulated(seed: int) -> pd.DataFrame:
    """48 rows in 12 groups of 2 halves; the variances are large, small or zero."""
    rng = np.random.default_rng(seed)
    g, h, x = np.repeat(np.arange(12), 4), np.tile([0, 0, 1, 1], 12), rng.normal(size=48)
    sd, sd_x, sd_h = rng.choice([0, 0.1, 0.5, 2]), rng.choice([0, 0.1, 0.5]), rng.choice([0, 0.1, 0.5, 1])
    y = sd * rng.normal(size=12)[g] + sd_x * x * rng.normal(size=12)[g] + sd_h * rng.normal(size=24)[2 * g + h]
    return pd.DataFrame({"g": g, "h": h, "x": x, "y": y + rng.normal(size=48)})


def one_way(seed: int) -> tuple[pd.DataFrame, float, float]:
    """Balanced groups, and their variance within and between by the analysis of variance, which REML gives too."""
    rng = np.random.default_rng(seed)
    groups = rng.normal(size=(20, 5)) + 0.45 * rng.normal(size=(20, 1))
    within = float(groups.var(axis=1, ddof=1).mean())
    between = float(5 * groups.mean(axis=1).var(ddof=1))
    data = pd.DataFrame({"y": groups.ravel(), "g": np.repeat(np.arange(20), 5)})
    if between <= within:
        return data, float(groups.var(ddof=1)), 0.0
    return data, within, (between - within) / 5


@pytest.mark.parametrize("method", [*QUICK, ["lbfgs", "cg"], ["nm", "newton"]], ids=str)
def test_balanced_groups_have_the_variances_of_the_closed_form(method: Any) -> None:
    for seed in range(12):
        data, within, between = one_way(seed)
        fit = mm.mixedlm("y ~ 1", data, groups="g").fit(method=method)
        assert fit.converged
        np.testing.assert_allclose([fit.scale, fit.cov_re.iloc[0, 0]], [within, between], rtol=1e-5, atol=1e-9)


def all_methods_agree(seed: int, methods: list[str]) -> None:
    data = simulated(seed)
    for arguments in MODELS.values():
        model = mm.mixedlm("y ~ x", data, groups="g", **arguments)
        best = model.fit().llf
        fits = [model.fit(method=method) for method in methods]
        assert all(fit.converged for fit in fits)
        np.testing.assert_allclose([fit.llf for fit in fits], best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_every_method_ends_at_the_same_optimum(seed: int) -> None:
    all_methods_agree(seed, [*QUICK, "basinhopping"] if seed < 2 else QUICK)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(2, 40))
def test_hopping_ends_at_the_same_optimum(seed: int) -> None:
    all_methods_agree(seed, ["basinhopping"])


def test_the_history_tells_of_the_saddle_and_of_what_went_on_from_it() -> None:
    data, _, between = one_way(2)
    assert between > 0.1
    fit = mm.mixedlm("y ~ 1", data, groups="g").fit(method="lbfgs", full_output=True)
    theirs, ours = fit.hist
    assert (theirs["method"], theirs["converged"]) == ("lbfgs", False)
    assert theirs["allvecs"][-1] == pytest.approx(0, abs=1e-6)  # the variance of zero where the gradient vanishes
    assert (ours["method"], ours["converged"]) == ("newton", True)
    assert theirs["fopt"] > ours["fopt"] == pytest.approx(-fit.llf / 100)
    assert fit.mle_retvals["optimizer"] == ("lbfgs", "newton")
    assert fit.mle_retvals["iterations"] == theirs["iterations"] + ours["iterations"]


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg", "powell", "nm"])
def test_few_iterations_are_no_convergence(method: str) -> None:
    model = mm.mixedlm("y ~ x", simulated(3), groups="g", re_formula="~x")
    fit = model.fit(method=method, maxiter=1, full_output=True)
    assert fit.converged == (model.fit().llf - fit.llf < 1e-6)
    assert not fit.hist[0]["converged"]
    assert not model.fit(method=method, maxiter=1, fe_pen=Ridge()).converged


@pytest.mark.parametrize("method", [None, "lbfgs", "powell", "nm"])
def test_penalised_fits_leave_the_saddle_too(method: Any) -> None:
    for seed in range(6):
        data, within, between = one_way(seed)
        fit = mm.mixedlm("y ~ 1", data, groups="g").fit(method=method, fe_pen=Ridge())
        assert fit.converged
        np.testing.assert_allclose([fit.scale, fit.cov_re.iloc[0, 0]], [within, between], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("method", ["lbfgs", "bfgs"])
def test_penalised_fits_do_so_in_any_units_of_the_columns(method: str, unit: float) -> None:
    data = simulated(5)
    best = mm.mixedlm("y ~ x", data, groups="g", re_formula="~ 0 + x").fit().llf
    model = mm.mixedlm("y ~ x", data.assign(x=unit * data.x), groups="g", re_formula="~ 0 + x")
    fit = model.fit(method=method, fe_pen=Ridge(min(unit, 1.0)))
    # REML knows the unit of a column of the fixed part: log|X'X| moves by 2 log(unit).
    assert fit.converged
    assert fit.llf == pytest.approx(best - np.log(unit), abs=1e-6)


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg", "powell", "nm"])
def test_held_components_leave_the_saddle_too(method: str) -> None:
    model = mm.mixedlm("y ~ x", simulated(8), groups="g", **MODELS["component"])
    free = mm.MixedLMParams.from_components(np.ones(2), np.ones((1, 1)), vcomp=np.zeros(1))
    start = mm.MixedLMParams.from_components(np.zeros(2), np.ones((1, 1)), vcomp=np.array([0.3]))
    best, fit = (model.fit(free=free, start_params=start, method=one) for one in (None, method))
    assert fit.converged
    assert fit.llf == pytest.approx(best.llf, abs=1e-6)


def test_a_singular_start_is_a_start_and_a_negative_one_is_refused() -> None:
    model = mm.mixedlm("y ~ x", simulated(5), groups="g", re_formula="~x")
    start = mm.MixedLMParams.from_components(np.zeros(2), np.zeros((2, 2)))
    assert model.fit(method="bfgs", start_params=start).llf == pytest.approx(model.fit().llf, abs=1e-6)
    start.cov_re = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(mm.DataError, match="positive semidefinite"):
        model.fit(method="bfgs", start_params=start)
    with pytest.raises(mm.DataError, match="positive semidefinite"):
        model.fit(start_params=start)


@pytest.mark.parametrize("method", ["bfgs", "lbfgs", "cg", "powell", "nm", "ncg"])
def test_far_origins_and_odd_units_end_at_the_optimum_too(method: str) -> None:
    for seed in range(4):
        data = simulated(seed)
        best = mm.mixedlm("y ~ x", data, groups="g", re_formula="~x").fit()
        for unit in (1e-4, 1e4):
            far = data.assign(x=unit * (data.x + 1000), y=1e3 * data.y + 1e4)
            fit = mm.mixedlm("y ~ x", far, groups="g", re_formula="~x").fit(method=method)
            assert fit.converged
            # Densities of y go down by its unit, and log|X'X| by 2 log(unit).
            expected = best.llf - (len(data) - 2) * np.log(1e3) - np.log(unit)
            assert fit.llf == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", [3, 11, 27])
def test_no_other_value_of_a_free_variance_is_better_beside_a_held_one(seed: int) -> None:
    """Seed 27 has two minima: correlations of -1 and 1."""
    for model in (
        mm.mixedlm("y ~ x", simulated(seed), groups="g", re_formula="~x"),
        mm.mixedlm("y ~ x", simulated(seed), groups="g", **MODELS["component"]),
    ):
        for value in (0.2, 2.0):
            fit = model.fit(fixed={"g Var": value})
            assert fit.converged
            assert fit.mle_retvals["optimizer"] == ("slsqp",)
            other = model.data.param_names[-1]
            grid = [model.fit(fixed={"g Var": value, other: held}).llf for held in (1e-6, 0.02, 0.1, 0.3, 1.0, 3.0)]
            assert max(grid) <= fit.llf + 1e-6
