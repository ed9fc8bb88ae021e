"""Checks of models with something on their residuals: what they find in data made to have it, and not in others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.diagnose.lags import autocorrelation, pairs_by_lag
from mixedmodels.fit.subjects import by_pattern

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    """Return five visits of 80 people in two arms, some missing, with first-order correlations."""
    rng = np.random.default_rng(5)
    R = 0.8 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    e = rng.standard_normal((80, 5)) @ np.linalg.cholesky(R).T
    frame = pd.DataFrame({"id": np.repeat(np.arange(80), 5), "visit": np.tile(np.arange(5), 80), "e": e.ravel()})
    frame = frame.assign(arm=frame["id"] % 2, base=rng.standard_normal(80)[frame["id"]])
    frame["y"] = 1 + 0.5 * frame["arm"] * frame["visit"] + frame["base"] + frame["e"]
    return frame[rng.random(400) > 0.1]


def found(fit: mm.MmrmResult) -> dict[str, str]:
    return dict(fit.check()["verdict"])


def test_what_is_right_is_good(trial: pd.DataFrame) -> None:
    for formula in ("y ~ arm * visit + base + ar1(visit | id)", "y ~ arm * visit + base + us(visit | id)"):
        verdicts = found(mm.mmrm(formula, trial))
        assert set(verdicts.values()) == {"good"}
        assert {"correlation left", "far id", "influence of id", "influence of rows", "collinearity"} <= set(verdicts)
        assert ("structure" in verdicts) == ("ar1" in formula)
    mixed = mm.lmer("y ~ arm * visit + base + (1 | id)", trial, residual="ar1(visit | id)")
    verdicts = found(mixed)
    assert verdicts["correlation left"] == verdicts["far id"] == "good"
    assert {"levels of id", "effects of id"} <= set(verdicts)


def test_a_structure_that_is_too_simple_is_seen(trial: pd.DataFrame) -> None:
    fit = mm.mmrm("y ~ arm * visit + base + id(visit | id)", trial)
    verdicts = found(fit)
    assert verdicts["correlation left"] == verdicts["structure"] == "look"
    row = fit.check().loc["structure"]
    us = mm.mmrm("y ~ arm * visit + base + us(visit | id)", trial)
    table = mm.compare(us, fit, refit=False)
    assert f"chi-squared {table['chisq'].iloc[-1]:.1f} on {table['df'].iloc[-1]:.0f} df" in row["found"]
    simple = mm.lmer("y ~ arm * visit + base + (1 | id)", trial, residual="id(visit | id)")
    assert found(simple)["correlation left"] == "look"


def test_a_person_far_out_is_named(trial: pd.DataFrame) -> None:
    odd = trial.assign(y=trial["y"] + 6 * (trial["id"] == 17) * (-1.0) ** trial["visit"])
    fit = mm.mmrm("y ~ arm * visit + base + ar1(visit | id)", odd)
    assert found(fit)["far id"] == "look"
    assert "1 of 80 further out than chance (17 furthest)" in fit.check().loc["far id", "found"]


def test_whitening_is_by_the_whole_covariance(trial: pd.DataFrame) -> None:
    """The autocorrelation of L^-1 r, V = L L' with random effects in it, written out."""
    fit = mm.lmer("y ~ arm + (1 | id)", trial, residual="ar1(visit | id)")
    state, rows = fit.state, fit.state.design.residual
    r = fit.residuals("marginal").to_numpy()
    white = np.full((80, 5), np.nan)
    for some in by_pattern(state):
        L = np.linalg.cholesky(some.covariance)
        for each in some.rows:
            white[rows.subject[each], rows.visit[each]] = np.linalg.solve(L, r[each])
    lag, n_pairs = pairs_by_lag(rows)
    expected = [np.nanmean(white[:, k:] * white[:, :-k]) / np.nanmean(white**2) for k in lag]
    text = fit.check().loc["correlation left", "found"]
    worst = int(np.argmax(np.abs(expected) * np.sqrt(n_pairs)))
    assert f"{expected[worst]:.2f} at lag {lag[worst]}" in text
    assert len(autocorrelation(rows, r)) == 4


def test_own_times_and_meta_analyses_have_checks_too() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"id": np.repeat(np.arange(30), 4), "t": rng.uniform(0, 9, 120), "y": rng.standard_normal(120)}
    )
    assert "correlation left" not in found(mm.lmer("y ~ t", frame, residual="exp(t | id)"))
    studies = pd.DataFrame({"y": rng.standard_normal(12), "s": np.arange(12), "w": rng.uniform(1, 4, 12)})
    verdicts = found(mm.lmer("y ~ 1 + (1 | s)", studies, sigma=1, weights="w"))
    assert "influence of s" in verdicts
    assert "far s" not in verdicts
