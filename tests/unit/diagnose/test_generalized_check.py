"""Checks of generalised models: what they find in data made to have it, and not in others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose.generalized_check import taken_by_effects

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(40), 10)
    x = rng.normal(size=400)
    mean = np.exp(1 + 0.4 * x + 0.5 * rng.normal(size=40)[g])
    return pd.DataFrame(
        {
            "g": g,
            "x": x,
            "plain": rng.poisson(mean),
            "wide": rng.negative_binomial(1.5, 1.5 / (1.5 + mean)),
            "empty": rng.poisson(mean) * (rng.random(400) < 0.6),
            "share": rng.beta(3 * mean / (1 + mean), 3 / (1 + mean)),
        }
    )


def verdicts(fit: mm.GlmmResult) -> dict[str, str]:
    return dict(fit.check()["verdict"])


def test_counts_that_are_poissons_are_good(data: pd.DataFrame) -> None:
    found = verdicts(mm.glmer("plain ~ x + (1 | g)", data, family="poisson"))
    assert set(found.values()) == {"good"}
    assert {"overdispersion", "zeros", "separation", "Laplace's approximation"} <= set(found)


def test_spread_and_zeros_are_seen(data: pd.DataFrame) -> None:
    wide = verdicts(mm.glmer("wide ~ x + (1 | g)", data, family="poisson"))
    assert wide["overdispersion"] == wide["zeros"] == "look"
    fitted = verdicts(mm.glmer("wide ~ x + (1 | g)", data, family="negative_binomial"))
    assert "overdispersion" not in fitted
    assert fitted["zeros"] == "good"
    assert verdicts(mm.glmer("empty ~ x + (1 | g)", data, family="poisson"))["zeros"] == "look"


def test_grouped_answers_may_vary_too_much_single_ones_cannot(data: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    trials = data.assign(m=12, k=rng.binomial(12, data["share"]), one=(data["share"] > 0.5).astype(int))
    grouped = verdicts(mm.glmer("cbind(k, m - k) ~ x + (1 | g)", trials))
    assert grouped["overdispersion"] == "look"
    assert "overdispersion" not in verdicts(mm.glmer("one ~ x + (1 | g)", trials))


def test_separation_names_the_column(data: pd.DataFrame) -> None:
    told = data.assign(yes=(data["plain"] > 2).astype(int), rare=((data["plain"] > 6) & (data["x"] > 0)).astype(int))
    fit = mm.glmer("yes ~ x + rare + (1 | g)", told)
    row = fit.check().loc["separation"]
    assert row["verdict"] == "look"
    assert "rare" in row["found"]


def test_few_rows_a_level_make_the_approximation_inaccurate() -> None:
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(300), 3)
    yes = rng.random(900) < 1 / (1 + np.exp(-2.5 * rng.normal(size=300)[g]))
    fit = mm.glmer("yes ~ 1 + (1 | g)", {"g": g, "yes": yes})
    assert fit.check().loc["Laplace's approximation", "verdict"] == "look"
    better = mm.glmer("yes ~ 1 + (1 | g)", {"g": g, "yes": yes}, n_agq=11)
    assert "Laplace's approximation" not in better.check().index


def test_effects_take_the_trace_of_the_hat_matrix(data: pd.DataFrame) -> None:
    fit = mm.glmer("plain ~ x + (x | g)", data, family="poisson")
    w = fit.fittedvalues.to_numpy()
    Z = np.zeros((400, 80))
    for i, (g, x) in enumerate(data[["g", "x"]].to_numpy()):
        Z[i, 2 * int(g) : 2 * int(g) + 2] = 1, x
    Sigma = np.kron(np.eye(40), fit.varcorr["g"].to_numpy())
    A = Z @ np.linalg.cholesky(Sigma)
    H = A.T @ (w[:, None] * A)
    assert taken_by_effects(fit.state) == pytest.approx(np.trace(np.linalg.solve(H + np.eye(80), H)), rel=1e-6)


def test_what_has_no_residual_variance_is_refused(data: pd.DataFrame) -> None:
    fit = mm.glmer("share ~ x + (1 | g)", data, family="beta")
    assert "residual shape" in fit.check().index
    with pytest.raises(mm.InferenceError, match="none is known for the family 'beta'"):
        fit.r2()
