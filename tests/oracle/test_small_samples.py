"""Satterthwaite and Kenward-Roger against the papers' formulas with n x n matrices, on unbalanced data."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference.degrees import approximation, estimate_rows, joint_test
from oracle.dense_inference import DenseInference

FORMULAS = {
    "intercept": "y ~ x * A + (1 | g)",
    "slope": "y ~ x + A + (x | g)",
    "uncorrelated": "y ~ x + A + (x || g)",
    "nested": "y ~ x + A + (1 | g) + (1 | g:h)",
    "crossed": "y ~ x * A + (x | g) + (1 | h)",
    "weighted": "y ~ x + A + (1 | g)",
}


@cache
def fitted(name: str, reml: bool) -> tuple[mm.LmmResult, DenseInference]:
    """Return a fit to simulated data, 12 groups of 3 to 9 rows, and its twin."""
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(12), rng.integers(3, 10, 12))
    n = len(g)
    h, x, A = rng.integers(0, 8, n), 2010 + rng.normal(size=n), rng.choice(["a", "b", "c"], n)
    within = np.array([f"{i}.{j % 3}" for i, j in zip(g, h, strict=True)])
    code = np.unique(within, return_inverse=True)[1]
    y = 3 + (x - 2010) + (A == "b") + 2 * rng.normal(size=12)[g] + 1.5 * rng.normal(size=12)[g] * (x - 2010)
    y += 1.5 * rng.normal(size=8)[h] + 1.5 * rng.normal(size=36)[code] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x - 2009, "A": A, "g": g, "h": h % 3 if name == "nested" else h})
    weights = rng.uniform(0.5, 3.0, n) if name == "weighted" else None
    fit = mm.lmer(FORMULAS[name], data, reml=reml, weights=weights)
    assert not fit.is_singular
    return fit, DenseInference.of(fit.state)


def hypotheses(fit: mm.LmmResult) -> npt.NDArray[np.float64]:
    """Return three independent rows that mix the coefficients."""
    return np.random.default_rng(1).normal(size=(3, len(fit.fe_params)))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", FORMULAS)
def test_satterthwaite(name: str, reml: bool) -> None:
    fit, twin = fitted(name, reml)
    L = hypotheses(fit)
    rows = estimate_rows(fit.state, L)
    np.testing.assert_allclose(rows.estimate, L @ fit.fe_params)
    np.testing.assert_allclose(rows.std_error, np.sqrt(np.diag(L @ twin.Phi @ L.T)), rtol=1e-7)
    np.testing.assert_allclose(rows.df, [twin.satterthwaite_df(row) for row in L], rtol=1e-5)
    test, (F, den_df) = joint_test(fit.state, L), twin.fai_cornelius(L)
    assert test.num_df == 3
    assert test.f_value == pytest.approx(F, rel=1e-7)
    assert test.den_df == pytest.approx(den_df, rel=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_kenward_roger(name: str) -> None:
    fit, twin = fitted(name, True)
    L = hypotheses(fit)
    rows = estimate_rows(fit.state, L, "kenward-roger")
    np.testing.assert_allclose(approximation(fit.state, "kenward-roger").covariance, twin.adjusted, rtol=1e-5)
    np.testing.assert_allclose(rows.std_error, np.sqrt(np.diag(L @ twin.adjusted @ L.T)), rtol=1e-5)
    np.testing.assert_allclose(rows.df, [twin.kenward_roger(row[None])[1] for row in L], rtol=1e-5)
    test, (F, den_df) = joint_test(fit.state, L, "kenward-roger"), twin.kenward_roger(L)
    assert test.f_value == pytest.approx(F, rel=1e-5)
    assert test.den_df == pytest.approx(den_df, rel=1e-5)


def test_kenward_roger_does_not_depend_on_the_rows_that_span_the_hypothesis() -> None:
    fit, _ = fitted("crossed", True)
    L = hypotheses(fit)
    one, other = (joint_test(fit.state, rows, "kenward-roger") for rows in (L, np.tril(np.ones((3, 3))) @ L))
    assert one.f_value == pytest.approx(other.f_value, rel=1e-9)
    assert one.den_df == pytest.approx(other.den_df, rel=1e-9)


@pytest.mark.parametrize("name", ["intercept", "slope", "crossed"])
def test_the_improvement_of_2009_changes_nothing_where_v_is_linear(name: str) -> None:
    """In (theta, log sigma) the paper of 2009 gives our covariance; that of 1997 gives another one there."""
    fit, twin = fitted(name, True)
    ours = approximation(fit.state, "kenward-roger").covariance
    size = np.sqrt(np.outer(np.diag(ours), np.diag(ours)))
    assert np.abs((twin.adjusted_in_theta(improved=True) - ours) / size).max() < 1e-6
    assert np.abs((twin.adjusted_in_theta(improved=False) - ours) / size).max() > 1e-4


def test_kenward_roger_on_the_boundary() -> None:
    """A variance of zero is a point like any other for V, which is linear in it."""
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 5), "x": np.tile(np.arange(5.0), 10)})
    rng = np.random.default_rng(8)
    data["y"] = data["x"] + rng.normal(size=10)[data["g"]] + rng.normal(size=50)
    data["h"] = np.random.default_rng(9).integers(0, 6, 50)
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.lmer("y ~ x + (1 | g) + (1 | h)", data)
    assert 0 in fit.theta.to_numpy()
    twin = DenseInference.of(fit.state)
    np.testing.assert_allclose(approximation(fit.state, "kenward-roger").covariance, twin.adjusted, rtol=1e-4)
    rows = estimate_rows(fit.state, np.eye(2), "kenward-roger")
    np.testing.assert_allclose(rows.df, [twin.kenward_roger(row[None])[1] for row in np.eye(2)], rtol=1e-3)


def test_satterthwaite_on_the_boundary_is_that_of_the_model_without_the_term() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(10), 5), "x": np.tile(np.arange(5.0), 10)})
    rng = np.random.default_rng(8)
    data["y"] = data["x"] + rng.normal(size=10)[data["g"]] + rng.normal(size=50)
    data["h"] = np.random.default_rng(9).integers(0, 6, 50)
    with pytest.warns(mm.SingularFitWarning):
        fit = mm.lmer("y ~ x + (1 | g) + (1 | h)", data)
    without = mm.lmer("y ~ x + (1 | g)", data)
    np.testing.assert_allclose(fit.coef_table()["df"], without.coef_table()["df"], rtol=1e-5)
    assert any("known" in note for note in approximation(fit.state).notes)
    assert not any("known" in note for note in approximation(without.state).notes)
