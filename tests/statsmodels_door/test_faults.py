"""The faults of statsmodels' MixedLM (0.15), one by one: what this package answers instead.

The names E1 to E24 are those of the page "Coming from statsmodels". Right answers come from R, from closed forms, and
from a dense twin of the likelihood in natural units.
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels import MixedLM, MixedLMParams, VCSpec, mixedlm

LMM = Path(__file__).parents[1] / "reference" / "lmm"
DIETOX = load("dietox").assign(Weight=lambda d: d["Weight"].astype(float), Time=lambda d: d["Time"].astype(float))
PASTES = load("Pastes")
SLEEP = load("sleepstudy")
CASKS: dict[str, Any] = {"groups": "batch", "re_formula": "1", "vc_formula": {"cask": "0 + cask"}}


def reference(name: str) -> dict[str, Any]:
    return json.loads((LMM / f"{name}.json").read_text(encoding="utf-8"))


def pigs(data: pd.DataFrame = DIETOX, **options: Any) -> MixedLM:
    return mixedlm("Weight ~ Time", data, groups="Pig", **options)


@cache
def pigs_fit() -> mm.MixedLMResults:
    return pigs().fit()


@cache
def casks_fit() -> mm.MixedLMResults:
    return mixedlm("strength ~ 1", PASTES, **CASKS).fit()


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return response, fixed-effect columns and groups of ``pigs``."""
    X = np.column_stack([np.ones(len(DIETOX)), DIETOX["Time"]])
    return DIETOX["Weight"].to_numpy(), X, DIETOX["Pig"].to_numpy()


def indicators(labels: Any) -> np.ndarray:
    return pd.get_dummies(pd.Series(np.asarray(labels)).astype(str)).to_numpy(float)


def dense_llf(
    y: np.ndarray,
    X: np.ndarray,
    designs: list[np.ndarray],
    variances: Any,
    *,
    beta: Any = None,
    scale: float | None = None,
) -> float:
    """Return the restricted log-likelihood with dense V; without ``scale`` it is profiled and variances are ratios."""
    n, p = X.shape
    V = np.eye(n) * (1.0 if scale is None else scale)
    for Z, variance in zip(designs, variances, strict=True):
        V += variance * Z @ Z.T
    L = np.linalg.cholesky(V)
    Xw, yw = np.linalg.solve(L, X), np.linalg.solve(L, y)
    b = np.linalg.lstsq(Xw, yw, rcond=None)[0] if beta is None else np.asarray(beta)
    quadratic = float(np.sum((yw - Xw @ b) ** 2))
    log_dets = 2 * np.log(np.diag(L)).sum() + np.linalg.slogdet(Xw.T @ Xw)[1]
    if scale is None:
        quadratic, log_dets = n - p, log_dets + (n - p) * np.log(quadratic / (n - p))
    return float(-0.5 * ((n - p) * np.log(2 * np.pi) + log_dets + quadratic))


