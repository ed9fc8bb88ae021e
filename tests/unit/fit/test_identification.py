"""What the data cannot tell is not answered; what they can tell is answered as by the model without the rest."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings(
    "ignore::mixedmodels.IdentificationWarning", "ignore::mixedmodels.SingularFitWarning"
)


def repeated() -> pd.DataFrame:
    """30 people under two conditions, 8 rows each."""
    rng = np.random.default_rng(12)
    g, condition = np.repeat(np.arange(30), 16), np.tile(np.repeat(["A", "B"], 8), 30)
    u = rng.normal(size=(30, 2)) @ np.linalg.cholesky(np.array([[6400, 3200], [3200, 6400.0]])).T
    y = np.where(condition == "A", 600, 800) + u[g, (condition == "B") * 1] + 80 * rng.normal(size=480)
    return pd.DataFrame({"y": y, "condition": condition, "g": g, "t": np.tile(np.arange(16), 30)})


def between() -> pd.DataFrame:
    """24 people in two arms, 6 rows each."""
    rng = np.random.default_rng(17)
    g = np.repeat(np.arange(24), 6)
    y = rng.normal(size=24)[g] * np.where(g < 12, 1, 1.5) + 0.5 * (g >= 12) + rng.normal(size=144)
    return pd.DataFrame({"y": y, "g": g, "arm": np.where(g < 12, "ctl", "trt")})


def empty_cell() -> pd.DataFrame:
    rng = np.random.default_rng(131)
    d = pd.DataFrame(
        {
            "f": rng.choice(list("ab"), 400),
            "h": rng.choice(list("pq"), 400),
            "g": rng.integers(0, 20, 400),
            "x": rng.normal(size=400),
        }
    )
    d = d[~((d["f"] == "b") & (d["h"] == "q"))].reset_index(drop=True)
    y = rng.normal(size=20)[d["g"]] + rng.normal(size=len(d)) + 0.3 * d["x"]
    return d.assign(y=y, k=2.0, zero=0.0, triple=3 * d["x"])


def rare_level() -> pd.DataFrame:
    """Level a of f occurs in group 0 only."""
    rng = np.random.default_rng(7)
    g = rng.integers(0, 20, 300)
    f = np.where((g == 0) & (rng.random(300) < 0.6), "a", rng.choice(["b", "c"], 300))
    u, x = rng.normal(size=(20, 3)), rng.normal(size=300)
    y = u[g, ["abc".index(k) for k in f]] + 0.3 * x + rng.normal(size=300)
    return pd.DataFrame({"y": y, "g": g, "f": f, "x": x})


def controls_in_one_group() -> pd.DataFrame:
    rng = np.random.default_rng(101)
    arm = np.repeat(["C", "T"], 60)
    group = np.append(np.repeat("none", 60), np.repeat([f"t{i}" for i in range(10)], 6))
    u = dict(zip(dict.fromkeys(group), np.append(0, rng.normal(size=10)), strict=True))
    y = 0.8 * (arm == "T") + pd.Series(group).map(u) + rng.normal(size=120)
    return pd.DataFrame({"y": y, "arm": arm, "group": group, "treated": (arm == "T") * 1.0})


def one_in_an_arm() -> pd.DataFrame:
    d = between()
    return d[(d["arm"] == "ctl") | (d["g"] == 20)]


def slope_in_one_group() -> pd.DataFrame:
    d = between()
    return d.assign(dose=np.where(d["g"] == 3, np.arange(144) % 6, 0.0))


REFUSED: list[tuple[Callable[[], pd.DataFrame], str, str]] = [
    (rare_level, "y ~ f + x + (0 + f | g)", "'f[a]' of 'g' occurs in level '0' of 20 only"),
    (rare_level, "y ~ f + x + (f | g)", "'Intercept - f[T.b] - f[T.c]' of 'g' occurs in level '0' of 20 only"),
    (rare_level, "y ~ f + x + (0 + f || g)", "'f[a]' of 'g' occurs in level '0' of 20 only"),
    (controls_in_one_group, "y ~ arm + (0 + arm || group)", "'arm[C]' of 'group' occurs in level 'none' of 11 only"),
    (controls_in_one_group, "y ~ arm + (arm | group)", "'Intercept - arm[T.T]' of 'group' occurs in level 'none'"),
    (one_in_an_arm, "y ~ arm + (0 + arm | g)", "'arm[trt]' of 'g' occurs in level '20' of 13 only"),
    (one_in_an_arm, "y ~ arm + (arm | g)", "'arm[T.trt]' of 'g' occurs in level '20' of 13 only"),
    (slope_in_one_group, "y ~ dose + (1 | g) + (0 + dose | g)", "'dose' of 'g' occurs in level '3' of 24 only"),
    (slope_in_one_group, "y ~ dose + (dose | g)", "'dose' of 'g' occurs in level '3' of 24 only"),
    (between, "y ~ C(g) + (1 | g)", "a parameter for the effect 'Intercept' of every level of 'g' already"),
    (repeated, "y ~ C(g) * t + (t | g)", "a parameter for the effect 'Intercept' of every level of 'g' already"),
    (empty_cell, "y ~ x + (0 + zero | g)", "'zero' of 'g' is zero in every row, so"),
    (empty_cell, "y ~ x + (f * h || g)", "'f[T.b]:h[T.q]' of 'g' is zero in every row (no row has this combination)"),
]


@pytest.mark.parametrize(("data", "formula", "message"), REFUSED)
def test_a_variance_without_anything_to_estimate_it_from_is_refused(
    data: Callable[[], pd.DataFrame], formula: str, message: str
) -> None:
    with pytest.raises(mm.DesignError, match=re.escape(message)):
        mm.lmer(formula, data())


@pytest.mark.parametrize(("data", "formula"), [(data, f) for data, f, m in REFUSED if "zero in every" not in m])
def test_reml_does_not_depend_on_what_is_refused(data: Callable[[], pd.DataFrame], formula: str) -> None:
    model = mm.LinearMixedModel(formula, data())
    found = model.problem.identification
    assert len(found.contrasts) > len(found.covariance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert mm.lmer(formula, data(), reml=False).converged  # there it is estimated, as zero


def test_nearby_models_are_estimated() -> None:
    """The same effects where a second group has them, or the fixed part has not."""
    d = rare_level()
    second = d.assign(f=np.where((d["g"] == 1) & (d["f"] == "b"), "a", d["f"]))
    assert "unidentified" not in {f.kind for f in mm.lmer("y ~ f + x + (0 + f | g)", second).findings}
    assert not mm.lmer("y ~ x + (0 + f || g)", d).state.undetermined
    assert not mm.lmer("y ~ arm + (0 + treated | group)", controls_in_one_group()).state.undetermined


@pytest.mark.parametrize("seed", range(5))
def test_a_millionth_apart_is_told_apart(seed: int) -> None:
    d, rng = empty_cell(), np.random.default_rng(seed)
    d["near"] = d["x"] + 1e-6 * rng.normal(size=len(d))
    for random in ("(0 + x | g) + (0 + near | g)", "(x || g) + (0 + near | g)", "(0 + x + near | g)"):
        fit = mm.lmer(f"y ~ 1 + {random}", d)
        assert not fit.state.undetermined
        assert "unidentified" not in {finding.kind for finding in fit.findings}


@pytest.mark.parametrize("origin", [2020.0, 1e4])
def test_slopes_beside_fixed_groups_are_seen_far_from_the_origin(origin: float) -> None:
    """Where each group has an intercept of its own, the origin of a covariate changes nothing but these."""
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(12), 8), rng.normal(size=96)
    y = rng.normal(size=12)[g] + (0.5 + rng.normal(size=12))[g] * x + rng.normal(size=96)
    d = pd.DataFrame({"y": y, "g": g, "near": x, "x": x + origin})
    right, fit = (mm.lmer(f"y ~ C(g) + {v} + (0 + {v} | g)", d) for v in ("near", "x"))
    assert not fit.state.undetermined
    assert fit.deviance == pytest.approx(right.deviance, abs=1e-4)
    columns = ["estimate", "std_error", "df"]
    ours, theirs = fit.coef_table().loc["x", columns], right.coef_table().loc["near", columns]
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=5e-3)
    with pytest.raises(mm.DesignError, match="of every level of 'g' already"):
        mm.lmer("y ~ C(g) + x + (x || g)", d)


TOLD_APART: list[tuple[Callable[[], pd.DataFrame], str, str, set[str]]] = [
    (
        repeated,
        "y ~ 0 + condition + (1 | g) + (0 + condition | g)",
        "y ~ 0 + condition + (0 + condition | g)",
        {"sd_Intercept|g", "sd_condition[A]|g", "cor_condition[B].condition[A]|g", "sd_condition[B]|g"},
    ),
    (
        repeated,
        "y ~ condition + (condition | g) + (1 | g:condition)",
        "y ~ condition + (condition | g)",
        {
            "sd_Intercept|g:condition",
            "sd_Intercept|g",
            "cor_condition[T.B].Intercept|g",
            "sd_condition[T.B]|g",
        },
    ),
    (
        repeated,
        "y ~ t + (t | g) + (0 + I(t - 3) | g)",
        "y ~ t + (t | g)",
        {"sd_Intercept|g", "cor_t.Intercept|g", "sd_t|g", "sd_I(t - 3)|g"},
    ),
    (
        between,
        "y ~ arm + (arm | g)",
        "y ~ arm + (0 + arm || g)",
        {"cor_arm[T.trt].Intercept|g", "sd_arm[T.trt]|g"},
    ),
    (between, "y ~ arm + (0 + arm | g)", "y ~ arm + (0 + arm || g)", {"cor_arm[trt].arm[ctl]|g"}),
    (empty_cell, "y ~ x + (k | g)", "y ~ x + (1 | g)", {"sd_Intercept|g", "cor_k.Intercept|g", "sd_k|g"}),
    (
        empty_cell,
        "y ~ x + (f * h | g)",
        "y ~ x + (f + h | g)",
        {
            "cor_f[T.b]:h[T.q].Intercept|g",
            "cor_f[T.b]:h[T.q].f[T.b]|g",
            "cor_f[T.b]:h[T.q].h[T.q]|g",
            "sd_f[T.b]:h[T.q]|g",
        },
    ),
    (
        empty_cell,
        "y ~ x + (x + triple | g)",
        "y ~ x + (x | g)",
        {"cor_x.Intercept|g", "cor_triple.Intercept|g", "sd_x|g", "cor_triple.x|g", "sd_triple|g"},
    ),
]


@pytest.mark.parametrize(("data", "formula", "smaller", "names"), TOLD_APART)
@pytest.mark.parametrize("reml", [True, False])
def test_what_is_determined_is_that_of_the_smaller_model(
    data: Callable[[], pd.DataFrame], formula: str, smaller: str, names: set[str], reml: bool
) -> None:
    d = data()
    with pytest.warns(mm.IdentificationWarning, match="The data cannot tell"):
        fit = mm.lmer(formula, d, reml=reml)
    right = mm.lmer(smaller, d, reml=reml)
    assert fit.converged
    assert fit.llf == pytest.approx(right.llf, abs=1e-6)
    for ddf in ("satterthwaite", "robust", *(["kenward-roger"] if reml else [])):
        ours, theirs = fit.coef_table(ddf=ddf), right.coef_table(ddf=ddf)
        np.testing.assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-4)
        np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-4)
        np.testing.assert_allclose(ours["df"], theirs["df"], rtol=2e-3)
    np.testing.assert_allclose(fit.fittedvalues, right.fittedvalues, rtol=1e-3, atol=1e-4)
    table = fit.variance_parameters()
    assert set(table.index[table["std_error"].isna()]) == names
    assert fit.conf_int().loc[list(names)].isna().all(axis=None)
    assert not fit.conf_int().drop(index=list(names)).isna().any(axis=None)
    assert all(name in table.attrs["notes"][0] for name in names)


@pytest.mark.parametrize(("data", "formula", "smaller", "names"), TOLD_APART)
def test_inference_raises_nothing_but_our_errors(
    data: Callable[[], pd.DataFrame], formula: str, smaller: str, names: set[str]
) -> None:
    fit = mm.lmer(formula, data())
    profile = fit.conf_int("profile")
    assert not profile.isna().any(axis=None)
    bootstrap = fit.conf_int("bootstrap", n=30, seed=1)
    assert bootstrap.loc[list(names)].isna().all(axis=None)
    assert not bootstrap.drop(index=list(names)).isna().any(axis=None)
    fit.ranova(), fit.anova(ddf="kenward-roger"), fit.summary(ddf="kenward-roger"), fit.cov_fe_robust()
    assert "The data cannot tell" in " ".join(str(fit.summary()).split())


def test_tests_count_the_parameters_that_the_data_determine() -> None:
    """Of (k + x | g) with a constant k there are three, as in (x | g); of (arm | g) between groups two variances."""
    d = empty_cell()
    table, right = (mm.lmer(f"y ~ x + ({random} | g)", d).ranova() for random in ("k + x", "x"))
    assert table["df"].iloc[1:].to_list() == [0, 2]
    assert table["p_value"].iloc[1] == table["p_boundary"].iloc[1] == 1
    assert table["p_value"].iloc[2] == pytest.approx(right["p_value"].iloc[1], abs=1e-5)
    assert np.isnan(table["p_boundary"].iloc[2])
    assert "It is missing where the data do not tell" in table.attrs["notes"][-1]

    d = between()
    one, arms = mm.lmer("y ~ arm + (1 | g)", d), mm.lmer("y ~ arm + (arm | g)", d)
    for test in (arms.ranova().iloc[1], mm.compare(one, arms).iloc[1]):
        assert test["df"] == 1
        assert test["p_value"] == pytest.approx(stats.chi2.sf(test["chisq"], 1))
    notes = mm.compare(mm.lmer("y ~ arm + (0 + arm || g)", d), arms).attrs["notes"]
    assert any("it has as many parameters that the data determine" in note for note in notes)


def test_profiles_of_what_is_not_determined_are_its_whole_range() -> None:
    """Of two arms between people only the variances in the arms are known: any correlation will do."""
    interval = mm.lmer("y ~ arm + (arm | g)", between()).conf_int("profile")
    assert interval.loc["cor_arm[T.trt].Intercept|g"].tolist() == [-1, 1]
    constant = mm.lmer("y ~ x + (k | g)", empty_cell()).conf_int("profile")
    assert constant.loc["sd_k|g"].tolist() == [0, np.inf]


def test_a_residual_variance_that_random_effects_span_is_left_open() -> None:
    """Every row has an effect of its own, with one variance in odd rows and one in even ones; dense likelihood."""
    rng = np.random.default_rng(9)
    row, x = np.arange(60), rng.normal(size=60)
    odd = row % 2 == 1
    y = rng.normal(size=60) * np.where(odd, 3, 2)
    levels = {"a": np.where(odd, row, 0), "b": np.where(odd, 1, row)}
    d = pd.DataFrame({"y": y, "x": x, "odd": odd * 1.0, "even": ~odd * 1.0, **levels})
    X = np.column_stack([np.ones(60), x])

    def deviance(log_variances: Any) -> float:
        w = np.exp(-np.where(odd, *log_variances))
        information = (X.T * w) @ X
        r = y - X @ np.linalg.solve(information, (X.T * w) @ y)
        return float(58 * np.log(2 * np.pi) - np.log(w).sum() + np.linalg.slogdet(information)[1] + r @ (w * r))

    best = optimize.minimize(deviance, [0.0, 0.0], tol=1e-12)

    def rise(log_variance: float) -> float:
        """Of the criterion where the even rows have a variance, the smaller one."""
        return float(optimize.minimize_scalar(lambda v: deviance([v, log_variance])).fun) - best.fun

    fit = mm.lmer("y ~ x + (0 + odd | a) + (0 + even | b)", d)
    assert fit.deviance == pytest.approx(best.fun, abs=1e-6)
    assert fit.state.undetermined.residual is True
    assert fit.variance_parameters()["std_error"].isna().all()
    assert "but the fitted values do" in next(f.message for f in fit.findings if f.kind == "unidentified")
    limit = np.exp(optimize.brentq(lambda v: rise(v) - stats.chi2.isf(0.05, 1), best.x[1], best.x[1] + 2) / 2)
    np.testing.assert_allclose(fit.conf_int("profile", which="sigma").loc["sigma"], [0, limit], rtol=1e-3)


def test_kenward_roger_of_a_factor_between_groups_is_r() -> None:
    """pbkrtest by lmerTest 3.1 on (arm | g): df 11.000 and 17.672, standard errors .2835 and .5640."""
    for formula in ("y ~ arm + (arm | g)", "y ~ arm + (0 + arm | g)"):
        table = mm.lmer(formula, between()).coef_table(ddf="kenward-roger")
        np.testing.assert_allclose(table["df"], [11.0, 17.672], atol=5e-4)
        np.testing.assert_allclose(table["std_error"], [0.2835, 0.5640], atol=5e-5)


@pytest.mark.parametrize("factor", [1e-6, 1e7])
@pytest.mark.parametrize("origin", [0.0, 2020.0])
def test_findings_do_not_depend_on_units(factor: float, origin: float) -> None:
    d = empty_cell()
    moved = d.assign(x=factor * (d["x"] + origin), triple=d["triple"] * 1e4, y=1e5 * d["y"])
    for formula in ("y ~ x + (x | g)", "y ~ x + (x + triple | g)", "y ~ x + (k | g)", "y ~ f + (f | g) + (1 | f:g)"):
        if origin and "triple" in formula:
            continue  # then the columns no longer depend on each other
        kinds = [{f.kind for f in mm.lmer(formula, one).findings} - {"badly_scaled"} for one in (d, moved)]
        assert kinds[0] == kinds[1]
        before, after = (mm.lmer(formula, one).state.undetermined for one in (d, moved))
        for C, D in zip(before.covariances, after.covariances, strict=True):
            assert (C == D).all() or origin


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_the_residual_variance_may_be_open_too() -> None:
    five = pd.DataFrame({"g": [0, 0, 1, 2, 3], "f": list("abacb"), "x": [0.3, 0.8, 0.3, -1.3, 0.9]})
    fit = mm.lmer("y ~ (x * f || g)", five.assign(y=[0.4, -0.5, 0.6, 0.4, 0.3]))
    assert "unidentified" in {finding.kind for finding in fit.findings}
    assert np.isnan(fit.variance_parameters().loc["sigma", "std_error"])
