"""Fits by sampling against the exact ones, the stated error against the true one, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.errors import FitError, InferenceError, NotEnoughMemoryError
from mixedmodels.fit.sampled import At, Crossed, Sampling, evaluate
from mixedmodels.fit.sampled_fit import MonteCarlo, SampledProblem
from mixedmodels.fit.sampled_walk import moved
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


def rich(n: int = 1200) -> pd.DataFrame:
    """Three crossed factors, with slopes on two."""
    rng = np.random.default_rng(41)
    user, item, place = (rng.integers(k, size=n) for k in (60, 30, 20))
    x, z, w = rng.normal(50, 2, n), rng.normal(size=n), rng.uniform(0.5, 2, n)
    y = x + rng.normal(size=60)[user] + rng.normal(size=30)[item] + rng.normal(size=20)[place]
    y += 0.4 * rng.normal(size=60)[user] * (x - 50) + 0.5 * rng.normal(size=30)[item] * z + rng.normal(size=n)
    return pd.DataFrame({"user": user, "item": item, "place": place, "x": x, "z": z, "w": w, "y": y})


MODELS = (
    "y ~ x + (1 | item) + (1 | user)",
    "y ~ x + (x | user) + (1 | item)",
    "y ~ x + (z || item) + (x + z | user)",
    "y ~ x + (1 | place) + (z | item) + (x | user)",
)


def a_point(model: Crossed, seed: int = 2) -> list[np.ndarray]:
    """Some Lambda of each factor, within the elements that are parameters."""
    rng = np.random.default_rng(seed)
    Lambda = [np.diag(rng.uniform(0.3, 1.5, len(basis.map))) for basis in model.effect_bases]
    for k, r, c in model.parameters:
        if r != c:
            Lambda[k][r, c] = rng.normal(0, 0.5)
    return Lambda


def dense(exact: mm.LinearMixedModel, model: Crossed, Lambda: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """R of the first factor with the others, and X, with nothing but NumPy."""
    design = exact.design
    root = np.ones(design.n_obs) if design.weights is None else np.sqrt(design.weights)
    parts = []
    for k in model.order:
        factor, L = design.factors[k], Lambda[k]
        Z = (np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z) @ model.effect_bases[k].map @ L
        of_levels = np.zeros((design.n_obs, factor.n_levels, Z.shape[1]))
        of_levels[np.arange(design.n_obs), factor.codes] = Z
        parts.append(root[:, None] * of_levels.reshape(design.n_obs, -1))
    widths = [Lambda[k].shape[0] for k in model.order]
    M = np.eye(sum(part.shape[1] for part in parts)) + np.hstack(parts).T @ np.hstack(parts)
    block = np.zeros_like(M, dtype=bool)
    begin = 0
    for part, q in zip(parts, widths, strict=True):
        for start in range(begin, begin + part.shape[1], q):
            block[start : start + q, start : start + q] = True
        begin += part.shape[1]
    L = np.linalg.cholesky(np.where(block, M, 0.0))
    scaled = np.linalg.solve(L, np.linalg.solve(L, M).T).T
    n = parts[0].shape[1]
    R, rest = scaled[:n, n:], scaled[n:, n:]
    return R, R.T @ R - (rest - np.eye(len(rest)))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("formula", MODELS)
def test_products_are_those_of_dense_algebra(formula: str, weights: str | None, n_threads: int) -> None:
    exact = mm.LinearMixedModel(formula, rich(), weights=weights)
    model = Crossed(exact.design, n_threads)
    Lambda = a_point(model)
    at = At(model, Lambda)
    R, X = dense(exact, model, Lambda)
    x = np.random.default_rng(0).normal(size=(len(X), 11))
    image, there = at.product(x)
    assert np.allclose(image, X @ x, atol=1e-11)
    assert np.allclose(there, R @ x, atol=1e-11)
    assert np.allclose(at.scaled.back(there), R.T @ there, atol=1e-11)
    w = np.linalg.eigvalsh(X)
    forms = at.forms(np.eye(len(X)), 1e-13)
    assert forms.value.sum() == pytest.approx(np.sum(np.log1p(-w) + w), rel=1e-10)
    value, _ = at.exact_part()
    theta = SampledProblem(exact.design).theta_of(Lambda)
    solution = at.solution()
    log_det = value + forms.value.sum()  # all directions together leave nothing to chance
    for reml in (True, False):
        dof = model.n - (model.n_fixed if reml else 0)
        criterion = log_det + dof * (1 + np.log(2 * np.pi * solution.r2 * model.scale**2 / dof)) - model.log_weights
        if reml:
            criterion += np.linalg.slogdet(solution.inner)[1] + 2 * model.basis.log_det
        assert criterion == pytest.approx(exact.deviance(theta, reml), abs=1e-7)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", MODELS)
def test_gradient_is_that_of_the_sampled_criterion(formula: str, reml: bool) -> None:
    """For probes and U that stay, differences of the criterion are its derivatives."""
    model = Crossed(mm.LinearMixedModel(formula, rich(), weights="w").design)
    Lambda = a_point(model)
    sampling = Sampling(tolerance=np.inf, most=8, deflated=2)
    U = At(model, Lambda).top(2, 0)
    gradient = evaluate(model, Lambda, reml, sampling, U=U).gradient
    h = 1e-4
    for j, unit in enumerate(np.eye(len(gradient))):
        up, down = (evaluate(model, moved(model, Lambda, s * h * unit), reml, sampling, U=U) for s in (1, -1))
        assert gradient[j] == pytest.approx((up.deviance - down.deviance) / (2 * h), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("formula", MODELS[1:])
def test_slopes_and_three_factors_are_fitted_as_by_elimination(formula: str) -> None:
    data = rich(20_000)
    rng = np.random.default_rng(7)
    data = data.assign(user=rng.integers(600, size=20_000), item=rng.integers(250, size=20_000))
    data["y"] += rng.normal(size=600)[data["user"]] + 0.5 * rng.normal(size=600)[data["user"]] * (data["x"] - 50)
    data["y"] += rng.normal(size=250)[data["item"]] * data["z"] + rng.normal(size=250)[data["item"]]
    if "x + z" in formula:
        data["y"] += 0.6 * rng.normal(size=600)[data["user"]] * data["z"]
    by, exact = (mm.lmer(formula, data, method=method) for method in ("sampled", "exact"))
    error = error_of(by)
    assert error < 0.01
    assert abs(by.deviance - exact.deviance) <= 4 * error
    ours, wanted = by.variance_parameters(), exact.variance_parameters()
    assert ((ours["estimate"] - wanted["estimate"]).abs() <= 5e-3 * wanted["std_error"]).all()
    assert np.allclose(ours["std_error"], wanted["std_error"], rtol=2e-3)
    assert np.allclose(by.theta, exact.theta, rtol=1e-2, atol=1e-2)
    assert np.allclose(by.coef_table()[["std_error", "df"]], exact.coef_table()[["std_error", "df"]], rtol=2e-3)
    for group, modes in by.random_effects.items():
        spread = exact.random_effects[group].std()
        assert ((modes - exact.random_effects[group]).abs() <= 2e-3 * spread).all().all()


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", MODELS[1:])
def test_intervals_of_predictions_are_those_of_elimination(formula: str, reml: bool) -> None:
    """The variances are solved for at one theta, so nothing of them is sampled but theta."""
    data = rich(3000)
    by, exact = (mm.lmer(formula, data, weights="w", reml=reml, method=method) for method in ("sampled", "exact"))
    new = data.iloc[:20].assign(x=data["x"].iloc[:20] + 3)
    new.loc[new.index[:4], "user"] = 999
    new.loc[new.index[2:6], "item"] = 888
    at = exact.state.engine_theta
    codes = tuple(factor.codes[:20].copy() for factor in exact.state.design.factors)
    codes[0][:4] = -1
    Z = tuple(None if factor.Z is None else factor.Z[:20] for factor in exact.state.design.factors)
    ours, wanted = (f.state.problem.error_forms(at, exact.state.design.X[:20], codes, Z) for f in (by, exact))
    assert np.allclose(ours, wanted, rtol=1e-8)
    for interval in ("confidence", "prediction"):
        ours, wanted = (f.predict(new, interval=interval, new_levels="population") for f in (by, exact))
        assert np.allclose(ours, wanted, rtol=1e-4)


def test_intervals_of_too_many_rows_are_refused(
    fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixedmodels.fit.sampled_prediction.MOST_ROWS", 10)
    with pytest.raises(InferenceError, match="at most 10 are allowed"):
        fits[0].predict(frame.iloc[:50], interval="confidence")
    assert len(fits[0].predict(frame.iloc[:10], interval="confidence")) == 10


def test_a_slope_far_from_its_origin_is_the_same_model() -> None:
    """Adding to a covariate that has a slope and an intercept changes no criterion and no slope."""
    data = rich()
    near, far = (
        mm.lmer("y ~ x + (x | user) + (1 | item)", d, method="sampled") for d in (data, data.assign(x=data["x"] + 1e5))
    )
    assert far.deviance == pytest.approx(near.deviance, abs=1e-4)
    assert far.coef_table().loc["x", "std_error"] == pytest.approx(near.coef_table().loc["x", "std_error"], rel=1e-4)


def test_progress_is_counted_to_the_end(monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame) -> None:
    seen: list[tuple[int, str, bool]] = []
    counted: list[int] = []

    @contextmanager
    def bar(total: int, label: str, unit: str, shown: bool) -> Iterator[Callable[[int], object]]:
        seen.append((total, label, shown))
        yield counted.append

    monkeypatch.setattr("mixedmodels.fit.sampled_fit.progress_bar", bar)
    fit = mm.lmer(FORMULA, frame, method="sampled", progress=False)
    assert seen == [(100, "sampling", False)]
    assert sum(counted) == 100
    assert min(counted) > 0
    assert max(counted) < 60
    fit.refit(frame["y"])
    assert [shown for *_, shown in seen] == [False, False]


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
    values = np.random.default_rng(0).normal(0, 0.04 * np.sqrt(32), (2, 32))
    rough, other = (
        LmmResult(replace(fit.state, monte_carlo=MonteCarlo(0.04, np.zeros(2), probes)))
        for fit, probes in zip((small, large), values, strict=True)
    )
    with pytest.raises(InferenceError, match="Monte Carlo standard error of up"):
        mm.compare(rough, other)


def test_the_error_of_a_difference_is_that_of_common_probes(frame: pd.DataFrame) -> None:
    """Over 40 seeds the difference of two models' criteria varies as much as one draw says, and less than either."""
    problems = [SampledProblem(mm.LinearMixedModel(f"y ~ {x} + (1 | item) + (1 | user)", frame).design) for x in "1x"]
    theta = (np.array([0.4, 1.0]), np.array([0.45, 1.1]))
    differences, stated, alone = [], [], []
    for seed in range(40):
        sampling = Sampling(seed=seed, most=32)
        at = [problem.evaluate(t, False, sampling) for problem, t in zip(problems, theta, strict=True)]
        errors = [MonteCarlo(e.std_error, np.zeros(2), e.values) for e in at]
        differences.append(at[0].deviance - at[1].deviance)
        stated.append(errors[0].of_difference(errors[1]))
        alone.append(at[0].std_error)
    assert 0.6 < np.std(differences, ddof=1) / np.mean(stated) < 1.6
    assert np.mean(stated) < np.mean(alone)