def slopes(function: Any, at: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the derivatives by central differences."""
    steps = np.diag(size)
    return np.array([(function(at + h) - function(at - h)) / (2 * h.sum()) for h in steps])


def standard_errors(function: Any, at: np.ndarray) -> np.ndarray:
    """Return the roots of the diagonal of the inverse of minus the Hessian, by differences."""
    steps = np.diag(2e-3 * at)
    hessian = [
        [
            (function(at + h + k) - function(at + h - k) - function(at - h + k) + function(at - h - k))
            / (4 * h.sum() * k.sum())
            for k in steps
        ]
        for h in steps
    ]
    return np.sqrt(np.diag(np.linalg.inv(-np.array(hessian))))


def least_squares(y: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return coefficients, their standard errors and the restricted log-likelihood where no variance is left."""
    n, p = X.shape
    b = np.linalg.lstsq(X, y, rcond=None)[0]
    variance = float(np.sum((y - X @ b) ** 2) / (n - p))
    llf = -0.5 * ((n - p) * (np.log(2 * np.pi * variance) + 1) + np.linalg.slogdet(X.T @ X)[1])
    return b, np.sqrt(variance * np.diag(np.linalg.inv(X.T @ X))), float(llf)


def noise_in_three_groups() -> pd.DataFrame:
    """Return the data of statsmodels' own test of a singular fit."""
    data = pd.DataFrame(np.random.RandomState(3423).randn(100, 2), columns=["Y", "X"])
    return data.assign(c=[i % 3 for i in range(100)])


def two_sided_groups(data: pd.DataFrame) -> list[Any]:
    """Return labels of two kinds."""
    return [pig if k % 2 else str(pig) for k, pig in enumerate(data["Pig"].astype(int).tolist())]


# E1 to E8: fits and what they say


def test_e1_the_default_fit_reaches_the_optimum() -> None:
    fit = mixedlm("Weight ~ Time + Evit * Cu", DIETOX, groups="Pig", re_formula="~Time").fit()
    theirs = reference("dietox_slope")["fits"]["REML"]
    assert fit.converged
    assert fit.llf == pytest.approx(theirs["logLik"], abs=1e-6)
    np.testing.assert_allclose(fit.cov_re, theirs["varcorr"][0]["cov"], rtol=1e-4)
    np.testing.assert_allclose(fit.scale, theirs["sigma"] ** 2, rtol=1e-6)


def test_e1_the_documentations_example() -> None:
    fit = pigs(re_formula="~Time").fit()
    assert fit.llf == pytest.approx(-2217.047, abs=1e-3)
    np.testing.assert_allclose(fit.cov_re, [[19.493, 0.294], [0.294, 0.416]], atol=6e-4)


def test_e2_the_standard_error_of_a_variance() -> None:
    y, X, groups = arrays()
    Z = indicators(groups)
    fit = pigs_fit()
    at = np.array([fit.cov_re.iloc[0, 0], fit.scale])
    expected = standard_errors(lambda v: dense_llf(y, X, [Z], v[:1], scale=v[1]), at)[0]
    assert fit.bse_re["Pig Var"] == pytest.approx(expected, rel=1e-4)
    assert fit.bse_re["Pig Var"] == pytest.approx(6.939, abs=5e-4)
    assert fit.summary().tables[1].loc["Pig Var", ["Coef.", "Std.Err."]].tolist() == ["40.394", "6.939"]


def test_e2_the_standard_errors_of_components() -> None:
    y, X = PASTES["strength"].to_numpy(), np.ones((len(PASTES), 1))
    casks = PASTES["batch"].astype(str) + PASTES["cask"].astype(str)
    designs = [indicators(PASTES["batch"]), indicators(casks)]
    fit = casks_fit()
    at = np.array([fit.cov_re.iloc[0, 0], *fit.vcomp, fit.scale])
    expected = standard_errors(lambda v: dense_llf(y, X, designs, v[:2], scale=v[2]), at)[:2]
    np.testing.assert_allclose(fit.bse_re, expected, rtol=1e-4)


def test_e3_a_variance_of_zero_leaves_least_squares() -> None:
    with pytest.warns(mm.SingularFitWarning, match="effects"):
        fit = mixedlm("Weight ~ C(Cu)", DIETOX, groups="Pig").fit()
    b, se, llf = least_squares(fit.model.endog, fit.model.exog)
    assert fit.cov_re.iloc[0, 0] == 0
    np.testing.assert_allclose(fit.fe_params, b, rtol=1e-9)
    # Standard errors allow for the variance that is not known to be zero, as in statsmodels: a little more than these.
    np.testing.assert_allclose(fit.bse_fe, se, rtol=5e-4)
    assert (fit.bse_fe >= se).all()
    assert fit.llf == pytest.approx(llf, abs=1e-7)
    assert all((effects == 0).all() for effects in fit.random_effects.values())
    assert all((covariance == 0).all(axis=None) for covariance in fit.random_effects_cov.values())
    assert "0.000" in str(fit.summary())


def test_e3_a_variance_near_zero() -> None:
    data = noise_in_three_groups()
    fit = mixedlm("Y ~ X", data, groups="c").fit()
    y, X, Z = fit.model.endog, fit.model.exog, indicators(data["c"])
    assert fit.llf == pytest.approx(dense_llf(y, X, [Z], fit.cov_re_unscaled.to_numpy().ravel()), abs=1e-8)
    assert fit.llf > least_squares(y, X)[2]
    assert np.isfinite(fit.bse).all()
    np.testing.assert_allclose(fit.fe_params, least_squares(y, X)[0], atol=1e-3)


def test_e3_fixed_effects_are_continuous_at_zero() -> None:
    model = mixedlm("Weight ~ C(Cu)", DIETOX, groups="Pig")
    at = [model.get_fe_params([[variance]], [])[0] for variance in (1.1e-10, 0.9e-10, 0.0)]
    np.testing.assert_allclose(at[0], at[2], rtol=1e-8)
    np.testing.assert_allclose(at[1], at[2], rtol=1e-8)


def test_e4_earlier_results_stay_as_they_are() -> None:
    model = pigs()
    restricted = model.fit()
    before = restricted.llf, restricted.method, str(restricted.summary())
    likelihood = model.fit(reml=False)
    assert (restricted.llf, restricted.method, str(restricted.summary())) == before
    assert restricted.llf == pytest.approx(-2404.775, abs=1e-3)
    aic = likelihood.aic
    model.fit()
    assert likelihood.aic == aic == pytest.approx(4813.865, abs=1e-3)


def test_e4_likelihoods_work_before_any_fit() -> None:
    params = MixedLMParams.from_components(np.zeros(2), np.array([[3.5]]))
    fresh = pigs().loglike(params)
    assert fresh == pigs_fit().model.loglike(params)
    y, X, groups = arrays()
    assert fresh == pytest.approx(dense_llf(y, X, [indicators(groups)], [3.5]), abs=1e-7)


def test_e5_bse_re_with_variance_components() -> None:
    assert casks_fit().bse_re.index.tolist() == ["batch Var", "cask Var"]
    assert np.isfinite(casks_fit().bse_re).all()


def test_e6_sparse_designs_after_the_fit() -> None:
    fit = mixedlm("strength ~ 1", PASTES, use_sparse=True, **CASKS).fit()
    dense = casks_fit()
    pd.testing.assert_series_equal(fit.fittedvalues, dense.fittedvalues)
    pd.testing.assert_series_equal(fit.resid, dense.resid)
    for label, covariance in dense.random_effects_cov.items():
        pd.testing.assert_frame_equal(fit.random_effects_cov[label], covariance)
    expected = reference("pastes_nested")["fits"]["REML"]["fitted_first10"]
    np.testing.assert_allclose(fit.fittedvalues[:10], expected, rtol=1e-5)


class Ridge:
    """sum alpha b^2, as statsmodels' ``L2``."""

    alpha = 0.0

    def func(self, params: np.ndarray) -> float:
        return float(self.alpha * np.sum(params**2))

    def deriv(self, params: np.ndarray) -> np.ndarray:
        return 2 * self.alpha * params


def test_e7_a_ridge_penalty_shrinks() -> None:
    model = mixedlm("Reaction ~ Days", SLEEP, groups="Subject")
    sizes = []
    for alpha in (0.0, 1e-4, 1e-3, 1.0, 1e6):
        fit = model.fit_regularized(method=Ridge(), alpha=alpha)
        assert fit.converged
        sizes.append(float(np.linalg.norm(fit.fe_params)))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3
    np.testing.assert_allclose(model.fit_regularized(method=Ridge(), alpha=0.0).params, model.fit().params, rtol=1e-4)


def test_e7_a_ridge_fit_maximises_the_penalised_likelihood() -> None:
    model = mixedlm("Reaction ~ Days", SLEEP, groups="Subject")
    alpha = 1e-3
    fit = model.fit_regularized(method=Ridge(), alpha=alpha)
    Z = indicators(SLEEP["Subject"])

    def penalised(params: np.ndarray) -> float:
        llf = dense_llf(model.endog, model.exog, [Z], params[2:], beta=params[:2])
        return llf - alpha * float(np.sum(params[:2] ** 2))

    at = fit.params.to_numpy()
    size = np.array([*fit.bse_fe, at[2]])
    assert np.abs(slopes(penalised, at, 1e-4 * size) * size).max() < 2e-3


def test_e7_squares_on_the_profiled_problem() -> None:
    alpha = 0.5
    model = mixedlm("Reaction ~ Days", SLEEP, groups="Subject")
    plain, fit = model.fit(), model.fit_regularized(method="l2", alpha=alpha)
    Z = indicators(SLEEP["Subject"])
    V = plain.scale * np.eye(len(SLEEP)) + plain.cov_re.iloc[0, 0] * Z @ Z.T
    A = model.exog.T @ np.linalg.solve(V, model.exog)
    expected = np.linalg.solve(A + alpha * np.eye(2), A @ plain.fe_params.to_numpy())
    np.testing.assert_allclose(fit.fe_params, expected, rtol=1e-7)


@pytest.mark.parametrize("is_formula", [True, False])
def test_e8_no_penalty_changes_nothing(is_formula: bool) -> None:
    model = pigs() if is_formula else MixedLM(*arrays())
    plain, fit = model.fit(), model.fit_regularized(alpha=0.0)
    np.testing.assert_allclose(fit.params, plain.params, rtol=1e-9)
    np.testing.assert_allclose(fit.bse, plain.bse, rtol=1e-9)
    np.testing.assert_allclose(fit.bse_re, plain.bse_re, rtol=1e-9)
    assert fit.llf == pytest.approx(plain.llf, abs=1e-9)
    assert np.isnan(fit.aic)
    assert "Pig Var" in str(fit.summary()) or not is_formula


def test_e8_with_variance_components() -> None:
    model = mixedlm("strength ~ 1", PASTES, **CASKS)
    fit = model.fit_regularized(alpha=0.0)
    assert fit.llf == pytest.approx(casks_fit().llf, abs=1e-9)
    np.testing.assert_allclose(fit.vcomp, casks_fit().vcomp, rtol=1e-9)


# E9 to E15: data


def gappy() -> pd.DataFrame:
    data = DIETOX.copy()
    data.loc[3, "Weight"] = np.nan
    return data


def test_e9_missing_values_of_arrays() -> None:
    data = gappy()
    X = pd.DataFrame({"const": 1.0, "Time": data["Time"]})
    complete = data["Weight"].notna()
    fit = MixedLM(data["Weight"], X, data["Pig"], missing="drop").fit()
    expected = MixedLM(data["Weight"][complete], X[complete], data["Pig"][complete]).fit()
    pd.testing.assert_series_equal(fit.params, expected.params)
    pd.testing.assert_series_equal(fit.fittedvalues, expected.fittedvalues)
    assert fit.nobs == len(fit.resid) == len(data) - 1


def test_e9_missing_values_of_arrays_with_components() -> None:
    model = mixedlm("strength ~ 1", PASTES, **CASKS)
    y = model.endog.copy()
    y[::7] = np.nan
    fit = MixedLM(y, model.exog, model.groups, model.exog_re, model.exog_vc, missing="drop").fit()
    expected = mixedlm("strength ~ 1", PASTES[np.isfinite(y)], **CASKS).fit()
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-9)


