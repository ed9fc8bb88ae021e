"""The bootstrap: streams, resuming, kinds, statistics, failures, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

DATA = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", DATA)


def test_extending_is_the_same_as_asking_at_once(fit: mm.LmmResult) -> None:
    whole = fit.bootstrap(40, seed=7, progress=False)
    parts = fit.bootstrap(15, seed=7, progress=False).extend(25)
    pd.testing.assert_frame_equal(whole.replicates, parts.replicates)
    assert (whole.n_singular, whole.n_failed) == (parts.n_singular, parts.n_failed)


def test_threads_do_not_matter() -> None:
    one, two = (
        mm.lmer("Reaction ~ Days + (Days | Subject)", DATA, control=mm.Control(n_threads=n))
        .bootstrap(20, seed=1, progress=False)
        .replicates
        for n in (1, 2)
    )
    pd.testing.assert_frame_equal(one, two)


def test_a_replicate_is_the_refit_of_its_simulated_response(fit: mm.LmmResult) -> None:
    inside = fit.bootstrap(5, seed=3, progress=False).replicates
    outside = fit.bootstrap(5, seed=3, progress=False, statistic=lambda r: r.fe_params).replicates
    np.testing.assert_allclose(inside[outside.columns], outside, rtol=1e-6)


def test_spread_of_a_parametric_bootstrap_is_the_standard_error(fit: mm.LmmResult) -> None:
    replicates = fit.bootstrap(4000, seed=1, progress=False).replicates
    error = 1 / np.sqrt(2 * 4000)
    for name in fit.fe_params.index:
        assert replicates[name].std() == pytest.approx(fit.bse_fe[name], rel=5 * error)
        assert replicates[name].mean() == pytest.approx(fit.fe_params[name], abs=5 * fit.bse_fe[name] / np.sqrt(4000))


def test_residual_bootstrap_has_the_fitted_moments() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    replicates = fit.bootstrap(1500, seed=2, kind="residual", progress=False).replicates
    assert replicates["Intercept"].std() == pytest.approx(fit.bse_fe["Intercept"], rel=0.1)
    assert replicates["sigma"].mean() == pytest.approx(fit.sigma, rel=0.05)


def test_cases_draw_whole_levels() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    drawn = fit.bootstrap(10, seed=4, kind="cases", statistic=lambda r: r.n_groups | {"n": r.nobs}, progress=False)
    assert (drawn.replicates == [30, 10, 60]).all().all()


def test_intervals(fit: mm.LmmResult) -> None:
    boot = fit.bootstrap(400, seed=1, progress=False)
    days = boot.replicates["Days"]
    percentile, basic, bca = (boot.conf_int(kind).loc["Days"] for kind in ("percentile", "basic", "bca"))
    np.testing.assert_allclose(percentile, np.quantile(days, [0.025, 0.975]))
    np.testing.assert_allclose(basic, 2 * fit.fe_params["Days"] - np.quantile(days, [0.975, 0.025]))
    assert np.abs(bca - percentile).max() < 0.5 * fit.bse_fe["Days"]


def test_studentized_intervals_of_fixed_effects(fit: mm.LmmResult) -> None:
    boot = fit.bootstrap(400, seed=1, progress=False)
    intervals = boot.conf_int("studentized", 0.9)
    ratios = (boot.replicates["Days"] - fit.fe_params["Days"]) / boot.std_errors["Days"]
    expected = fit.fe_params["Days"] - fit.bse_fe["Days"] * np.quantile(ratios, [0.95, 0.05])
    np.testing.assert_allclose(intervals.loc["Days"], expected)
    names = ["Days", "cor_Days.Intercept|Subject"]
    by_name = fit.conf_int(method="bootstrap", n=400, seed=1, level=0.9, which=names)
    pd.testing.assert_frame_equal(by_name, intervals.loc[names])


def test_standard_errors_are_those_of_the_refits(fit: mm.LmmResult) -> None:
    boot = fit.bootstrap(3, seed=1, progress=False).extend(2)
    singly = fit.bootstrap(5, seed=1, statistic=lambda r: r.bse_fe, progress=False)
    pd.testing.assert_frame_equal(boot.std_errors, singly.replicates, rtol=1e-5)
    with pytest.raises(mm.InferenceError, match="needs standard errors"):
        singly.conf_int("studentized")


def test_bca_of_a_mean_is_that_of_efron() -> None:
    """Acceleration of a mean over balanced levels: sum d^3 / (6 (sum d^2)^1.5), d the levels' deviations."""
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    boot = fit.bootstrap(10, seed=1, progress=False, statistic=lambda r: {"mean": r.fe_params["Intercept"]})
    means = mm.load_dataset("Dyestuff").groupby("Batch", observed=True)["Yield"].mean()
    d = means - means.mean()
    expected = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    assert boot._plan.acceleration()["mean"] == pytest.approx(expected, rel=1e-6)


def test_failures_are_counted(fit: mm.LmmResult) -> None:
    calls = iter(range(100))

    def fragile(result: mm.LmmResult) -> Any:
        if next(calls) % 3 == 2:
            raise RuntimeError("no luck")
        return result.sigma

    boot = fit.bootstrap(9, seed=1, statistic=fragile, progress=False)
    assert boot.n_failed == 3
    assert boot.failures == {"the statistic raised RuntimeError: no luck": 3}
    assert boot.replicates["statistic"].isna().sum() == 3
    assert boot.conf_int().notna().all().all()


