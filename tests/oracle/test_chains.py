"""Autoregressions by neighbours in time against covariances of whole subjects, differences and other spellings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design.build import build_design
from mixedmodels.fit.chains import ChainProblem
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_fit import fit_correlated
from mixedmodels.formula.parse import parse_correlated_formula
from mixedmodels.inference.degrees import approximation
from oracle.dense_marginal import difference

Floats = npt.NDArray[np.float64]

N_SUBJECTS = 30


def frame(*, whole_steps: bool = False) -> pd.DataFrame:
    """Return subjects of one to seven rows in no order, at times of their own or in days, two groups of subjects."""
    rng = np.random.default_rng(7)
    sizes = 1 + np.arange(N_SUBJECTS) % 7
    subject = np.repeat(np.arange(N_SUBJECTS), sizes)
    t = np.concatenate(
        [np.sort(rng.choice(120, m, replace=False)) if whole_steps else np.cumsum(rng.exponential(1, m)) for m in sizes]
    )
    x = rng.standard_normal(len(t))
    level = np.cumsum(rng.standard_normal(len(t))) * 0.3
    read = pd.DataFrame(
        {"id": subject, "t": t, "x": x, "arm": np.where(subject % 2, "a", "b"), "w": 1.0 + np.arange(len(t)) % 3}
    )
    read["y"] = 3 + 0.4 * x + level + 0.5 * rng.standard_normal(len(t))
    return read.sample(frac=1, random_state=3).reset_index(drop=True)


CASES: dict[str, tuple[str, str, str | None, float | None, bool]] = {
    "own times": ("y ~ x * arm", "car1(t | id)", None, None, False),
    "weights": ("y ~ x + t", "exp(t | id)", "w", None, False),
    "groups": ("y ~ x * arm", "car1(t | arm / id)", "w", None, False),
    "days": ("y ~ x + arm", "ar1(t | id)", None, None, True),
    "days, groups": ("y ~ x", "ar1(t | arm / id)", "w", None, True),
    "days, continuous": ("y ~ 0 + x", "car1(t | id)", None, None, True),
    "known sigma": ("y ~ x", "car1(t | id)", "w", 1.3, False),
    "nothing fixed": ("y ~ 0", "ar1(t | id)", None, None, True),
}


def both(name: str) -> tuple[ChainProblem, CorrelatedProblem]:
    """Return the problem of a case by neighbours and by subjects."""
    formula, residual, weights, sigma, whole = CASES[name]
    design = build_design(parse_correlated_formula(formula, residual, None), frame(whole_steps=whole), weights=weights)
    return ChainProblem(design, sigma=sigma), CorrelatedProblem(design, sigma=sigma)


def points(problem: CorrelatedProblem) -> list[Floats]:
    """Return points that are no optimum, with weak and with strong correlations of either sign."""
    k = problem.covariance.n_coordinates
    start = problem.start()
    steps = (0.3 * np.sin(1.0 + np.arange(k)), 1.2 * np.cos(np.arange(k)), -1.4 * np.sin(1.0 + np.arange(k)))
    return [problem.moved(start, step) for step in steps]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_both_ways_are_one_criterion(name: str, reml: bool) -> None:
    chains, blocks = both(name)
    assert chains.model.constant(reml) == pytest.approx(blocks.model.constant(reml), rel=1e-13)
    right = np.random.default_rng(1).standard_normal((chains.design.n_obs, 2))
    for point in points(blocks):
        ours, theirs = chains.slopes(point, reml), blocks.slopes(point, reml)
        assert chains.value(point, reml) == pytest.approx(blocks.value(point, reml), rel=1e-11)
        size = np.abs(theirs.hessian).max()
        for field in ("gradient", "hessian", "average", "expected", "sensitivity", "pull"):
            np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), atol=1e-10 * size, err_msg=field)
        solved = blocks.solve(point, right)
        np.testing.assert_allclose(chains.solve(point, right), solved, atol=1e-10 * np.abs(solved).max())
        one, other = (problem.fixed_root(point, reml, 2.0) for problem in (chains, blocks))
        np.testing.assert_allclose(one.beta, other.beta, rtol=1e-9, atol=1e-9)
        L = np.eye(len(one.beta))
        np.testing.assert_allclose(one.whiten(L), other.whiten(L), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_criterion(name: str, reml: bool) -> None:
    problem, _ = both(name)
    point = points(problem)[0]
    here = np.zeros(problem.covariance.n_coordinates)

    def value(x: Floats) -> Floats:
        return np.array(problem.value(problem.moved(point, x), reml))

    def gradient(x: Floats) -> Floats:
        return problem.slopes(problem.moved(point, x), reml).gradient

    found = problem.slopes(point, reml)
    size = np.abs(found.hessian).max()
    np.testing.assert_allclose(found.gradient, difference(value, here, 1e-3), atol=1e-8 * size)
    np.testing.assert_allclose(found.hessian, difference(gradient, here, 1e-3), atol=1e-8 * size)


@pytest.mark.parametrize("name", [name for name in CASES if name != "nothing fixed"])
def test_fits_and_their_small_sample_methods_agree(name: str) -> None:
    ours, theirs = (fit_correlated(problem, reml=True) for problem in both(name))
    assert ours.optimum.converged
    assert ours.optimum.deviance == pytest.approx(theirs.optimum.deviance, rel=1e-11)
    np.testing.assert_allclose(ours.beta, theirs.beta, rtol=1e-6)
    there = replace(theirs, point=ours.point)
    L = np.eye(len(ours.beta))
    for method in ("satterthwaite", "kenward-roger"):
        one, other = approximation(ours, method), approximation(there, method)
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-7)
        np.testing.assert_allclose(one.row_df(L), other.row_df(L), rtol=1e-7)


def test_order_of_rows_units_and_origins_of_time_change_nothing() -> None:
    data = frame()
    fit = mm.lmer("y ~ x", data, residual="car1(t | id)")
    assert isinstance(fit.state.problem, ChainProblem)
    turned = mm.lmer("y ~ x", data.sort_values(["x"]), residual="car1(t | id)")
    far = mm.lmer("y ~ x", data.assign(t=1e6 * data["t"] + 1e9), residual="car1(t | id)")
    for other in (turned, far):
        assert other.deviance == pytest.approx(fit.deviance, rel=1e-10)
        np.testing.assert_allclose(other.fe_params, fit.fe_params, rtol=1e-6)
    ranges = [one.residual_parameters().loc["range", "estimate"] for one in (fit, far)]
    assert ranges[1] == pytest.approx(1e6 * ranges[0], rel=1e-5)


def test_continuous_time_in_whole_steps_is_an_autoregression() -> None:
    data = frame(whole_steps=True)
    steps, time = (mm.lmer("y ~ x", data, residual=f"{kind}(t | id)") for kind in ("ar1", "car1"))
    assert time.deviance == pytest.approx(steps.deviance, rel=1e-10)
    rho = steps.residual_parameters().loc["correlation", "estimate"]
    assert time.residual_parameters().loc["range", "estimate"] == pytest.approx(-1 / np.log(rho), rel=1e-5)


def test_two_rows_at_one_time_are_refused() -> None:
    data = frame()
    data.loc[1, ["id", "t"]] = data.loc[0, ["id", "t"]]
    with pytest.raises(mm.DesignError, match="has two rows at t"):
        mm.lmer("y ~ x", data, residual="car1(t | id)")


def test_a_subject_of_many_rows() -> None:
    rng = np.random.default_rng(2)
    n = 5_000
    t = np.cumsum(rng.exponential(1.0, n))
    e = np.zeros(n)
    a = np.exp(-np.diff(t) / 3)
    for i in range(1, n):
        e[i] = a[i - 1] * e[i - 1] + np.sqrt(1 - a[i - 1] ** 2) * rng.standard_normal()
    data = pd.DataFrame({"id": 1, "t": t, "x": rng.standard_normal(n)}).assign(y=lambda d: d["x"] + 2 * e)
    fit = mm.lmer("y ~ x", data, residual="car1(t | id)", reml=False)
    # the likelihood of an autoregression, row after row
    found = fit.residual_parameters()["estimate"]
    a = np.exp(-np.diff(t) / found["range"])
    r = data["y"] - fit.fe_params.iloc[0] - fit.fe_params["x"] * data["x"]
    r = r.to_numpy()
    variances = found["sd"] ** 2 * np.append(1.0, 1 - a**2)
    innovations = np.append(r[0], r[1:] - a * r[:-1])
    theirs = np.sum(np.log(2 * np.pi * variances) + innovations**2 / variances)
    assert fit.deviance == pytest.approx(theirs, rel=1e-10)
    assert found["range"] == pytest.approx(3, rel=0.3)


@pytest.mark.parametrize("kind", ["ar1", "exp"])
def test_visits_in_common_some_of_them_missing(kind: str) -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"id": np.repeat(np.arange(20), 30), "day": np.tile(np.arange(30) ** 2 // 4, 20)})
    data = data.drop_duplicates().assign(
        x=lambda d: rng.standard_normal(len(d)), y=lambda d: rng.standard_normal(len(d))
    )
    data = data[rng.random(len(data)) < 0.7]
    if kind == "ar1":  # in their order, one step apart
        data["day"] = pd.Categorical([f"day {day:03d}" for day in data["day"]])
    design = build_design(parse_correlated_formula("y ~ x", f"{kind}(day | id)", None), data)
    chains, blocks = ChainProblem(design), CorrelatedProblem(design)
    for point in points(blocks):
        ours, theirs = chains.slopes(point, True), blocks.slopes(point, True)
        np.testing.assert_allclose(ours.hessian, theirs.hessian, rtol=1e-9)
        np.testing.assert_allclose(ours.expected, theirs.expected, rtol=1e-9)
    fit = mm.lmer("y ~ x", data, residual=f"{kind}(day | id)")
    assert isinstance(fit.state.problem, ChainProblem)


def test_another_response_has_derivatives_of_its_own() -> None:
    chains, _ = both("own times")
    point, W = points(chains)[0], np.eye(2)
    before = chains.second_order(point, W)
    y = chains.design.y**2
    fresh = ChainProblem(replace(chains.design, y=y))
    for problem in (chains.with_response(y), fresh):
        assert problem.value(point, True) == pytest.approx(fresh.value(point, True), rel=1e-12)
        assert problem.value(point, True) != chains.value(point, True)
    np.testing.assert_allclose(chains.second_order(point, W).products, before.products, rtol=1e-12)


def test_a_saved_fit_answers_as_before(tmp_path: Path) -> None:
    fit = mm.lmer("y ~ x * arm", frame(), residual="car1(t | id)")
    fit.save(tmp_path / "fit.mixed")
    back = mm.load(tmp_path / "fit.mixed")
    assert isinstance(back, mm.CorrelatedResult)
    assert isinstance(back.state.problem, ChainProblem)
    for method in ("satterthwaite", "kenward-roger"):
        one, other = (result.coef_table(ddf=method) for result in (fit, back))
        pd.testing.assert_frame_equal(one, other, rtol=1e-10)