@pytest.mark.parametrize("missing", ["none", "raise"])
def test_e9_missing_values_are_refused(missing: str) -> None:
    y, X, groups = arrays()
    y = np.where(np.arange(len(y)) == 3, np.nan, y)
    with pytest.raises(mm.DataError, match=r"'endog' has missing values: 1 of 861 rows .* row 3 .*missing='drop'"):
        MixedLM(y, X, groups, missing=missing)


def test_e9_a_name_with_a_space() -> None:
    data = gappy().rename(columns={"Time": "my time"})
    fit = mixedlm("Weight ~ Q('my time')", data, groups="Pig", missing="drop").fit()
    np.testing.assert_allclose(fit.params, pigs(gappy(), missing="drop").fit().params, rtol=1e-12)


def test_e10_subset_is_honoured() -> None:
    early = DIETOX["Time"] < 5
    model = pigs(subset=early)
    assert model.nobs == 288
    np.testing.assert_allclose(model.fit().params, pigs(DIETOX[early]).fit().params, rtol=1e-12)
    assert pigs(subset=DIETOX.index[:100]).nobs == 100


def test_e11_do_cg_false_stops_at_the_start() -> None:
    with pytest.warns(mm.ConvergenceWarning, match="do_cg"):
        start = pigs().fit(do_cg=False)
    assert start.params["Pig Var"] == 1
    with pytest.warns(mm.ConvergenceWarning):
        after_em = pigs().fit(do_cg=False, niter_em=50)
    assert not after_em.converged
    np.testing.assert_allclose(after_em.params, pigs_fit().params, rtol=1e-4)


