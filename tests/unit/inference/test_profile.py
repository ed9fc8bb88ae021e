"""Profiles: boundaries, invariances, functions of parameters, bad input. Numbers are in tests/reference."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import mixedmodels as mm
from data_loader import load
from mixedmodels.inference import bootstrap
from mixedmodels.inference.profile import Profile
from mixedmodels.inference.profiler import Profiler

DATA = mm.load_dataset("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer(FORMULA, DATA, reml=False)


def test_zeta_is_the_signed_root_of_the_rise(fit: mm.LmmResult) -> None:
    zeta = fit.profile().zeta
    assert set(zeta["parameter"]) == {*fit.fe_params.index, *fit.variance_parameters().index}
    for name, points in zeta.groupby("parameter"):
        assert points["value"].is_monotonic_increasing
        assert points["zeta"].is_monotonic_increasing, name
        assert (points["zeta"] == 0).sum() == 1


def test_a_profiled_parameter_holds_its_value(fit: mm.LmmResult) -> None:
    for name in ("sd_Days|Subject", "cor_Days.Intercept|Subject", "sigma"):
        points = fit.profile(name).zeta
        np.testing.assert_allclose(points[name], points["value"], rtol=1e-6)


@pytest.mark.parametrize("reml", [True, False])
def test_units_and_origin_only_map_the_intervals(reml: bool) -> None:
    plain = mm.lmer(FORMULA, DATA, reml=reml).conf_int("profile", which=["Days", "sd_Days|Subject", "sigma"])
    moved = DATA.assign(Days=DATA["Days"] * 100 + 2000, Reaction=DATA["Reaction"] * 10 + 1e4)
    mapped = mm.lmer(FORMULA, moved, reml=reml).conf_int("profile", which=["Days", "sd_Days|Subject", "sigma"])
    np.testing.assert_allclose(mapped.to_numpy(), plain.to_numpy() * np.array([0.1, 0.1, 10])[:, None], rtol=1e-5)


def test_small_units_keep_the_digits() -> None:
    data = mm.load_dataset("sleepstudy")
    small = data.assign(Reaction=data["Reaction"] * 1e-12)
    usual, tiny = (
        mm.lmer("Reaction ~ Days + (Days | Subject)", d).conf_int("profile", which=["Days", "sd_Days|Subject"])
        for d in (data, small)
    )
    np.testing.assert_allclose(tiny * 1e12, usual, rtol=1e-6)


def test_the_highest_level_is_reached(fit: mm.LmmResult) -> None:
    wide = fit.conf_int("profile", level=0.999, which=["Days", "sigma"])
    assert (wide["lower"] < fit.conf_int("profile", level=0.99, which=["Days", "sigma"])["lower"]).all()


def test_reml_interval_of_a_mean_with_one_variance_is_students_up_to_the_pivot() -> None:
    """One observation a level twice: zeta^2 = (n - 1) log(1 + t^2 / (n - 1)) where the level variance is zero."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(10), 2)
    y = rng.normal(size=20)
    y = y - 0.6 * np.repeat(np.add.reduceat(y, range(0, 20, 2)) / 2, 2)  # levels agree more than by chance: variance 0
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    points = fit.profile("Intercept").zeta
    near = points[np.abs(points["zeta"]) < 1]
    t = (near["value"] - y.mean()) / (y.std(ddof=1) / np.sqrt(20))
    np.testing.assert_allclose(near["zeta"], np.sign(t) * np.sqrt(19 * np.log1p(t**2 / 19)), atol=1e-6)


def test_a_function_of_parameters_agrees_with_a_monotone_map(fit: mm.LmmResult) -> None:
    """The profile does not depend on how a parameter is written."""
    ratio = fit.profile({"variance": lambda p: p["sd_Days|Subject"] ** 2}).conf_int().loc["variance"]
    sd = fit.conf_int("profile", which="sd_Days|Subject").loc["sd_Days|Subject"]
    np.testing.assert_allclose(ratio, sd**2, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_zero_variance_has_an_upper_limit_only() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2"), reml=False)
    low, high = fit.conf_int("profile", which="sd_Intercept|Batch").loc["sd_Intercept|Batch"]
    assert low == 0
    # the definition: the criterion there is that of the fit plus the quantile squared, sigma at its best
    model = mm.LinearMixedModel("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2"))
    sigmas = np.linspace(2.5, 5, 20001)
    rises = []
    for sigma in sigmas[::100]:
        theta = high / sigma
        deviance = model.deviance([theta], reml=False)
        s2 = fit.state.problem.model.solve(np.array([theta]), False)[2] ** 2
        rises.append(deviance + 30 * (s2 / sigma**2 - 1 - np.log(s2 / sigma**2)))
    assert min(rises) - fit.deviance == pytest.approx(1.959963984540054**2, abs=1e-3)


