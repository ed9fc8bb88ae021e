"""The conditional AIC against refits to moved responses, and published effective parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.inference.conditional_aic import conditional_aic

MODELS = [
    ("Dyestuff", "Yield ~ 1 + (1 | Batch)", None),
    ("Dyestuff2", "Yield ~ 1 + (1 | Batch)", None),
    ("Machines", "score ~ Machine + (1 | Worker/Machine)", None),
    ("cbpp", "I(incidence / size) ~ period + (1 | herd)", "size"),
]

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


def moved_fits(fit: mm.LmmResult) -> float:
    """Return tr(dy^/dy) by refitting with each response moved up and down."""
    y, step = fit.state.design.y, 1e-3 * fit.sigma
    total = 0.0
    for i in range(len(y)):
        move = step * (np.arange(len(y)) == i)
        total += (fit.refit(y + move).fittedvalues.iloc[i] - fit.refit(y - move).fittedvalues.iloc[i]) / (2 * step)
    return total


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("data", "formula", "weights"), MODELS)
def test_parameters_counted(data: str, formula: str, weights: str | None, reml: bool) -> None:
    fit = mm.lmer(formula, mm.load_dataset(data), weights=weights, reml=reml)
    assert conditional_aic(fit.state).phi == pytest.approx(moved_fits(fit), rel=5e-6)


def test_published_effective_parameters() -> None:
    sleep = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"), reml=False)
    assert conditional_aic(sleep.state).rho == pytest.approx(28.6116533, abs=1e-4)
    dyestuff = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"), reml=False)
    assert conditional_aic(dyestuff.state).rho == pytest.approx(4.6951603, abs=1e-5)


def test_conditional_likelihood() -> None:
    fit = mm.lmer("I(incidence / size) ~ period + (1 | herd)", mm.load_dataset("cbpp"), weights="size")
    sd = fit.sigma / np.sqrt(fit.state.design.weights)
    expected = -2 * stats.norm.logpdf(fit.state.design.y, fit.fittedvalues, sd).sum()
    assert conditional_aic(fit.state).deviance == pytest.approx(expected, rel=1e-10)


def test_table_of_criteria() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    table = fit.criteria()
    assert table.loc["aic", "value"] == fit.aic
    assert table.loc["bic", "value"] == pytest.approx(fit.bic, rel=1e-14)
    assert table.loc["bic", "penalty"] == pytest.approx(6 * math.log(180), rel=1e-12)
    assert table.loc["aic", "counted"] == "2 fixed effects, 3 theta and sigma, by the restricted likelihood"
    np.testing.assert_allclose(table["value"], table["deviance"] + table["penalty"])
    assert all(text in table.to_string() for text in table["counted"])