def test_e11_steepest_ascent_before_the_fit() -> None:
    np.testing.assert_allclose(pigs().fit(niter_sa=5).params, pigs_fit().params, rtol=1e-6)


@pytest.mark.parametrize(
    ("hypothesis", "null"),
    [
        ("Time = 7", 7),
        ("Time", 0),
        (["Time = 7"], 7),
        ([0, 1], 0),
        (np.array([0.0, 1.0]), 0),
        (np.array([[0.0, 1.0]]), 0),
        (([0, 1], 7), 7),
        ({"Time": 1}, 0),
    ],
)
def test_e12_t_test_reads_any_hypothesis(hypothesis: Any, null: float) -> None:
    fit = pigs_fit()
    test = fit.t_test(hypothesis)
    assert np.squeeze(test.effect) == pytest.approx(fit.fe_params["Time"])
    assert np.squeeze(test.sd) == pytest.approx(fit.bse_fe["Time"])
    assert np.squeeze(test.tvalue) == pytest.approx((fit.fe_params["Time"] - null) / fit.bse_fe["Time"])


def test_e12_two_hypotheses() -> None:
    fit = pigs_fit()
    np.testing.assert_allclose(fit.t_test("Time = 7, Intercept = 2 * Time").effect[0], fit.fe_params["Time"])
    by_text, by_matrix = fit.wald_test("Time = 7, Intercept = 15"), fit.wald_test((np.eye(2)[::-1], [7, 15]))
    assert by_text.statistic == pytest.approx(by_matrix.statistic)


def test_e12_bad_hypotheses() -> None:
    with pytest.raises(mm.InferenceError, match="r_matrix for t-test should have 2 columns"):
        pigs_fit().t_test(np.eye(3))
    with pytest.raises(mm.InferenceError, match=r"'Tme'.* Did you mean 'Time'\?"):
        pigs_fit().t_test("Tme = 0")


def test_e12_pairs_of_levels() -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    with pytest.warns(mm.SingularFitWarning):
        fit = mixedlm("Weight ~ C(Cu)", DIETOX, groups="Pig").fit()
    # The variance between pigs is estimated as zero, which makes it statsmodels' linear model but for the uncertainty
    # of that zero.
    expected = smf.glm("Weight ~ C(Cu)", DIETOX).fit().t_test_pairwise("C(Cu)").result_frame
    found = fit.t_test_pairwise("C(Cu)").result_frame
    assert found.columns.tolist() == expected.columns.tolist()
    assert {frozenset(pair.split("-")) for pair in found.index} == {frozenset(p.split("-")) for p in expected.index}
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=5e-4)


def test_e13_a_group_for_each_row() -> None:
    data = pd.DataFrame({"y": np.random.default_rng(0).normal(size=50), "g": np.arange(50)})
    with pytest.raises(mm.DesignError, match="'g' has a level for each of the 50 rows"):
        mixedlm("y ~ 1", data, groups="g").fit()


def test_e13_a_single_group() -> None:
    data = pd.DataFrame({"y": np.random.default_rng(0).normal(size=50), "g": 0})
    with pytest.raises(mm.DesignError, match="'g' has one level only"):
        mixedlm("y ~ 1", data, groups="g").fit()


def test_e13_random_coefficients_that_cannot_be_told_apart() -> None:
    y, X, groups = arrays()
    time = X[:, 1]
    cases = {
        "'x_re2' of 'Group' is zero in every row": np.column_stack([np.ones(len(y)), 0 * time]),
        "'x_re1' of 'Group' is zero in every row": 0 * time,
        "'x_re3' of 'Group' can be computed from 'Intercept', 'x_re2'": np.column_stack([X, time]),
        "'x_re3' of 'Group' can be computed": np.column_stack([X, 3 - 0.1 * time]),
    }
    for message, exog_re in cases.items():
        with pytest.raises(mm.DesignError, match=message):
            MixedLM(y, X, groups, exog_re=exog_re).fit()
    # A calendar year is far from zero, but its own column.
    years = np.column_stack([np.ones(len(y)), 2000 + time / 12])
    shifted = MixedLM(y, X, groups, exog_re=years).fit()
    assert shifted.llf == pytest.approx(MixedLM(y, X, groups, exog_re=X).fit().llf, abs=1e-4)
    with pytest.raises(mm.DesignError, match="'Doubled' of 'Pig' can be computed from 'Intercept', 'Time'"):
        pigs(DIETOX.assign(Doubled=2 * DIETOX["Time"]), re_formula="Time + Doubled").fit()


