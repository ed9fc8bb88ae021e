"""Intervals by name and method; principal components of random effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference import bootstrap


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))


def test_wald_is_the_coefficient_table_and_the_variance_table(fit: mm.LmmResult) -> None:
    table = fit.conf_int()
    np.testing.assert_allclose(
        table.loc["Days"], fit.coef_table().loc["Days", ["ci_lower", "ci_upper"]].to_numpy(float)
    )
    sd = fit.variance_parameters().loc["sigma", ["ci_lower", "ci_upper"]].to_numpy(float)
    np.testing.assert_allclose(table.loc["sigma"], sd)
    normal = fit.conf_int(ddf="normal", which="Days").loc["Days"]
    assert normal["upper"] - normal["lower"] == pytest.approx(2 * 1.959963984540054 * fit.bse_fe["Days"])


@pytest.mark.parametrize("method", ["wald", "profile", "bootstrap"])
def test_all_methods_have_the_same_rows(fit: mm.LmmResult, method: str) -> None:
    options = {"n": 50, "seed": 1} if method == "bootstrap" else {}
    table = fit.conf_int(method, **options)
    assert table.index.tolist() == fit.conf_int().index.tolist()
    assert (table["lower"] < table["upper"]).all()
    assert list(fit.conf_int(method, which=["sigma", "Days"], **options).index) == ["sigma", "Days"]


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_correlation_at_the_end_of_its_range_has_a_row() -> None:
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    u = rng.normal(size=12)
    fit = mm.lmer("y ~ x + (x | g)", {"y": x + u[g] * (1 + x) + rng.normal(size=72), "x": x, "g": g})
    assert fit.varcorr["g"].iloc[0, 1] > 0
    assert fit.is_singular
    for method in ("wald", "profile"):
        row = fit.conf_int(method).loc["cor_x.Intercept|g"]
        assert row.isna().all()


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="Did you mean 'profile'"):
        fit.conf_int("profil")
    with pytest.raises(mm.InferenceError, match="ddf= does not go with method='profile'"):
        fit.conf_int("profile", ddf="normal")
    for method in ("wald", "profile", "bootstrap"):
        with pytest.raises(mm.InferenceError, match=r"level is '0\.9'"):
            fit.conf_int(method, level="0.9")
    with pytest.raises(mm.InferenceError, match=r"no parameter 'Day'.*Did you mean 'Days'"):
        fit.conf_int(which="Day")


def test_principal_components(fit: mm.LmmResult) -> None:
    table = fit.re_pca()["Subject"]
    loadings, covariance = table[["Intercept", "Days"]].to_numpy(), fit.varcorr["Subject"].to_numpy()
    np.testing.assert_allclose(loadings.T @ np.diag(table["sd"] ** 2) @ loadings, covariance / fit.scale)
    assert table["cumulative"].iloc[-1] == pytest.approx(1.0)


VARIANCE = ["sd_Intercept|Subject", "cor_Days.Intercept|Subject", "sd_Days|Subject", "sigma"]
GROUPS = {
    "beta": ["Intercept", "Days"],
    "beta_": ["Intercept", "Days"],
    "theta": VARIANCE,
    "theta_": VARIANCE,
    "variance": VARIANCE,
    ("sigma", "beta", "theta"): ["sigma", "Intercept", "Days", *VARIANCE[:3]],
}


@pytest.mark.parametrize("which", GROUPS)
def test_groups_of_parameters(which: str | tuple[str, ...]) -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    meant = GROUPS[which]
    chosen = which if isinstance(which, str) else list(which)
    pd.testing.assert_frame_equal(fit.conf_int(which=chosen), fit.conf_int().loc[meant])
    profile = fit.profile(chosen, progress=False)
    assert list(profile.estimates) == meant
    pd.testing.assert_frame_equal(fit.conf_int("profile", which=chosen), profile.conf_int())
    boot = fit.bootstrap(20, seed=1, progress=False)
    pd.testing.assert_frame_equal(boot.conf_int(which=chosen), boot.conf_int().loc[meant])


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_groups_leave_correlations_without_profile_missing() -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": np.tile(np.arange(6.0), 10), "g": np.repeat(np.arange(10), 6)})
    fit = mm.lmer("y ~ x + (x | g)", data)
    assert fit.is_singular
    table = fit.conf_int("profile", which="theta")
    assert list(table.index) == ["sd_Intercept|g", "cor_x.Intercept|g", "sd_x|g", "sigma"]
    assert table.loc["cor_x.Intercept|g"].isna().all()
    assert table.drop("cor_x.Intercept|g").notna().all().all()


def test_a_column_of_that_name_is_meant() -> None:
    data = mm.load_dataset("sleepstudy").rename(columns={"Days": "beta"})
    fit = mm.lmer("Reaction ~ beta + (1 | Subject)", data)
    assert list(fit.conf_int(which="beta").index) == ["beta"]
    assert list(fit.conf_int(which="beta_").index) == ["Intercept", "beta"]
    for ask in (fit.conf_int, fit.profile):
        with pytest.raises(mm.InferenceError, match=r"There is no parameter 'thet'.* Did you mean 'theta'"):
            ask(which="thet")
    boot = fit.bootstrap(5, seed=1, statistic=lambda r: {"a": r.sigma}, progress=False)
    assert list(boot.conf_int(which="a").index) == ["a"]
    with pytest.raises(mm.InferenceError, match="There is no parameter 'Intercept'"):
        boot.conf_int(which="Intercept")


def test_replicates_are_not_lost_where_their_intervals_are_interrupted(
    fit: mm.LmmResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap._Plan, "acceleration", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit.conf_int("bootstrap", n=5, seed=1, interval="bca")
    made = caught.value.partial  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(made.replicates, fit.bootstrap(5, seed=1, progress=False).replicates)
