"""The criterion of every family against a dense twin made of SciPy's distributions, the gradient by differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

import mixedmodels as mm

Floats = npt.NDArray[np.float64]
LogDensity = Callable[[Floats, Floats], Floats]
"""Of y given eta."""

N_LEVELS, N_ROWS = 7, 6


@dataclass(frozen=True)
class Case:
    """A family, phi, what its rows are like given eta, and their log density by SciPy."""

    family: str
    link: str
    phi: tuple[float, ...]
    draw: Callable[[Floats, np.random.Generator], Floats]
    log_density: LogDensity
    trials: int = 0

    @property
    def left(self) -> str:
        """The response in a formula."""
        return f"cbind(y, {self.trials} - y)" if self.trials else "y"


def chance(link: str) -> Any:
    """Return the distribution whose function the link is the inverse of."""
    return {"logit": stats.logistic, "probit": stats.norm, "cloglog": stats.gumbel_l}[link]


def binary(link: str) -> Case:
    law = chance(link)
    return Case(
        "binomial",
        link,
        (),
        lambda eta, rng: rng.binomial(1, law.cdf(eta)).astype(float),
        lambda y, eta: np.where(y == 1, law.logcdf(eta), law.logsf(eta)),
    )


CUTS = (0.0, 0.7, 1.9)


def ordinal(link: str) -> Case:
    law = chance(link)
    ends = np.array([-np.inf, *CUTS, np.inf])

    def log_density(y: Floats, eta: Floats) -> Floats:
        k = y.astype(int)
        return np.log(law.cdf(ends[k + 1] - eta) - law.cdf(ends[k] - eta))

    def draw(eta: Floats, rng: np.random.Generator) -> Floats:
        y = (rng.uniform(size=len(eta))[:, None] > law.cdf(ends[1:-1] - eta[:, None])).sum(axis=1).astype(float)
        y[: len(CUTS) + 1] = np.arange(len(CUTS) + 1)
        return y

    return Case("ordinal", link, CUTS[1:], draw, log_density)


def of(
    family: str, link: str, phi: float, law: Callable[[Floats], Any], *, counted: bool = False, trials: int = 0
) -> Case:
    """Return the case of one of SciPy's distributions, given eta."""

    def log_density(y: Floats, eta: Floats) -> Floats:
        return np.asarray(law(eta).logpmf(y) if counted else law(eta).logpdf(y))

    def draw(eta: Floats, rng: np.random.Generator) -> Floats:
        return np.asarray(law(eta).rvs(random_state=rng), dtype=float)

    return Case(family, link, (phi,), draw, log_density, trials)


CASES = [
    *map(binary, ("logit", "probit", "cloglog")),
    *map(ordinal, ("logit", "probit", "cloglog")),
    Case(
        "poisson",
        "log",
        (),
        lambda eta, rng: rng.poisson(np.exp(eta)).astype(float),
        lambda y, eta: stats.poisson.logpmf(y, np.exp(eta)),
    ),
    of("gamma", "log", 0.8, lambda eta: stats.gamma(np.exp(0.8), scale=np.exp(eta - 0.8))),
    of("negative_binomial", "log", 0.7, lambda eta: stats.nbinom(1 / 0.49, 1 / (1 + 0.49 * np.exp(eta))), counted=True),
    of("negative_binomial_1", "log", 0.7, lambda eta: stats.nbinom(np.exp(eta) / 0.49, 1 / 1.49), counted=True),
    of(
        "betabinomial",
        "logit",
        0.5,
        lambda eta: stats.betabinom(8, special.expit(eta) / 0.25, special.expit(-eta) / 0.25),
        counted=True,
        trials=8,
    ),
    of(
        "beta",
        "logit",
        1.5,
        lambda eta: stats.beta(special.expit(eta) * np.exp(1.5), special.expit(-eta) * np.exp(1.5)),
    ),
]


@dataclass(frozen=True)
class Model:
    """A model, its rows, and parameters in the user's units."""

    model: mm.GeneralizedLinearMixedModel
    y: Floats
    X: Floats
    codes: npt.NDArray[np.int64]
    theta: Floats
    beta: Floats


