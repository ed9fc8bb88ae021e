"""Structured covariances of random effects against dense matrices and differences, every structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from data_loader import DATA
from mixedmodels.covariance.effect_kinds import CORRELATIONS, KINDS
from mixedmodels.design.design import Design
from mixedmodels.fit.call import Call, build_problem
from mixedmodels.fit.fit import fit_identified
from mixedmodels.fit.structured import StructuredCriterion
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.inference.degrees import approximation
from oracle.dense_marginal import deviance, difference, kenward_roger

Floats = npt.NDArray[np.float64]

RESTRICTED = (*CORRELATIONS, "rr")


def frame() -> pd.DataFrame:
    """Return Machines with gaps, a number in an odd unit, and weights."""
    read = pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})
    read = read[np.arange(len(read)) % 5 != 2].reset_index(drop=True)
    return read.assign(
        w=1.0 + np.arange(len(read)) % 3,
        dose=1e4 + 1e3 * np.cos(np.arange(len(read))),
        late=np.sin(np.arange(len(read))),
    )


def formula(kind: str) -> str:
    """Return a model with a term of a kind beside others."""
    return f"score ~ Machine + {kind}(0 + Machine | Worker) + (dose | Worker:Machine)"


def covariance(design: Design, covariances: list[Floats]) -> Floats:
    """Return V over sigma^2, (n, n), from S of each factor."""
    V = np.diag(1.0 / (np.ones(design.n_obs) if design.weights is None else design.weights))
    for factor, S in zip(design.factors, covariances, strict=True):
        Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
        V += (factor.codes[:, None] == factor.codes[None]) * (Z @ S @ Z.T)
    return V


def dense(criterion: StructuredCriterion, x: Floats) -> Floats:
    """Return V over sigma^2 at coordinates."""
    design = criterion.problem.design
    whole = [np.zeros((f.n_effects,) * 2) for f in design.factors]
    for term, S in zip(criterion.terms, criterion.covariances(x), strict=True):
        whole[term.factor][term.columns, term.columns] = S.value
    return covariance(design, whole)


def profiled(design: Design, V: Floats, reml: bool) -> float:
    """Return -2 log-likelihood with sigma profiled out."""
    K = np.linalg.inv(V)
    beta = np.linalg.solve(design.X.T @ K @ design.X, design.X.T @ K @ design.y)
    r = design.y - design.X @ beta
    s2 = r @ K @ r / (len(r) - design.X.shape[1] * reml)
    return deviance(design.y, design.X, s2 * V, reml)


def anywhere(criterion: StructuredCriterion) -> Floats:
    """Return coordinates that are no optimum."""
    x = np.concatenate([term.structure.generic for term in criterion.terms])
    return np.asarray(x * (1 + 0.2 * np.cos(1.0 + np.arange(len(x)))))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", RESTRICTED)
def test_criterion_gradient_and_hessian(kind: str, reml: bool) -> None:
    problem = build_problem(Call(formula(kind), frame(), weights="w"))
    criterion = StructuredCriterion(problem, reml)
    x = anywhere(criterion)
    value = criterion.value(x)
    assert value == pytest.approx(profiled(problem.design, dense(criterion, x), reml), rel=1e-11)
    found = criterion.slopes(x)
    theirs = difference(lambda at: np.array(profiled(problem.design, dense(criterion, at), reml)), x, 1e-3)
    hessian = criterion.hessian(x)
    np.testing.assert_allclose(found.gradient, theirs, atol=1e-7 * np.abs(hessian).max())
    theirs = difference(lambda at: criterion.slopes(at).gradient, x, 1e-3)
    np.testing.assert_allclose(hessian, theirs, atol=1e-6 * np.abs(hessian).max())
    quick = criterion.hessian(x, found)
    np.testing.assert_allclose(quick, hessian, atol=1e-4 * np.abs(hessian).max())


@pytest.mark.parametrize("kind", RESTRICTED)
def test_average_information_with_the_curvature_of_the_structure(kind: str) -> None:
    problem = build_problem(Call(formula(kind), frame(), weights="w"))
    criterion, design = StructuredCriterion(problem, True), problem.design
    x = anywhere(criterion)
    V = dense(criterion, x)
    first = difference(lambda at: dense(criterion, at), x, 1e-3)
    second = difference(lambda at: difference(lambda a: dense(criterion, a), at, 3e-3), x, 3e-3)
    K = np.linalg.inv(V)
    P = K - K @ design.X @ np.linalg.solve(design.X.T @ K @ design.X, design.X.T @ K)
    Py = P @ design.y
    dof = design.n_obs - design.X.shape[1]
    s2 = design.y @ Py / dof
    moved = first @ Py
    average = (moved @ P @ moved.T) / s2 - np.outer(moved @ Py, moved @ Py) / (s2**2 * dof)
    bend = np.einsum("ijab,ab->ij", second, P - np.outer(Py, Py) / s2)
    ours = criterion.slopes(x).average
    np.testing.assert_allclose(ours, average + bend, atol=1e-6 * np.abs(ours).max())


def fitted(kind: str) -> StructuredState:
    """Return a state away from the optimum, which may be at an end of a range."""
    text = formula(kind).split(" + (dose")[0] + " + (0 + late | Worker:Machine)"
    fit = fit_identified(build_problem(Call(text, frame(), weights="w")), reml=True)
    assert isinstance(fit, StructuredState)
    x = anywhere(fit.criterion)
    theta = fit.criterion.theta(x)
    beta, unscaled, sigma, _ = fit.problem.solve(theta, True)
    return replace(fit, coordinates=x, theta=theta, beta=beta, sigma=sigma, cov_beta=sigma**2 * unscaled)


@pytest.mark.parametrize("kind", RESTRICTED)
def test_kenward_roger_of_2009(kind: str) -> None:
    state = fitted(kind)
    k = len(state.coordinates)

    def covariance_at(psi: Floats) -> Floats:
        return np.exp(2 * psi[-1]) * dense(state.criterion, psi[:-1])

    psi = np.append(state.coordinates, np.log(state.sigma))
    first = difference(covariance_at, psi, 1e-3)
    second = difference(lambda at: difference(covariance_at, at, 3e-3), psi, 3e-3)
    theirs, _ = kenward_roger(state.design.X, covariance_at(psi), first, second)
    ours = approximation(state, "kenward-roger").covariance
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert np.abs((ours - theirs) / size).max() < 1e-5  # both take second traces by differences
    assert len(first) == k + 1


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", ["cs", "ar1", "rr"])
def test_information_and_sensitivity(kind: str, reml: bool) -> None:
    state = replace(fitted(kind), reml=reml)
    design, x = state.design, state.coordinates
    s2 = state.problem.solve(state.theta, reml)[2] ** 2
    psi = np.append(x, 0.5 * np.log(s2))
    state = replace(state, sigma=np.sqrt(s2))

    def criterion(at: Floats) -> Floats:
        V = np.exp(2 * at[-1]) * dense(state.criterion, at[:-1])
        return np.array(deviance(design.y, design.X, V, reml))

    theirs = difference(lambda at: difference(criterion, at, 3e-3), psi, 3e-3)
    ours = state.information.hessian
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(ours).max())

    def fixed(at: Floats) -> Floats:
        return np.linalg.inv(design.X.T @ np.linalg.solve(dense(state.criterion, at), design.X))

    L = state.fixed_root.whiten(np.eye(state.n_fixed))
    slopes = np.einsum("ra,iab,sb->irs", L, state.information.sensitivity, L)
    theirs = difference(fixed, x, 1e-3)
    np.testing.assert_allclose(slopes, theirs, atol=1e-6 * np.abs(theirs).max())


def test_every_kind_is_tested() -> None:
    assert set(KINDS) == {*RESTRICTED, "us", "diag", "homdiag"}