def test_e13_components_that_cannot_be_told_apart() -> None:
    model, designs = with_designs()
    for zeros in (
        {label: 0.0 * design for label, design in designs["cask"].items()},
        {label: np.zeros((len(design), 1)) for label, design in designs["cask"].items()},
    ):
        with pytest.warns(FutureWarning, match="deprecated"):
            nothing = MixedLM(model.endog, model.exog, model.groups, model.exog_re, exog_vc={"cask": zeros})
        with pytest.raises(mm.DesignError, match=r"'cask' .*is zero in every row, so its variance cannot be told"):
            nothing.fit()
    with pytest.raises(mm.DesignError, match="'a' and 'b' of 'Pig' are the same column or multiples"):
        pigs(vc_formula={"a": "0 + Time", "b": "0 + I(2 * Time)"}).fit()


def test_e13_collinear_columns() -> None:
    data = DIETOX.assign(Twice=2 * DIETOX["Time"])
    with pytest.raises(mm.FitError, match="Twice"):
        mixedlm("Weight ~ Time + Twice", data, groups="Pig").fit()


def test_e14_predictions_with_random_effects() -> None:
    fit = pigs_fit()
    rows = DIETOX[:20]
    np.testing.assert_allclose(fit.predict(rows, random_effects="conditional"), fit.fittedvalues[:20], rtol=1e-12)
    np.testing.assert_allclose(fit.predict(rows), fit.model.exog[:20] @ fit.fe_params, rtol=1e-12)
    unknown = rows.assign(Pig="9999")
    np.testing.assert_allclose(fit.predict(unknown, random_effects="conditional"), fit.predict(rows), rtol=1e-12)
    by_arrays = MixedLM(*arrays()).fit()
    found = by_arrays.predict(by_arrays.model.exog[:20], groups=DIETOX["Pig"][:20], random_effects="conditional")
    np.testing.assert_allclose(found, fit.fittedvalues[:20], rtol=1e-9)
    table = fit.predict(rows, interval="prediction")
    assert (table["lower"] < table["mean"]).all()


def test_e14_criteria_under_reml() -> None:
    fit = mixedlm("Reaction ~ Days", SLEEP, groups="Subject", re_formula="~Days").fit()
    theirs = reference("sleepstudy_slope")["fits"]["REML"]
    assert np.isnan(fit.aic)
    assert np.isnan(fit.bic)
    assert (fit.aic_reml, fit.bic_reml) == pytest.approx((theirs["AIC"], theirs["BIC"]), abs=1e-5)


def test_e15_a_duplicated_index() -> None:
    fit = mixedlm("strength ~ 1", PASTES.set_axis([0] * len(PASTES)), **CASKS).fit()
    np.testing.assert_allclose(fit.params, casks_fit().params, rtol=1e-12)
    assert len(fit.resid) == len(PASTES)
    assert set(fit.resid.index) == {0}


def with_designs() -> tuple[MixedLM, dict[str, Any]]:
    """Return the model of casks and its components as designs by group."""
    model = mixedlm("strength ~ 1", PASTES, **CASKS)
    designs = dict(zip(model.group_labels, model.exog_vc.mats[0], strict=True))
    return model, {"cask": designs}


def test_designs_of_components_with_a_subset_or_missing_values() -> None:
    _, designs = with_designs()
    options: dict[str, Any] = {"groups": "batch", "exog_re": np.ones(len(PASTES)), "exog_vc": designs}
    gappy = PASTES.assign(strength=PASTES["strength"].where(PASTES.index % 7 != 3))
    fit = mixedlm("strength ~ 1", gappy, missing="drop", **options).fit()
    expected = mixedlm("strength ~ 1", gappy.dropna(), **CASKS).fit()
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-6)
    shuffled = np.random.default_rng(0).permutation(len(PASTES))[:40]
    fit = mixedlm("strength ~ 1", PASTES, subset=PASTES.index[shuffled], **options).fit()
    expected = mixedlm("strength ~ 1", PASTES.iloc[shuffled], **CASKS).fit()
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-6)
    short = {"cask": {label: design[:4] for label, design in designs["cask"].items()}}
    with pytest.raises(mm.DataError, match="'cask' in group 'A' has 4 rows, but the group has 6"):
        mixedlm("strength ~ 1", gappy, missing="drop", **{**options, "exog_vc": short})


def test_no_fixed_effects() -> None:
    fit = mixedlm("Weight ~ 0", DIETOX, groups="Pig").fit()
    y, X, groups = arrays()
    expected = MixedLM(y, X[:, :0], groups).fit()
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-9)
    at = fit.params.to_numpy()
    assert fit.llf == pytest.approx(dense_llf(y, X[:, :0], [indicators(groups)], at), abs=1e-6)
    assert (fit.predict(DIETOX[:3]) == 0).all()


# E16 to E20: profiles, draws, storage, units


