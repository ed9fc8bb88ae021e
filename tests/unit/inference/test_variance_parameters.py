"""Standard errors and intervals of variance parameters."""

from __future__ import annotations

import numpy as np
import pytest

import mixedmodels as mm
from mixedmodels.inference.variance_parameters import CovarianceMap, estimate


@pytest.fixture(scope="module")
def sleepstudy() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))


def test_the_standard_error_of_a_variance_is_that_of_the_observed_information() -> None:
    """dietox: 6.939 by the numeric observed information in natural parameters; statsmodels prints 2.149."""
    fit = mm.lmer("Weight ~ Time + (1 | Pig)", mm.load_dataset("dietox"))
    table = fit.variance_parameters("variance")
    assert table.loc["var_Intercept|Pig", "estimate"] == pytest.approx(40.394, abs=1e-3)
    assert table.loc["var_Intercept|Pig", "std_error"] == pytest.approx(6.939, abs=1e-3)


def test_balanced_one_way_layout_has_a_closed_form() -> None:
    """Searle, Casella and McCulloch (1992), ML of a balanced one-way layout: Var(sigma^2) = 2 sigma^4 / (a (n - 1))."""
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"), reml=False)
    table = fit.variance_parameters("variance")
    a, n = 6, 5
    sigma_2, tau = table.loc["sigma^2", "estimate"], table.loc["var_Intercept|Batch", "estimate"]
    assert table.loc["sigma^2", "std_error"] == pytest.approx(np.sqrt(2 / (a * (n - 1))) * sigma_2, rel=1e-6)
    between = 2 * (n * tau + sigma_2) ** 2 / a
    within = 2 * sigma_2**2 / (a * (n - 1))
    se = np.sqrt((between + within) / n**2)
    assert table.loc["var_Intercept|Batch", "std_error"] == pytest.approx(se, rel=1e-6)


def test_scales_are_one_another_by_the_delta_method(sleepstudy: mm.LmmResult) -> None:
    sd, variance, log = (sleepstudy.variance_parameters(scale) for scale in ("sd", "variance", "log"))
    for name in ("sd_Intercept|Subject", "sd_Days|Subject", "sigma"):
        squared = "sigma^2" if name == "sigma" else name.replace("sd_", "var_")
        assert np.exp(log.loc[name, "estimate"]) == pytest.approx(sd.loc[name, "estimate"])
        assert sd.loc[name, "std_error"] == pytest.approx(sd.loc[name, "estimate"] * log.loc[name, "std_error"])
        assert variance.loc[squared, "std_error"] == pytest.approx(
            2 * sd.loc[name, "estimate"] * sd.loc[name, "std_error"]
        )
        np.testing.assert_allclose(
            sd.loc[name, ["ci_lower", "ci_upper"]] ** 2, variance.loc[squared, ["ci_lower", "ci_upper"]]
        )
    z = log.loc["cor_Days.Intercept|Subject", ["ci_lower", "ci_upper"]].to_numpy(float)
    np.testing.assert_allclose(
        np.tanh(z), sd.loc["cor_Days.Intercept|Subject", ["ci_lower", "ci_upper"]].to_numpy(float)
    )


def test_units_only_scale_the_table() -> None:
    data = mm.load_dataset("sleepstudy")
    plain = mm.lmer("Reaction ~ Days + (Days | Subject)", data).variance_parameters()
    scaled = mm.lmer("Reaction ~ Days + (Days | Subject)", data.assign(Days=data["Days"] * 1e6)).variance_parameters()
    factor = np.array([1, 1, 1e-6, 1])[:, None]
    np.testing.assert_allclose(scaled.to_numpy(), plain.to_numpy() * factor, rtol=1e-5)


def test_derivatives_of_the_map_are_those_of_differences(sleepstudy: mm.LmmResult) -> None:
    covariance_map, psi = CovarianceMap(sleepstudy.state), estimate(sleepstudy.state)
    for parameter in covariance_map.parameters:
        value, slope = covariance_map.unbounded(psi, parameter)
        steps = np.eye(len(psi)) * 1e-5
        sides = [[covariance_map.unbounded(psi + sign * h, parameter) for sign in (1, -1)] for h in steps]
        np.testing.assert_allclose(slope, [(up[0] - down[0]) / 2e-5 for up, down in sides], atol=1e-8)
        natural = covariance_map.value(psi, parameter)
        assert value == pytest.approx(np.arctanh(natural) if parameter.kind == "cor" else np.log(natural))


def test_the_engine_holds_what_it_is_asked_to_hold() -> None:
    """The point lies on the surface, and the slope is that of the lowest criterion, by differences.

    A minimisation ends where 1e-6 are left to gain, which is some thousandths of a slope.
    """
    fit = mm.lmer("score ~ Machine + (0 + Machine | Worker)", mm.load_dataset("Machines"))
    covariance_map, psi = CovarianceMap(fit.state), estimate(fit.state)
    for parameter in covariance_map.parameters:
        value = covariance_map.unbounded(psi, parameter)[0] + 0.1
        place = parameter.factor, max(parameter.row, 0), max(parameter.column, 0)
        targets = value + np.array([-0.01, 0, 0.01])
        low, at, high = (fit.state.problem.model.minimize_on(psi, place, c, True) for c in targets)
        assert at[3]
        assert covariance_map.unbounded(at[0], parameter)[0] == pytest.approx(value, abs=1e-8)
        assert at[2] == pytest.approx((high[1] - low[1]) / 0.02, abs=5e-3)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_variance_of_zero_has_no_standard_error() -> None:
    table = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2")).variance_parameters()
    assert table.loc["sd_Intercept|Batch", "estimate"] == 0
    assert table.loc["sd_Intercept|Batch"].isna().sum() == 3
    assert table.loc["sigma"].notna().all()


def test_bad_arguments(sleepstudy: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match=r"scale='sdd' is not available; .*Did you mean 'sd'"):
        sleepstudy.variance_parameters("sdd")
    with pytest.raises(mm.InferenceError, match="level is 95"):
        sleepstudy.variance_parameters(level=95)
