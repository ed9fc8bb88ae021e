"""Residuals with structures, variance functions and known variances, beside random effects, against dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.optimize import least_squares

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.design.build import build_design
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_call import CorrelatedCall
from mixedmodels.fit.correlated_fit import CorrelatedState, fit_correlated
from mixedmodels.formula.parse import parse_correlated_formula
from mixedmodels.inference.degrees import approximation
from oracle.dense_marginal import deviance, difference, kenward_roger

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")

Floats = npt.NDArray[np.float64]
Case = tuple[str, str | None, str | None, str | None, float | None]


def frame() -> pd.DataFrame:
    """Return Orthodont with visits left out, children in clinics, and times of their own."""
    read = pd.read_csv(DATA / "Orthodont.csv")
    read = read[np.arange(len(read)) % 5 != 2].reset_index(drop=True)
    code = read["Subject"].astype("category").cat.codes
    return read.assign(
        w=1.0 + np.arange(len(read)) % 3,
        clinic=(code % 4).astype(str),
        nurse=(np.arange(len(read)) * 7 % 5).astype(str),
        time=read["age"] + 0.01 * np.arange(len(read)) ** 1.3,
        north=np.sin(np.arange(len(read))),
    )


CASES: dict[str, Case] = {
    "effects and ar1": ("distance ~ age * Sex + (1 | Subject)", "ar1(age | Subject)", None, None, None),
    "weights": ("distance ~ age * Sex + (age | Subject)", "exp(age | Subject)", "ident(Sex)", "w", None),
    "uncorrelated": ("distance ~ age + (age || Subject)", "cs(age | Subject)", "power(age)", "w", None),
    "groups": ("distance ~ age * Sex + (1 | Subject)", "ar1h(age | Sex / Subject)", None, "w", None),
    "us": ("distance ~ age * Sex + (1 | clinic)", "us(age | Subject)", None, None, None),
    "crossed": ("distance ~ age + (1 | clinic) + (1 | nurse)", "toep(age | Subject)", "exp(age)", "w", None),
    "own times": (
        "distance ~ age + (1 | Subject)",
        "exp(time | Subject, nugget=True)",
        "ident(Sex) * power(age)",
        "w",
        None,
    ),
    "own times, groups": ("distance ~ age + Sex", "gau(time | Sex / Subject)", None, "w", None),
    "two coordinates": ("distance ~ age + Sex", "exp(time, north | Subject)", None, None, None),
    "spherical": ("distance ~ age * Sex", "sph(age | Subject)", None, "w", None),
    "spherical, effects": ("distance ~ age + Sex + (1 | Subject)", "sph(time | Subject, nugget=True)", None, "w", None),
    "no structure": ("distance ~ age + (1 | clinic / Subject)", None, "ident(Sex) * exp(age)", "w", None),
    "known": ("distance ~ age + (age | Subject)", None, None, "w", 1.3),
    "known, structured": ("distance ~ age + (1 | Subject)", "ar1(age | Subject)", "power(age)", None, 0.2),
}
INFERRED = [name for name in CASES if name != "us"]


def problem_of(name: str) -> CorrelatedProblem:
    """Return the problem of a case, never by visits alone."""
    formula, residual, variance, weights, sigma = CASES[name]
    design = build_design(parse_correlated_formula(formula, residual, variance), frame(), weights=weights)
    return CorrelatedProblem(design, sigma=sigma)


def anywhere(problem: CorrelatedProblem) -> Floats:
    """Return a point that is no optimum."""
    step = 0.3 * np.sin(1.0 + np.arange(problem.covariance.n_coordinates))
    return problem.moved(problem.start(), step)


def dense(problem: CorrelatedProblem, point: Floats) -> Floats:
    """Return V at a point in the user's units, from Lambda, the variance functions' values and the residual structure.

    Residual correlations are those of the structure at the visits or times of any two rows; all else is formed here.
    """
    design, covariance = problem.design, problem.covariance
    n, scale = design.n_obs, problem.model.scale
    w = np.ones(n) if design.weights is None else design.weights
    V = np.zeros((n, n))
    for rows, block in problem.each(point, of_residuals=True):
        for own in rows:
            V[np.ix_(own, own)] = scale**2 * block / np.sqrt(np.outer(w[own], w[own]))
    for e, Lambda in zip(problem.effects, covariance.lambdas(point), strict=True):
        factor = design.factors[e.factor]
        Z = np.ones((n, 1)) if factor.Z is None else factor.Z[:, e.first : e.first + e.size]
        root = scale * Z @ e.basis @ Lambda
        V += root @ root.T * (factor.codes[:, None] == factor.codes[None])
    return V


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_criterion_gradient_and_hessian(name: str, reml: bool) -> None:
    problem = problem_of(name)
    point, design = anywhere(problem), problem.design
    k = problem.covariance.n_coordinates

    def value(x: Floats) -> Floats:
        return np.array(deviance(design.y, design.X, dense(problem, problem.moved(point, x)), reml))

    def gradient(x: Floats) -> Floats:
        return problem.slopes(problem.moved(point, x), reml).gradient

    here = np.zeros(k)
    found = problem.slopes(point, reml)
    ours = problem.value(point, reml)
    assert ours is not None
    assert ours + problem.model.constant(reml) == pytest.approx(float(value(here)), rel=1e-11)
    size = np.abs(found.hessian).max()
    np.testing.assert_allclose(found.gradient, difference(value, here, 1e-3), atol=1e-7 * size)
    if name == "us":  # whose coordinates are new at every point
        along = np.cos(np.arange(k))
        third = difference(lambda t: difference(lambda s: value(s[0] * along), t, 3e-3)[0], np.zeros(1), 3e-3)[0]
        assert along @ found.hessian @ along == pytest.approx(float(third), rel=1e-6)
        return
    np.testing.assert_allclose(found.hessian, difference(gradient, here, 1e-3), atol=1e-7 * size)


def fitted(name: str, *, reml: bool = True) -> CorrelatedState:
    """Return the fit of a case."""
    return fit_correlated(problem_of(name), reml=reml)


@pytest.mark.parametrize("name", INFERRED)
def test_kenward_roger_of_2009(name: str) -> None:
    problem = problem_of(name)
    state = replace(fitted(name), point=anywhere(problem), problem=problem)
    k = problem.covariance.n_coordinates

    def covariance_at(x: Floats) -> Floats:
        return dense(problem, problem.moved(state.point, x))

    first = difference(covariance_at, np.zeros(k), 1e-3)
    second = difference(lambda x: difference(covariance_at, x, 3e-3), np.zeros(k), 3e-3)
    theirs, _ = kenward_roger(problem.design.X, covariance_at(np.zeros(k)), first, second)
    ours = approximation(state, "kenward-roger").covariance
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert np.abs((ours - theirs) / size).max() < 1e-7


@pytest.mark.parametrize("name", CASES)
def test_modes_and_their_variances_are_henderson_s(name: str) -> None:
    state = fitted(name)
    design, V = state.design, dense(state.problem, state.point)
    K, r = np.linalg.inv(V), design.y - design.X @ state.beta
    np.testing.assert_allclose(
        state.beta, np.linalg.solve(design.X.T @ K @ design.X, design.X.T @ K @ design.y), rtol=1e-7
    )
    for factor, S, b, variance in zip(
        design.factors, state.effects_covariance, state.b, state.conditional_covariance(), strict=True
    ):
        Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
        for level in range(factor.n_levels):
            own = Z * (factor.codes == level)[:, None]
            np.testing.assert_allclose(b[level], S @ own.T @ K @ r, atol=1e-8 * np.abs(b).max() + 1e-12)
            theirs = S - S @ own.T @ K @ own @ S
            np.testing.assert_allclose(variance[level], theirs, atol=1e-8 * np.abs(S).max())


@pytest.mark.parametrize("name", CASES)
def test_conditional_predictions_are_kriging(name: str) -> None:
    formula, residual, variance, weights, sigma = CASES[name]
    if residual is None:
        pytest.skip("rows without a structure have residuals of their own")
    rows = frame()
    left, out = rows.drop(index=[3, 10, 40]), rows.loc[[3, 10, 40]]
    fit = mm.lmer(formula, left, residual=residual, variance=variance, weights=weights, sigma=sigma)
    assert isinstance(fit, mm.CorrelatedResult)
    ours = fit.predict(out, conditional=True, interval="prediction")
    # all rows at the estimates from those that were left
    whole = problem_of(name)
    mine = _moved_to(whole, fit.state)
    V = dense(whole, mine)
    w = np.ones(len(rows)) if weights is None else rows[weights].to_numpy()
    own = rows.index.isin(out.index)
    X, y = whole.design.X, whole.design.y
    K = np.linalg.inv(V[np.ix_(~own, ~own)])
    crossed = V[np.ix_(~own, own)]
    r = y[~own] - X[~own] @ fit.state.beta
    # a prediction is of an observation of weight one
    residual_part = _residual_variances(whole, mine)[own]
    crossed = crossed + _residual_part(whole, mine)[np.ix_(~own, own)] * (np.sqrt(w[own]) - 1)
    mean = X[own] @ fit.state.beta + crossed.T @ K @ r
    np.testing.assert_allclose(ours["mean"], mean, rtol=1e-7)
    prior = np.diag(V)[own] + residual_part * (w[own] - 1)
    Phi = np.linalg.inv(X[~own].T @ K @ X[~own])
    x = X[own] - crossed.T @ K @ X[~own]
    theirs = np.sum(x @ Phi * x, axis=1) + prior - np.sum(crossed * (K @ crossed), axis=0)
    np.testing.assert_allclose(ours["se"] ** 2, theirs, rtol=1e-6)


def _residual_part(problem: CorrelatedProblem, point: Floats) -> Floats:
    """Return the residuals' part of V."""
    return dense(problem, point) - _effects_part(problem, point)


