"""Newton with one constraint: closed forms, also where the Hessian given is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mixedmodels.inference.constrained import minimize

A = np.array([[3.0, 1.0, 0.5], [1.0, 2.0, -0.5], [0.5, -0.5, 1.5]])
B = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("factor", [1.0, 0.4, 2.5])
def test_a_quadratic_on_a_plane(factor: float) -> None:
    """x'Ax/2 - b'x on c'x = t: the equations of Karush, Kuhn and Tucker are linear."""
    c, target = np.array([1.0, 2.0, -1.0]), 0.7
    calls = []

    def function(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        calls.append(x)
        return float(x @ A @ x / 2 - B @ x), A @ x - B, factor * A

    found = minimize(function, np.zeros(3), lambda x: (float(c @ x), c, np.zeros((3, 3))), target)
    system = np.block([[A, -c[:, None]], [c[None], np.zeros((1, 1))]])
    expected = np.linalg.solve(system, np.append(B, target))
    assert found.converged
    np.testing.assert_allclose(found.point, expected[:3], atol=1e-3)
    assert found.slope == pytest.approx(expected[3], abs=1e-3)
    assert len(calls) < 15


def test_a_curved_constraint() -> None:
    """The point of the unit sphere nearest to b is b over its length, at the distance |b| - 1."""

    def function(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        return float((x - B) @ (x - B)), 2 * (x - B), 2 * np.eye(3)

    found = minimize(function, np.array([0.5, -0.1, 0.3]), lambda x: (float(x @ x), 2 * x, 2 * np.eye(3)), 1.0)
    length = np.linalg.norm(B)
    assert found.converged
    np.testing.assert_allclose(found.point, B / length, atol=1e-4)
    assert found.value == pytest.approx((length - 1) ** 2, abs=1e-7)


def test_what_has_no_minimum_does_not_converge() -> None:
    found = minimize(lambda x: (float(x[0]), np.ones(1), np.eye(1)), np.zeros(1))
    assert not found.converged
