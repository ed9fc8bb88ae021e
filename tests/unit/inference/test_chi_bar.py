"""Weights of boundary laws against cones whose intrinsic volumes are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.inference.chi_bar import mixture_p, orthant_weights, semidefinite_weights

ERROR = 0.02  # four standard errors of the sample


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.4])
def test_two_variances(correlation: float) -> None:
    """In the plane the weights are angles."""
    weights = orthant_weights(np.array([[4.0, 2 * correlation], [2 * correlation, 1.0]]))
    angle = np.arccos(correlation) / (2 * np.pi)
    np.testing.assert_allclose(weights, [0.5 - angle, 0.5, angle], atol=ERROR)


def test_covariance_of_two_effects() -> None:
    """The 2 x 2 positive semidefinite matrices are a circular cone of 45 degrees."""
    half, side = (1 - np.sqrt(0.5)) / 2, np.sqrt(0.5) / 2
    np.testing.assert_allclose(semidefinite_weights(np.eye(3), 2), [half, side, side, half], atol=ERROR)


def test_weights_do_not_depend_on_the_basis_of_the_effects() -> None:
    rng = np.random.default_rng(1)
    T = rng.standard_normal((2, 2)) + 2 * np.eye(2)
    root = np.sqrt(2)
    vech = [(0, 0), (1, 0), (1, 1)]
    columns = []
    for a, b in vech:
        E = np.zeros((2, 2))
        E[a, b] = E[b, a] = 1.0 if a == b else 1 / root
        D = T @ E @ T.T
        columns.append([D[0, 0], root * D[1, 0], D[1, 1]])
    A = np.array(columns).T
    np.testing.assert_allclose(semidefinite_weights(A.T @ A, 2), semidefinite_weights(np.eye(3), 2), atol=ERROR)


def test_mixture() -> None:
    weights = np.array([0.5, 0.5])
    assert mixture_p(2.7055, weights, 0) == pytest.approx(0.05, abs=1e-4)
    assert mixture_p(5.0, weights, 1) == pytest.approx((stats.chi2.sf(5, 1) + stats.chi2.sf(5, 2)) / 2)
    assert mixture_p(0.0, weights, 0) == 1.0


def test_coding_of_the_effects_changes_nothing() -> None:
    machines = mm.load_dataset("Machines")
    codings = ("0 + Machine", "Machine", "C(Machine, contr.sum)")
    p = [mm.lmer(f"score ~ Machine + ({left} | Worker)", machines).ranova()["p_boundary"].iloc[1] for left in codings]
    np.testing.assert_allclose(p, p[0], rtol=0.02)


def test_there_is_no_law_where_nothing_tells_the_variances_apart() -> None:
    flat = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert np.isnan(orthant_weights(flat)).all()
    assert np.isnan(mixture_p(2.0, orthant_weights(flat), 0))
    assert mixture_p(0.0, orthant_weights(flat), 0) == 1.0
