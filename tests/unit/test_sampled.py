"""Fits by sampling against the exact ones, the stated error against the true one, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.errors import FitError, InferenceError, NotEnoughMemoryError
from mixedmodels.fit import sampled
from mixedmodels.fit.sampled import At, Crossed, Sampling, evaluate
from mixedmodels.fit.sampled_fit import MonteCarlo, SampledProblem
from mixedmodels.result.lmm import LmmResult

FORMULA = "y ~ x + kind + (1 | item) + (1 | user)"


def made(n: int = 6000, n_users: int = 300, n_items: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(14)
    user, item = rng.integers(n_users, size=n), rng.integers(n_items, size=n)
    x, kind, w = rng.normal(100, 1, n), rng.choice(["a", "b"], n), rng.uniform(0.5, 2, n)
    y = x + rng.normal(size=n_users)[user] + 0.4 * rng.normal(size=n_items)[item] + rng.normal(size=n) / np.sqrt(w)
    return pd.DataFrame({"user": user, "item": item, "x": x, "kind": kind, "w": w, "y": y})


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


@pytest.fixture(scope="module", params=["reml", "ml"])
def fits(frame: pd.DataFrame, request: pytest.FixtureRequest) -> tuple[mm.LmmResult, mm.LmmResult]:
    by, exact = (
        mm.lmer(FORMULA, frame, weights="w", reml=request.param == "reml", method=method)
        for method in ("sampled", "exact")
    )
    return by, exact


def error_of(fit: mm.LmmResult) -> float:
    error: float = next(f.data["std_error"] for f in fit.findings if f.kind == "sampled")  # type: ignore[assignment]
    return error


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("theta", [(0.3, 1.0), (2.0, 0.1)])
def test_forms_are_those_of_dense_algebra(frame: pd.DataFrame, theta: tuple[float, float], reml: bool) -> None:
    """All probes' directions together are the trace: with unit vectors for probes nothing is left to chance."""
    model = Crossed(mm.LinearMixedModel(FORMULA, frame, weights="w").design)
    at = At(model, np.array(theta))
    R = at.forth(np.eye(len(at.D[1])))
    w = np.linalg.eigvalsh(R.T @ R)
    forms = at.forms(np.eye(len(w)), 1e-13)
    assert forms.value.sum() == pytest.approx(np.sum(np.log1p(-w) + w), rel=1e-10)
    exact = mm.LinearMixedModel(FORMULA, frame, weights="w")
    by_size = dict(zip((f.name for f in exact.design.factors), (0, 1), strict=True))
    order = [by_size["user"], by_size["item"]]
    parts = evaluate(model, np.array(theta), reml, Sampling())
    given = np.array(theta)[np.argsort(order)]
    random_part = parts.values.mean() + at.forms(at.top(sampled.DEFLATED, 0), 1e-9).value.sum()
    deviance = parts.deviance - random_part + forms.value.sum()
    assert deviance == pytest.approx(exact.deviance(given, reml), abs=1e-6)
    slope = parts.gradient - parts.gradients.mean(axis=1)
    slope += forms.gradient.sum(axis=1) - at.forms(at.top(sampled.DEFLATED, 0), 1e-9).gradient.sum(axis=1)
    wanted = (exact.gradient(given, reml) * given)[order]
    assert np.abs(slope - wanted).max() <= 1e-5 * (1 + np.abs(wanted).max())


