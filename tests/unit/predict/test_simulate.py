"""Simulated responses and power."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

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


def test_seeds(fit: mm.LmmResult) -> None:
    np.testing.assert_array_equal(fit.simulate(2, seed=5), fit.simulate(2, seed=5))
    assert not np.array_equal(fit.simulate(1, seed=5), fit.simulate(1, seed=6))


def test_power_of_a_balanced_design_is_that_of_the_noncentral_t() -> None:
    """Two conditions once a subject: the paired t test, whose power is known."""
    from scipy import stats  # noqa: PLC0415  # only here

    rng = np.random.default_rng(0)
    subject, condition = np.repeat(np.arange(12), 2), np.tile([0.0, 1.0], 12)
    y = rng.normal(size=12)[subject] * 2 + rng.normal(size=24)
    fit = mm.lmer("y ~ condition + (1 | subject)", {"y": y, "condition": condition, "subject": subject})
    effect = 1.2 * fit.sigma
    table = mm.power(fit, "condition", n=600, size=effect, seed=1)
    shift = effect / (fit.sigma * np.sqrt(2 / 12))
    exact = stats.nct.sf(stats.t.ppf(0.975, 11), 11, shift) + stats.nct.cdf(-stats.t.ppf(0.975, 11), 11, shift)
    row = table.iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 600))
    assert row["lower"] < row["power"] < row["upper"]
    assert row["type_m"] >= 1


def test_power_grows_with_levels(fit: mm.LmmResult) -> None:
    table = mm.power(fit, "Days", n=60, vary={"Subject": [4, 30]}, size=5.0, seed=2)
    assert list(table["n_obs"]) == [40, 300]
    assert table["power"].iloc[0] < table["power"].iloc[1]


def test_bad_input(fit: mm.LmmResult) -> None:
    with pytest.raises(mm.InferenceError, match="random_effects='old'"):
        fit.simulate(random_effects="old")
    with pytest.raises(mm.InferenceError, match="n is 0"):
        fit.simulate(0)
    with pytest.raises(mm.InferenceError, match=r"no fixed effect 'days'"):
        mm.power(fit, "days")
    with pytest.raises(mm.InferenceError, match="'Days' is not a grouping column"):
        mm.power(fit, "Days", n=2, vary={"Days": [5]})
    with pytest.raises(mm.InferenceError, match="asks for 1 levels"):
        mm.power(fit, "Days", n=2, vary={"Subject": [1]})
    with pytest.raises(mm.InferenceError, match="it must hold one"):
        mm.power(fit, "Days", n=2, vary={"Subject": [5], "Item": [5]})