def a_model(case: Case, slopes: bool) -> Model:
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(N_LEVELS), N_ROWS)
    x = rng.normal(size=len(codes))
    X = np.column_stack([np.ones(len(x)), x])
    theta = np.array([0.6, 0.2, 0.4]) if slopes else np.array([0.6])
    beta = np.array([0.4, -0.3])
    eta = X @ beta + 0.5 * rng.normal(size=N_LEVELS)[codes]
    y = case.draw(eta, rng)
    data = {"y": y, "x": x, "g": codes}
    random = "(x | g)" if slopes else "(1 | g)"
    model = mm.GeneralizedLinearMixedModel(f"{case.left} ~ x + {random}", data, case.family, link=case.link)
    return Model(model, y, X, codes, theta, beta)


def derivatives(log_density: LogDensity, y: Floats, eta: Floats) -> tuple[Floats, Floats]:
    """Return two derivatives in eta by a stencil of five points."""
    h = 4e-3
    two_down, down, here, up, two_up = (log_density(y, eta + j * h) for j in (-2, -1, 0, 1, 2))
    first = (two_down - 8 * down + 8 * up - two_up) / (12 * h)
    second = (-two_down + 16 * down - 30 * here + 16 * up - two_up) / (12 * h * h)
    return first, second


def dense_deviance(case: Case, one: Model) -> float:
    """Return -2 log-likelihood by Laplace's approximation, all matrices dense."""
    q = 1 if len(one.theta) == 1 else 2
    Lambda = np.zeros((q, q))
    Lambda[np.triu_indices(q)[::-1]] = one.theta
    A = np.zeros((len(one.y), N_LEVELS * q))
    for i, level in enumerate(one.codes):
        A[i, level * q : (level + 1) * q] = one.X[i, :q] @ Lambda
    fixed = one.X @ one.beta
    u = np.zeros(A.shape[1])
    for _ in range(60):
        first, second = derivatives(case.log_density, one.y, fixed + A @ u)
        H = np.eye(len(u)) - A.T @ (second[:, None] * A)
        u = u + 0.7 * np.linalg.solve(H, A.T @ first - u)
    l = case.log_density(one.y, fixed + A @ u).sum()
    return float(-2 * l + u @ u + np.linalg.slogdet(H)[1])


@pytest.mark.parametrize("slopes", [False, True], ids=["intercepts", "slopes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.link}")
def test_criterion_is_that_of_dense_matrices(case: Case, slopes: bool) -> None:
    one = a_model(case, slopes)
    psi = one.model.psi(one.theta, one.beta, case.phi)
    assert one.model.deviance(psi) == pytest.approx(dense_deviance(case, one), abs=2e-6)


@pytest.mark.parametrize("slopes", [False, True], ids=["intercepts", "slopes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.link}")
def test_gradient_is_that_of_differences(case: Case, slopes: bool) -> None:
    one = a_model(case, slopes)
    psi = one.model.psi(one.theta, one.beta, case.phi)
    h = 1e-5
    differences = [
        (one.model.deviance(psi + h * e) - one.model.deviance(psi - h * e)) / (2 * h) for e in np.eye(len(psi))
    ]
    np.testing.assert_allclose(one.model.gradient(psi), differences, atol=2e-6 * (1 + np.abs(differences).max()))


@pytest.mark.parametrize(
    ("family", "simpler"),
    [("negative_binomial", "poisson"), ("negative_binomial_1", "poisson"), ("betabinomial", "binomial")],
)
def test_without_dispersion_a_family_is_a_simpler_one(family: str, simpler: str) -> None:
    [case] = [one for one in CASES if one.family == family]
    one = a_model(case, slopes=True)
    other = mm.GeneralizedLinearMixedModel(
        f"{case.left} ~ x + (x | g)", {"y": one.y, "x": one.X[:, 1], "g": one.codes}, simpler
    )
    expected = other.deviance(other.psi(one.theta, one.beta))
    assert one.model.deviance(one.model.psi(one.theta, one.beta, [0.0])) == pytest.approx(expected, abs=1e-9)
    near = [one.model.deviance(one.model.psi(one.theta, one.beta, [phi])) for phi in (1e-4, -1e-4)]
    assert near == pytest.approx([expected] * 2, abs=1e-4)
    assert near[0] == near[1]