def test_gradient_is_that_of_the_sampled_criterion(frame: pd.DataFrame) -> None:
    """For probes and U that stay, differences of the forms are their derivatives."""
    model = Crossed(mm.LinearMixedModel(FORMULA, frame).design)
    Z = 2.0 * np.random.default_rng(1).integers(0, 2, (120, 3)) - 1.0
    theta, h = np.array([0.7, 0.4]), 1e-5
    gradient = At(model, theta).forms(Z, 1e-14).gradient
    for k in range(2):
        moved = [At(model, theta * np.exp(h * s * np.eye(2)[k])).forms(Z, 1e-14).value for s in (1, -1)]
        assert np.allclose(gradient[k], (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-8)


def test_the_fit_is_the_exact_one_to_its_error(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    by, exact = fits
    error = error_of(by)
    assert error < 0.01
    assert abs(by.deviance - exact.deviance) <= 4 * error
    spread = by.variance_parameters()["std_error"]
    difference = by.variance_parameters()["estimate"] - exact.variance_parameters()["estimate"]
    assert (difference.abs() <= 1e-3 * spread).all()
    assert np.allclose(spread, exact.variance_parameters()["std_error"], rtol=1e-3)
    assert np.allclose(by.fe_params, exact.fe_params, rtol=1e-5, atol=1e-5)
    assert np.allclose(by.coef_table()[["std_error", "df"]], exact.coef_table()[["std_error", "df"]], rtol=1e-3)
    assert np.allclose(by.anova()["f_value"], exact.anova()["f_value"], rtol=1e-3)
    assert np.allclose(by.fittedvalues, exact.fittedvalues, atol=1e-3)
    for group, modes in by.random_effects.items():
        assert np.allclose(modes, exact.random_effects[group], atol=1e-3)
    assert by.df_resid == exact.df_resid


def test_the_stated_error_is_the_true_one(frame: pd.DataFrame) -> None:
    """Over 60 seeds the criterion is off by about what it says: the mean square of z is chi-squared."""
    exact = mm.LinearMixedModel(FORMULA, frame)
    problem = SampledProblem(exact.design)
    theta = np.array([1.0, 0.4])
    truth = exact.deviance(theta, reml=False)
    z = []
    for seed in range(60):
        at = problem.evaluate(theta, False, Sampling(seed=seed))
        z.append((at.deviance - truth) / at.std_error)
    assert 0.6 < np.mean(np.square(z)) < 1.6
    assert abs(np.mean(z)) < 3.5 / np.sqrt(len(z))


def test_the_summary_says_so_first(fits: tuple[mm.LmmResult, mm.LmmResult]) -> None:
    heading = str(fits[0].summary()).splitlines()[0]
    assert "sampled: criterion +- 0.00" in heading
    assert "sampled" not in str(fits[1].summary())


def test_comparisons_carry_their_error(frame: pd.DataFrame) -> None:
    small, large, exact = (
        mm.lmer(f"y ~ {fixed} + (1 | item) + (1 | user)", frame, reml=False, method=method)
        for fixed, method in (("x", "sampled"), ("x + kind", "sampled"), ("x", "exact"))
    )
    table = mm.compare(small, large)
    assert any("Monte Carlo standard error of at most" in note for note in table.attrs["notes"])
    whole = mm.compare(exact, mm.lmer("y ~ x + kind + (1 | item) + (1 | user)", frame, reml=False))
    assert abs(table["chisq"].iloc[1] - whole["chisq"].iloc[1]) < 0.05
    rough = LmmResult(replace(small.state, monte_carlo=MonteCarlo(0.04, np.zeros(2), 32)))
    with pytest.raises(InferenceError, match="Monte Carlo standard error of up"):
        mm.compare(rough, rough)


def test_near_nested_data_are_refused() -> None:
    rng = np.random.default_rng(3)
    teacher = np.repeat(np.arange(60), 40)
    user = np.where(rng.random(2400) < 0.03, rng.integers(400, size=2400), teacher * 6 + rng.integers(6, size=2400))
    data = pd.DataFrame({"teacher": teacher, "user": user, "y": rng.normal(size=2400) + rng.normal(size=60)[teacher]})
    with pytest.raises(FitError, match=r"next to nested|next to zero"):
        mm.lmer("y ~ 1 + (1 | teacher) + (1 | user)", data, method="sampled", start=[3.0, 3.0])


@pytest.mark.parametrize("formula", ["y ~ x + (x | user) + (1 | item)", "y ~ x + (1 | user)", FORMULA + " + fe(kind)"])
def test_other_models_are_refused(frame: pd.DataFrame, formula: str) -> None:
    with pytest.raises(FitError, match="Sampling is for two grouping factors"):
        mm.lmer(formula, frame, method="sampled")
    with pytest.raises(FitError, match="method is 'fast'"):
        mm.lmer(formula, frame, method="fast")


def test_a_variance_of_zero_is_refused(frame: pd.DataFrame) -> None:
    none = frame.assign(y=np.random.default_rng(0).normal(size=len(frame)), item=np.arange(len(frame)) % 120)
    none["y"] -= none.groupby("item")["y"].transform("mean")
    with pytest.raises(FitError, match="'item' is next to zero"):
        mm.lmer("y ~ 1 + (1 | item) + (1 | user)", none, method="sampled")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("bootstrap", (5,)), ("profile", ()), ("hat_values", ()), ("criteria", ()), ("random_effects_frame", ())],
)
def test_what_needs_the_factorisation_is_refused(
    fits: tuple[mm.LmmResult, mm.LmmResult], name: str, arguments: tuple[object, ...]
) -> None:
    with pytest.raises(InferenceError, match="needs the exact factorisation"):
        getattr(fits[0], name)(*arguments)


@pytest.mark.parametrize("name", ["ranova", "influence", "step", "check", "part_r2", "standardized"])
def test_what_fits_other_models_is_refused(fits: tuple[mm.LmmResult, mm.LmmResult], name: str) -> None:
    with pytest.raises(InferenceError, match="is not available for a fit by sampling"):
        getattr(fits[0], name)()


def test_auto_samples_where_memory_does_not_reach(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(f.kind == "sampled" for f in mm.lmer(FORMULA, frame).findings)

    def no_room(*_: object) -> None:
        raise NotEnoughMemoryError("no room")

    monkeypatch.setattr("mixedmodels.fit.problem.check_memory", no_room)
    assert any(f.kind == "sampled" for f in mm.lmer(FORMULA, frame).findings)
    with pytest.raises(NotEnoughMemoryError):
        mm.lmer(FORMULA, frame, method="exact")
    with pytest.raises(NotEnoughMemoryError):
        mm.lmer("y ~ x + (x | user) + (1 | item)", frame)


def test_files_and_further_fits(fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame, tmp_path: Path) -> None:
    by = fits[0]
    by.save(tmp_path / "fit")
    for loaded in (mm.load(tmp_path / "fit"), pickle.loads(pickle.dumps(by))):
        assert str(loaded.summary()) == str(by.summary())
    assert any(f.kind == "sampled" for f in by.update(". ~ . - kind").findings)
    again = by.refit(2 * frame["y"])
    assert np.allclose(again.fe_params, 2 * by.fe_params, rtol=1e-6)
    assert np.allclose(again.theta, by.theta, rtol=1e-6)
    with pytest.raises(InferenceError, match="Save it with its rows"):
        by.save(tmp_path / "fit", data=False)


def test_the_same_numbers_again(frame: pd.DataFrame) -> None:
    a, b = (mm.lmer(FORMULA, frame, method="sampled") for _ in range(2))
    assert a.deviance == b.deviance
