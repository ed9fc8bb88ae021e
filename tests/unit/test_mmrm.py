"""The door of trials: closed forms, identities, what it says of bad input, and what its result answers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

import mixedmodels as mm
from mixedmodels.cli import main
from mixedmodels.inference.degrees import MARGINAL_NAMES
from mixedmodels.inference.marginal_degrees import VARIANTS

Floats = npt.NDArray[np.float64]
EXTRA = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0, 1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
"""Hours of sleep gained with two drugs (Student 1908), ten people each."""


def sleep() -> pd.DataFrame:
    """Return Student's data."""
    return pd.DataFrame({"extra": EXTRA, "group": np.repeat(["1", "2"], 10), "id": np.tile(np.arange(10), 2)})


def orthodont() -> pd.DataFrame:
    """Return four visits of 27 children, visits as a category too."""
    frame = mm.load_dataset("Orthodont")
    return frame.assign(visit=pd.Categorical(frame["age"].astype(int).astype(str), ["8", "10", "12", "14"]))


@pytest.mark.parametrize("ddf", ["satterthwaite", *VARIANTS])
def test_a_paired_t_test(ddf: str) -> None:
    fit = mm.mmrm("extra ~ group + us(group | id)", sleep())
    row = fit.coef_table(ddf).loc["group[T.2]"]
    frame = sleep()
    theirs = stats.ttest_rel(frame["extra"][10:], frame["extra"][:10])
    assert row["statistic"] == pytest.approx(theirs.statistic, rel=1e-6)
    assert row["df"] == pytest.approx(9, rel=1e-6)
    assert row["p_value"] == pytest.approx(theirs.pvalue, rel=1e-6)


@pytest.mark.parametrize("reml", [True, False])
def test_a_complete_unstructured_covariance_is_that_of_the_groups(reml: bool) -> None:
    frame = orthodont()
    fit = mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", frame, reml=reml)
    wide = frame.pivot(index="Subject", columns="visit", values="distance")
    sex = frame.groupby("Subject", observed=True)["Sex"].first()
    residual = (wide - wide.groupby(sex, observed=True).transform("mean")).to_numpy()
    theirs = residual.T @ residual / (len(wide) - 2 * reml)
    np.testing.assert_allclose(fit.residual_covariance, theirs, rtol=1e-6)


def test_groups_of_subjects_are_fits_of_their_own() -> None:
    frame = orthodont()
    fit = mm.mmrm("distance ~ Sex * visit + ar1h(visit | Sex / Subject)", frame, reml=False)
    apart = [
        mm.mmrm("distance ~ visit + ar1h(visit | Subject)", frame[frame["Sex"] == sex], reml=False)
        for sex in ("Male", "Female")
    ]
    assert fit.deviance == pytest.approx(sum(one.deviance for one in apart), abs=1e-7)
    assert isinstance(fit.residual_covariance, dict)
    np.testing.assert_allclose(fit.residual_covariance["Male"], apart[0].residual_covariance, rtol=1e-4)
    assert list(fit.residual_parameters().index.names) == ["Sex", "parameter"]


