"""A fit does not depend on the order of rows, levels and terms, and weights mean what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from invariance.models import SHAPES, assert_same

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


@pytest.fixture(params=[(shape, seed) for shape in SHAPES for seed in range(10)], ids=lambda p: f"{p[0]}-{p[1]}")
def model(request: pytest.FixtureRequest) -> tuple[str, pd.DataFrame]:
    """A formula and data for it."""
    shape, seed = request.param
    return SHAPES[shape].formula, SHAPES[shape].data(seed)


def test_shuffled_rows(model: tuple[str, pd.DataFrame]) -> None:
    formula, data = model
    shuffled = data.sample(frac=1, random_state=1)
    before, after = mm.lmer(formula, data), mm.lmer(formula, shuffled)
    assert_same(before, after)
    fitted = pd.Series(np.asarray(after.fittedvalues), index=shuffled.index).sort_index()
    np.testing.assert_allclose(fitted, before.fittedvalues, rtol=0, atol=1e-5 * before.sigma)
    for group, b in before.random_effects.items():
        b_after = after.random_effects[group].loc[b.index, b.columns]
        np.testing.assert_allclose(b_after, b, rtol=0, atol=1e-4 * before.sigma)


def test_renamed_levels(model: tuple[str, pd.DataFrame]) -> None:
    formula, data = model
    groups = [name for name in data if data[name].dtype.kind not in "fi"]
    renamed = data.assign(**{name: data[name].str[1:].astype(int).rsub(100) for name in groups})
    before, after = mm.lmer(formula, data), mm.lmer(formula, renamed)
    assert_same(before, after)
    np.testing.assert_allclose(after.fittedvalues, before.fittedvalues, rtol=0, atol=1e-5 * before.sigma)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", SHAPES)
def test_reordered_terms(shape: str, seed: int, reml: bool) -> None:
    data = SHAPES[shape].data(seed)
    before = mm.lmer(SHAPES[shape].formula, data, reml=reml)
    after = mm.lmer(SHAPES[shape].reordered, data, reml=reml)
    assert_same(before, after)
    np.testing.assert_allclose(after.fittedvalues, before.fittedvalues, rtol=0, atol=1e-5 * before.sigma)


def test_weights_of_one(model: tuple[str, pd.DataFrame]) -> None:
    formula, data = model
    before, after = mm.lmer(formula, data), mm.lmer(formula, data, weights=np.ones(len(data)))
    assert_same(before, after)
    np.testing.assert_allclose(after.theta, before.theta, rtol=0, atol=1e-5)


def test_unit_of_weights(model: tuple[str, pd.DataFrame]) -> None:
    """Weights of 1000 are a residual variance a thousandth of the one reported; nothing else changes."""
    formula, data = model
    before, after = mm.lmer(formula, data), mm.lmer(formula, data, weights=np.full(len(data), 1000.0))
    assert after.deviance == pytest.approx(before.deviance, rel=0, abs=1e-6)
    assert after.scale == pytest.approx(1000 * before.scale, rel=1e-5)
    np.testing.assert_allclose(after.fe_params, before.fe_params, rtol=0, atol=1e-5 * before.bse_fe.min())
    np.testing.assert_allclose(after.theta, before.theta / np.sqrt(1000), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
def test_weight_two_is_two_rows_at_one_theta(model: tuple[str, pd.DataFrame], reml: bool) -> None:
    """M and the penalised sum of squares are the same; the criterion then follows from the number of rows."""
    formula, data = model
    weighted = mm.LinearMixedModel(formula, data, weights=np.full(len(data), 2.0))
    doubled = mm.LinearMixedModel(formula, pd.concat([data, data], ignore_index=True))
    theta = np.random.default_rng(3).normal(size=len(weighted.theta_names))
    n, p = len(data), weighted.design.X.shape[1]
    m, doubled_m = n - reml * p, 2 * n - reml * p
    beta, cov, sigma, _ = weighted.problem.model.solve(theta, reml)
    doubled_beta, doubled_cov, doubled_sigma, _ = doubled.problem.model.solve(theta, reml)
    np.testing.assert_allclose(doubled_beta, beta, rtol=0, atol=1e-9)
    np.testing.assert_allclose(doubled_cov, cov, rtol=0, atol=1e-10)
    sum_of_squares = m * sigma**2
    assert doubled_m * doubled_sigma**2 == pytest.approx(sum_of_squares, rel=1e-10)

    def residual_part(m: int) -> float:
        return m * (1 + np.log(2 * np.pi * sum_of_squares / m))

    log_determinants = weighted.deviance(theta, reml=reml) + n * np.log(2) - residual_part(m)
    assert doubled.deviance(theta, reml=reml) == pytest.approx(log_determinants + residual_part(doubled_m), rel=1e-11)