def test_e16_the_profile_of_a_variance() -> None:
    fit = pigs().fit(reml=False)
    at = fit.cov_re.iloc[0, 0]
    table = fit.profile_re(0, "re", num_low=2, dist_low=at - 26.03, num_high=2, dist_high=62.76 - at)
    np.testing.assert_allclose(table[[0, 3, 4], 0], [26.03, (at + 62.76) / 2, 62.76])
    np.testing.assert_allclose(table[[0, 3, 4], 1], [-2406.471, -2403.953, -2406.040], atol=6e-4)
    assert table[2].tolist() == [at, fit.llf]


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_e16_its_defaults_work_in_any_units(unit: float) -> None:
    data = DIETOX.assign(Weight=unit * DIETOX["Weight"])
    table = pigs(data).fit().profile_re(0, "re", num_low=1, num_high=1)
    expected = pigs_fit().profile_re(0, "re", num_low=1, num_high=1)
    np.testing.assert_allclose(table[:, 0] / unit**2, expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(table[:, 1] - table[1, 1], expected[:, 1] - expected[1, 1], atol=1e-5)


def test_e16_intervals_are_those_of_r() -> None:
    fit = mixedlm("Reaction ~ Days", SLEEP, groups="Subject", re_formula="~Days").fit(reml=False)
    theirs = reference("sleepstudy_slope")["profile_ci_95"]
    bounds = dict(zip(theirs["names"], zip(theirs["lower"], theirs["upper"], strict=True), strict=True))
    for effect, name in (("Subject", "sd_(Intercept)|Subject"), ("Days", "sd_Days|Subject")):
        np.testing.assert_allclose(np.sqrt(fit.profile_re_interval(effect, "re")), bounds[name], rtol=2e-3)


def test_e16_a_mask_stays_as_it_is() -> None:
    free = MixedLMParams.from_components(np.ones(1), np.ones((1, 1)), vcomp=np.ones(1))
    fit = mixedlm("strength ~ 1", PASTES, **CASKS).fit(free=free)
    fit.profile_re("cask", "vc", num_low=1, num_high=1)
    assert free.get_packed(use_sqrt=False, has_fe=True).tolist() == [1, 1, 1]


def test_e17_draws_without_random_coefficients() -> None:
    model = mixedlm("strength ~ 1", PASTES, groups="batch", vc_formula={"cask": "0 + cask"})
    distribution = model.get_distribution([0.0, 4.0], 2.0, model.exog)
    random = np.random.default_rng(1)
    draws = np.array([distribution.rvs(0, rng=random) for _ in range(400)])
    assert draws.shape == (400, 60)
    # 30 casks of 2 rows: a variance of 2 + 8, 8 of it shared by the rows of a cask.
    assert draws.var() == pytest.approx(10, rel=0.05)
    casks = PASTES["batch"].astype(str) + PASTES["cask"].astype(str)
    pairs = np.array([np.flatnonzero(casks == cask) for cask in casks.unique()])
    assert (draws[:, pairs[:, 0]] * draws[:, pairs[:, 1]]).mean() == pytest.approx(8, rel=0.05)


def test_e18_a_fresh_result_without_its_data(tmp_path: Path) -> None:
    expected = str(pigs_fit().summary())
    fit = pigs().fit()
    fit.save(tmp_path / "small", remove_data=True)
    fit.save(tmp_path / "whole")
    small, whole = mm.MixedLMResults.load(tmp_path / "small"), mm.load(tmp_path / "whole", trust=True)
    pd.testing.assert_series_equal(whole.fittedvalues, fit.fittedvalues)
    assert (tmp_path / "small").stat().st_size < (tmp_path / "whole").stat().st_size / 4
    fit.remove_data()
    for bare in (small, fit):
        assert str(bare.summary()) == expected
        assert bare.llf == pigs_fit().llf
        np.testing.assert_allclose(bare.conf_int(), pigs_fit().conf_int())
        np.testing.assert_allclose(bare.predict(DIETOX[:5]), pigs_fit().predict(DIETOX[:5]))
        assert bare.t_test("Time").tvalue == pytest.approx(pigs_fit().t_test("Time").tvalue)
        for label, effects in pigs_fit().random_effects.items():
            pd.testing.assert_series_equal(bare.random_effects[label], effects)
        assert (bare.aic_reml, bare.bic_reml) == (pigs_fit().aic_reml, pigs_fit().bic_reml)
        conditional = bare.predict(DIETOX[:5], random_effects="conditional")
        np.testing.assert_allclose(conditional, pigs_fit().fittedvalues[:5])
        with pytest.raises(mm.InferenceError, match="resid needs the rows of the fit"):
            _ = bare.resid
        for question in ("coef_table", "r2", "influence", "cov_fe_robust", "residuals", "check", "simulate"):
            with pytest.raises(mm.InferenceError, match="needs the rows of the fit, which remove_data let go of"):
                getattr(bare, question)()
        with pytest.raises(mm.InferenceError, match="predict needs the rows of the fit"):
            bare.predict(DIETOX[:5], interval="confidence")


def test_e18_components_without_their_data() -> None:
    fit = mixedlm("strength ~ 1", PASTES, **CASKS).fit()
    fit.remove_data()
    for label, effects in casks_fit().random_effects.items():
        pd.testing.assert_series_equal(fit.random_effects[label], effects)
    assert str(fit.summary()) == str(casks_fit().summary())


def test_e19_variances_are_never_negative() -> None:
    fit = pigs(re_formula="~Time", use_sqrt=False).fit()
    expected = pigs(re_formula="~Time").fit()
    pd.testing.assert_frame_equal(fit.cov_re, expected.cov_re)
    assert np.linalg.eigvalsh(fit.cov_re).min() > 0


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e6])
def test_e20_nothing_depends_on_units(unit: float) -> None:
    fit = pigs(DIETOX.assign(Weight=unit * DIETOX["Weight"])).fit()
    np.testing.assert_allclose(fit.params / [unit, unit, 1], pigs_fit().params, rtol=1e-7)
    np.testing.assert_allclose(fit.bse_re / unit**2, pigs_fit().bse_re, rtol=1e-6)