def test_a_statistic_of_changing_length_is_a_failure(fit: mm.LmmResult) -> None:
    sizes = iter([2, 2, 3])
    boot = fit.bootstrap(2, seed=1, statistic=lambda _: [1.0] * next(sizes), progress=False)
    assert boot.failures == {"the statistic returned other names or another length": 1}


def test_an_interrupt_keeps_what_was_done(fit: mm.LmmResult) -> None:
    calls = iter(range(100))

    def impatient(result: mm.LmmResult) -> float:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return result.sigma

    with pytest.raises(KeyboardInterrupt) as caught:
        fit.bootstrap(50, seed=1, statistic=impatient, progress=False)
    boot = caught.value.partial  # type: ignore[attr-defined]
    assert len(boot.replicates) == 3
    note = "The bootstrap was interrupted: 3 of 50 replicates were made."
    assert note in repr(boot)
    with pytest.warns(mm.PartialResultWarning, match=note):
        assert boot.conf_int().attrs["notes"] == [note]
    with pytest.warns(mm.PartialResultWarning, match=note):
        assert boot.summary().attrs["notes"] == [note]
    whole = boot.extend(4)
    assert whole.notes == []
    sigma = fit.bootstrap(7, seed=1, progress=False).replicates["sigma"]
    np.testing.assert_allclose(whole.replicates["statistic"], sigma, rtol=1e-6)


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="n is 0; the number of replicates must be a positive integer"):
        fit.bootstrap(0)
    with pytest.raises(mm.InferenceError, match="Did you mean 'parametric'"):
        fit.bootstrap(5, kind="parametrics")
    with pytest.raises(mm.InferenceError, match=r"no grouping factor 'Subjects'.*Did you mean 'Subject'"):
        fit.bootstrap(5, kind="cases", level_of="Subjects")
    with pytest.raises(mm.InferenceError, match="goes with kind='cases' only"):
        fit.bootstrap(5, level_of="Subject")
    for bad in (-1, 2.5, True, "10"):
        with pytest.raises(mm.InferenceError, match="must be a positive integer"):
            fit.bootstrap(bad)
    for bad in ("a", -1, 1.5):
        with pytest.raises(mm.InferenceError, match="it must be an integer from 0 on"):
            fit.bootstrap(5, seed=bad)
    with pytest.raises(mm.InferenceError, match="n is 0"):
        fit.bootstrap(2, seed=1, progress=False).extend(0)
    with pytest.raises(mm.InferenceError, match="Did you mean 'bca'"):
        fit.bootstrap(5, seed=1, progress=False).conf_int("bc")


@pytest.mark.parametrize(
    ("statistic", "message"),
    [
        (lambda _: "x", "and returned 'x'"),
        (lambda _: None, "and returned None"),
        (lambda _: np.eye(2), "and returned a ndarray"),
        (lambda _: [], "at least one number"),
        (lambda _: 1 / 0, "raised ZeroDivisionError on the fit itself"),
        (3, "must be a function"),
    ],
)
def test_a_bad_statistic_is_told_before_any_replicate(fit: mm.LmmResult, statistic: Any, message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        fit.bootstrap(5, statistic=statistic, progress=False)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_at_the_end_of_a_range_only_percentiles_are_defined() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2"))
    boot = fit.bootstrap(200, seed=1, progress=False)
    low, high = boot.conf_int("percentile").loc["sd_Intercept|Batch"]
    assert 0 == low < high
    for kind in ("basic", "bca", "studentized"):
        assert boot.conf_int(kind).loc["sd_Intercept|Batch"].isna().all()
        assert boot.conf_int(kind).loc["Intercept"].notna().all()


def test_basic_intervals_stay_in_the_range() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    boot = fit.bootstrap(400, seed=1, progress=False)
    name = "sd_Intercept|Batch"
    limits = 2 * boot.estimates[name] - np.quantile(boot.replicates[name], [0.99975, 0.00025])
    assert limits[0] < 0
    np.testing.assert_allclose(boot.conf_int("basic", 0.9995).loc[name], [0, limits[1]])


@pytest.mark.parametrize("kind", ["parametric", "residual", "cases"])
def test_offsets_and_weights(kind: str) -> None:
    """The mean of the replicates is the estimate, whose error is a standard error over the root of their number."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 10)
    x, offset, w = rng.normal(size=120), 50 * rng.normal(size=120), rng.uniform(0.5, 3, 120)
    y = 2 + x + offset + rng.normal(size=12)[g] + rng.normal(size=120) / np.sqrt(w)
    data = {"y": y, "x": x, "g": g, "o": offset, "w": w}
    fit = mm.lmer("y ~ x + offset(o) + (1 | g)", data, weights="w")
    replicates = fit.bootstrap(200, seed=1, kind=kind, progress=False).replicates
    for name in fit.fe_params.index:
        assert replicates[name].mean() == pytest.approx(fit.fe_params[name], abs=5 * fit.bse_fe[name] / np.sqrt(200))