def test_near_nested_data_are_refused() -> None:
    rng = np.random.default_rng(3)
    teacher = np.repeat(np.arange(60), 40)
    user = np.where(rng.random(2400) < 0.03, rng.integers(400, size=2400), teacher * 6 + rng.integers(6, size=2400))
    data = pd.DataFrame({"teacher": teacher, "user": user, "y": rng.normal(size=2400) + rng.normal(size=60)[teacher]})
    with pytest.raises(FitError, match=r"next to nested|next to zero"):
        mm.lmer("y ~ 1 + (1 | teacher) + (1 | user)", data, method="sampled", start=[3.0, 3.0])


@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | user)", FORMULA + " + fe(kind)", "y ~ x + (1 | item) + cs(0 + kind | user)"]
)
def test_other_models_are_refused(frame: pd.DataFrame, formula: str) -> None:
    with pytest.raises(FitError, match="Sampling is for two crossed grouping factors"):
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
        mm.lmer("y ~ x + (1 | user)", frame)


@pytest.mark.parametrize("formula", MODELS)
@pytest.mark.parametrize("weights", [None, "w"])
def test_rows_in_parts_give_the_fit_of_all_at_once(formula: str, weights: str | None, tmp_path: Path) -> None:
    data = rich(6000)
    for k in range(3):
        data.iloc[k::3].to_parquet(tmp_path / f"{k}.parquet")
    for reml in (True, False):
        asked: dict[str, Any] = {"weights": weights, "reml": reml, "method": "sampled"}
        found, known = mm.lmer(formula, str(tmp_path / "*.parquet"), **asked), mm.lmer(formula, data, **asked)
        assert found.deviance == pytest.approx(known.deviance, abs=1e-6)
        assert error_of(found) == pytest.approx(error_of(known), rel=1e-6)
        np.testing.assert_allclose(found.theta, known.theta, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.fe_params, known.fe_params, rtol=1e-8)
        np.testing.assert_allclose(found.coef_table(), known.coef_table(), rtol=1e-5, atol=1e-12)
        for name, effects in known.random_effects.items():
            np.testing.assert_allclose(found.random_effects[name].loc[effects.index], effects, atol=1e-6)
        rows = data.head(5)
        for interval in ("confidence", "prediction"):
            own, same = (fit.predict(rows, interval=interval) for fit in (found, known))
            np.testing.assert_allclose(own, same, rtol=1e-6)


