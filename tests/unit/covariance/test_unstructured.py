"""theta and Lambda: lme4's order."""

from __future__ import annotations

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta


def test_lower_triangle_by_column() -> None:
    Lambda = relative_factor(np.arange(1.0, 7.0), (3,))
    np.testing.assert_array_equal(Lambda, [[1, 0, 0], [2, 4, 0], [3, 5, 6]])


def test_blocks_along_the_diagonal() -> None:
    Lambda = relative_factor(np.arange(1.0, 6.0), (1, 2, 1))
    np.testing.assert_array_equal(Lambda, [[1, 0, 0, 0], [0, 2, 0, 0], [0, 3, 4, 0], [0, 0, 0, 5]])


def test_split_by_factor() -> None:
    parts = split_theta(np.arange(6.0), (1, 3, 2))
    assert [part.tolist() for part in parts] == [[0], [1, 2, 3], [4, 5]]
