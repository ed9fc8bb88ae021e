"""Simulated responses and power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.design.subset import draw_levels

SLEEP = mm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_moments_are_those_of_the_model(fit: mm.LmmResult) -> None:
    draws = fit.simulate(20_000, seed=1)
    Z = fit.state.design.factors[0].Z
    assert Z is not None
    rows = [0, 9, 10]
    V = (fit.state.design.factors[0].codes[rows][:, None] == fit.state.design.factors[0].codes[rows]) * (
        Z[rows] @ fit.varcorr["Subject"].to_numpy() @ Z[rows].T
    ) + fit.scale * np.eye(3)
    np.testing.assert_allclose(np.cov(draws[rows]), V, atol=0.05 * V.max())
    mean = fit.predict(random_effects="population").to_numpy()
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=5 * np.sqrt(V.max() / 20_000))


def test_conditional_draws_keep_the_modes(fit: mm.LmmResult) -> None:
    draws = fit.simulate(4000, seed=2, random_effects="conditional")
    np.testing.assert_allclose(draws.mean(axis=1), fit.fittedvalues, atol=5 * fit.sigma / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=1), fit.sigma, rtol=0.1)


def test_new_data_draw_levels_of_their_own(fit: mm.LmmResult) -> None:
    data = pd.DataFrame({"Days": [0.0, 0.0, 0.0, np.nan], "Subject": ["new", "new", "other", "new"]})
    draws = fit.simulate(6000, seed=3, data=data)
    tau = fit.varcorr["Subject"].iloc[0, 0]
    covariance = np.cov(draws[:3])
    assert covariance[0, 1] == pytest.approx(tau, rel=0.15)
    assert abs(covariance[0, 2]) < 0.1 * tau
    assert np.isnan(draws[3]).all()
    known = fit.simulate(4000, seed=4, data={"Days": [0.0], "Subject": ["308"]}, random_effects="conditional")
    assert known.mean() == pytest.approx(fit.predict({"Days": [0.0], "Subject": ["308"]}).iloc[0], abs=2)


def test_new_data_draw_one_effect_for_each_value_of_an_expression() -> None:
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(12), 5)
    data = pd.DataFrame({"g": g, "y": 5 * rng.normal(size=4)[g // 3] + rng.normal(size=60)})
    fit = mm.lmer("y ~ 1 + (1 | I(g // 3))", data)
    draws = fit.simulate(2000, seed=1, data=data)
    icc = fit.icc()["adjusted"]
    assert np.corrcoef(draws[0], draws[10])[0, 1] == pytest.approx(icc, abs=0.05)  # g is 0 and 2
    assert abs(np.corrcoef(draws[0], draws[20])[0, 1]) < 0.1  # g is 0 and 4


def test_nested_factors_are_not_varied_apart() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    with pytest.raises(mm.InferenceError, match="'cask:batch', which is nested in 'batch'"):
        mm.power(fit, "Intercept", n=2, vary={"batch": [4, 12], "cask:batch": [10]})


def test_weights_of_new_data_scale_the_residual(fit: mm.LmmResult) -> None:
    data = {"Days": [0.0, 0.0], "Subject": ["308", "308"], "w": [1.0, 100.0]}
    for weights in ("w", [1.0, 100.0]):
        draws = fit.simulate(4000, seed=8, data=data, weights=weights, random_effects="conditional")
        np.testing.assert_allclose(draws.std(axis=1), [fit.sigma, fit.sigma / 10], rtol=0.05)


def test_seeds(fit: mm.LmmResult) -> None:
    np.testing.assert_array_equal(fit.simulate(2, seed=5), fit.simulate(2, seed=5))
    assert not np.array_equal(fit.simulate(1, seed=5), fit.simulate(1, seed=6))


def test_power_of_a_balanced_design_is_that_of_the_noncentral_t() -> None:
    """Two conditions once a subject: the paired t test, whose power is known."""
    rng = np.random.default_rng(0)
    subject, condition = np.repeat(np.arange(12), 2), np.tile([0.0, 1.0], 12)
    y = rng.normal(size=12)[subject] * 2 + rng.normal(size=24)
    fit = mm.lmer("y ~ condition + (1 | subject)", {"y": y, "condition": condition, "subject": subject})
    effect = 1.2 * fit.sigma
    table = mm.power(fit, "condition", n=600, size=effect, seed=1, progress=False)
    shift = effect / (fit.sigma * np.sqrt(2 / 12))
    exact = stats.nct.sf(stats.t.ppf(0.975, 11), 11, shift) + stats.nct.cdf(-stats.t.ppf(0.975, 11), 11, shift)
    row = table.iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 600))
    assert row["lower"] < row["power"] < row["upper"]
    assert row["type_m"] >= 1


def test_power_of_a_term_is_that_of_the_noncentral_f() -> None:
    """Three treatments once a subject: a complete block design, whose F test and power are known."""
    rng = np.random.default_rng(1)
    subject, treatment = np.repeat(np.arange(10), 3), np.tile(["a", "b", "c"], 10)
    y = rng.normal(size=10)[subject] * 3 + rng.normal(size=30) + 1.2 * (treatment == "c")
    fit = mm.lmer("y ~ treatment + (1 | subject)", {"y": y, "treatment": treatment, "subject": subject})
    means = fit.margins("treatment")["estimate"]
    noncentrality = 10 * np.sum((means - means.mean()) ** 2) / fit.scale
    exact = stats.ncf.sf(stats.f.ppf(0.95, 2, 18), 2, 18, noncentrality)
    assert 0.2 < exact < 0.95
    row = mm.power(fit, "treatment", n=600, seed=1, progress=False).iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 600))
    assert row[["type_s", "type_m"]].isna().all()
    with pytest.raises(
        mm.InferenceError, match=r"size is the true value of one coefficient, and 'treatment' is a term"
    ):
        mm.power(fit, "treatment", size=1.0)
    with pytest.raises(mm.InferenceError, match=r"no fixed effect 'treatmen'; .*Did you mean 'treatment'"):
        mm.power(fit, "treatmen")


def test_power_of_a_term_of_one_column_is_that_of_its_coefficient() -> None:
    data = mm.load_dataset("Orthodont")
    fit = mm.lmer("distance ~ age + Sex + (1 | Subject)", data)
    term, coefficient = (mm.power(fit, name, n=20, seed=3, progress=False) for name in ("Sex", fit.fe_params.index[-1]))
    pd.testing.assert_frame_equal(term.iloc[:, :4], coefficient.iloc[:, :4])


def test_power_grows_with_levels(fit: mm.LmmResult) -> None:
    table = mm.power(fit, "Days", n=60, vary={"Subject": [4, 30]}, size=5.0, seed=2, progress=False)
    assert list(table["n_obs"]) == [40, 300]
    assert table["power"].iloc[0] < table["power"].iloc[1]
    assert table.index.name == "Subject"


def test_copies_of_levels_bring_the_levels_nested_in_them() -> None:
    fit = mm.lmer("strength ~ 1 + (1 | batch/cask)", mm.load_dataset("Pastes"))
    design = draw_levels(fit.state.design, "batch", np.arange(25) % 10)
    assert [(f.name, f.n_levels) for f in design.factors] == [("cask:batch", 75), ("batch", 25)]
    assert design.n_obs == 25 * 6
    assert set(np.bincount(design.factors[0].codes)) == {2}
    crossed = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mm.load_dataset("Penicillin")).state.design
    both = draw_levels(draw_levels(crossed, "plate", np.arange(30) % 24), "sample", np.arange(3))
    assert [(f.name, f.n_levels) for f in both.factors] == [("plate", 30), ("sample", 3)]
    assert both.n_obs == 90


def test_power_over_two_factors_of_a_weighted_model_by_kenward_roger() -> None:
    rng = np.random.default_rng(3)
    a, b = np.repeat(np.arange(12), 6), np.tile(np.arange(6), 12)
    w = rng.uniform(0.5, 4, 72)
    x = rng.normal(size=72)
    y = rng.normal(size=12)[a] + rng.normal(size=6)[b] + rng.normal(size=72) / np.sqrt(w)
    model = mm.LinearMixedModel("y ~ x + (1 | a) + (1 | b)", {"y": y, "x": x, "a": a, "b": b}, weights=w)
    options = {"n": 40, "vary": {"a": [6, 12], "b": [3, 6]}, "seed": 4, "ddf": "kenward-roger", "progress": False}
    table = mm.power(model, "x", size=0.3, **options)
    assert list(table.index) == [(6, 3), (6, 6), (12, 3), (12, 6)]
    assert list(table.index.names) == ["a", "b"]
    assert table.loc[(6, 3), "power"] < table.loc[(12, 6), "power"]
    pd.testing.assert_frame_equal(table, mm.power(model.fit(), "x", size=0.3, **options))


def test_the_rate_of_false_alarms_is_alpha(fit: mm.LmmResult) -> None:
    row = mm.power(fit, "Days", n=800, size=0.0, alpha=0.1, seed=5, progress=False).iloc[0]
    assert row["power"] == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 800))
    assert np.isnan(row[["type_s", "type_m"]].to_numpy(dtype=float)).all()
    assert row["n_obs"] == 180


def test_weak_effects_are_exaggerated_and_of_the_wrong_sign(fit: mm.LmmResult) -> None:
    """Gelman and Carlin (2014), for an estimate of known normal distribution: here the balanced design's t."""
    size = 0.5 * fit.bse_fe["Days"]
    row = mm.power(fit, "Days", n=1500, size=size, seed=6, progress=False).iloc[0]
    draws = np.random.default_rng(0)
    s = fit.bse_fe["Days"]
    estimate = size + s * draws.standard_normal(400_000)
    own_se = s * np.sqrt(draws.chisquare(17, 400_000) / 17)
    found = estimate[np.abs(estimate / own_se) > stats.t.ppf(0.975, 17)]
    assert row["type_s"] == pytest.approx(np.mean(found < 0), abs=0.07)
    assert row["type_m"] == pytest.approx(np.mean(np.abs(found)) / size, rel=0.12)


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="random_effects='old'"):
        fit.simulate(random_effects="old")
    for n in (0, True):
        with pytest.raises(mm.InferenceError, match=f"n is {n}"):
            fit.simulate(n)
    for seed in (-1, "a", 1.5):
        with pytest.raises(mm.InferenceError, match=f"seed is {seed!r}; it must be an integer"):
            fit.simulate(seed=seed)  # type: ignore[arg-type]  # what is refused
        with pytest.raises(mm.InferenceError, match=f"seed is {seed!r}; it must be an integer"):
            fit.simulated_residuals(seed=seed)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(mm.InferenceError, match=r"no fixed effect 'days'"):
        mm.power(fit, "days")
    with pytest.raises(mm.InferenceError, match="weights must be positive"):
        fit.simulate(data={"Days": [0.0], "Subject": ["308"]}, weights="Subject")
    with pytest.raises(mm.DataError, match="'308'"):
        mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).simulate(data={"Days": ["308"], "Subject": ["308"]})
    with pytest.raises(mm.InferenceError, match=r"no grouping factor 'subject'.*Did you mean 'Subject'"):
        mm.power(fit, "Days", n=2, vary={"subject": [5]})
    with pytest.raises(mm.InferenceError, match="vary is empty"):
        mm.power(fit, "Days", n=2, vary={})
    with pytest.raises(mm.InferenceError, match="alpha is 5"):
        mm.power(fit, "Days", n=2, alpha=5)
    with pytest.raises(mm.InferenceError, match="n is 0; the number of simulations"):
        mm.power(fit, "Days", n=0)
    with pytest.raises(mm.InferenceError, match="ddf='kr' is not available"):
        mm.power(fit, "Days", n=2, ddf="kr", progress=False)
    with pytest.raises(mm.InferenceError, match="asks for 1 levels"):
        mm.power(fit, "Days", n=2, vary={"Subject": [1]})
    for model in ("y ~ x", 3):
        with pytest.raises(mm.InferenceError, match=f"model is {model!r}; it must be a fit"):
            mm.power(model, "Days")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(mm.InferenceError, match="effect is 3; it must be the name"):
        mm.power(fit, 3)  # type: ignore[arg-type]  # what is refused
    options: list[tuple[dict[str, Any], str]] = [
        ({"size": "a"}, "size is 'a'; the true value"),
        ({"alpha": "a"}, "alpha is 'a'"),
        ({"seed": -1}, "seed is -1"),
        ({"vary": 10}, "vary is 10; it must hold a grouping factor"),
        ({"vary": {"Subject": 10}}, r"vary has 10 for 'Subject'; it must be a list"),
        ({"vary": {"Subject": []}}, r"vary has \[\] for 'Subject'; it must be a list"),
        ({"vary": {3: [10]}}, "There is no grouping factor 3"),
    ]
    for option, message in options:
        with pytest.raises(mm.InferenceError, match=message):
            mm.power(fit, "Days", **option)
    x, g = np.repeat([1.0, 1.0, 0.0, 0.0], 6), np.repeat(["a", "b", "c", "d"], 6)
    groups = mm.lmer("y ~ x + (1 | g)", {"y": np.arange(24.0) % 7 + 3 * (g == "a") + 4 * (g == "d"), "x": x, "g": g})
    with pytest.raises(mm.InferenceError, match="With 2 levels of g not all fixed effects of this fit"):
        mm.power(groups, "x", n=2, vary={"g": [2]}, progress=False)