@pytest.mark.parametrize("reml", [True, False])
def test_compound_symmetry_is_a_random_intercept(reml: bool) -> None:
    frame = orthodont().iloc[[i for i in range(108) if i % 7 != 3]]
    ours = mm.mmrm("distance ~ age * Sex + cs(visit | Subject)", frame, reml=reml)
    theirs = mm.lmer("distance ~ age * Sex + (1 | Subject)", frame, reml=reml)
    assert ours.deviance == pytest.approx(theirs.deviance, abs=1e-8)
    np.testing.assert_allclose(ours.bse_fe, theirs.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(ours.coef_table()["df"], theirs.coef_table()["df"], rtol=1e-4)
    assert isinstance(ours.residual_correlation, pd.DataFrame)
    assert ours.residual_correlation.iloc[0, 1] == pytest.approx(theirs.icc()["adjusted"], rel=1e-5)
    if reml:
        one, two = ours.coef_table("kenward-roger"), theirs.coef_table("kenward-roger")
        np.testing.assert_allclose(one["std_error"], two["std_error"], rtol=1e-5)
        np.testing.assert_allclose(one["df"], two["df"], rtol=1e-4)
        np.testing.assert_allclose(
            ours.anova(ddf="kenward-roger")["f_value"], theirs.anova(ddf="kenward-roger")["f_value"], rtol=1e-4
        )


def test_compound_symmetry_may_be_negative() -> None:
    # rho = (MSB - MSW) / (MSB + (m - 1) MSW), Searle, Casella and McCulloch (1992), section 3.6
    rng = np.random.default_rng(3)
    m, n = 4, 12
    y = rng.standard_normal((n, m)) - 0.9 * rng.standard_normal((n, m)).mean(axis=1, keepdims=True)
    y -= 0.8 * y.mean(axis=1, keepdims=True)
    frame = pd.DataFrame({"y": y.ravel(), "id": np.repeat(np.arange(n), m), "visit": np.tile(list("abcd"), n)})
    between = m * y.mean(axis=1).var(ddof=1)
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (n * (m - 1))
    fit = mm.mmrm("y ~ 1 + cs(visit | id)", frame)
    rho = (between - within) / (between + (m - 1) * within)
    assert rho < 0
    assert fit.residual_parameters().loc["correlation", "estimate"] == pytest.approx(rho, rel=1e-6)


def test_autoregression_is_exponential_decay_on_whole_numbers() -> None:
    frame = orthodont().assign(year=lambda f: f["age"] / 2)
    one = mm.mmrm("distance ~ age * Sex + ar1(year | Subject)", frame)
    two = mm.mmrm("distance ~ age * Sex + exp(age | Subject)", frame)
    assert one.deviance == pytest.approx(two.deviance, abs=1e-9)
    for ddf in ("satterthwaite", "kenward-roger"):  # whatever the coordinate
        np.testing.assert_allclose(one.coef_table(ddf), two.coef_table(ddf), rtol=1e-5)
    rho = one.residual_parameters().loc["correlation", "estimate"]
    assert np.exp(-2 / two.residual_parameters().loc["range", "estimate"]) == pytest.approx(rho, rel=1e-6)


def test_structures_of_two_visits_are_one() -> None:
    frame = orthodont().query("age < 11")
    frame = frame.assign(visit=frame["visit"].cat.remove_unused_categories())
    values = [
        mm.mmrm(f"distance ~ Sex * visit + {kind}(visit | Subject)", frame).deviance
        for kind in ("cs", "ar1", "toep", "ad")
    ]
    np.testing.assert_allclose(values, values[0], atol=1e-8)
    values = [
        mm.mmrm(f"distance ~ Sex * visit + {kind}(visit | Subject)", frame).deviance
        for kind in ("us", "csh", "ar1h", "toeph", "adh")
    ]
    np.testing.assert_allclose(values, values[0], atol=1e-8)


def test_independent_residuals_are_least_squares() -> None:
    frame = orthodont()
    fit = mm.mmrm("distance ~ age * Sex + id(visit | Subject)", frame)
    X = fit.state.design.X
    beta, rss, *_ = np.linalg.lstsq(X, frame["distance"], rcond=None)
    np.testing.assert_allclose(fit.fe_params, beta, rtol=1e-8)
    assert fit.sigma**2 == pytest.approx(float(rss[0]) / (108 - 4), rel=1e-6)
    for ddf in ("satterthwaite", "kenward-roger"):
        np.testing.assert_allclose(fit.coef_table(ddf)["df"], 104, rtol=1e-6)


def test_margins_of_a_complete_trial_are_cell_means() -> None:
    frame = orthodont()
    fit = mm.mmrm("distance ~ Sex * visit + us(visit | Subject)", frame, ddf="kenward-roger")
    means = fit.margins("Sex", by="visit", ddf="kenward-roger")
    theirs = frame.groupby(["visit", "Sex"], observed=True)["distance"].agg(["mean", "var", "count"])
    for visit, sex in means.index:
        row = means.loc[(visit, sex)]
        assert row["estimate"] == pytest.approx(theirs.loc[(visit, sex), "mean"], rel=1e-10)
        # the variance is pooled over both groups: 25 degrees of freedom
        assert row["df"] == pytest.approx(25, rel=1e-4)
    differences = fit.margins("Sex", by="visit", pairwise=True, ddf="kenward-roger")
    for visit in ("8", "14"):
        here = frame[frame["visit"] == visit]
        male, female = (here.loc[here["Sex"] == sex, "distance"] for sex in ("Male", "Female"))
        test = stats.ttest_ind(male, female)
        row = differences.loc[visit].iloc[0]
        assert abs(row["statistic"]) == pytest.approx(abs(test.statistic), rel=1e-5)
        assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-4)


