"""Every kernel of the engine against its slow twin, on every shape of model, by the dense and by the sparse path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from mixedmodels import _engine
from oracle import dense_engine
from oracle.exact import deviance_and_gradient
from oracle.problems import Arrays, random_arrays, reordered, shapes, thetas

Floats = npt.NDArray[np.float64]

SHAPES = shapes()
EVERY_FIFTH = SHAPES[::5]
PATHS = [True, False]
IDS = {"ids": lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value)}


def check(ours: _engine.Model, twin: dense_engine.Model, theta: Floats, reml: bool, label: str) -> None:
    """Compare value, gradient, solution and conditional covariances."""
    assert ours.deviance(theta, reml) == pytest.approx(twin.deviance(theta, reml), rel=1e-9), label
    np.testing.assert_allclose(
        ours.gradient(theta, reml), twin.gradient(theta, reml), rtol=1e-7, atol=1e-6, err_msg=label
    )
    beta, cov, sigma, b = ours.solve(theta, reml)
    twin_beta, twin_cov, twin_sigma, twin_b = twin.solve(theta, reml)
    se = np.sqrt(np.diag(twin_cov))
    np.testing.assert_allclose(beta / se, twin_beta / se, rtol=0, atol=1e-7, err_msg=label)
    np.testing.assert_allclose(cov / np.outer(se, se), twin_cov / np.outer(se, se), rtol=0, atol=1e-8, err_msg=label)
    assert sigma == pytest.approx(twin_sigma, rel=1e-9), label
    assert ours.spread(beta + se) == pytest.approx(twin.spread(beta + se), rel=1e-9), label
    for ours_b, theirs in zip(b, twin_b, strict=True):
        np.testing.assert_allclose(ours_b, theirs, rtol=1e-6, atol=1e-7 * sigma, err_msg=label)
    for cond, theirs in zip(ours.conditional_covariance(theta), twin.conditional_covariance(theta), strict=True):
        np.testing.assert_allclose(cond, theirs, rtol=1e-6, atol=1e-6, err_msg=label)


@pytest.mark.parametrize(("grouping", "effects"), SHAPES, **IDS)
def test_every_kernel_on_every_shape(grouping: str, effects: tuple[str, ...]) -> None:
    weighted = len(set(effects)) % 2 == 0
    arrays = random_arrays(grouping, effects, weighted=weighted)
    twin = dense_engine.Model(**arrays.arguments())
    paths = [_engine.Model(**arrays.arguments(dense=dense)) for dense in PATHS]
    for label, theta in thetas(arrays, np.random.default_rng(len(effects))).items():
        for path in paths:
            assert path.n_theta == arrays.n_theta
            check(path, twin, theta, reml=not weighted, label=label)


@pytest.mark.parametrize("dense", PATHS)
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("grouping", "effects"), EVERY_FIFTH, **IDS)
def test_gradient_against_differences(grouping: str, effects: tuple[str, ...], reml: bool, dense: bool) -> None:
    arrays = random_arrays(grouping, effects, seed=1)
    model = _engine.Model(**arrays.arguments(dense=dense))
    for label, theta in thetas(arrays, np.random.default_rng(2)).items():
        step = 1e-4 * np.maximum(1.0, np.abs(theta))
        central = [
            (8 * (f(theta + h) - f(theta - h)) - (f(theta + 2 * h) - f(theta - 2 * h))) / (12 * h.sum())
            for h in np.diag(step)
            for f in [lambda x: model.deviance(x, reml)]
        ]
        np.testing.assert_allclose(model.gradient(theta, reml), central, rtol=1e-6, atol=1e-6, err_msg=label)


@pytest.mark.parametrize("dense", PATHS)
@pytest.mark.parametrize("sizes", [(1e-7,), (1e-3,), (1e2,), (1e4,), (1e5,), (1e-4, 1e4), (0.0, 1e5)], **IDS)
@pytest.mark.parametrize(("grouping", "effects"), SHAPES[3::17], **IDS)
def test_ratios_of_any_size(grouping: str, effects: tuple[str, ...], sizes: tuple[float, ...], dense: bool) -> None:
    """Random effects much smaller or larger than the residual cost no more digits than M's condition, theta^2, takes.

    Derivatives are compared by one unit of log theta, in which d changes by about one an observation.
    """
    arrays = random_arrays(grouping, effects, seed=2)
    rng = np.random.default_rng(3)
    unit = np.resize(sizes, arrays.n_theta)
    theta = unit * np.where(arrays.diagonal, rng.uniform(0.5, 2, arrays.n_theta), rng.normal(size=arrays.n_theta))
    model = _engine.Model(**arrays.arguments(dense=dense))
    tol = len(arrays.y) * (1e-10 + 1e-15 * max(sizes) ** 2)
    for reml in (False, True):
        deviance, gradient = deviance_and_gradient(arrays, theta, reml)
        assert model.deviance(theta, reml) == pytest.approx(deviance, rel=0, abs=tol)
        np.testing.assert_allclose(model.gradient(theta, reml) * unit, gradient * unit, rtol=1e-8, atol=10 * tol)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("n_a", "n_b", "n_obs"), [(60, 45, 150), (150, 120, 450), (90, 8, 400)])
def test_larger_crossings(n_a: int, n_b: int, n_obs: int, path: bool) -> None:
    """Enough levels for fill, several columns of the factor at once, and levels met only once."""
    rng = np.random.default_rng(n_a)
    a = np.concatenate([np.arange(n_a), rng.integers(0, n_a, n_obs - n_a)]).astype(np.int32)
    b = np.concatenate([np.arange(n_b), rng.integers(0, n_b, n_obs - n_b)]).astype(np.int32)
    c = rng.integers(0, 11, n_obs).astype(np.int32)
    x = rng.normal(size=n_obs)
    Z = np.column_stack([np.ones(n_obs), x])
    arrays = Arrays(
        y=rng.normal(size=n_obs) + rng.normal(size=n_a)[a] + rng.normal(size=n_b)[b] * x,
        X=np.column_stack([np.ones(n_obs), x]),
        weights=None,
        codes=(a, b, c),
        n_levels=(n_a, n_b, 11),
        Z=(None, Z, Z),
        blocks=((1,), (2,), (1, 1)),
    )
    model = _engine.Model(**arrays.arguments(dense=path))
    theta = np.array([0.8, 0.9, -0.3, 1.1, 0.4, 0.0])
    check(model, dense_engine.Model(**arrays.arguments()), theta, reml=True, label="larger")


@pytest.mark.parametrize("n_fixed", [0, 1, 5])
@pytest.mark.parametrize("dense", PATHS)
def test_any_number_of_fixed_effects(n_fixed: int, dense: bool) -> None:
    arrays = random_arrays("crossed_holes", ("pair", "intercept"), n_fixed=n_fixed)
    theta = thetas(arrays, np.random.default_rng(4))["ordinary"]
    ours, twin = _engine.Model(**arrays.arguments(dense=dense)), dense_engine.Model(**arrays.arguments())
    for reml in (False, True):
        check(ours, twin, theta, reml, label=str(n_fixed))


@pytest.mark.parametrize(
    ("aliased", "kept"),
    [
        (lambda X: [X[:, 0], X[:, 1], 2 * X[:, 1] - X[:, 0], X[:, 2]], [0, 1, 3]),
        (lambda X: [X[:, 0], 0 * X[:, 0], X[:, 1], X[:, 1], X[:, 2]], [0, 2, 4]),
        (lambda X: [3 * X[:, 1], X[:, 0], X[:, 1] + X[:, 0], X[:, 2], X[:, 1]], [0, 1, 3]),
        (lambda X: [X[:, 0], 1e5 + X[:, 1], X[:, 1]], [0, 1]),
        (lambda X: [X[:, 0], 1e6 * X[:, 1], 1e-6 * X[:, 2]], [0, 1, 2]),
    ],
)
def test_leftmost_of_aliased_columns_stay(aliased, kept: Sequence[int]) -> None:
    arrays = random_arrays("nested", ("intercept", "slope"))
    X = np.column_stack(aliased(arrays.X))
    model = _engine.Model(**arrays.arguments(X=X))
    assert list(model.kept) == list(kept)
    theta = np.array([0.7, 1.3])
    alone = _engine.Model(**arrays.arguments(X=np.ascontiguousarray(X[:, kept])))
    assert model.deviance(theta, True) == pytest.approx(alone.deviance(theta, True), rel=1e-12)
    beta, cov, _, _ = model.solve(theta, True)
    assert beta.shape == (len(kept),)
    assert cov.shape == (len(kept), len(kept))


@pytest.mark.parametrize("dense", PATHS)
@pytest.mark.parametrize(("grouping", "effects"), EVERY_FIFTH, **IDS)
def test_same_bits_for_the_same_threads(grouping: str, effects: tuple[str, ...], dense: bool) -> None:
    arrays = random_arrays(grouping, effects, seed=5)
    theta = thetas(arrays, np.random.default_rng(5))["ordinary"]
    answers = []
    for n_threads in (1, 1, 2, 2):
        model = _engine.Model(**arrays.arguments(dense=dense, n_threads=n_threads))
        optimum = model.minimize(True, None, 200, 1)
        answers.append((model.deviance(theta, True), model.gradient(theta, True).tolist(), optimum.theta.tolist()))
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert answers[0][0] == pytest.approx(answers[2][0], rel=1e-12)


def test_large_model_by_every_path_and_thread() -> None:
    """Large enough for threads: the same bits again, and the same answer by either path."""
    rng = np.random.default_rng(12)
    n, n_levels = 20_000, (3_000, 400, 15)
    codes = tuple(rng.integers(0, levels, n).astype(np.int32) for levels in n_levels)
    x = rng.normal(size=n)
    Z = np.column_stack([np.ones(n), x])
    arrays = Arrays(
        y=rng.normal(size=n) + rng.normal(size=3_000)[codes[0]] + 0.5 * rng.normal(size=400)[codes[1]] * x,
        X=np.column_stack([np.ones(n), x]),
        weights=rng.uniform(0.5, 2, n),
        codes=codes,
        n_levels=n_levels,
        Z=(Z, Z, None),
        blocks=((2,), (1, 1), (1,)),
    )
    theta = np.array([0.9, 0.1, 0.3, 0.2, 0.6, 0.4])
    answers = []
    for dense, n_threads in product(PATHS, (1, 2, 2)):
        model = _engine.Model(**arrays.arguments(dense=dense, n_threads=n_threads))
        beta, _, sigma, b = model.solve(theta, True)
        answers.append(
            np.concatenate([[model.deviance(theta, True), sigma], model.gradient(theta, True), beta, *b], None)
        )
    for first in (0, 3):
        np.testing.assert_array_equal(answers[first + 1], answers[first + 2])
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("grouping", "effects"), EVERY_FIFTH, **IDS)
def test_order_of_rows_does_not_matter(grouping: str, effects: tuple[str, ...]) -> None:
    arrays = random_arrays(grouping, effects, seed=6, weighted=True)
    rng = np.random.default_rng(6)
    theta = thetas(arrays, rng)["ordinary"]
    shuffled = _engine.Model(**reordered(arrays, rng.permutation(len(arrays.y))).arguments())
    check(shuffled, dense_engine.Model(**arrays.arguments()), theta, reml=True, label="shuffled")


@pytest.mark.parametrize("copies", [2, 300])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("grouping", "effects"), SHAPES[1::23], **IDS)
def test_copies_of_rows_are_weights(
    grouping: str, effects: tuple[str, ...], reml: bool, n_threads: int, copies: int
) -> None:
    """At one theta k copies of every row and weights of k give one M and one sum of squares; only n differs."""
    arrays = random_arrays(grouping, effects, seed=7)
    n, p = arrays.X.shape
    rng = np.random.default_rng(7)
    theta = thetas(arrays, rng)["ordinary"]
    rows = rng.permutation(np.repeat(np.arange(n), copies))
    copied = _engine.Model(**reordered(arrays, rows).arguments(n_threads=n_threads))
    twin = dense_engine.Model(**arrays.arguments(weights=np.full(n, float(copies))))
    beta, cov, sigma, b = copied.solve(theta, reml)
    twin_beta, twin_cov, twin_sigma, twin_b = twin.solve(theta, reml)
    np.testing.assert_allclose(beta, twin_beta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(cov, twin_cov, rtol=1e-8, atol=1e-12)
    for ours, theirs in zip(b, twin_b, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    m, copied_m = n - reml * p, n * copies - reml * p
    assert sigma**2 * copied_m == pytest.approx(twin_sigma**2 * m, rel=1e-9)
    log_determinants = twin.deviance(theta, reml) + n * np.log(copies) - m * (1 + np.log(2 * np.pi * twin_sigma**2))
    expected = log_determinants + copied_m * (1 + np.log(2 * np.pi * sigma**2))
    assert copied.deviance(theta, reml) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("grouping", "effects"), EVERY_FIFTH, **IDS)
def test_another_response(grouping: str, effects: tuple[str, ...]) -> None:
    arrays = random_arrays(grouping, effects, seed=8, weighted=True)
    rng = np.random.default_rng(8)
    theta = thetas(arrays, rng)["ordinary"]
    y = rng.normal(size=len(arrays.y))
    first = _engine.Model(**arrays.arguments())
    before = first.deviance(theta, True)
    second = first.with_response(y, arrays.X, arrays.weights, arrays.codes, arrays.Z)
    check(second, dense_engine.Model(**arrays.arguments(y=y)), theta, reml=True, label="response")
    assert first.deviance(theta, True) == before


@pytest.mark.parametrize("dense", PATHS)
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("grouping", "effects"), SHAPES[2::6], **IDS)
def test_minimum_is_stationary(grouping: str, effects: tuple[str, ...], reml: bool, dense: bool) -> None:
    """The twin finds no slope where the engine stops, and the engine stops no higher than the twin."""
    arrays = random_arrays(grouping, effects, seed=9)
    twin = dense_engine.Model(**arrays.arguments())
    optimum = _engine.Model(**arrays.arguments(dense=dense)).minimize(reml, None, 200, 1)
    assert optimum.status == 0
    assert optimum.trace.shape == (optimum.n_iterations, 6)
    assert (optimum.theta[arrays.diagonal] >= 0).all()
    assert optimum.deviance == pytest.approx(twin.deviance(optimum.theta, reml), rel=1e-9)
    np.testing.assert_allclose(twin.gradient(optimum.theta, reml), 0, atol=1e-4)


@pytest.mark.parametrize("reml", [False, True])
def test_start_is_used_and_of_no_consequence(reml: bool) -> None:
    arrays = random_arrays("crossed", ("pair", "intercept"), seed=10)
    model = _engine.Model(**arrays.arguments())
    optimum = model.minimize(reml, None, 200, 1)
    again = model.minimize(reml, optimum.theta, 200, 1)
    assert again.n_iterations <= 1
    assert again.deviance == pytest.approx(optimum.deviance, rel=1e-12)
    far = model.minimize(reml, np.array([5.0, -3.0, 0.1, 8.0]), 200, 1)
    assert far.deviance == pytest.approx(optimum.deviance, rel=0, abs=1e-7)


def test_iteration_limit_is_reported() -> None:
    arrays = random_arrays("crossed", ("pair", "pair"), seed=11)
    optimum = _engine.Model(**arrays.arguments()).minimize(True, None, 1, 1)
    assert optimum.status == 1
    assert optimum.n_iterations == 1