# E21 and E22, and other bad input


@pytest.mark.parametrize("kind", [list, tuple, lambda labels: np.array(labels, dtype=object)])
def test_e21_labels_of_two_kinds(kind: Any) -> None:
    y, X, _ = arrays()
    with pytest.raises(mm.DataError, match=r"groups mixes labels of different kinds \(int, str\)"):
        MixedLM(y, X, kind(two_sided_groups(DIETOX)))


def test_e21_two_columns() -> None:
    y, X, _ = arrays()
    with pytest.raises(mm.DataError, match=r"one label for each row.* \(861, 2\).*variance components"):
        MixedLM(y, X, DIETOX[["Pig", "Cu"]])
    with pytest.raises(mm.DataError, match="groups names 2 columns"):
        pigs_by(["Pig", "Cu"])


def pigs_by(groups: Any) -> MixedLM:
    return mixedlm("Weight ~ Time", DIETOX, groups=groups)


@pytest.mark.parametrize("groups", ["Pig", DIETOX["Pig"].astype(str), DIETOX["Pig"].astype(str).tolist()])
def test_e21_labels_of_any_one_kind(groups: Any) -> None:
    np.testing.assert_allclose(pigs_by(groups).fit().params, pigs_fit().params, rtol=1e-12)


def test_e22_series_and_lists() -> None:
    y, X, groups = arrays()
    fit = MixedLM(y.tolist(), X.tolist(), groups.tolist()).fit()
    np.testing.assert_allclose(fit.params, pigs_fit().params, rtol=1e-12)
    by_series = MixedLM(DIETOX["Weight"], DIETOX["Time"], DIETOX["Pig"]).fit()
    without_intercept = mixedlm("Weight ~ 0 + Time", DIETOX, groups="Pig").fit()
    np.testing.assert_allclose(by_series.params, without_intercept.params, rtol=1e-12)
    assert by_series.params.index.tolist() == ["Time", "Group Var"]


def test_bad_lengths() -> None:
    y, X, groups = arrays()
    with pytest.raises(mm.DataError, match="exog has 861 rows, but endog has 860"):
        MixedLM(y[1:], X, groups)
    with pytest.raises(mm.DataError, match="groups has 860 labels, but there are 861 rows"):
        MixedLM(y, X, groups[1:])
    with pytest.raises(mm.DataError, match="exog_re has 860 rows, but endog has 861"):
        MixedLM(y, X, groups, exog_re=X[1:])
    with pytest.raises(mm.DataError, match="groups has 860 labels, but the data have 861 rows"):
        pigs_by(DIETOX["Pig"][1:])


def test_bad_numbers() -> None:
    y, X, groups = arrays()
    gaps = np.where(X == 3, np.nan, X)
    with pytest.raises(mm.DataError, match="'exog' has missing values"):
        MixedLM(y, gaps, groups)
    with pytest.raises(mm.DataError, match="'exog_re' has missing values"):
        MixedLM(y, X, groups, exog_re=gaps)
    with pytest.raises(mm.DataError, match="endog is infinite in 1 of 861 rows, the first row 5"):
        MixedLM(np.where(np.arange(len(y)) == 5, np.inf, y), X, groups)
    with pytest.raises(mm.DataError, match="'Feed' has missing values"):
        mixedlm("Weight ~ Time", DIETOX, groups="Pig", vc_formula={"feed": "0 + Feed"})
    model = mixedlm("strength ~ 1", PASTES, **CASKS)
    spec = VCSpec(["cask"], model.exog_vc.colnames, [[np.nan * np.asarray(Z) for Z in model.exog_vc.mats[0]]])
    with pytest.raises(mm.DataError, match="'cask' hold values that are not finite"):
        MixedLM(model.endog, model.exog, model.groups, exog_vc=spec)


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_groups_with_gaps(gap: Any) -> None:
    y, X, _ = arrays()
    groups = [gap, *DIETOX["Pig"].astype(str).tolist()[1:]]
    with pytest.raises(mm.DataError, match="'groups' has missing values: 1 of 861"):
        MixedLM(y, X, groups)
    assert MixedLM(y, X, groups, missing="drop").nobs == 860
    with pytest.raises(mm.DataError, match="'groups' has missing values: 1 of 861"):
        pigs_by(groups)
    assert mixedlm("Weight ~ Time", DIETOX, groups=groups, missing="drop").nobs == 860


def test_groups_without_rows() -> None:
    pig = pd.Categorical(DIETOX["Pig"].astype(str), categories=[*sorted(set(DIETOX["Pig"].astype(str))), "none"])
    model = mixedlm("Weight ~ Time", DIETOX.assign(Pig=pig), groups="Pig")
    assert model.n_groups == 72
    np.testing.assert_allclose(model.fit().params, pigs_fit().params, rtol=1e-12)