def test_streams_are_sampled_where_memory_does_not_reach(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    rows = str(tmp_path / "rows.parquet")
    assert not any(f.kind == "sampled" for f in mm.lmer(FORMULA, rows).findings)

    def no_room(*_: object) -> None:
        raise NotEnoughMemoryError("no room")

    monkeypatch.setattr("mixedmodels.fit.problem.check_memory", no_room)
    fit = mm.lmer(FORMULA, rows)
    assert fit.deviance == pytest.approx(mm.lmer(FORMULA, frame).deviance, abs=1e-6)
    with pytest.raises(NotEnoughMemoryError):
        mm.lmer(FORMULA, rows, method="exact")
    with pytest.raises(NotEnoughMemoryError):
        mm.lmer("y ~ x + (1 | user)", rows)
    fit.save(tmp_path / "fit")
    for loaded in (mm.load(tmp_path / "fit"), pickle.loads(pickle.dumps(fit))):
        assert str(loaded.summary()) == str(fit.summary())
    with pytest.raises(InferenceError, match="rows of the fit, which a fit to data read in parts does not keep"):
        fit.refit(frame["y"])


def test_files_and_further_fits(fits: tuple[mm.LmmResult, mm.LmmResult], frame: pd.DataFrame, tmp_path: Path) -> None:
    by = fits[0]
    by.save(tmp_path / "fit")
    for loaded in (mm.load(tmp_path / "fit"), pickle.loads(pickle.dumps(by))):
        assert str(loaded.summary()) == str(by.summary())
    assert any(f.kind == "sampled" for f in by.update(". ~ . - kind").findings)
    again = by.refit(2 * frame["y"])
    assert np.allclose(again.fe_params, 2 * by.fe_params, rtol=1e-6)
    assert np.allclose(again.theta, by.theta, rtol=1e-6)
    by.save(tmp_path / "bare", data=False)
    bare = mm.load(tmp_path / "bare")
    np.testing.assert_array_equal(bare.coef_table(), by.coef_table())
    assert np.allclose(bare.predict(frame.head()), by.predict(frame.head()))
    with pytest.raises(InferenceError, match="which the file of the result does not hold"):
        bare.predict(frame.head(), interval="confidence")


def test_the_same_numbers_again(frame: pd.DataFrame) -> None:
    a, b = (mm.lmer(FORMULA, frame, method="sampled") for _ in range(2))
    assert a.deviance == b.deviance