def test_levels(fit: mm.LmmResult) -> None:
    profile = fit.profile(["Days", "sigma"])
    wide, narrow = profile.conf_int(0.99), profile.conf_int(0.8)
    assert (wide["lower"] < narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).all()


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match=r"no parameter 'Day' to profile.*Did you mean 'Days'"):
        fit.profile("Day")
    with pytest.raises(mm.InferenceError, match="which is empty"):
        fit.profile([])
    with pytest.raises(mm.InferenceError, match="does not change"):
        fit.profile({"constant": lambda _: 1.0})
    with pytest.raises(mm.InferenceError, match="level is 1"):
        fit.profile("Days").conf_int(1.0)
    with pytest.raises(mm.InferenceError, match="ends before the level"):
        fit.profile("Days").conf_int(0.99999)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_correlation_on_its_boundary_has_no_profile() -> None:
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(8), 5), np.tile(np.arange(5.0), 8)
    b = rng.normal(size=8)
    fit = mm.lmer("y ~ x + (x | g)", {"y": b[g] * (1 + x) + rng.normal(size=40), "x": x, "g": g}, reml=False)
    assert fit.is_singular
    with pytest.raises(mm.InferenceError, match=r"cor_x.Intercept\|g has no profile"):
        fit.profile("cor_x.Intercept|g")
    assert "cor_x.Intercept|g" not in set(fit.profile().zeta["parameter"])


def test_bad_functions(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match=r"asks for 'sd_Day\|Subject'.*Did you mean 'sd_Days\|Subject'"):
        fit.profile({"f": lambda p: p["sd_Day|Subject"]})
    with pytest.raises(mm.InferenceError, match="raised ZeroDivisionError"):
        fit.profile({"f": lambda _: 1 / 0})
    with pytest.raises(mm.InferenceError, match="must be finite"):
        fit.profile({"f": lambda _: np.nan})
    with pytest.raises(mm.InferenceError, match="raised TypeError"):
        fit.profile({"f": lambda _: "x"[0] + 1})


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_an_intraclass_correlation_of_a_zero_variance_ends_at_zero() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2"))
    share = {"icc": lambda p: p["sd_Intercept|Batch"] ** 2 / (p["sd_Intercept|Batch"] ** 2 + p["sigma"] ** 2)}
    low, high = fit.profile(share).conf_int().loc["icc"]
    assert 0 == low < high < 1


def test_the_interval_of_a_profile_that_turns_is_the_whole_region() -> None:
    points = pd.DataFrame(
        {
            "parameter": "a",
            "value": [-4.0, -3, -2, -1, 0, 1, 2],
            "zeta": [-3.0, -1.5, -2.2, -1, 0, 1, 2.5],
            "slope": [1.5, 0, 0, 1, 1, 1, 1.5],
        }
    )
    lower, upper = Profile(points, {"a": (-np.inf, np.inf)}, {"a": 0.0}).conf_int().loc["a"]
    assert -4 < lower < -3
    assert 1 < upper < 2


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
@pytest.mark.parametrize("seed", [3, 5, 11, 41, 55, 74])
def test_weakly_determined_slopes_have_all_their_intervals(seed: int) -> None:
    """Twelve small groups: profiles meet variances of zero and perfect correlations on the way."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 10, 12)
    g = np.repeat(np.arange(12), sizes)
    x = rng.normal(size=len(g))
    b = rng.normal(size=(12, 2)) * [0.6, 0.3]
    y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
    profile = mm.lmer("y ~ x + (x | g)", {"y": y, "x": x, "g": g}, reml=bool(seed % 2)).profile()
    inner, outer = profile.conf_int(0.95), profile.conf_int(0.99)
    assert ((outer["lower"] <= inner["lower"]) & (inner["upper"] <= outer["upper"])).all()
    for name, estimate in profile.estimates.items():
        assert inner.loc[name, "lower"] <= estimate <= inner.loc[name, "upper"]


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
@pytest.mark.parametrize("seed", [14, 38])
def test_a_profile_that_reaches_one_below_the_level_ends_there(seed: int) -> None:
    """Correlations of one are had at a small price; the interval includes them, and zeta stays what it is."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(8), 5)
    x, z = rng.normal(size=(2, 40))
    b = rng.normal(size=(8, 3)) * [1, 0.4, 0.3]
    y = 1 + b[g, 0] + b[g, 1] * x + b[g, 2] * z + rng.normal(size=40)
    fit = mm.lmer("y ~ x + z + (x + z | g)", {"y": y, "x": x, "z": z, "g": g})
    profile = fit.profile("cor_x.Intercept|g")
    end, before = profile.zeta.iloc[-1], profile.zeta.iloc[-2]
    assert end["value"] == 1
    assert before["value"] > 0.9999
    assert end["zeta"] == pytest.approx(before["zeta"], abs=0.05)
    assert profile.conf_int().loc["cor_x.Intercept|g", "upper"] == 1


