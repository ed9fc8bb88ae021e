"""Zero-inflated and hurdle models against a twin made of SciPy's distributions and dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

import mixedmodels as mm

Floats = npt.NDArray[np.float64]

N_LEVELS, N_ROWS = 8, 7
EFFECTS = np.array([-0.6, 0.5])
DISPERSION = 0.49
FAMILIES = [
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
    "hurdle_poisson",
    "hurdle_negative_binomial",
]


def counts(family: str, eta: Floats) -> Any:
    """Return SciPy's distribution of the counts."""
    if family.endswith("negative_binomial"):
        return stats.nbinom(1 / DISPERSION, 1 / (1 + DISPERSION * np.exp(eta)))
    return stats.poisson(np.exp(eta))


def log_density(family: str, y: Floats, eta: Floats, chance: Floats) -> Floats:
    law = counts(family, eta)
    if family.startswith("hurdle"):
        return np.asarray(np.where(y == 0, np.log(chance), np.log1p(-chance) + law.logpmf(y) - np.log(law.sf(0))))
    return np.log(chance * (y == 0) + (1 - chance) * law.pmf(y))


def data(family: str) -> dict[str, Floats]:
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(N_LEVELS), N_ROWS)
    x, z = rng.normal(size=len(g)), rng.normal(size=len(g))
    eta = 0.7 - 0.3 * x + 0.5 * rng.normal(size=N_LEVELS)[g]
    y = counts(family, eta).rvs(random_state=rng)
    zero = rng.uniform(size=len(g)) < special.expit(EFFECTS[0] + EFFECTS[1] * z)
    return {"y": np.where(zero, 0.0, np.maximum(y, family.startswith("hurdle"))), "x": x, "z": z, "g": g}


def a_model(family: str, random: str = "(1 | g)", n_agq: int = 1) -> mm.GeneralizedLinearMixedModel:
    return mm.GeneralizedLinearMixedModel(f"y ~ x + {random}", data(family), family, n_agq=n_agq, zero_inflation="~ z")


def psi_of(model: mm.GeneralizedLinearMixedModel, slopes: bool) -> Floats:
    assert model.problem.zeros is not None
    root = [np.sqrt(DISPERSION)] * model.family.n_extra
    phi = np.concatenate([root, np.linalg.solve(model.problem.zeros.map, EFFECTS)])
    return model.psi([0.6, 0.2, 0.4] if slopes else [0.6], [0.4, -0.3], phi)


def levels_integral(family: str, rows: dict[str, Floats], n_nodes: int) -> float:
    """Return -2 log-likelihood with each level's effect integrated out on a fine grid."""
    nodes = np.linspace(-9, 9, n_nodes)
    log_weight = stats.norm.logpdf(nodes) + np.log(nodes[1] - nodes[0])
    chance = special.expit(EFFECTS[0] + EFFECTS[1] * rows["z"])
    total = 0.0
    for level in range(N_LEVELS):
        own = rows["g"] == level
        eta = (0.4 - 0.3 * rows["x"][own])[:, None] + 0.6 * nodes
        l = log_density(family, rows["y"][own][:, None], eta, chance[own][:, None]).sum(axis=0)
        total += special.logsumexp(l + log_weight)
    return float(-2 * total)