def test_the_order_and_the_names_of_visits_and_rows_do_not_matter() -> None:
    frame = orthodont().iloc[[i for i in range(108) if i % 7 != 3]]
    one = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", frame)
    shuffled = frame.sample(frac=1.0, random_state=5)
    renamed = shuffled.assign(visit=shuffled["visit"].map({"8": "d", "10": "a", "12": "c", "14": "b"}).astype(str))
    two = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", renamed)
    assert two.deviance == pytest.approx(one.deviance, abs=1e-9)
    np.testing.assert_allclose(two.coef_table("kenward-roger"), one.coef_table("kenward-roger"), rtol=1e-5)


@pytest.mark.parametrize("kind", ["us", "csh", "ar1", "toeph", "exp"])
@pytest.mark.parametrize(("factor", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, 1e6)])
def test_units_and_origins(kind: str, factor: float, shift: float) -> None:
    frame = orthodont().iloc[[i for i in range(108) if i % 7 != 3]]
    moved = frame.assign(distance=factor * frame["distance"] + shift, age=1e3 * frame["age"] + 2e6)
    one = mm.mmrm(
        f"distance ~ age * Sex + {kind}(age | Subject)"
        if kind == "exp"
        else f"distance ~ age * Sex + {kind}(visit | Subject)",
        frame,
    )
    two = mm.mmrm(one.formula, moved)
    assert two.optimizer.n_iterations == one.optimizer.n_iterations
    slope = factor / 1e3
    for name in ("age", "age:Sex[T.Female]"):
        a, b = one.coef_table().loc[name], two.coef_table().loc[name]
        assert b["estimate"] == pytest.approx(slope * a["estimate"], rel=1e-6)
        assert b["std_error"] == pytest.approx(slope * a["std_error"], rel=1e-6)
        assert b["df"] == pytest.approx(a["df"], rel=1e-5)
    assert two.sigma == pytest.approx(factor * one.sigma, rel=1e-6)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("distance ~ age", "One covariance structure of the residuals is wanted"),
        ("distance ~ age + us(visit | Subject) + cs(visit | Subject)", "there is 2 of them"),
        ("distance ~ age + us(visit | Subject) + (1 | Sex)", r"\(1 \| Sex\) is a random term"),
        ("distance ~ age + uss(visit | Subject)", "is no covariance structure"),
        ("distance ~ age + us(visit + age | Subject)", "are columns, but"),
        ("distance ~ age + us(visit)", "is neither a column nor a function|us"),
        ("distance ~ age + us(visit | a / b / c)", "a group and a subject"),
        ("distance ~ age + us(visit, age | Subject)", "takes one column of visits"),
        ("distance ~ age + us(visit | visit)", "appears twice"),
        ("distance ~ age - us(visit | Subject)", "can be added but not subtracted"),
        ("distance ~ age + us(vist | Subject)", "vist"),
        ("distance ~ age + exp(visit | Subject)", "needs times or coordinates as numbers"),
        ("distance ~ age + us(Sex | Subject)", "has two rows at Sex"),
        ("distance ~ age + us(visit | Sex)", "has two rows at visit"),
        ("distance ~ age + us(visit | age / Subject)", "has rows in several groups of age"),
    ],
)
def test_bad_formulas_are_told(formula: str, says: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=says):
        mm.mmrm(formula, orthodont())


