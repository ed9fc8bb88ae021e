"""Simulated responses."""

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


def test_new_data_draw_one_effect_for_each_value_of_an_expression() -> None:
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(12), 5)
    data = pd.DataFrame({"g": g, "y": 5 * rng.normal(size=4)[g // 3] + rng.normal(size=60)})
    fit = mm.lmer("y ~ 1 + (1 | I(g // 3))", data)
    draws = fit.simulate(2000, seed=1, data=data)
    icc = fit.icc()["adjusted"]
    assert np.corrcoef(draws[0], draws[10])[0, 1] == pytest.approx(icc, abs=0.05)  # g is 0 and 2
    assert abs(np.corrcoef(draws[0], draws[20])[0, 1]) < 0.1  # g is 0 and 4


def test_weights_of_new_data_scale_the_residual(fit: mm.LmmResult) -> None:
    data = {"Days": [0.0, 0.0], "Subject": ["308", "308"], "w": [1.0, 100.0]}
    for weights in ("w", [1.0, 100.0]):
        draws = fit.simulate(4000, seed=8, data=data, weights=weights, random_effects="conditional")
        np.testing.assert_allclose(draws.std(axis=1), [fit.sigma, fit.sigma / 10], rtol=0.05)


def test_seeds(fit: mm.LmmResult) -> None:
    np.testing.assert_array_equal(fit.simulate(2, seed=5), fit.simulate(2, seed=5))
    assert not np.array_equal(fit.simulate(1, seed=5), fit.simulate(1, seed=6))


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
    with pytest.raises(mm.InferenceError, match="weights must be positive"):
        fit.simulate(data={"Days": [0.0], "Subject": ["308"]}, weights="Subject")
    with pytest.raises(mm.DataError, match="'308'"):
        mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).simulate(data={"Days": ["308"], "Subject": ["308"]})
