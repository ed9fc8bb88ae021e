"""Profiles and bootstraps of generalised models: against other fits, boundaries, invariances, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import mixedmodels as mm
from data_loader import load
from mixedmodels.fit.fitted import marginal_fitted

CBPP = mm.load_dataset("cbpp")
FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def fit() -> mm.GlmmResult:
    return mm.glmer(FORMULA, CBPP)


@pytest.fixture(scope="module")
def plain_counts() -> pd.DataFrame:
    """Counts without an effect of the groups, and no more spread than Poisson's."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=160)
    return pd.DataFrame({"g": np.repeat(np.arange(20), 8), "x": x, "n": rng.poisson(np.exp(1 + 0.3 * x))})


def test_a_fixed_effect_held_is_one_in_the_offset(fit: mm.GlmmResult) -> None:
    data = CBPP.assign(**{f"p{k}": (CBPP["period"].astype(str) == str(k)).astype(float) for k in (2, 3, 4)})
    points = fit.profile("period[T.3]").zeta
    for value, zeta in points[["value", "zeta"]].to_numpy()[[0, -1]]:
        held = mm.glmer(
            "cbind(incidence, size - incidence) ~ p2 + p4 + (1 | herd)", data, offset=value * data["p3"].to_numpy()
        )
        assert fit.deviance + zeta**2 == pytest.approx(held.deviance, abs=1e-6)


def test_a_standard_deviation_held_is_a_minimum_over_the_rest(fit: mm.GlmmResult) -> None:
    model = mm.GeneralizedLinearMixedModel(FORMULA, CBPP)
    points = fit.profile("sd_Intercept|herd").zeta
    for value, zeta in points[["value", "zeta"]].to_numpy()[[0, 3, -1]]:
        found = optimize.minimize(
            lambda beta, value=value: model.deviance(model.psi([value], beta)),
            fit.fe_params.to_numpy(),
            method="BFGS",
            options={"gtol": 1e-4},
        )
        assert fit.deviance + zeta**2 == pytest.approx(found.fun, abs=1e-5)


def test_a_correlation_held_is_a_minimum_over_the_rest() -> None:
    data = load("Contraception").iloc[::2]
    model = mm.GeneralizedLinearMixedModel("use ~ urban + (urban | district)", data)
    fit = model.fit()
    upper = fit.conf_int("profile", which="cor_urban[T.Y].Intercept|district")["upper"].iloc[0]

    def deviance(free: np.ndarray) -> float:
        first, second = np.exp(free[:2])
        theta = [first, upper * second, np.sqrt(1 - upper**2) * second]
        return model.deviance(model.psi(theta, free[2:]))

    start = [np.log(0.6), np.log(0.7), *fit.fe_params]
    found = optimize.minimize(deviance, start, method="BFGS", options={"gtol": 1e-3})
    assert np.sqrt(found.fun - fit.deviance) == pytest.approx(1.959964, abs=2e-4)


def test_zeta_rises_and_is_zero_at_the_estimate(fit: mm.GlmmResult) -> None:
    profile = fit.profile()
    assert set(profile.zeta["parameter"]) == {*fit.fe_params.index, "sd_Intercept|herd"}
    for name, points in profile.zeta.groupby("parameter"):
        assert points["zeta"].is_monotonic_increasing, name
        assert (points["zeta"] == 0).sum() == 1
    assert profile.plot() is not None


def test_units_and_origins_only_map_the_intervals() -> None:
    data = load("Contraception")
    which = ["age", "sd_age|district", "cor_age.Intercept|district"]
    plain, moved = (
        mm.glmer("use ~ age + urban + (age | district)", data.assign(age=age)).conf_int("profile", which=which)
        for age in (data["age"], data["age"] * 1e3)
    )
    np.testing.assert_allclose(moved.to_numpy()[:2] * 1e3, plain.to_numpy()[:2], rtol=1e-4)
    np.testing.assert_allclose(moved.to_numpy()[2], plain.to_numpy()[2], rtol=1e-4)
    far = mm.glmer("use ~ age + urban + (1 | district)", data.assign(age=data["age"] + 1e6))
    near = mm.glmer("use ~ age + urban + (1 | district)", data)
    for method in ("wald", "profile"):
        both = [f.conf_int(method, which=["age", "sd_Intercept|district"]).to_numpy() for f in (near, far)]
        np.testing.assert_allclose(both[1], both[0], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_zeros_are_ends_of_profiles(plain_counts: pd.DataFrame) -> None:
    fit = mm.glmer("n ~ x + (1 | g)", plain_counts, family="negative_binomial")
    found = fit.conf_int("profile")
    assert found.loc["sd_Intercept|g", "lower"] == found.loc["dispersion", "lower"] == 0
    assert (found["upper"] > found["lower"]).all()
    wald = fit.conf_int()
    assert wald.loc[["sd_Intercept|g", "dispersion"]].isna().all(axis=None)
    slopes = mm.glmer("n ~ x + (x | g)", plain_counts, family="poisson").conf_int("profile")
    assert slopes.loc["cor_x.Intercept|g"].isna().all()
    assert (slopes.loc[["sd_Intercept|g", "sd_x|g"], "lower"] == 0).all()


def test_the_profile_of_a_dispersion_ends_where_the_counts_are_poisson() -> None:
    data = load("grouseticks")
    formula = "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)"
    fit = mm.glmer(formula, data, family="negative_binomial")
    zeta = fit.profile("dispersion").zeta
    assert zeta["value"].min() > 0  # Poisson's deviance is hundreds above
    np.testing.assert_allclose(zeta["dispersion"], zeta["value"], rtol=1e-6)
    shown = fit.profile({"sd": lambda p: p["sd_Intercept|BROOD"]}).conf_int()
    np.testing.assert_allclose(shown.loc["sd"], fit.conf_int("profile").loc["sd_Intercept|BROOD"], rtol=1e-5)


def test_the_numbers_follow_from_the_seed(fit: mm.GlmmResult, tmp_path: Path) -> None:
    whole = fit.bootstrap(12, seed=4, progress=False)
    extended = fit.bootstrap(5, seed=4, progress=False).extend(7)
    pd.testing.assert_frame_equal(extended.replicates, whole.replicates)
    path = tmp_path / "kept"
    fit.bootstrap(5, seed=4, path=path, progress=False)
    pd.testing.assert_frame_equal(fit.bootstrap(12, path=path, progress=False).replicates, whole.replicates)
    loaded = mm.load(path)
    pd.testing.assert_frame_equal(loaded.conf_int("studentized"), whole.conf_int("studentized"))
    other = mm.glmer(FORMULA, CBPP, link="probit")
    with pytest.raises(mm.InferenceError, match="of another fit"):
        other.bootstrap(12, path=path)


def test_a_replicate_is_the_fit_to_what_was_drawn(fit: mm.GlmmResult) -> None:
    made = fit.bootstrap(2, seed=4, progress=False)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(4, spawn_key=(1,))))
    factor = fit.state.design.factors[0]
    b = rng.standard_normal((factor.n_levels, 1)) * fit.theta.iloc[0]
    mean = 1 / (1 + np.exp(-(marginal_fitted(fit.state) + b[factor.codes, 0])))
    drawn = rng.binomial(CBPP["size"].to_numpy(), mean)
    again = mm.glmer("cbind(y, size - y) ~ period + (1 | herd)", CBPP.assign(y=drawn))
    np.testing.assert_allclose(made.replicates.iloc[1, :4], again.fe_params, rtol=1e-5)
    np.testing.assert_allclose(made.std_errors.iloc[1], again.bse_fe, rtol=1e-5)


