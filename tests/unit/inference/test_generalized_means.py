"""Means, slopes and predictions of generalised models: closed forms, averages, bad input; see tests/reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

import mixedmodels as mm

CBPP = mm.load_dataset("cbpp")
FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def fit() -> mm.GlmmResult:
    return mm.glmer(FORMULA, CBPP)


def test_averaged_means_are_integrals(fit: mm.GlmmResult) -> None:
    link, table = fit.margins("period", scale="link"), fit.margins("period", random_effects="averaged")
    sd = fit.theta.iloc[0]
    for u, mean in zip(link["estimate"], table["estimate"], strict=True):
        expected = integrate.quad(lambda z, u=u: special.expit(u + sd * z) * stats.norm.pdf(z), -9, 9)[0]
        assert mean == pytest.approx(expected, abs=1e-9)
    predicted = fit.predict({"period": ["1", "2", "3", "4"]}, random_effects="population")
    np.testing.assert_allclose(fit.margins("period")["estimate"], predicted, rtol=1e-12)


def test_averaged_predictions_have_intervals_by_simulation_of_the_parameters(fit: mm.GlmmResult) -> None:
    new = {"period": ["1", "4"]}
    table = fit.predict(new, random_effects="averaged", interval="confidence")
    state, rng = fit.state, np.random.default_rng(1)
    draws = rng.multivariate_normal(state.psi, state.cov_psi, 4000)
    means = np.empty((len(draws), 2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    X = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 1]])
    to_user = state.problem.model.fixed_map()
    for i, psi in enumerate(draws):
        eta = X @ to_user @ psi[1:5]
        means[i] = special.expit(eta[:, None] + abs(psi[0]) * nodes) @ weights / weights.sum()
    np.testing.assert_allclose(table["se"], means.std(axis=0), rtol=0.06)
    np.testing.assert_allclose(table[["lower", "upper"]].T, np.quantile(means, [0.025, 0.975], axis=0), rtol=0.08)


def test_an_effect_that_is_known_adds_its_error(fit: mm.GlmmResult) -> None:
    whole = fit.predict(interval="confidence", scale="link")
    new = fit.predict(CBPP.iloc[:3], interval="confidence", scale="link")
    np.testing.assert_allclose(new, whole.iloc[:3], rtol=1e-10)
    other = CBPP.assign(herd="unknown")
    unknown = fit.predict(other, new_levels="population", interval="confidence", scale="link")
    population = fit.predict(CBPP, random_effects="population", interval="confidence", scale="link")
    np.testing.assert_allclose(unknown, population, rtol=1e-10)


def test_empty_cells_and_orders_of_rows() -> None:
    rng = np.random.default_rng(11)
    n = 240
    data = pd.DataFrame({"arm": np.sort(rng.choice(["z", "a", "m"], n)), "day": rng.choice(["1", "2"], n)})
    data["id"] = rng.integers(0, 30, n)
    data["n"] = rng.poisson(np.exp(0.5 + 0.5 * (data["arm"] == "a") + 0.4 * rng.normal(size=30)[data["id"]]))
    data = data[~((data["arm"] == "m") & (data["day"] == "2"))]
    with pytest.warns(mm.MixedModelsWarning):
        fit = mm.glmer("n ~ arm * day + (1 | id)", data, family="poisson")
    means = fit.margins(["arm", "day"])
    assert means["estimate"].isna().sum() == 1
    assert any("arm=m" in note or "m, 2" in note or "m 2" in note for note in means.attrs["notes"])
    assert fit.joint_tests()["df"].sum() < 5
    with pytest.warns(mm.MixedModelsWarning):
        shuffled = mm.glmer("n ~ arm * day + (1 | id)", data.sample(frac=1, random_state=1), family="poisson")
    pd.testing.assert_frame_equal(shuffled.margins(["arm", "day"]), means, rtol=1e-6)


def test_far_origins_leave_means_alone() -> None:
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(25), 8)
    x = rng.normal(size=200)
    yes = rng.random(200) < special.expit(0.3 + 0.8 * x + 0.7 * rng.normal(size=25)[g])
    near, far = (
        mm.glmer("yes ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x + shift, "yes": yes})) for shift in (0.0, 1e7)
    )
    for ask in (
        lambda f, s: f.margins("x", at={"x": [s, s + 1]}).reset_index(drop=True),
        lambda f, s: f.slopes("x"),
        lambda f, s: f.predict({"x": [s, s + 2.0]}, random_effects="averaged", interval="confidence"),
        lambda f, s: f.predict(interval="confidence"),
    ):
        np.testing.assert_allclose(ask(far, 1e7).to_numpy(), ask(near, 0.0).to_numpy(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda f: f.margins("period", scale="odds"), '"response" or "link"'),
        (lambda f: f.margins("period", random_effects="average"), "Did you mean .averaged"),
        (lambda f: f.margins("period", random_effects="averaged", scale="link"), "is 'population'"),
        (lambda f: f.margins("period", random_effects="averaged", pairwise=True), "are not available"),
        (lambda f: f.margins("perid"), "perid"),
        (lambda f: f.margins("period", ddf="normal"), "has no argument 'ddf'"),
        (lambda f: f.slopes("period"), "is not a number"),
        (lambda f: f.predict(interval="prediction"), "must be 'confidence'"),
    ],
)
def test_refusals_say_what_to_do(fit: mm.GlmmResult, ask: Any, told: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=told):
        ask(fit)


def test_crossed_effects_have_no_intervals_together() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"a": rng.integers(0, 9, 200), "b": rng.integers(0, 7, 200), "n": rng.poisson(2, 200)})
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.glmer("n ~ 1 + (1 | a) + (1 | b)", data, family="poisson")
    with pytest.raises(mm.InferenceError, match="Name one of them in random_effects"):
        fit.predict(interval="confidence")
    assert fit.predict(interval="confidence", random_effects=["a"]).shape == (200, 4)