def test_no_rows_and_no_column() -> None:
    with pytest.raises(mm.DataError, match="The data have no rows"):
        pigs(DIETOX[:0])
    with pytest.raises(mm.DataError, match="The data have no rows"):
        MixedLM([], [], [])
    with pytest.raises(mm.DataError, match=r"There is no column 'Pg' for groups. Did you mean 'Pig'\?"):
        pigs_by("Pg")
    unknown = r"^There is no column 'Tim' in the data. Did you mean 'Time'\? The columns are: Pig, "
    for text in ("Weight ~ Tim", "Weight ~ np.log(Tim)", "Weight ~ C(Tim):Start"):
        with pytest.raises(mm.DataError, match=unknown):
            mixedlm(text, DIETOX, groups="Pig")
    with pytest.raises(mm.DataError, match=unknown):
        mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~ Tim")
    with pytest.raises(mm.DataError, match=r"'Weight ~ foo\(Time\)' calls 'foo', which is not a known function"):
        mixedlm("Weight ~ foo(Time)", DIETOX, groups="Pig")
    with pytest.raises(mm.DataError, match="groups is missing: name the column"):
        mixedlm("Weight ~ Time", DIETOX)


def test_new_data_without_a_column() -> None:
    fit = mixedlm("Weight ~ Time", DIETOX, groups="Pig").fit()
    with pytest.raises(mm.DataError, match="There is no column 'Time' in the data"):
        fit.predict({"Tim": [1.0]})


# The same object answers the questions of lme4's users


def test_questions_by_term_have_lmers_answers() -> None:
    fit = mixedlm("Weight ~ Time * Cu + np.sqrt(Start)", DIETOX, groups="Pig").fit()
    same = mm.lmer("Weight ~ Time * Cu + np.sqrt(Start) + (1 | Pig)", DIETOX)
    for ddf in ("satterthwaite", "kenward-roger"):
        found = fit.anova(ddf=ddf)  # in the order of their columns
        pd.testing.assert_frame_equal(found, same.anova(ddf=ddf).loc[found.index], rtol=1e-6)
    pd.testing.assert_frame_equal(fit.margins("Cu"), same.margins("Cu"), rtol=1e-6)
    pd.testing.assert_frame_equal(fit.ranef()["Pig"], same.random_effects["Pig"], rtol=1e-5)
    assert fit.r2() == pytest.approx(same.r2())
    assert fit.deviance == pytest.approx(same.deviance, abs=1e-8)


def test_questions_by_term_that_need_the_callers_names() -> None:
    def twice(x: Any) -> Any:
        return 2 * x

    fit = mixedlm("Weight ~ twice(Time) * Cu", DIETOX, groups="Pig").fit()
    same = mm.lmer("Weight ~ I(2 * Time) * Cu + (1 | Pig)", DIETOX)
    assert fit.fe_params.iloc[3] == pytest.approx(same.fe_params["I(2 * Time)"])
    np.testing.assert_allclose(fit.anova().sort_index(), same.anova().loc[["Cu", "I(2 * Time)", "I(2 * Time):Cu"]])
    pd.testing.assert_frame_equal(fit.margins("Cu", at={"Time": 3}), same.margins("Cu", at={"Time": 3}), rtol=1e-6)


# E23 and E24: crossed components, small samples


def test_e23_crossed_components_are_those_of_r() -> None:
    data = load("Penicillin").assign(all=1)
    components = {"plate": "0 + plate", "sample": "0 + sample"}
    fit = mixedlm("diameter ~ 1", data, groups="all", vc_formula=components).fit()
    theirs = reference("penicillin_crossed")["fits"]["REML"]
    assert fit.llf == pytest.approx(theirs["logLik"], abs=1e-7)
    variances = {block["group"]: block["cov"][0][0] for block in theirs["varcorr"]}
    np.testing.assert_allclose(fit.vcomp, [variances["plate"], variances["sample"]], rtol=1e-5)


def test_e23_crossed_components_are_fast() -> None:
    random = np.random.default_rng(5)
    n = 5000
    data = pd.DataFrame({"a": random.integers(600, size=n), "b": random.integers(400, size=n), "all": 1})
    data["x"] = random.normal(size=n)
    effects = random.normal(size=600)[data["a"]] + random.normal(size=400)[data["b"]]
    data["y"] = data["x"] + effects + random.normal(size=n)
    began = time.perf_counter()
    fit = mixedlm("y ~ x", data, groups="all", vc_formula={"a": "0 + C(a)", "b": "0 + C(b)"}).fit()
    assert time.perf_counter() - began < 3  # statsmodels: 35 s on the same machine, where this takes 0.1 s
    np.testing.assert_allclose(fit.vcomp, [1, 1], atol=0.2)


def test_e24_degrees_of_freedom_for_small_samples() -> None:
    data = load("beets")
    groups = data["block"].astype(str) + data["harvest"].astype(str)
    fit = mixedlm("sugpct ~ block + sow + harvest", data, groups=groups).fit()
    theirs = reference("beets_kr")["fits"]["REML"]
    for ddf, name in (("satterthwaite", "satterthwaite"), ("kenward-roger", "kenward_roger")):
        table = fit.coef_table(ddf=ddf)
        np.testing.assert_allclose(table["df"], theirs[name]["df"], rtol=1e-3)
        np.testing.assert_allclose(table["p_value"], theirs[name]["p"], rtol=1e-3)
    assert fit.coef_table("kenward-roger")["p_value"].iloc[-1] > 2 * fit.pvalues.iloc[fit.k_fe - 1]