def test_a_name_given_twice_is_profiled_once(fit: mm.LmmResult) -> None:
    pd.testing.assert_frame_equal(fit.profile(["sigma", "sigma"]).conf_int(), fit.profile("sigma").conf_int())


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_profiles_in_units_far_from_one(unit: float) -> None:
    sleep = load("sleepstudy")
    plain = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep).conf_int("profile")
    scaled = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep.assign(Reaction=sleep.Reaction * unit))
    units = np.where(plain.index.str.startswith("cor_"), 1.0, unit)[:, None]
    np.testing.assert_allclose(scaled.conf_int("profile") / units, plain, rtol=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 1e2, 1e4])
def test_balanced_groups_have_the_profile_of_their_means(ratio: float) -> None:
    """By ML -2 log-likelihood rises by G log(Q(mu) / Q), Q the sum of squares of group means about mu or their mean."""
    rng = np.random.default_rng(5)
    n_groups, n = 12, 5
    g = np.repeat(np.arange(n_groups), n)
    y = ratio * (3 + rng.normal(size=n_groups))[g] + rng.normal(size=n_groups * n)
    fit = mm.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}), reml=False)
    means = y.reshape(n_groups, n).mean(axis=1)
    half = np.sqrt(np.mean((means - means.mean()) ** 2) * np.expm1(stats.chi2.isf(0.05, 1) / n_groups))
    interval = fit.conf_int("profile")
    np.testing.assert_allclose(interval.loc["Intercept"], [means.mean() - half, means.mean() + half], rtol=2e-3)
    # with n S + sigma^2 = v the rise is G (log(v / v_hat) + v_hat / v - 1), as long as sigma is far smaller
    if ratio > 1:
        v_hat = np.mean((means - means.mean()) ** 2)
        rise = lambda log_v: n_groups * (log_v + np.exp(-log_v) - 1) - stats.chi2.isf(0.05, 1)  # noqa: E731
        ends = [np.exp(optimize.brentq(rise, *between) / 2) for between in ((-5, 0), (0, 5))]
        np.testing.assert_allclose(interval.loc["sd_Intercept|g"], np.sqrt(v_hat) * np.array(ends), rtol=2e-3)


def test_an_interrupt_keeps_the_parameters_that_were_profiled(
    fit: mm.LmmResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path, calls = fit.profile(["sigma", "Days", "sd_Days|Subject"]), Profiler.path, iter(range(9))
    assert whole.notes == whole.conf_int().attrs["notes"] == []

    def impatient(self: Profiler, name: str) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return path(self, name)

    monkeypatch.setattr(Profiler, "path", impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.profile(["sigma", "Days", "sd_Days|Subject"])
    part = caught.value.partial  # type: ignore[attr-defined]
    note = "The profile was interrupted: there is none of sd_Days|Subject."
    with pytest.warns(mm.PartialResultWarning, match=re.escape(note)):
        table = part.conf_int()
    pd.testing.assert_frame_equal(table, whole.conf_int().iloc[:2])
    assert table.attrs["notes"] == [note]
    assert note in repr(part)
    with pytest.warns(mm.PartialResultWarning, match=re.escape(note)):
        part.plot()


def test_unknown_names_are_told_before_anything_is_profiled(fit: mm.LmmResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Profiler, "path", None)
    monkeypatch.setattr(bootstrap, "_run", None)
    for ask in (
        lambda: fit.profile(["sigma", "Dais"]),
        lambda: fit.conf_int("profile", which=["sigma", "Dais"]),
        lambda: fit.conf_int("bootstrap", which=["sigma", "Dais"]),
        lambda: fit.conf_int("wald", which=["sigma", "Dais"]),
    ):
        with pytest.raises(mm.InferenceError, match=r"no parameter 'Dais'.*Did you mean 'Days'\?"):
            ask()
    with pytest.raises(mm.InferenceError, match="Did you mean 'basic'"):
        fit.conf_int("bootstrap", interval="basics")
