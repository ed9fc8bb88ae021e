"""theta and Lambda: lme4's order."""

from __future__ import annotations

import numpy as np
import pytest

from mixedmodels.covariance.unstructured import relative_factor, relative_theta, split_theta


def test_lower_triangle_by_column() -> None:
    Lambda = relative_factor(np.arange(1.0, 7.0), (3,))
    np.testing.assert_array_equal(Lambda, [[1, 0, 0], [2, 4, 0], [3, 5, 6]])


def test_blocks_along_the_diagonal() -> None:
    Lambda = relative_factor(np.arange(1.0, 6.0), (1, 2, 1))
    np.testing.assert_array_equal(Lambda, [[1, 0, 0, 0], [0, 2, 0, 0], [0, 3, 4, 0], [0, 0, 0, 5]])


def test_split_by_factor() -> None:
    parts = split_theta(np.arange(6.0), (1, 3, 2))
    assert [part.tolist() for part in parts] == [[0], [1, 2, 3], [4, 5]]


@pytest.mark.parametrize("sizes", [(3,), (1, 2, 1), (2, -3), (-2, 1)])
def test_theta_of_lambda(sizes: tuple[int, ...]) -> None:
    theta = np.arange(1.0, 1 + sum(b * (b + 1) // 2 if b > 0 else 1 for b in sizes))
    np.testing.assert_array_equal(relative_theta(relative_factor(theta, sizes), sizes), theta)
