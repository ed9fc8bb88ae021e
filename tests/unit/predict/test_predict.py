"""Predictions: intervals against closed forms, new and missing levels, transformations, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_variance_of_a_blup_in_a_balanced_one_way_layout() -> None:
    """Henderson (1975): Var(mu^ + b^ - mu - b) = tau (1 - s) + s^2 v / a + ..., written out for balanced data.

    With s = n tau / (n tau + sigma^2): mu^ = ybar, b^_i = s (ybar_i - ybar), so the error is
    (1 - s)(ybar - mu) + s (ybar_i - mu) - b_i.
    """
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    a, n = 6, 5
    tau, sigma_2 = fit.varcorr["Batch"].iloc[0, 0], fit.scale
    s = n * tau / (n * tau + sigma_2)
    between = tau + sigma_2 / n  # variance of a batch mean
    variance = (1 - s) ** 2 * between / a + s**2 * between + tau
    variance += 2 * (1 - s) * s * between / a - 2 * (1 - s) * tau / a - 2 * s * tau
    table = fit.predict(interval="confidence", ddf="normal")
    np.testing.assert_allclose(table["se"], np.sqrt(variance), rtol=1e-8)
    np.testing.assert_allclose(table["upper"] - table["mean"], stats.norm.ppf(0.975) * table["se"])
    new = fit.predict(interval="prediction", ddf="normal")
    np.testing.assert_allclose(new["se"] ** 2, variance + sigma_2)


def test_degrees_of_freedom_are_satterthwaites_of_the_two_mean_squares() -> None:
    """Balanced one-way layout: MSB and MSE are independent, and every variance is c1 MSB + c2 MSE.

    The mean has MSB / (a n), so a - 1 degrees of freedom; a new batch adds (MSB - MSE) / n, a new yield MSE.
    """
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    a, n = 6, 5
    within, between = fit.scale, n * fit.varcorr["Batch"].iloc[0, 0] + fit.scale
    for interval, c1, c2 in (("confidence", 1 / (a * n), 0), ("prediction", 1 / (a * n) + 1 / n, 1 - 1 / n)):
        row = fit.predict({"Batch": ["new"]}, random_effects="population", interval=interval).iloc[0]
        variance = c1 * between + c2 * within
        df = variance**2 / ((c1 * between) ** 2 / (a - 1) + (c2 * within) ** 2 / (a * (n - 1)))
        assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-7)
        assert row["upper"] - row["mean"] == pytest.approx(stats.t.ppf(0.975, df) * row["se"], rel=1e-6)


def test_estimated_variances_widen_a_blup_as_prasad_and_rao_have_it() -> None:
    """Prasad and Rao (1990): 2 Var(s^) E(ybar_i - ybar)^2, s^ = 1 - MSE / MSB of a balanced one-way layout."""
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    a, n = 6, 5
    between = n * fit.varcorr["Batch"].iloc[0, 0] + fit.scale
    shrinkage = (fit.scale / between) ** 2 * (2 / (a - 1) + 2 / (a * (n - 1)))
    plain, wide = (fit.predict(interval="confidence", correction=c)["se"] ** 2 for c in (None, "kackar-harville"))
    np.testing.assert_allclose(wide - plain, 2 * shrinkage * between / n * (1 - 1 / a), rtol=1e-5)


def test_correction_makes_the_error_variance_right_on_average() -> None:
    """Simulated at known parameters: the mean squared error of predicted effects, and what is said of it."""
    rng = np.random.default_rng(7)
    a, n, tau = 10, 3, 1.5
    g = np.repeat(np.arange(a), n)
    b = rng.normal(scale=np.sqrt(tau), size=(400, a))
    responses = b[:, g] + rng.normal(size=(400, a * n))
    first = mm.LinearMixedModel("y ~ 1 + (1 | g)", {"y": responses[0], "g": g}).fit()
    error, plain, wide = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.SingularFitWarning)
        for effects, y in zip(b, responses, strict=True):
            fit = first.refit(y)
            tables = [fit.predict(interval="confidence", ddf="normal", correction=c) for c in (None, "kackar-harville")]
            error.append(np.mean((tables[0]["mean"].to_numpy()[::n] - effects) ** 2))
            plain.append(np.mean(tables[0]["se"] ** 2))
            wide.append(np.mean(tables[1]["se"] ** 2))
    standard_error = np.std(error) / np.sqrt(len(error))
    assert abs(np.mean(wide) - np.mean(error)) < 3 * standard_error
    assert np.mean(error) - np.mean(plain) > abs(np.mean(wide) - np.mean(error))


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_a_singular_fit_has_intervals_of_every_kind() -> None:
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff2"))
    assert fit.is_singular
    least_squares = fit.sigma / np.sqrt(30)
    for correction in (None, "kackar-harville"):
        table = fit.predict(interval="confidence", correction=correction)
        np.testing.assert_allclose(table["se"], least_squares, rtol=1e-6)
        half = stats.t.ppf(0.975, 29) * least_squares
        np.testing.assert_allclose(table["upper"] - table["mean"], half, rtol=1e-6)


def test_population_interval_is_the_contrast(fit: mm.LmmResult) -> None:
    row = fit.predict({"Days": [0.0, 4.0]}, random_effects="population", interval="confidence")
    contrast = fit.contrast(["Intercept = 0", "Intercept + 4 * Days = 0"])
    np.testing.assert_allclose(row["se"], contrast["std_error"])
    np.testing.assert_allclose(row["lower"], contrast["ci_lower"], rtol=1e-6)


def test_a_new_observation_of_a_new_level(fit: mm.LmmResult) -> None:
    data = {"Days": [3.0], "Subject": ["nobody"]}
    z = np.array([1.0, 3.0])
    added = z @ fit.varcorr["Subject"].to_numpy() @ z
    mean = fit.predict({"Days": [3.0]}, random_effects="population", interval="confidence")["se"].iloc[0]
    one = fit.predict(data, new_levels="population", interval="confidence")["se"].iloc[0]
    new = fit.predict(data, new_levels="population", interval="prediction")["se"].iloc[0]
    assert one**2 == pytest.approx(mean**2 + added)
    assert new**2 == pytest.approx(mean**2 + added + fit.scale)
    population = fit.predict({"Days": [3.0], "Subject": ["308"]}, random_effects="population", interval="prediction")
    assert population["se"].iloc[0] == pytest.approx(new)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")
def test_prediction_intervals_cover_new_observations() -> None:
    """Simulated at known parameters: 95 % of new observations of known levels fall into their intervals."""
    rng = np.random.default_rng(1)
    hits = total = 0
    g, x = np.repeat(np.arange(15), 6), np.tile(np.arange(6.0), 15)
    for _ in range(60):
        b = rng.normal(size=(15, 2)) * [2, 0.5]
        y = b[g, 0] + (1 + b[g, 1]) * x + rng.normal(size=90)
        new = b[g, 0] + (1 + b[g, 1]) * x + rng.normal(size=90)
        table = mm.LinearMixedModel("y ~ x + (x | g)", {"y": y, "x": x, "g": g}).fit().predict(interval="prediction")
        hits += int(np.sum((table["lower"] < new) & (new < table["upper"])))
        total += 90
    assert hits / total == pytest.approx(0.95, abs=0.015)


def test_partly_known_nested_levels_use_what_is_known() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    row = fit.predict({"batch": ["A"], "cask": ["z"]}, new_levels="population").iloc[0]
    assert row == pytest.approx(fit.fe_params["Intercept"] + fit.random_effects["batch"].loc["A", "Intercept"])
    by_name = fit.predict({"batch": ["A"], "cask": ["a"]}, random_effects=["batch"]).iloc[0]
    assert by_name == pytest.approx(row)


def test_a_new_observation_needs_no_level_for_effects_that_are_not_used(fit: mm.LmmResult) -> None:
    without = fit.predict({"Days": [3.0, np.nan]}, random_effects="population", interval="prediction")
    named = fit.predict({"Days": [3.0], "Subject": [None]}, random_effects="population", interval="prediction")
    np.testing.assert_allclose(without.iloc[0], named.iloc[0])
    assert without.iloc[1].isna().all()


def test_rows_that_need_a_dropped_column_are_refused() -> None:
    """x2 = 2 x was dropped; only rows that keep to that have one prediction."""
    data = SLEEP.assign(twice=2 * SLEEP["Days"])
    with pytest.warns(mm.RankDeficiencyWarning):
        fit = mm.lmer("Reaction ~ Days + twice + (1 | Subject)", data)
    np.testing.assert_allclose(fit.predict(data.head(3)), fit.fittedvalues.head(3))
    with pytest.raises(mm.InferenceError, match="'row 1 of the new data' cannot be estimated: the column 'twice'"):
        fit.predict({"Days": [1.0, 1.0], "twice": [2.0, 3.0], "Subject": ["308", "308"]})


def test_the_effects_of_chosen_terms_and_their_error_are_hendersons() -> None:
    fit = mm.lmer("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", SLEEP)
    levels, days = pd.factorize(SLEEP["Subject"])[0], SLEEP["Days"].to_numpy(float)
    J = np.eye(18)[levels]
    W = np.column_stack([np.ones(len(days)), days, J, J * days[:, None]])
    C = W.T @ W + np.diag(np.repeat([0, *(1 / fit.theta**2)], [2, 18, 18]))
    solution = np.linalg.solve(C, W.T @ SLEEP["Reaction"])
    chosen = W * np.repeat([1, 1, 0], [2, 18, 18])
    found = fit.predict(random_effects=["(1|Subject)"], interval="confidence", ddf="normal")
    np.testing.assert_allclose(found["mean"], chosen @ solution, rtol=1e-7)
    se = fit.sigma * np.sqrt(np.einsum("ij,ij->i", chosen @ np.linalg.inv(C), chosen))
    np.testing.assert_allclose(found["se"], se, rtol=1e-6)
    np.testing.assert_allclose(fit.predict(SLEEP, random_effects=["(1 | Subject)"]), found["mean"])
    both = ["(0 + Days | Subject)", "(1 | Subject)"]
    np.testing.assert_array_equal(fit.predict(random_effects=both), fit.predict())
    with pytest.raises(mm.InferenceError, match="Choose whole factors"):
        fit.predict(random_effects=["(1 | Subject)"], interval="prediction")
    with pytest.raises(mm.InferenceError, match=r"or some of Subject, \(1 \| Subject\), \(0 \+ Days \| Subject\)"):
        fit.predict(random_effects=["(Days | Subject)"])


def test_arguments_of_an_interval_need_one(fit: mm.LmmResult) -> None:
    for arguments in ({"level": 0.9}, {"ddf": "normal"}):
        with pytest.raises(mm.InferenceError, match="level and ddf are for an interval"):
            fit.predict(**arguments)


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dict", "categorical"])
def test_any_kind_of_new_data(fit: mm.LmmResult, kind: str) -> None:
    columns = {"Days": [1.0, 2.5], "Subject": ["372", "308"]}
    make = {
        "polars": lambda: pytest.importorskip("polars").DataFrame(columns),
        "pyarrow": lambda: pytest.importorskip("pyarrow").table(columns),
        "dict": lambda: columns,
        "categorical": lambda: pd.DataFrame(columns).astype({"Subject": "category"}),
    }
    b = fit.random_effects["Subject"].loc[["372", "308"]].to_numpy() + fit.fe_params.to_numpy()
    np.testing.assert_allclose(fit.predict(make[kind]()), b[:, 0] + b[:, 1] * columns["Days"])


def test_missing_values_stay_missing(fit: mm.LmmResult) -> None:
    data = pd.DataFrame({"Days": [1.0, np.nan, 2.0], "Subject": ["308", "308", None]}, index=["a", "b", "c"])
    table = fit.predict(data, interval="prediction")
    assert list(table.index) == ["a", "b", "c"]
    assert table.loc["a"].notna().all()
    assert table.loc[["b", "c"]].isna().all().all()


@pytest.mark.parametrize("term", ["poly(Days, 2)", "scale(Days)", "bs(Days, df=4)", "np.log(Days + 1)"])
def test_transformations_are_remembered(term: str) -> None:
    if term.startswith("np."):
        term = "log(Days + 1)"
    fit = mm.LinearMixedModel(f"Reaction ~ {term} + (1 | Subject)", SLEEP).fit()
    some = SLEEP.iloc[[3, 50, 51, 120]]
    np.testing.assert_allclose(fit.predict(some), fit.fittedvalues.iloc[[3, 50, 51, 120]], rtol=1e-10)


def test_weights_scale_the_residual_of_a_new_observation() -> None:
    data = SLEEP.assign(w=2.0)
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    own = fit.predict(interval="prediction")["se"].iloc[0] ** 2
    mean = fit.predict(interval="confidence")["se"].iloc[0] ** 2
    assert own - mean == pytest.approx(fit.scale / 2)
    new = fit.predict(data.head(1), interval="prediction", weights=4.0)["se"].iloc[0] ** 2
    assert new - mean == pytest.approx(fit.scale / 4)


def test_weights_of_new_data_are_those_of_the_column_that_the_fit_used() -> None:
    data = mm.load_dataset("sleepstudy")
    data["w"] = np.arange(len(data)) + 1.0
    formula = "Reaction ~ Days + (1 | Subject)"
    fit = mm.lmer(formula, data, weights="w")
    np.testing.assert_allclose(
        fit.predict(data, interval="prediction"), fit.predict(interval="prediction"), rtol=1e-12, atol=0
    )
    np.testing.assert_array_equal(fit.simulate(data=data, seed=1), fit.simulate(seed=1))
    gap = data.head(3).assign(w=[1.0, np.nan, 2.0])
    assert fit.predict(gap, interval="prediction")["se"].isna().tolist() == [False, True, False]
    assert np.isnan(fit.simulate(data=gap, seed=1)[:, 0]).tolist() == [False, True, False]
    without = data.drop(columns="w")
    with pytest.raises(mm.InferenceError, match="'w', which the new data do not have"):
        fit.predict(without, interval="prediction")
    by_array = mm.lmer(formula, without, weights=data["w"])
    with pytest.raises(mm.InferenceError, match="were an array"):
        by_array.simulate(data=without)
    ones = by_array.predict(without, interval="prediction", weights=1.0)
    np.testing.assert_allclose(ones["se"].iloc[0], fit.predict(data.head(1), interval="prediction")["se"].iloc[0])


@pytest.mark.parametrize("read_as", [str, int, float])
@pytest.mark.parametrize("fitted_as", [str, int])
def test_levels_are_known_whether_read_as_text_or_numbers(fitted_as: type, read_as: type) -> None:
    data = mm.load_dataset("sleepstudy")
    data["Subject"] = data["Subject"].astype(str).astype(fitted_as)
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    new = pd.DataFrame({"Days": [3, 4], "Subject": pd.Series(["308", "372"]).astype(read_as)})
    rows = data["Subject"].astype(str).isin(["308", "372"])
    expected = fit.predict()[rows].iloc[[3, 14]]
    np.testing.assert_allclose(fit.predict(new), expected, rtol=1e-12)


def test_results_by_row_have_the_index_of_a_pandas_frame() -> None:
    data = mm.load_dataset("sleepstudy").query("Days > 1").sample(frac=1, random_state=1)
    data.iloc[3, data.columns.get_loc("Reaction")] = np.nan
    with pytest.warns(mm.DroppedRowsWarning):
        fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    used = data.index.delete(3)
    influence = fit.influence(method="one-step")
    for by_row in (fit.resid, fit.fittedvalues, fit.predict(), fit.hat_values(), influence.cooks_distance):
        assert by_row.index.equals(used)
    np.testing.assert_allclose((data["Reaction"] - fit.resid)[used], fit.predict(data)[used])


def test_units_do_not_matter(fit: mm.LmmResult) -> None:
    scaled = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP.assign(Days=SLEEP["Days"] * 1e6 + 1e4))
    a, b = fit.predict(interval="prediction"), scaled.predict(interval="prediction")
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.DataError, match=r"Row 1 .* has the level '999' of 'Subject', which the fit did not have"):
        fit.predict({"Days": [1.0, 2.0], "Subject": ["308", "999"]})
    with pytest.raises(mm.DataError, match="'Days'"):
        fit.predict({"Subject": ["308"]})
    with pytest.raises(mm.DataError, match="was numeric in the fit, but holds 'two' now"):
        fit.predict({"Days": ["two"], "Subject": ["308"]})
    with pytest.raises(mm.InferenceError, match=r"random_effects names 'Subjects'.*Did you mean 'Subject'"):
        fit.predict(random_effects=["Subjects"])
    for choice in (None, 3):
        with pytest.raises(mm.InferenceError, match=f"random_effects names {choice}; it must be 'conditional'"):
            fit.predict(random_effects=choice)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(mm.InferenceError, match="interval='both'"):
        fit.predict(interval="both")
    with pytest.raises(mm.InferenceError, match="new_levels='zero'"):
        fit.predict({"Days": [1.0], "Subject": ["308"]}, new_levels="zero")
    with pytest.raises(mm.InferenceError, match="ddf='kr'"):
        fit.predict(interval="confidence", ddf="kr")
    with pytest.raises(mm.InferenceError, match="correction='kr'"):
        fit.predict(interval="confidence", correction="kr")
    with pytest.raises(mm.InferenceError, match="correction widens an interval"):
        fit.predict(correction="kackar-harville")
    with pytest.raises(mm.DataError, match="level '999' of 'Subject'"):
        fit.predict({"Days": [1.0], "Subject": ["999"]}, interval="confidence")
    with pytest.raises(mm.InferenceError, match="level is 95"):
        fit.predict(interval="confidence", level=95)
    with pytest.raises(mm.DataError, match=r"must be a pandas or polars DataFrame.* not 'list'"):
        fit.predict([1.0, 2.0])
    with pytest.raises(mm.InferenceError, match="weights must be positive"):
        fit.predict(interval="prediction", weights=-1)
    machines = mm.lmer("score ~ Machine + (1 | Worker)", mm.load_dataset("Machines"))
    with pytest.raises(mm.DataError, match="has the level 'D', which the fit did not have"):
        machines.predict({"Machine": ["D"], "Worker": ["1"]})
    offset = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, offset=np.ones(180))
    with pytest.raises(mm.InferenceError, match="offset given as an array"):
        offset.predict({"Days": [1.0], "Subject": ["308"]})