def _residual_variances(problem: CorrelatedProblem, point: Floats) -> Floats:
    return np.diag(_residual_part(problem, point))


def _effects_part(problem: CorrelatedProblem, point: Floats) -> Floats:
    design, n = problem.design, problem.design.n_obs
    V = np.zeros((n, n))
    for e, Lambda in zip(problem.effects, problem.covariance.lambdas(point), strict=True):
        factor = design.factors[e.factor]
        Z = np.ones((n, 1)) if factor.Z is None else factor.Z[:, e.first : e.first + e.size]
        root = problem.model.scale * Z @ e.basis @ Lambda
        V += root @ root.T * (factor.codes[:, None] == factor.codes[None])
    return V


def _moved_to(whole: CorrelatedProblem, fitted: CorrelatedState) -> Floats:
    """Return the point of another problem that is the same covariance as a fit's, found by its parameters."""
    start = whole.start()
    k = whole.covariance.n_coordinates
    scale = fitted.problem.model.scale

    def apart(x: Floats) -> Floats:
        point = whole.moved(start, x)
        mine = [p.value * (whole.model.scale if p.is_sd else 1.0) for p in whole.covariance.parameters(point)[0]]
        theirs = [p.value * (scale if p.is_sd else 1.0) for p in fitted.parameters[0]]
        out = list(np.array(mine) - np.array(theirs))
        for e, f, L, M in zip(
            whole.effects,
            fitted.problem.effects,
            whole.covariance.lambdas(point),
            fitted.problem.covariance.lambdas(fitted.point),
            strict=True,
        ):
            one, two = whole.model.scale * e.basis @ L, scale * f.basis @ M
            out += list((one @ one.T - two @ two.T).ravel())
        return np.array(out)

    found = least_squares(apart, np.zeros(k), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert found.cost < 1e-18
    return whole.moved(start, found.x)


def test_normalized_residuals_and_draws_have_the_covariance_of_the_fit() -> None:
    formula, residual, variance, weights, _ = CASES["weights"]
    fit = mm.lmer(formula, frame(), residual=residual, variance=variance, weights=weights)
    assert isinstance(fit, mm.CorrelatedResult)
    V, R = dense(fit.state.problem, fit.state.point), _residual_part(fit.state.problem, fit.state.point)
    r = fit.residuals().to_numpy()
    assert np.sum(fit.residuals("normalized") ** 2) == pytest.approx(r @ np.linalg.inv(R) @ r, rel=1e-9)
    np.testing.assert_allclose(fit.residuals("pearson"), r / np.sqrt(np.diag(R)), rtol=1e-9)
    draws = fit.simulate(40_000, seed=1) - (fit.state.design.X @ fit.state.beta)[:, None]
    spread = np.sqrt(np.diag(V))
    error = (np.cov(draws) - V) / np.outer(spread, spread)
    assert np.abs(error).max() < 6 / np.sqrt(40_000)


@pytest.mark.parametrize("kind", ["us", "cs", "ar1", "toep", "adh", "arma11", "exp", "gau", "ar1h"])
@pytest.mark.parametrize("reml", [True, False])
def test_blocks_and_visits_are_one_answer(kind: str, reml: bool) -> None:
    by_visits = mm.mmrm(f"distance ~ age * Sex + {kind}(age | Subject)", frame(), weights="w", reml=reml)
    formula = parse_correlated_formula("distance ~ age * Sex", f"{kind}(age | Subject)", None)
    state = fit_correlated(CorrelatedProblem(build_design(formula, frame(), weights="w")), reml=reml)
    by_blocks = mm.CorrelatedResult(state, CorrelatedCall("", None))
    assert by_blocks.deviance == pytest.approx(by_visits.deviance, abs=1e-9)
    np.testing.assert_allclose(by_blocks.fe_params, by_visits.fe_params, rtol=1e-6)
    for ddf in ("satterthwaite", "kenward-roger") if reml else ("satterthwaite",):
        np.testing.assert_allclose(by_blocks.coef_table(ddf), by_visits.coef_table(ddf), rtol=2e-5)
    np.testing.assert_allclose(by_blocks.residual_covariance, by_visits.residual_covariance, rtol=1e-5)
    np.testing.assert_allclose(
        by_blocks.cov_fe_robust("CR2").covariance, by_visits.cov_fe_robust("CR2").covariance, rtol=1e-5
    )