def test_visits_that_nobody_shares_are_told() -> None:
    frame = orthodont()
    first = frame["Subject"].isin(frame["Subject"].unique()[:13])
    apart = frame[(first & (frame["age"] < 13)) | (~first & (frame["age"] > 9))]
    with pytest.raises(mm.DesignError, match="no subject has a row at both 8 and 14"):
        mm.mmrm("distance ~ age + us(visit | Subject)", apart)
    mm.mmrm("distance ~ age + ad(visit | Subject)", apart)


def test_a_singular_covariance_is_told() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"y": rng.standard_normal(15), "id": np.repeat(np.arange(3), 5), "visit": np.tile(list("abcde"), 3)}
    )
    with pytest.warns(mm.SingularFitWarning, match="runs to a singular one"):
        fit = mm.mmrm("y ~ 1 + us(visit | id)", frame)
    assert fit.is_singular


def test_unknown_options_are_errors() -> None:
    frame = orthodont()
    with pytest.raises(mm.MixedModelsError, match="kenward-roger"):
        mm.mmrm("distance ~ age + us(visit | Subject)", frame, ddf="kenward")
    with pytest.raises(mm.MixedModelsError):
        mm.mmrm("distance ~ age + us(visit | Subject)", frame, method="REML")
    fit = mm.mmrm("distance ~ age + us(visit | Subject)", frame)
    for wrong in ({"interval": "both"}, {"conditional": 1}, {"level": 2.0}, {"ddf": "normal"}):
        with pytest.raises(mm.InferenceError):
            fit.predict(**wrong)  # type: ignore[arg-type]
    with pytest.raises(mm.InferenceError, match="normalized"):
        fit.residuals("normalised")
    with pytest.raises(mm.InferenceError, match="REML fit"):
        mm.mmrm("distance ~ age + us(visit | Subject)", frame, reml=False).coef_table("kenward-roger")
    with pytest.raises(AttributeError, match="varcorr"):
        fit.varcorr  # noqa: B018  # it is the question


def test_summary_says_what_each_criterion_counts() -> None:
    fit = mm.mmrm("distance ~ age * Sex + cs(visit | Subject)", orthodont())
    text = " ".join(str(fit.summary()).split())
    assert "those of SAS count parameters of the covariance and subjects" in text
    table = fit.criteria()
    assert table.loc["AIC (SAS)", "value"] == pytest.approx(fit.deviance + 2 * 2)
    assert table.loc["BIC (SAS)", "value"] == pytest.approx(fit.deviance + 2 * np.log(27))
    assert table.loc["AIC", "value"] == pytest.approx(fit.deviance + 2 * 6)


@pytest.mark.parametrize("ddf", MARGINAL_NAMES)
def test_every_method_answers(ddf: str) -> None:
    fit = mm.mmrm("distance ~ visit * Sex + csh(visit | Subject)", orthodont(), ddf=ddf)
    assert "Fixed effects" in fit.summary()
    assert fit.anova(ddf=ddf)["p_value"].between(0, 1).all()
    assert fit.contrast("Sex[T.Female] = 0", ddf=ddf)["std_error"].iloc[0] > 0


def test_residual_parameters_lie_within_their_intervals() -> None:
    for kind in ("us", "cs", "toep", "ad", "exp", "arma11"):
        when = "age" if kind == "exp" else "visit"
        table = mm.mmrm(f"distance ~ age * Sex + {kind}({when} | Subject)", orthodont()).residual_parameters()
        assert (table["ci_lower"] < table["estimate"]).all()
        assert (table["estimate"] < table["ci_upper"]).all()


