"""Correlated residuals against dense matrices and differences, every structure, with groups, weights and gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.covariance.kinds import KINDS
from mixedmodels.design.build import build_design
from mixedmodels.fit.marginal import MarginalProblem
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.formula.parse import parse_marginal_formula
from mixedmodels.inference.degrees import approximation
from oracle.dense_marginal import covariance, deviance, difference, kenward_roger

Floats = npt.NDArray[np.float64]


def frame() -> pd.DataFrame:
    """Return Orthodont with visits left out."""
    read = pd.read_csv(DATA / "Orthodont.csv")
    read = read[np.arange(len(read)) % 5 != 2].reset_index(drop=True)
    return read.assign(w=1.0 + np.arange(len(read)) % 3)


def problem_of(kind: str, subjects: str, weights: str | None) -> MarginalProblem:
    """Return the problem of a structure."""
    formula = parse_marginal_formula(f"distance ~ age * Sex + {kind}(age | {subjects})")
    return MarginalProblem(build_design(formula, frame(), weights=weights))


def dense(problem: MarginalProblem, point: Floats) -> Floats:
    """Return V at a point, in units of the scaled problem."""
    rows, weights = problem.rows, problem.design.weights
    w = np.ones(problem.design.n_obs) if weights is None else weights
    return covariance(problem.structure.sigma(point), rows.subject, rows.visit, rows.group, w)


def anywhere(problem: MarginalProblem) -> Floats:
    """Return a point that is no optimum, nor one where the second derivative of spherical correlations jumps."""
    k, n_groups = problem.structure.n_coordinates, len(problem.rows.groups)
    step = 0.25 * np.sin(1.0 + np.arange(n_groups * k)).reshape(n_groups, k)
    return problem.structure.moved(problem.start(), step)


CASES = [
    *((kind, "Subject", "w", True) for kind in KINDS),
    *((kind, "Sex / Subject", None, reml) for kind in ("cs", "ar1h", "toep") for reml in (True, False)),
    ("us", "Sex / Subject", "w", False),
]


@pytest.mark.parametrize(("kind", "subjects", "weights", "reml"), CASES)
def test_criterion_gradient_and_hessian(kind: str, subjects: str, weights: str | None, reml: bool) -> None:
    problem = problem_of(kind, subjects, weights)
    structure, design, scale = problem.structure, problem.design, problem.model.scale
    point = anywhere(problem)
    shape = (len(problem.rows.groups), structure.n_coordinates)

    def value(x: Floats) -> Floats:
        V = scale**2 * dense(problem, structure.moved(point, x.reshape(shape)))
        return np.array(deviance(design.y, design.X, V, reml))

    def gradient(x: Floats) -> Floats:
        return problem.slopes(structure.moved(point, x.reshape(shape)), reml).gradient

    here = np.zeros(shape[0] * shape[1])
    found = problem.slopes(point, reml)
    ours = problem.value(point, reml)
    assert ours is not None
    assert ours + problem.model.constant(reml) == pytest.approx(float(value(here)), rel=1e-11)
    size = np.abs(found.hessian).max()
    np.testing.assert_allclose(found.gradient, difference(value, here, 1e-3), atol=1e-7 * size)
    if kind == "us":  # whose coordinates are new at every point
        along = np.cos(np.arange(len(here)))
        third = difference(lambda t: difference(lambda s: value(s[0] * along), t, 3e-3)[0], np.zeros(1), 3e-3)[0]
        assert along @ found.hessian @ along == pytest.approx(float(third), rel=1e-6)
        return
    np.testing.assert_allclose(found.hessian, difference(gradient, here, 1e-3), atol=1e-7 * size)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("sph")])  # those are not by visits
def test_kenward_roger_of_2009(kind: str) -> None:
    # away from the optimum, which may be at the border of a structure
    fitted = mm.mmrm(f"distance ~ age * Sex + {kind}(age | Subject)", frame(), weights="w").state
    state = replace(fitted, point=anywhere(fitted.problem))
    problem, structure = state.problem, state.problem.structure
    scale, k = problem.model.scale, structure.n_coordinates

    def covariance_at(x: Floats) -> Floats:
        return scale**2 * dense(problem, structure.moved(state.point, x.reshape(1, k)))

    first = difference(covariance_at, np.zeros(k), 1e-3)
    second = difference(lambda x: difference(covariance_at, x, 3e-3), np.zeros(k), 3e-3)
    theirs, _ = kenward_roger(problem.design.X, covariance_at(np.zeros(k)), first, second)
    ours = approximation(state, "kenward-roger").covariance
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert np.abs((ours - theirs) / size).max() < 1e-7


@pytest.mark.parametrize("weights", [None, "arm_weight", "own_weight"])
@pytest.mark.parametrize("origin", [0.0, 1e6])
@pytest.mark.parametrize("fixed", ["arm * visit", "arm + visit + site", "arm * visit + x"])
def test_many_subjects_of_few_kinds(fixed: str, origin: float, weights: str | None) -> None:
    """Rows of equal design are summed before they are multiplied; a covariate, or weights, of each row leave none."""
    rng = np.random.default_rng(11)
    n, m = 150, 3
    subject, visit = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    data = pd.DataFrame(
        {"id": subject, "visit": np.array(["a", "b", "c"])[visit], "arm": np.where(subject % 2, "p", "q")}
    )
    data["site"] = subject // 2 % 3
    data["x"] = rng.standard_normal(n * m)
    data["arm_weight"] = np.where(subject % 2, 1.0, 2.5)
    data["own_weight"] = rng.uniform(0.5, 2.0, n * m)
    data["y"] = origin + rng.standard_normal(n)[subject] + rng.standard_normal(n * m) + 0.4 * visit
    data = data[(visit == 0) | (rng.random(n * m) < 0.8)].sample(frac=1.0, random_state=1)
    formula = parse_marginal_formula(f"y ~ {fixed} + us(visit | id)")
    problem = MarginalProblem(build_design(formula, data, weights=weights))
    design, scale = problem.design, problem.model.scale
    w = np.ones(design.n_obs) if weights is None else design.weights
    assert w is not None
    beta = np.linalg.lstsq(design.X * np.sqrt(w)[:, None], (design.y - origin) * np.sqrt(w), rcond=None)[0]
    residual = (design.y - origin - design.X @ beta) * np.sqrt(w)
    assert scale == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-9)
    table = pd.DataFrame({"id": problem.rows.subject, "v": problem.rows.visit, "r": residual / scale})
    wide = table.pivot(index="id", columns="v", values="r")
    sums, counts = problem.model.moments()
    seen = wide.notna().to_numpy(dtype=float)
    np.testing.assert_allclose(counts[0], seen.T @ seen)
    np.testing.assert_allclose(sums[0], wide.fillna(0.0).T @ wide.fillna(0.0), rtol=1e-9, atol=1e-7)
    point = anywhere(problem)
    V = scale**2 * dense(problem, point)
    for reml in (True, False):
        ours = problem.value(point, reml)
        assert ours is not None
        theirs = deviance(design.y - origin, design.X, V, reml)
        assert ours + problem.model.constant(reml) == pytest.approx(theirs, rel=1e-10)


def test_a_perfect_fit_of_equal_rows_is_told() -> None:
    data = pd.DataFrame({"id": np.repeat(np.arange(60), 2), "visit": np.tile([1, 2], 60)})
    data["arm"] = np.where(data["id"] % 2, "p", "q")
    data["y"] = data["visit"] + (data["arm"] == "p")
    with pytest.raises(mm.MixedModelsError, match="fit the response perfectly"):
        mm.mmrm("y ~ arm * visit + us(visit | id)", data)


@pytest.mark.parametrize("kind", ["us", "ar1h", "toep"])
def test_robust_covariance_is_a_sum_over_subjects(kind: str) -> None:
    fit = mm.mmrm(f"distance ~ age * Sex + {kind}(age | Subject)", frame(), weights="w")
    state: MarginalState = fit.state
    design, rows = state.design, state.problem.rows
    V = state.problem.model.scale**2 * dense(state.problem, state.point)
    K = np.linalg.inv(V)
    Phi = np.linalg.inv(design.X.T @ K @ design.X)
    scores = (design.X * (K @ (design.y - design.X @ state.beta))[:, None]).T
    by_subject = np.array([scores[:, rows.subject == s].sum(axis=1) for s in range(rows.n_subjects)])
    theirs = Phi @ by_subject.T @ by_subject @ Phi
    np.testing.assert_allclose(fit.cov_fe_robust("CR0").covariance, theirs, rtol=1e-8, atol=1e-10 * theirs.max())
    m = rows.n_subjects
    np.testing.assert_allclose(fit.cov_fe_robust("CR1").covariance, m / (m - 1) * theirs, rtol=1e-8, atol=1e-10)
    jackknife = np.array(
        [_without(design.X, design.y, K, rows.subject == s) - state.beta for s in range(rows.n_subjects)]
    )
    np.testing.assert_allclose(fit.cov_fe_robust("CR3").covariance, jackknife.T @ jackknife, rtol=1e-7, atol=1e-10)


def _without(X: Floats, y: Floats, K: Floats, out: npt.NDArray[np.bool_]) -> Floats:
    """Return the fixed effects without one subject, at the same covariance."""
    inverse = K[np.ix_(~out, ~out)]
    return np.linalg.solve(X[~out].T @ inverse @ X[~out], X[~out].T @ inverse @ y[~out])


def test_normalized_residuals_and_draws_have_the_covariance_of_the_fit() -> None:
    fit = mm.mmrm("distance ~ age * Sex + us(age | Subject)", frame(), weights="w")
    V = fit.state.problem.model.scale**2 * dense(fit.state.problem, fit.state.point)
    r = fit.residuals().to_numpy()
    K = np.linalg.inv(V)
    assert np.sum(fit.residuals("normalized") ** 2) == pytest.approx(r @ K @ r, rel=1e-10)
    np.testing.assert_allclose(fit.residuals("pearson"), r / np.sqrt(np.diag(V)), rtol=1e-10)
    draws = fit.simulate(40_000, seed=1) - fit.fittedvalues.to_numpy()[:, None]
    size = np.sqrt(np.outer(np.diag(V), np.diag(V)))
    assert np.abs((draws @ draws.T / 40_000 - V) / size).max() < 6 / np.sqrt(40_000)


def test_conditional_predictions_are_those_of_the_normal_law() -> None:
    data = frame()
    fit = mm.mmrm("distance ~ age * Sex + ar1h(age | Subject)", data.iloc[1:].reset_index(drop=True), weights="w")
    new = data.iloc[:1]
    found = fit.predict(new, conditional=True, interval="prediction")
    assert isinstance(found, pd.DataFrame)
    state, rows = fit.state, fit.state.problem.rows
    own = rows.subject == list(rows.subjects).index(new["Subject"].iloc[0])
    V = state.problem.model.scale**2 * dense(state.problem, state.point)[np.ix_(own, own)]
    Sigma = state.residual_covariance[0]
    visit = rows.visits.labels.index(str(new["age"].iloc[0]))
    crossed = Sigma[visit, rows.visit[own]] / np.sqrt(state.design.weights[own])  # type: ignore[index]
    share = np.linalg.solve(V, crossed)
    rows_of_fixed = state.design.X[own]
    x = np.array([1.0, new["age"].iloc[0], *rows_of_fixed[0, 2:3], new["age"].iloc[0] * rows_of_fixed[0, 2]])
    residual = state.design.y[own] - rows_of_fixed @ state.beta
    assert found["mean"].iloc[0] == pytest.approx(x @ state.beta + share @ residual, rel=1e-10)
    left = x - rows_of_fixed.T @ share
    variance = left @ state.cov_beta @ left + Sigma[visit, visit] - share @ crossed
    assert found["se"].iloc[0] == pytest.approx(np.sqrt(variance), rel=1e-9)
