"""The engine's generalised models against dense matrices, and its gradients against differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from mixedmodels._engine import GeneralizedModel
from oracle import dense_laplace

Floats = npt.NDArray[np.float64]
FAMILIES = (
    "binomial-logit",
    "binomial-probit",
    "binomial-cloglog",
    "poisson-log",
    "gamma-log",
    "negative_binomial-log",
    "beta-logit",
)
SHAPES = ("one", "slopes", "crossed", "nested", "crossed slopes", "three")


@dataclass
class Example:
    """A model by rows, with true parameters near which it is evaluated."""

    X: Floats
    codes: list[npt.NDArray[np.int32]]
    Z: list[Floats]
    n_levels: list[int]
    theta: Floats
    beta: Floats
    offset: Floats

    def lambdas(self) -> list[Floats]:
        out, at = [], 0
        for z in self.Z:
            q = z.shape[1]
            L = np.zeros((q, q))
            for j in range(q):
                L[j:, j] = self.theta[at : at + q - j]
                at += q - j
            out.append(L)
        return out


def as_rotated(e: Example) -> list[Floats]:
    """Return Lambda such that Z Lambda has the rotation of a lower triangular Lambda of orthonormal columns of Z.

    Few nodes of several effects depend on it.
    """
    out = []
    for z, L in zip(e.Z, e.lambdas(), strict=True):
        R = np.linalg.qr(z)[1]
        out.append(np.linalg.solve(R, np.linalg.cholesky(R @ L @ L.T @ R.T)))
    return out


def example(shape: str, rng: np.random.Generator, n: int = 90) -> Example:
    x = rng.normal(size=n)
    X = np.column_stack([np.ones(n), x])
    first = rng.integers(8, size=n).astype(np.int32)
    first[:8] = np.arange(8)
    second = (first // 3 if shape == "nested" else rng.integers(5, size=n)).astype(np.int32)
    second[:3] = second[:3] if shape == "nested" else np.arange(3)
    third = rng.integers(3, size=n).astype(np.int32)
    ones, slope = np.ones((n, 1)), np.column_stack([np.ones(n), x])
    factors = {
        "one": [(first, ones)],
        "slopes": [(first, slope)],
        "crossed": [(first, ones), (second, ones)],
        "nested": [(first, ones), (second, ones)],
        "crossed slopes": [(first, slope), (second, slope)],
        "three": [(first, ones), (second, slope), (third, ones)],
    }[shape]
    codes, Z = [f[0] for f in factors], [f[1] for f in factors]
    theta = np.concatenate([[0.7] if z.shape[1] == 1 else [0.6, -0.2, 0.4] for z in Z])
    n_levels = [int(code.max()) + 1 for code in codes]
    return Example(X, codes, Z, n_levels, theta, np.array([0.2, -0.3]), 0.1 * rng.normal(size=n))


def responses(family: str, eta: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    n, trials = len(eta), np.ones(len(eta))
    match family.split("-", maxsplit=1)[0]:
        case "binomial":
            trials = rng.integers(1, 30, size=n).astype(float)
            return rng.binomial(trials.astype(int), 1 / (1 + np.exp(-eta))).astype(float), trials
        case "gamma":
            return rng.gamma(3.0, np.exp(eta) / 3), trials
        case "beta":
            return np.clip(rng.beta(2.0, 3.0, size=n), 0.01, 0.99), trials
        case "negative_binomial":
            return rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(eta))).astype(float), trials
        case _:
            return rng.poisson(np.exp(eta)).astype(float), trials


def engine(
    family: str, e: Example, y: Floats, trials: Floats, dense: bool | None = None, *, n_agq: int = 1
) -> GeneralizedModel:
    blocks = [[z.shape[1]] for z in e.Z]
    binomial = trials if family.startswith("binomial") else None
    nodes = None
    if n_agq > 1:
        z, w = np.polynomial.hermite_e.hermegauss(n_agq)
        nodes = (z, w / np.sqrt(2 * np.pi))
    return GeneralizedModel(family, y, binomial, None, e.offset, e.X, e.codes, e.n_levels, e.Z, blocks, 1, dense, nodes)


def phi_of(family: str) -> Floats:
    return np.array([0.7]) if family.startswith(("gamma", "negative", "beta")) else np.zeros(0)


def seeded(family: str, shape: str) -> tuple[Example, Floats, Floats, Floats]:
    rng = np.random.default_rng(FAMILIES.index(family) * 10 + SHAPES.index(shape))
    e = example(shape, rng)
    y, trials = responses(family, e.offset + e.X @ e.beta + 0.5 * rng.normal(size=len(e.X)), rng)
    return e, y, trials, phi_of(family)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_value_is_that_of_dense_matrices(family: str, shape: str) -> None:
    e, y, trials, phi = seeded(family, shape)
    model = engine(family, e, y, trials)
    value = model.deviance(model.psi(e.theta, e.beta, phi))
    A = dense_laplace.design(e.codes, e.Z, e.lambdas())
    log_density = dense_laplace.log_density(family, y, trials, phi)
    assert value == pytest.approx(dense_laplace.laplace(log_density, e.offset + e.X @ e.beta, A), rel=1e-8, abs=1e-6)


@pytest.mark.parametrize("n_agq", [2, 5])
@pytest.mark.parametrize("shape", ["one", "slopes"])
@pytest.mark.parametrize("family", FAMILIES)
def test_quadrature_is_that_of_dense_matrices(family: str, shape: str, n_agq: int) -> None:
    e, y, trials, phi = seeded(family, shape)
    model = engine(family, e, y, trials, n_agq=n_agq)
    value = model.deviance(model.psi(e.theta, e.beta, phi))
    A = dense_laplace.design(e.codes, e.Z, as_rotated(e))
    log_density = dense_laplace.log_density(family, y, trials, phi)
    expected = dense_laplace.quadrature(log_density, e.offset + e.X @ e.beta, A, e.codes[0], n_agq)
    assert value == pytest.approx(expected, rel=1e-8, abs=1e-6)


@pytest.mark.parametrize("shape", ["one", "slopes"])
@pytest.mark.parametrize("family", FAMILIES)
def test_many_nodes_are_the_integral(family: str, shape: str) -> None:
    e, y, trials, phi = seeded(family, shape)
    model = engine(family, e, y, trials, n_agq=31)
    A = dense_laplace.design(e.codes, e.Z, e.lambdas())
    log_density = dense_laplace.log_density(family, y, trials, phi)
    expected = dense_laplace.exact(log_density, e.offset + e.X @ e.beta, A, e.codes[0])
    assert model.deviance(model.psi(e.theta, e.beta, phi)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("shape", "n_agq"), [*((shape, 1) for shape in SHAPES), ("one", 7), ("slopes", 4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_is_that_of_differences(family: str, shape: str, n_agq: int) -> None:
    e, y, trials, phi = seeded(family, shape)
    model = engine(family, e, y, trials, n_agq=n_agq)
    psi = model.psi(e.theta, e.beta, phi)
    gradient = model.gradient(psi)
    for j in range(len(psi)):
        differences = []
        for h in (1e-3, 5e-4):
            up, down = psi.copy(), psi.copy()
            up[j] += h
            down[j] -= h
            differences.append((model.deviance(up) - model.deviance(down)) / (2 * h))
        expected = (4 * differences[1] - differences[0]) / 3
        assert gradient[j] == pytest.approx(expected, rel=1e-7, abs=1e-7 * (1 + np.abs(gradient).max()))


@pytest.mark.parametrize("shape", ["crossed", "crossed slopes", "three"])
def test_dense_and_sparse_rests_agree(shape: str) -> None:
    e, y, trials, phi = seeded("poisson-log", shape)
    dense, sparse = (engine("poisson-log", e, y, trials, kind) for kind in (True, False))
    psi = dense.psi(e.theta, e.beta, phi)
    assert dense.deviance(psi) == pytest.approx(sparse.deviance(psi), abs=1e-9)
    np.testing.assert_allclose(dense.gradient(psi), sparse.gradient(psi), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_hessian_is_that_of_the_gradient(shape: str) -> None:
    e, y, trials, phi = seeded("binomial-logit", shape)
    model = engine("binomial-logit", e, y, trials)
    psi = model.psi(e.theta, e.beta, phi)
    hessian, h = model.hessian(psi), 1e-4
    assert hessian is not None
    for j in range(len(psi)):
        step = np.eye(len(psi))[j] * h
        expected = (model.gradient(psi + step) - model.gradient(psi - step)) / (2 * h)
        np.testing.assert_allclose(hessian[j], expected, rtol=1e-4, atol=1e-5 * np.abs(hessian).max())


@pytest.mark.parametrize("n_agq", [1, 4])
@pytest.mark.parametrize("family", ["poisson-log", "binomial-logit", "gamma-log"])
def test_nothing_varies_between_levels(family: str, n_agq: int) -> None:
    """Rows of levels that are all alike: the variance is an exact zero and the fit that without random effects."""
    n = 40
    codes = np.repeat(np.arange(10, dtype=np.int32), 4)
    x = np.tile([0.0, 1.0, 2.0, 3.0], 10)
    y = {"poisson-log": [1.0, 2.0, 2.0, 4.0], "binomial-logit": [0.0, 0.0, 1.0, 1.0], "gamma-log": [0.5, 1.1, 0.9, 2.0]}
    X = np.column_stack([np.ones(n), (x - 1.5) ** 2])
    e = Example(X, [codes], [np.ones((n, 1))], [10], np.array([0.5]), np.zeros(2), np.zeros(n))
    model = engine(family, e, np.tile(y[family], 10), np.ones(n), n_agq=n_agq)
    minimum = model.minimize(None, 200, 0)
    theta, *_ = model.estimates(minimum.psi)
    assert theta[0] == 0.0
    assert minimum.singular


def test_large_counts_keep_their_digits() -> None:
    rng = np.random.default_rng(5)
    e = example("one", rng)
    y = np.round(np.exp(np.log(1e8) + 1e-3 * rng.normal(size=len(e.X))))
    model = engine("poisson-log", e, y, np.ones(len(y)))
    minimum = model.minimize(None, 200, 0)
    assert minimum.status == 0
    psi = minimum.psi
    gradient = model.gradient(psi)
    # in units of what a standard error changes
    hessian = model.hessian(psi)
    assert hessian is not None
    free = np.diag(hessian) > 1e-8 * np.diag(hessian).max()
    assert (np.abs(gradient[free]) / np.sqrt(np.diag(hessian)[free])).max() < 1e-3