def test_kinds_and_statistics(fit: mm.GlmmResult) -> None:
    cases = fit.bootstrap(6, seed=1, kind="cases", progress=False)
    assert cases.n_failed == 0
    own = fit.bootstrap(4, seed=1, statistic=lambda f: f.predict(random_effects="averaged").mean(), progress=False)
    assert own.replicates.shape == (4, 1)
    for interval in ("percentile", "basic", "bca", "studentized"):
        table = fit.conf_int("bootstrap", n=30, seed=1, interval=interval)
        assert (table["lower"] < table["upper"]).all()
    with pytest.raises(mm.InferenceError, match=r"kind='residual' is not available.*\"parametric\", \"cases\""):
        fit.bootstrap(3, kind="residual")


def test_replicates_without_both_answers_are_counted() -> None:
    data = pd.DataFrame({"g": [0, 0, 1, 1, 2, 2], "y": [0, 0, 0, 1, 0, 0]})
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.glmer("y ~ 1 + (1 | g)", data)
    made = fit.bootstrap(20, seed=1, progress=False)
    assert made.failures["the response of the replicate has the same value in all rows"] > 0
    assert made.replicates.isna().all(axis=1).sum() == made.n_failed


def test_quadrature_is_kept_by_profiles_and_replicates(tmp_path: Path) -> None:
    fit = mm.glmer(FORMULA, CBPP, n_agq=7)
    points = fit.profile("sd_Intercept|herd").zeta
    held = fit.state.problem
    first = points.iloc[-1]
    lowest = optimize.minimize(
        lambda beta: held.deviance(held.psi([first["value"]], beta)), fit.fe_params.to_numpy(), options={"gtol": 1e-4}
    )
    assert fit.deviance + first["zeta"] ** 2 == pytest.approx(lowest.fun, abs=1e-5)
    fit.save(tmp_path / "fit")
    assert mm.load(tmp_path / "fit").n_agq == 7
    one = fit.bootstrap(1, seed=2, progress=False)._plan.fit.refit(fit.state.problem.observed.y)
    assert one.optimum.deviance == pytest.approx(fit.deviance, abs=1e-7)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda f: f.conf_int("profil"), "Did you mean 'profile'"),
        (lambda f: f.conf_int(which="perod"), "no parameter 'perod'"),
        (lambda f: f.conf_int("profile", which="sigma"), "no parameter 'sigma'"),
        (lambda f: f.conf_int(ddf="satterthwaite"), "ddf= does not go with"),
        (lambda f: f.profile(["herd"]), "no parameter 'herd' to profile"),
        (lambda f: f.profile({"x": lambda p: p["sigma"]}), "asks for 'sigma'"),
        (lambda f: f.variance_parameters("sds"), "Did you mean 'sd'"),
    ],
)
def test_refusals_say_what_to_do(fit: mm.GlmmResult, ask: Any, told: str) -> None:
    with pytest.raises(mm.InferenceError, match=told):
        ask(fit)


def test_a_file_gives_the_fit_back(fit: mm.GlmmResult, tmp_path: Path) -> None:
    for family, data, formula in (
        ("binomial", CBPP, FORMULA),
        ("negative_binomial", load("grouseticks"), "TICKS ~ YEAR + (1 | BROOD)"),
        (mm.families.Binomial("cloglog"), CBPP, FORMULA),
    ):
        made = mm.glmer(formula, data, family=family)
        made.save(tmp_path / "fit")
        found = mm.load(tmp_path / "fit")
        assert str(found.summary()) == str(made.summary())
        pd.testing.assert_series_equal(found.predict(data.iloc[:5]), made.predict(data.iloc[:5]))
        pd.testing.assert_frame_equal(found.conf_int("profile"), made.conf_int("profile"))
        assert found.update(". ~ 1 + " + formula.split(" + ")[-1]).nobs == made.nobs