@pytest.mark.parametrize("family", FAMILIES)
def test_quadrature_is_the_integral(family: str) -> None:
    model = a_model(family, n_agq=31)
    assert model.deviance(psi_of(model, slopes=False)) == pytest.approx(
        levels_integral(family, data(family), 4001), abs=2e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("slopes", [False, True], ids=["intercepts", "slopes"])
def test_laplace_is_that_of_dense_matrices(family: str, slopes: bool) -> None:
    model, rows = a_model(family, "(x | g)" if slopes else "(1 | g)"), data(family)
    q = 2 if slopes else 1
    Lambda = np.array([[0.6, 0.0], [0.2, 0.4]])[:q, :q]
    Z = np.column_stack([np.ones(len(rows["x"])), rows["x"]])[:, :q] @ Lambda
    chance = special.expit(EFFECTS[0] + EFFECTS[1] * rows["z"])
    total, h = 0.0, 4e-3
    for level in range(N_LEVELS):
        own = rows["g"] == level
        A, fixed, y = Z[own], 0.4 - 0.3 * rows["x"][own], rows["y"][own]

        def density(u: Floats, by: float = 0.0, at: tuple[Any, ...] = (A, fixed, y, own)) -> Floats:
            A, fixed, y, own = at
            return log_density(family, y, fixed + A @ u + by, chance[own])

        u = np.zeros(q)
        for _ in range(80):
            two_down, down, here, up, two_up = (density(u, j * h) for j in (-2, -1, 0, 1, 2))
            first = (two_down - 8 * down + 8 * up - two_up) / (12 * h)
            second = (-two_down + 16 * down - 30 * here + 16 * up - two_up) / (12 * h * h)
            H = np.eye(q) - A.T @ (second[:, None] * A)
            u = u + 0.7 * np.linalg.solve(H, A.T @ first - u)
        total += -2 * density(u).sum() + u @ u + np.linalg.slogdet(H)[1]
    assert model.deviance(psi_of(model, slopes)) == pytest.approx(total, abs=2e-6)


@pytest.mark.parametrize("n_agq", [1, 5])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("random", ["(1 | g)", "(x | g)"])
def test_gradient_is_that_of_differences(family: str, random: str, n_agq: int) -> None:
    model = a_model(family, random, n_agq)
    psi, h = psi_of(model, slopes=random == "(x | g)"), 1e-5
    differences = [(model.deviance(psi + h * e) - model.deviance(psi - h * e)) / (2 * h) for e in np.eye(len(psi))]
    np.testing.assert_allclose(model.gradient(psi), differences, atol=2e-6 * (1 + np.abs(differences).max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_at_their_chances_are_distributions(family: str) -> None:
    """Their means and variances are those of their own sums, what is drawn has them, and slopes are differences."""
    fit = mm.glmer("y ~ x + (1 | g)", data(family), family, zero_inflation="~ z")
    law, eta, h = fit.state.fitted_family, fit.state.eta, 1e-5
    y, trials = np.arange(400.0)[:, None], np.ones(len(eta))
    upto = np.array([law.cumulative(np.full(len(eta), k[0]), eta, trials, fit.state.phi)[1] for k in y])
    pmf = np.diff(upto, axis=0, prepend=0.0)
    np.testing.assert_allclose(pmf, density_at(fit, y, eta), atol=1e-10)
    mean = (y * pmf).sum(axis=0)
    np.testing.assert_allclose(law.mean(eta), mean, rtol=1e-8)
    np.testing.assert_allclose(fit.fittedvalues, mean, rtol=1e-8)
    np.testing.assert_allclose(
        law.variance_at(eta, trials, fit.dispersion), ((y - mean) ** 2 * pmf).sum(axis=0), rtol=1e-7
    )
    np.testing.assert_allclose(law.slope(eta), (law.mean(eta + h) - law.mean(eta - h)) / (2 * h), rtol=1e-7)
    rng = np.random.default_rng(3)
    drawn = np.array([law.draw(eta, trials, fit.state.phi, rng) for _ in range(4000)])
    error = np.sqrt(law.variance_at(eta, trials, fit.dispersion) / len(drawn))
    assert np.abs((drawn.mean(axis=0) - mean) / error).max() < 4.5
    zeros = (drawn == 0).mean(axis=0) - pmf[0]
    assert np.abs(zeros / np.sqrt(pmf[0] * (1 - pmf[0]) / len(drawn))).max() < 4.5


def density_at(fit: mm.GlmmResult, y: Floats, eta: Floats) -> Floats:
    """Return the density at a fit's estimates, (len(y), n_obs)."""
    table = fit.zero_table()["estimate"].to_numpy()
    chance = special.expit(table[0] + table[1] * data(fit.family.name)["z"])
    d = fit.dispersion
    law: Any = stats.poisson(np.exp(eta)) if not d else stats.nbinom(1 / d, 1 / (1 + d * np.exp(eta)))
    if fit.family.name.startswith("hurdle"):
        return np.asarray(np.where(y == 0, chance, (1 - chance) * law.pmf(y) / law.sf(0)))
    return np.asarray(chance * (y == 0) + (1 - chance) * law.pmf(y))
