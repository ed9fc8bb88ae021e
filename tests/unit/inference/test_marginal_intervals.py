"""Intervals, profiles and bootstraps of fits with correlated residuals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

import mixedmodels as mm
from data_loader import load

CUT = chi2.ppf(0.95, 1)


@pytest.fixture
def visits_missing() -> pd.DataFrame:
    data = load("Orthodont")
    data["visit"] = data["age"].astype("category")
    return data[np.arange(len(data)) % 7 != 3]


@pytest.mark.parametrize("reml", [True, False])
def test_profiles_of_compound_symmetry_are_those_of_a_random_intercept(
    visits_missing: pd.DataFrame, reml: bool
) -> None:
    ours = mm.mmrm("distance ~ age * Sex + cs(visit | Subject)", visits_missing, reml=reml)
    mixed = mm.lmer("distance ~ age * Sex + (1 | Subject)", visits_missing, reml=reml)
    found = ours.conf_int("profile", which="beta")
    expected = mixed.conf_int("profile", which="beta")
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    def icc(p: dict[str, float]) -> float:
        return p["sd_Intercept|Subject"] ** 2 / (p["sd_Intercept|Subject"] ** 2 + p["sigma"] ** 2)

    def total(p: dict[str, float]) -> float:
        return float(np.hypot(p["sd_Intercept|Subject"], p["sigma"]))

    functions = mixed.profile({"correlation": icc, "sd": total}, progress=False).conf_int()
    found = ours.conf_int("profile", which="theta")
    np.testing.assert_allclose(found.loc[["correlation", "sd"]], functions.loc[["correlation", "sd"]], rtol=1e-4)


def test_the_likelihood_at_the_limits_is_lower_by_the_quantile(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age + ar1h(visit | Subject)", visits_missing, reml=False)
    limits = fit.conf_int("profile", which=["correlation", "sd(10)", "age"])
    data = visits_missing
    X, y = np.column_stack([np.ones(len(data)), data["age"]]), data["distance"].to_numpy()
    place = data["visit"].cat.codes.to_numpy()
    rows = [np.flatnonzero(data["Subject"] == subject) for subject in data["Subject"].unique()]

    def criterion(log_sds: np.ndarray, rho: float, beta: np.ndarray) -> float:  # type: ignore[type-arg]
        out = len(y) * np.log(2 * np.pi)
        for own in rows:
            v = place[own]
            sds = np.exp(log_sds[v])
            V = np.outer(sds, sds) * rho ** np.abs(np.subtract.outer(v, v))
            r = (y - X @ beta)[own]
            out += np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)
        return float(out)

    start = np.concatenate([np.full(4, np.log(2.2)), [np.arctanh(0.6)], fit.fe_params])
    held = {"sd(10)": (1, np.log), "correlation": (4, np.arctanh), "age": (6, float)}
    for name, (which, free) in held.items():
        others = [j for j in range(7) if j != which]
        for limit in limits.loc[name]:
            at = free(limit)

            def held_at(x: np.ndarray, which=which, others=others, at=at) -> float:  # type: ignore[no-untyped-def, type-arg]
                whole = np.empty(7)
                whole[others], whole[which] = x, at
                return criterion(whole[:4], np.tanh(whole[4]), whole[5:])

            lowest = minimize(held_at, start[others], method="BFGS", options={"gtol": 1e-6}).fun
            assert lowest - fit.deviance == pytest.approx(CUT, abs=2e-3), name


def test_limits_follow_the_units_of_the_response(visits_missing: pd.DataFrame) -> None:
    formula = "distance ~ age + us(visit | Sex / Subject)"
    which = ["age", "sd(8)|Male", "correlation(10, 8)|Female"]
    known = mm.mmrm(formula, visits_missing).state.parameters
    which[2] = f"{known[1][4].name}|Female"
    before = mm.mmrm(formula, visits_missing).conf_int("profile", which=which)
    scaled = visits_missing.assign(distance=visits_missing["distance"] * 1e6)
    after = mm.mmrm(formula, scaled).conf_int("profile", which=which)
    np.testing.assert_allclose(after.iloc[:2], 1e6 * before.iloc[:2], rtol=1e-6)
    np.testing.assert_allclose(after.iloc[2], before.iloc[2], rtol=1e-6)


def test_walds_intervals_are_those_of_the_tables(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age * Sex + cs(visit | Subject)", visits_missing)
    found = fit.conf_int(level=0.9, ddf="kenward-roger")
    table = fit.coef_table("kenward-roger", level=0.9)
    np.testing.assert_allclose(found.iloc[:4], table[["ci_lower", "ci_upper"]])
    parameters = fit.residual_parameters(level=0.9)
    np.testing.assert_allclose(found.iloc[4:], parameters[["ci_lower", "ci_upper"]], rtol=1e-12)
    assert list(found.index[4:]) == list(parameters.index)


def test_replicates_are_refits_to_draws(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age * Sex + ar1(visit | Subject)", visits_missing)
    made = fit.bootstrap(4, seed=5, progress=False)

    def parameters(other: mm.MmrmResult) -> pd.Series:
        return pd.concat([other.fe_params, other.residual_parameters()["estimate"]])

    by_statistic = fit.bootstrap(4, seed=5, statistic=parameters, progress=False)
    np.testing.assert_allclose(made.replicates, by_statistic.replicates, rtol=1e-9)
    assert made.n_failed == 0
    refit = fit.refit(fit.simulate(1, seed=3))
    again = mm.mmrm(fit.formula, visits_missing.assign(distance=fit.simulate(1, seed=3)[:, 0]))
    np.testing.assert_allclose(refit.fe_params, again.fe_params, rtol=1e-7)
    np.testing.assert_allclose(refit.deviance, again.deviance, rtol=1e-10)


def test_drawn_subjects_are_subjects_of_their_own(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age + cs(visit | Subject)", visits_missing)
    numbers = fit.bootstrap(
        3, kind="cases", seed=2, statistic=lambda f: [f.n_subjects, f.fe_params["age"], f.sigma], progress=False
    )
    assert (numbers.replicates.iloc[:, 0] == fit.n_subjects).all()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(2, spawn_key=(1,))))
    drawn = rng.integers(0, fit.n_subjects, fit.n_subjects)
    by_subject = [rows for _, rows in visits_missing.groupby("Subject", observed=True, sort=True)]
    codes = fit.state.problem.rows.subjects
    by_label = {rows["Subject"].iloc[0]: rows for rows in by_subject}
    copies = [by_label[codes[s]].assign(Subject=f"s{i:03d}") for i, s in enumerate(drawn)]
    by_hand = mm.mmrm(fit.formula, pd.concat(copies, ignore_index=True))
    np.testing.assert_allclose(numbers.replicates.iloc[1, 1:], [by_hand.fe_params["age"], by_hand.sigma], rtol=1e-7)


def test_bias_corrected_intervals_leave_subjects_out(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age + cs(visit | Subject)", visits_missing)
    made = fit.bootstrap(60, seed=4, progress=False)
    tables = {kind: made.conf_int(kind) for kind in ("percentile", "basic", "studentized", "bca")}
    for table in tables.values():
        assert (table["lower"] < made.estimates).all()
        assert (table["upper"] > made.estimates).all()


def test_a_bootstrap_is_kept_and_read(visits_missing: pd.DataFrame, tmp_path: Path) -> None:
    fit = mm.mmrm("distance ~ age + cs(visit | Subject)", visits_missing)
    made = fit.bootstrap(20, seed=4, path=tmp_path / "draws.zip", progress=False)
    read = mm.load(tmp_path / "draws.zip")
    pd.testing.assert_frame_equal(read.replicates, made.replicates)
    pd.testing.assert_frame_equal(read.conf_int("studentized"), made.conf_int("studentized"))
    longer = fit.bootstrap(25, seed=4, path=tmp_path / "draws.zip", progress=False)
    pd.testing.assert_frame_equal(longer.replicates.iloc[:20], made.replicates)


def test_a_parameter_at_its_limit_has_no_profile() -> None:
    data = load("Orthodont")
    data["visit"] = data["age"].astype("category")
    data = data[np.random.default_rng(1).random(len(data)) > 0.15]
    fit = mm.mmrm("distance ~ age * Sex + arma11(visit | Subject)", data)
    assert fit.residual_parameters().loc["decay", "estimate"] == pytest.approx(1)
    with pytest.raises(mm.InferenceError, match="decay has no profile: its estimate is on the boundary"):
        fit.profile("decay", progress=False)
    assert fit.conf_int("profile", which="theta").loc["decay"].isna().all()


def test_what_is_not_there_is_refused_in_words(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ age + cs(visit | Subject)", visits_missing)
    with pytest.raises(mm.InferenceError, match=re.escape("have no profile; name the parameters")):
        fit.profile({"double": lambda p: 2 * p["sd"]}, progress=False)
    with pytest.raises(mm.InferenceError, match='must be "parametric", "cases"'):
        fit.bootstrap(5, kind="residual", progress=False)
    with pytest.raises(mm.InferenceError, match="There is no parameter 'sigma'"):
        fit.conf_int("profile", which="sigma")


@pytest.mark.parametrize(
    ("change", "formula"),
    [
        (". ~ . - age:Sex", "distance ~ age * Sex - age:Sex + ar1(visit | Subject)"),
        (". ~ . + us(visit | Sex / Subject)", "distance ~ age * Sex + us(visit | Sex / Subject)"),
        ("log(.) ~ .", "log(distance) ~ age * Sex + ar1(visit | Subject)"),
        (". ~ . - ar1(visit | Subject) + cs(visit | Subject)", "distance ~ age * Sex + cs(visit | Subject)"),
    ],
)
def test_update_keeps_the_structure_unless_another_is_named(
    visits_missing: pd.DataFrame, change: str, formula: str
) -> None:
    fit = mm.mmrm("distance ~ age * Sex + ar1(visit | Subject)", visits_missing)
    changed = fit.update(change)
    assert changed.formula == formula
    assert changed.deviance == pytest.approx(mm.mmrm(formula, visits_missing).deviance, abs=1e-9)
    assert fit.update(reml=False).deviance == pytest.approx(
        mm.mmrm(fit.formula, visits_missing, reml=False).deviance, abs=1e-9
    )