def test_a_saved_result_answers_the_same(tmp_path: Path) -> None:
    frame = orthodont().iloc[[i for i in range(108) if i % 7 != 3]]
    fit = mm.mmrm("distance ~ age * Sex + us(visit | Sex / Subject)", frame, ddf="kenward-roger")
    fit.save(tmp_path / "trial.fit")
    loaded = mm.load(tmp_path / "trial.fit")
    assert str(loaded.summary()) == str(fit.summary())
    pd.testing.assert_frame_equal(loaded.coef_table("CR2"), fit.coef_table("CR2"))
    pd.testing.assert_series_equal(
        loaded.predict(frame.head(), conditional=True), fit.predict(frame.head(), conditional=True)
    )


def test_missing_responses_are_visits_left_out() -> None:
    frame = orthodont()
    gaps = frame.assign(distance=frame["distance"].where(np.arange(108) % 7 != 3))
    with pytest.warns(mm.DroppedRowsWarning, match="missing distance"):
        one = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", gaps)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", gaps.dropna())
    assert one.deviance == two.deviance
    assert one.n_subjects == 27


def test_structures_are_compared_where_one_has_the_other() -> None:
    frame = orthodont()
    fits = {kind: mm.mmrm(f"distance ~ age * Sex + {kind}(visit | Subject)", frame) for kind in ("cs", "toep", "us")}
    table = mm.compare(*fits.values())
    chisq = np.diff([-fits[kind].deviance for kind in ("cs", "toep", "us")])
    np.testing.assert_allclose(table["chisq"][1:], chisq, rtol=1e-10)
    assert table["df"][1:].tolist() == [2, 6]
    np.testing.assert_allclose(table["p_value"][1:], stats.chi2.sf(chisq, [2, 6]), rtol=1e-8)
    apart = mm.compare(fits["cs"], mm.mmrm("distance ~ age * Sex + adh(visit | Subject)", frame))
    assert apart["p_value"].isna().all()
    fixed = mm.compare(fits["us"], mm.mmrm("distance ~ age + us(visit | Subject)", frame))
    small = mm.mmrm("distance ~ age + us(visit | Subject)", frame, reml=False)
    large = mm.mmrm("distance ~ age * Sex + us(visit | Subject)", frame, reml=False)
    assert fixed["chisq"].iloc[1] == pytest.approx(small.deviance - large.deviance, rel=1e-8)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    formula = "distance ~ age * Sex + us(age | Subject)"
    assert main(["mmrm", "Orthodont", formula, "--ddf", "kenward-roger"]) == 0
    shown = capsys.readouterr().out.rstrip("\n")
    assert shown == str(mm.mmrm(formula, mm.load_dataset("Orthodont"), ddf="kenward-roger").summary())
    assert main(["mmrm", "Orthodont", "distance ~ age"]) == 2
    assert "covariance structure" in capsys.readouterr().err


def test_a_dot_stands_for_the_columns_that_are_not_used() -> None:
    frame = orthodont()
    dotted = mm.mmrm("distance ~ . + us(visit | Subject)", frame)
    assert dotted.deviance == pytest.approx(mm.mmrm("distance ~ age + Sex + us(visit | Subject)", frame).deviance)


@pytest.mark.parametrize(("kind", "n_told"), [("ar1", 1), ("us", 0)])
def test_visits_that_nobody_has_are_told(kind: str, n_told: int) -> None:
    frame = orthodont().query("age != 10")
    fit = mm.mmrm(f"distance ~ age + {kind}(visit | Subject)", frame)
    found = [finding for finding in fit.findings if finding.kind == "empty_visits"]
    assert [finding.data["visits"] for finding in found] == [["10"]] * n_told
    without = frame.assign(visit=frame["visit"].cat.remove_unused_categories())
    assert not mm.mmrm(f"distance ~ age + {kind}(visit | Subject)", without).findings
