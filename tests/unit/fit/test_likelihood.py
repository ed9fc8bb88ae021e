"""The likelihood at any parameters, for a model with bars: against a dense twin and its differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import optimize

import mixedmodels as mm
from mixedmodels.covariance.packed import CovarianceBlock, PackedCovariances
from mixedmodels.design.design import Design
from mixedmodels.fit.ascent import em_steps, steepest_ascent
from mixedmodels.fit.constrained import minimize_held
from mixedmodels.fit.held import Hold, Holds
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.inference.observed_information import (
    Estimate,
    covariance_of_parameters,
    standard_errors_of_covariances,
)

Floats = npt.NDArray[np.float64]
RATIOS = np.array([0.8, 0.2, 0.5, 1.3])
"""Of the slopes' block by group, row by row, and of the intercepts by item."""


def crossed() -> pd.DataFrame:
    random, n = np.random.default_rng(2), 160
    frame = pd.DataFrame({"g": random.integers(0, 12, n), "h": random.integers(0, 9, n), "x": random.normal(2, 1, n)})
    slopes = random.normal(size=12)[frame["g"]] * (1 + 0.6 * frame["x"])
    return frame.assign(y=frame["x"] + slopes + random.normal(size=9)[frame["h"]] + random.normal(size=n))


DATA = crossed()
MODEL = mm.LinearMixedModel("y ~ x + (x | g) + (1 | h)", DATA)


def packed(design: Design) -> PackedCovariances:
    """Return the covariances of each factor in turn, its lower triangle row by row."""
    blocks, theta, place = [], 0, 0
    for k, factor in enumerate(design.factors):
        ends = list(accumulate(map(abs, factor.block_sizes), initial=0))
        for size, first in zip(factor.block_sizes, ends, strict=False):
            n = size * (size + 1) // 2
            columns = tuple(range(first, first + size))
            blocks.append(CovarianceBlock(k, columns, tuple(range(theta, theta + n)), tuple(range(place, place + n))))
            theta, place = theta + n, place + n
    return PackedCovariances(place, tuple(blocks))


def likelihood(reml: bool) -> Likelihood:
    problem = MODEL.problem
    return Likelihood(problem, packed(problem.design), reml)


def dense(reml: bool) -> Callable[[Floats, Floats, float | None], float]:
    """Return the log-likelihood of S, beta and the residual variance, profiled if there is none."""
    X = np.column_stack([np.ones(len(DATA)), DATA["x"]])
    g, h, y = (DATA[name].to_numpy() for name in ("g", "h", "y"))

    def value(S: Floats, beta: Floats, scale: float | None) -> float:
        block = np.array([[S[0], S[1]], [S[1], S[2]]])
        V = np.eye(len(y)) + (g[:, None] == g) * (X @ block @ X.T) + S[3] * (h[:, None] == h)
        inverse, r, m = np.linalg.inv(V), y - X @ beta, len(y) - 2 * reml
        q = r @ inverse @ r
        s = q / m if scale is None else scale
        out = np.linalg.slogdet(V)[1] + m * np.log(2 * np.pi * s) + q / s
        return float(-0.5 * (out + reml * np.linalg.slogdet(X.T @ inverse @ X)[1]))

    return value


def differences(function: Callable[[Floats], float], at: Floats, h: float = 1e-4) -> Floats:
    return np.array([(function(at + e) - function(at - e)) / (2 * h) for e in h * np.eye(len(at))])


def second_differences(function: Callable[[Floats], float], at: Floats) -> Floats:
    return np.array([differences(lambda x, k=k: differences(function, x)[k], at) for k in range(len(at))])


BETA = np.array([0.3, 1.1])
both = pytest.mark.parametrize("reml", [True, False])


def test_factors_are_as_packed() -> None:
    assert [(factor.name, factor.block_sizes) for factor in MODEL.problem.design.factors] == [("g", (2,)), ("h", (1,))]


@both
def test_value_score_and_hessian(reml: bool) -> None:
    ours, twin = likelihood(reml), dense(reml)
    at = np.concatenate([BETA, RATIOS])
    assert ours.value(RATIOS, BETA) == pytest.approx(twin(RATIOS, BETA, None), abs=1e-9)
    score = differences(lambda x: twin(x[2:], x[:2], None), at)
    np.testing.assert_allclose(np.concatenate(ours.score(RATIOS, BETA)), score, rtol=1e-5)
    found, singular = ours.hessian(RATIOS, BETA)
    expected = second_differences(lambda x: twin(x[2:], x[:2], None), at)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert not singular
    assert ours.hessian(np.array([1.0, 0.5, 0.25, 1.0]), BETA)[1]


@both
def test_the_profile_has_the_slope_of_the_engine(reml: bool) -> None:
    ours = likelihood(reml)
    expected = differences(ours.value, RATIOS)
    np.testing.assert_allclose(ours.profile_score(RATIOS), expected, rtol=1e-5)
    assert ours.value(np.array([1.0, 2.0, 1.0, 1.0])) == -np.inf
    with pytest.raises(mm.DataError, match="covariance of the random effects is not positive semidefinite"):
        ours.solve(np.array([1.0, 2.0, 1.0, 1.0]))


@both
def test_steps_lead_to_the_fit(reml: bool) -> None:
    fit, ours = MODEL.fit(reml=reml), likelihood(reml)
    best = ours.covariances.packed(fit.state.theta)
    values = [
        ours.value(S)
        for S in (ours.covariances.unit(), *(em_steps(ours, ours.covariances.unit(), n) for n in (1, 5, 400)))
    ]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(fit.llf, abs=1e-3)
    assert ours.value(steepest_ascent(ours, RATIOS, 20)) > ours.value(RATIOS)
    assert ours.value(best) == pytest.approx(fit.llf, abs=1e-8)


@both
def test_observed_information(reml: bool) -> None:
    """In ratios with the residual variance profiled out, and in natural units beside it."""
    fit, ours, twin = MODEL.fit(reml=reml), likelihood(reml), dense(reml)
    S, beta, scale = ours.covariances.packed(fit.state.theta), fit.state.beta, fit.scale
    estimate = Estimate(ours, beta, S, scale, Holds({}, (), 2, 6))
    at = np.concatenate([beta, S])
    hessian = second_differences(lambda x: twin(x[2:], x[:2], None), at)
    expected = np.linalg.inv(-hessian)
    np.testing.assert_allclose(
        covariance_of_parameters(estimate).of(np.eye(6)), expected, atol=2e-3 * np.abs(expected).max()
    )
    natural = np.concatenate([beta, scale * S, [scale]])
    hessian = second_differences(lambda x: twin(x[2:-1] / x[-1], x[:2], x[-1]), natural)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))[2:-1]
    np.testing.assert_allclose(standard_errors_of_covariances(estimate), errors, rtol=2e-3)


@both
@pytest.mark.parametrize("value", [-0.3, 0.4])
def test_a_covariance_held(reml: bool, value: float) -> None:
    """The covariance of intercepts and slopes, as a ratio: the rest is at its best."""
    ours, twin = likelihood(reml), dense(reml)
    found = minimize_held(ours, (Hold(1, value, True),), None)
    assert found.converged
    S = ours.covariances.packed(found.theta)
    assert S[1] == pytest.approx(value, abs=1e-7)

    def minus(x: Floats) -> float:
        free = np.exp(x)
        S = np.array([free[0], value, free[1] + value**2 / free[0], free[2]])
        return -twin(S, ours.solve(S).beta, None)

    best = optimize.minimize(minus, np.zeros(3), method="BFGS")
    assert -0.5 * found.deviance == pytest.approx(-best.fun, abs=1e-5)
