"""The two twins against each other and against a closed form, so that either can judge the engine."""

from __future__ import annotations

import numpy as np
import pytest

from oracle.dense_engine import Model
from oracle.exact import deviance_and_gradient
from oracle.problems import random_arrays, thetas

SHAPES = [("one", ("pair",)), ("nested", ("double_bar", "slope")), ("crossed_holes", ("pair_and_one", "intercept"))]


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("grouping", "effects"), SHAPES)
def test_twins_agree(grouping: str, effects: tuple[str, ...], reml: bool) -> None:
    arrays = random_arrays(grouping, effects, weighted=reml)
    theta = thetas(arrays, np.random.default_rng(1))["ordinary"]
    deviance, gradient = deviance_and_gradient(arrays, theta, reml)
    twin = Model(**arrays.arguments())
    assert twin.deviance(theta, reml) == pytest.approx(deviance, rel=1e-12)
    np.testing.assert_allclose(twin.gradient(theta, reml), gradient, rtol=1e-9, atol=1e-9)
