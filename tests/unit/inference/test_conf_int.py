"""Intervals by name and method; principal components of random effects."""

from __future__ import annotations

import numpy as np
import pytest

import mixedmodels as mm


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
