"""Fits with parameters held or penalised: the same model written without them, and dense algebra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import mixedmodels as mm
from data_loader import load
from mixedmodels import mixedlm

DIETOX = load("dietox").assign(Weight=lambda d: d["Weight"].astype(float), Time=lambda d: d["Time"].astype(float))
MODEL = mixedlm("Weight ~ Time", DIETOX, groups="Pig")


@pytest.mark.parametrize("reml", [True, False])
def test_a_held_fixed_effect_is_taken_off_the_response(reml: bool) -> None:
    held = MODEL.fit(reml=reml, fixed={"Time": 7.2})
    plain = mixedlm("rest ~ 1", DIETOX.assign(rest=lambda d: d["Weight"] - 7.2 * d["Time"]), groups="Pig").fit(
        reml=reml
    )
    assert held.llf == pytest.approx(plain.llf, abs=1e-8)
    assert held.df_resid == plain.df_resid
    np.testing.assert_allclose(held.bse_re, plain.bse_re, rtol=1e-6)
    np.testing.assert_allclose(np.delete(held.bse.to_numpy(), 1), plain.bse, rtol=1e-6)
    np.testing.assert_allclose(held.profile_re_interval(0, "re"), plain.profile_re_interval(0, "re"), rtol=1e-5)
    profile = held.profile_re(0, "re", num_low=1, num_high=1)
    assert profile[1, 1] > profile[[0, 2], 1].max()
    predictor = DIETOX["Time"] * 7.2
    share = np.var(predictor, ddof=1) / (np.var(predictor, ddof=1) + held.cov_re.iloc[0, 0] + held.scale)
    assert held.r2()["marginal"] == pytest.approx(share)


def test_new_data_have_values_but_no_intervals() -> None:
    fit = MODEL.fit(fixed={"Time": 7.2})
    new = DIETOX.iloc[[7]]
    expected = fit.fe_params["Intercept"] + 7.2 * new["Time"].iloc[0]
    assert fit.predict(new).iloc[0] == pytest.approx(expected)
    with pytest.raises(mm.InferenceError, match="held or penalised"):
        fit.predict(new, interval="confidence")
    for other in (fit, MODEL.fit_regularized(alpha=0.1)):
        assert other.simulate(2, seed=1).shape == (861, 2)
        with pytest.raises(
            mm.InferenceError, match=r"Simulations for new data are not there where .* held or penalised"
        ):
            other.simulate(data=new)


@pytest.mark.parametrize("fixed", [{"Time": 7.2}, {"Pig Var": 20.0}])
def test_a_refit_holds_what_the_fit_held(fixed: dict[str, float]) -> None:
    fit = MODEL.fit(fixed=fixed)
    again = fit.refit(MODEL.endog)
    assert again.llf == pytest.approx(fit.llf, abs=1e-8)
    np.testing.assert_allclose(again.params, fit.params, rtol=1e-6)


def test_positions_may_be_numbers_of_numpy() -> None:
    np.testing.assert_array_equal(MODEL.fit(fixed={np.int64(1): 7.2}).params, MODEL.fit(fixed={"Time": 7.2}).params)


@pytest.mark.parametrize("reml", [True, False])
def test_standard_errors_at_a_variance_held_in_natural_units(reml: bool) -> None:
    fit = MODEL.fit(reml=reml, fixed={"Pig Var": 20.0})
    X = np.column_stack([np.ones(len(DIETOX)), DIETOX["Time"]])
    pig = DIETOX["Pig"].to_numpy()
    V = 20.0 * (pig[:, None] == pig) + fit.scale * np.eye(len(pig))
    expected = np.sqrt(np.diag(np.linalg.inv(X.T @ np.linalg.solve(V, X))))
    np.testing.assert_allclose(fit.bse_fe, expected, rtol=1e-4)
    np.testing.assert_allclose(fit.coef_table("normal")["std_error"], expected, rtol=1e-6)
    assert fit.bse_re.iloc[0] == 0
    with pytest.raises(mm.InferenceError, match="holds Pig Var"):
        fit.bootstrap(3)


def test_penalties_keep_held_effects() -> None:
    fit = MODEL.fit_regularized(alpha=4.0, fixed={"Time": 7.0})
    assert fit.fe_params["Time"] == 7.0
    plain = mixedlm("rest ~ 1", DIETOX.assign(rest=lambda d: d["Weight"] - 7.0 * d["Time"]), groups="Pig")
    assert fit.fe_params["Intercept"] == pytest.approx(plain.fit_regularized(alpha=4.0).fe_params.iloc[0], rel=1e-6)
    path = MODEL.regularization_path([10.0, 4.0], fixed={"Time": 7.0})
    np.testing.assert_allclose(path.result(4.0).fe_params, fit.fe_params, rtol=1e-6)


def test_a_penalised_fit_is_penalised_again() -> None:
    fit = MODEL.fit_regularized(alpha=100.0)
    np.testing.assert_allclose(fit.refit(MODEL.endog).fe_params, fit.fe_params, rtol=1e-6)
    assert fit.r2()["marginal"] > 0.8
    for question in (lambda: fit.profile_re(0, "re"), fit.coef_table, fit.anova, lambda: fit.bootstrap(2)):
        with pytest.raises(mm.InferenceError):
            question()


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_variance_estimated_as_zero_has_the_standard_error_of_its_curvature() -> None:
    """Observed information of (mean, variance, residual variance) in one balanced layout, by differences."""
    data = load("Dyestuff2")
    fit = mixedlm("Yield ~ 1", data, groups="Batch").fit(reml=False)
    y, same = data["Yield"].to_numpy(), (data["Batch"].to_numpy()[:, None] == data["Batch"].to_numpy()).astype(float)

    def value(at: np.ndarray) -> float:
        V = at[1] * same + at[2] * np.eye(len(y))
        r = y - at[0]
        return float(-0.5 * (np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)))

    at, steps = np.array([fit.fe_params.iloc[0], 0.0, fit.scale]), np.eye(3) * 0.002
    H = np.array(
        [[value(at + a + b) - value(at + a - b) - value(at - a + b) + value(at - a - b) for b in steps] for a in steps]
    ) / (4 * 0.002**2)
    assert fit.bse_re.iloc[0] == pytest.approx(np.sqrt(np.linalg.inv(-H)[1, 1]), rel=1e-3)


def test_a_component_with_the_name_of_the_groups_is_profiled_by_itself() -> None:
    named, renamed = (
        mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="1", vc_formula={name: "0 + Time"}).fit()
        for name in ("Pig", "slope")
    )
    np.testing.assert_allclose(
        named.profile_re("Pig", "vc", num_low=1, num_high=1), renamed.profile_re("slope", "vc", num_low=1, num_high=1)
    )


def test_parameters_are_held_by_position_too() -> None:
    by_name, by_position = (MODEL.fit(fixed=fixed) for fixed in ({"Time": 7.0}, {1: 7.0}))
    np.testing.assert_array_equal(by_name.params, by_position.params)


def test_text_of_any_type_is_a_category() -> None:
    plain, nullable = (
        mixedlm("Weight ~ Cu + Time", DIETOX.astype({"Cu": kind}), groups="Pig").fit() for kind in (str, "string")
    )
    np.testing.assert_allclose(nullable.fe_params, plain.fe_params)


@pytest.mark.parametrize("reml", [True, False])
def test_a_zero_covariance_that_divides_nothing_is_held_at_an_optimum(reml: bool) -> None:
    """Effects 1 and 2 correlate with the first, not with each other: no blocks come of it."""
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(30), 8)
    X = np.column_stack([np.ones(240), rng.normal(size=(240, 2))])
    b = rng.multivariate_normal(np.zeros(3), [[1, 0.4, 0.4], [0.4, 1, 0], [0.4, 0, 1]], size=30)
    model = mm.MixedLM((X * (1 + b[g])).sum(axis=1) + rng.normal(size=240), X, g, exog_re=X)
    mask = mm.MixedLMParams.from_components(np.ones(3), np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1.0]]))
    fit = model.fit(reml=reml, free=mask)
    assert fit.converged
    assert abs(fit.cov_re[2, 1]) < 1e-12
    score = model.score_full(fit.params_object, calc_fe=True)[1]
    assert np.abs(np.delete(score, 4)).max() < 1e-3


def dense_llf(V: np.ndarray, b: np.ndarray, reml: bool) -> float:
    """Return the log-likelihood of the first pigs at a covariance and fixed effects, constants included."""
    y, X = SOME.endog, SOME.exog
    n, r = len(y), y - X @ b
    value = n * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)
    if reml:
        value += np.linalg.slogdet(X.T @ np.linalg.solve(V, X))[1] - X.shape[1] * np.log(2 * np.pi)
    return float(-0.5 * value)


SOME = mixedlm("Weight ~ Time", DIETOX.iloc[:150], groups="Pig", re_formula="~Time")
SAME_PIG = (SOME.groups[:, None] == SOME.groups).astype(float)


class Ridge:
    """0.01 sum b^2."""

    def func(self, params: np.ndarray) -> float:
        return float(0.01 * np.sum(params**2))

    def deriv(self, params: np.ndarray) -> np.ndarray:
        return 0.02 * params


@pytest.mark.parametrize("reml", [True, False])
def test_a_profile_of_a_penalised_fit_is_penalised(reml: bool) -> None:
    fit = SOME.fit(reml=reml, fe_pen=Ridge())
    table = fit.profile_re(0, "re", num_low=1, num_high=1)
    assert table[1, 1] > table[[0, 2], 1].max()
    low, high = fit.profile_re_interval(0, "re")
    assert low < fit.cov_re.iloc[0, 0] < high
    held = float(table[0, 0])

    def penalised(at: np.ndarray) -> float:
        L = np.array([[np.sqrt(held), 0.0], [at[0], at[1]]])
        V = SAME_PIG * (SOME.exog_re @ L @ L.T @ SOME.exog_re.T) + np.exp(at[2]) * np.eye(len(SAME_PIG))
        return -dense_llf(V, at[3:], reml) + Ridge().func(at[3:])

    found = optimize.minimize(penalised, np.r_[0.0, 0.6, np.log(fit.scale), fit.fe_params], method="BFGS")
    assert table[0, 1] == pytest.approx(-found.fun, abs=1e-4)


def test_what_is_held_has_no_profile() -> None:
    with pytest.raises(mm.InferenceError, match="'Pig Var' is held"):
        MODEL.fit(fixed={"Pig Var": 20.0}).profile_re_interval(0, "re")


@pytest.mark.parametrize("method", ["l1", "l2", "scad"])
def test_other_effects_are_penalised_beside_a_held_one(method: str) -> None:
    rng = np.random.default_rng(3)
    groups, X = np.repeat(np.arange(20), 6), np.c_[np.ones(120), rng.normal(size=(120, 4))]
    X[:, 4] = 0.8 * X[:, 3] + 0.2 * X[:, 4]
    y = X @ [1, 2, 0, 0.15, -0.1] + rng.normal(size=20)[groups] + rng.normal(size=120)
    model, alpha = mm.MixedLM(y, X, groups), np.array([1.0, 9.0, 2.0, 3.0, 4.0])
    fit = model.fit_regularized(method=method, alpha=alpha, fixed={"x1": 2.0})
    rest = mm.MixedLM(y - 2 * X[:, 1], np.delete(X, 1, axis=1), groups)
    expected = rest.fit_regularized(method=method, alpha=np.delete(alpha, 1))
    np.testing.assert_allclose(fit.fe_params, np.insert(expected.fe_params, 1, 2.0), rtol=1e-6, atol=1e-9)
    assert fit.llf == pytest.approx(expected.llf, abs=1e-7)
    np.testing.assert_allclose(fit.refit(y).fe_params, fit.fe_params, rtol=1e-6, atol=1e-9)
    assert fit.coef_by_level().iloc[0]["x1"] == 2.0


def test_a_variance_in_natural_units_stays_where_fixed_effects_are_penalised() -> None:
    fit = SOME.fit_regularized(alpha=30.0, fixed={"Pig Var": 20.0})
    assert fit.cov_re.iloc[0, 0] == pytest.approx(20.0, rel=1e-8)
    V = SAME_PIG * (SOME.exog_re @ fit.cov_re.to_numpy() @ SOME.exog_re.T) + fit.scale * np.eye(len(SAME_PIG))
    assert fit.llf == pytest.approx(dense_llf(V, fit.fe_params.to_numpy(), True), abs=1e-7)
    # The minimum of the lasso: the slope of the squares is within alpha, and is alpha where a coefficient is not zero.
    slope = 2 * SOME.exog.T @ np.linalg.solve(V, SOME.endog - SOME.exog @ fit.fe_params.to_numpy())
    np.testing.assert_allclose(np.where(fit.fe_params != 0, np.sign(fit.fe_params) * slope, 30.0), 30.0, rtol=1e-6)


@pytest.mark.parametrize("reml", [True, False])
def test_every_variance_held_at_zero_leaves_least_squares(reml: bool) -> None:
    fit = MODEL.fit(reml=reml, fixed={"Pig Var": 0.0})
    y, X = MODEL.endog, MODEL.exog
    b, (rss,), *_ = np.linalg.lstsq(X, y, rcond=None)
    scale = rss / (len(y) - 2 * reml)
    np.testing.assert_allclose(fit.fe_params, b, rtol=1e-9)
    np.testing.assert_allclose(fit.bse_fe, np.sqrt(scale * np.diag(np.linalg.inv(X.T @ X))), rtol=1e-7)
    assert fit.scale == pytest.approx(scale)
    assert fit.converged
    assert not fit.is_singular


def test_an_effect_without_variance_has_no_covariances() -> None:
    held = mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time").fit(fixed={"Time Var": 0.0})
    plain = MODEL.fit()
    np.testing.assert_allclose(held.bse, [*plain.bse, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(held.bse_re, [*plain.bse_re, 0, 0], rtol=1e-5)
    assert held.df_model_total == plain.df_model_total
    with pytest.raises(mm.DataError, match="'Pig x Time Cov' can only be 0; it is held at 3"):
        SOME.fit(fixed={"Time Var": 0.0, "Pig x Time Cov": 3.0})


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_component_estimated_as_zero_leaves_the_others_their_standard_errors() -> None:
    rng = np.random.RandomState(3423)
    data = pd.DataFrame(rng.randn(100, 2), columns=["Y", "X"]).assign(c=np.arange(100) % 3)
    both, alone = (
        mixedlm("Y ~ X", data, groups="c", vc_formula=parts).fit() for parts in ({"a": "1", "b": "0 + X"}, {"a": "1"})
    )
    assert both.vcomp[1] == 0
    for name in ("bse", "bse_re"):
        found = getattr(both, name)
        np.testing.assert_allclose(found.drop("b Var"), getattr(alone, name), rtol=1e-5)
        assert np.isnan(found["b Var"])


def test_what_takes_all_covariances_for_estimated_is_refused() -> None:
    fit = MODEL.fit(fixed={"Pig Var": 20.0})
    for question in (
        fit.coef_table, fit.anova, fit.variance_parameters, fit.profile, fit.ranova, fit.influence, fit.criteria,
        fit.as_lmm_result, lambda: fit.conf_int(method="wald"), lambda: fit.predict(interval="confidence"),
    ):  # fmt: skip
        with pytest.raises(mm.InferenceError, match="holds Pig Var"):
            question()
    table = fit.predict(interval="confidence", ddf="normal")
    np.testing.assert_allclose(
        table["se"].iloc[:3], np.sqrt(np.sum((MODEL.exog[:3] @ fit.cov_fe.to_numpy()) * MODEL.exog[:3], axis=1))
    )
    # What is held at zero is not in the model: nothing is refused, and nothing differs.
    slopes = SOME.fit(fixed={"Time Var": 0.0})
    plain = mixedlm("Weight ~ Time", DIETOX.iloc[:150], groups="Pig").fit()
    np.testing.assert_allclose(slopes.coef_table(), plain.coef_table(), rtol=1e-5)


def test_what_is_for_maximum_likelihood_is_refused_after_a_penalty() -> None:
    for fit in (SOME.fit(fe_pen=Ridge()), SOME.fit_regularized(alpha=3.0)):
        for question in (
            fit.coef_table, fit.variance_parameters, fit.ranova, fit.influence, fit.hat_values, fit.as_lmm_result,
            lambda fit=fit: fit.cov_fe, lambda fit=fit: fit.predict(interval="confidence"),
            lambda fit=fit: fit.conf_int(method="profile"),
        ):  # fmt: skip
            with pytest.raises(mm.InferenceError, match="a penalty moved"):
                question()


@pytest.mark.parametrize(
    "options",
    [{}, {"fixed": {"Time": 7.2}}, {"fixed": {"Pig Var": 20.0}}, {"fe_pen": Ridge()}],
    ids=["free", "effect held", "variance held", "ridge"],
)
def test_all_criteria_count_the_same_parameters(options: dict[str, Any]) -> None:
    fit, n = SOME.fit(reml=False, **options), SOME.nobs
    k = 6 - len(options.get("fixed", {}))
    assert fit.aic == fit.aic_reml == pytest.approx(-2 * fit.llf + 2 * k)
    assert fit.bic == fit.bic_reml == pytest.approx(-2 * fit.llf + k * np.log(n))
    assert fit.aicc == pytest.approx(-2 * fit.llf + 2 * k * n / (n - k - 1))
    assert fit.df_model_total == k


def test_a_statistic_of_the_bootstrap_gets_an_lmer_result() -> None:
    fit = MODEL.fit()
    statistic = fit.bootstrap(3, seed=1, statistic=lambda result: result.fe_params, progress=False)
    np.testing.assert_allclose(
        statistic.replicates, fit.bootstrap(3, seed=1, progress=False).replicates[["Intercept", "Time"]], rtol=1e-5
    )


def test_a_held_effect_has_no_test() -> None:
    fit = MODEL.fit(fixed={"Time": 7.2})
    for question in (fit.t_test, fit.wald_test):
        with pytest.raises(mm.InferenceError, match="Nothing that was estimated is in the hypothesis"):
            question("Time = 7")
    assert list(fit.wald_test_terms().table.index) == ["Intercept"]


@pytest.mark.parametrize(
    ("dropped", "fixed"), [(None, {"Time": 7.0}), ("C(Cu)[T.Cu175]", None)], ids=["held", "dropped columns"]
)
def test_a_report_leaves_out_what_needs_the_terms(
    dropped: str | None, fixed: dict[str, float] | None, tmp_path: Path
) -> None:
    fit = mixedlm("Weight ~ Time + C(Cu)", DIETOX, groups="Pig", drop_cols=dropped).fit(fixed=fixed)
    fit.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Tests of the terms are left out" in page
    assert "mixedmodels.lmer(" not in page
    for question in (fit.anova, lambda: fit.margins("Time")):
        with pytest.raises(mm.InferenceError, match="a fixed effect is held, or columns were left out with drop_cols"):
            question()
