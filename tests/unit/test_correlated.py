"""Residuals with something on them: identities, invariances, bad input, and what a result answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.cli import main
from mixedmodels.covariance.block_residual import OnOwnTimes
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_call import CorrelatedCall, build_correlated


def sleep() -> pd.DataFrame:
    """Return ten days of 18 people, days as times, text, dates, and at two places."""
    frame = mm.load_dataset("sleepstudy")
    day = frame["Days"]
    return frame.assign(
        date=pd.Timestamp("2024-02-25") + pd.to_timedelta(day, unit="D"),
        word=day.astype(str),
        one=1,
        w=1.0 + np.arange(len(frame)) % 4,
    )


def orthodont() -> pd.DataFrame:
    """Return four visits of 27 children."""
    frame = mm.load_dataset("Orthodont")
    return frame.assign(v=((frame["age"] - 8) / 2).astype(int))


def fitted(formula: str, **more: object) -> mm.CorrelatedResult:
    """Return a fit with something on its residuals."""
    fit = mm.lmer(formula, more.pop("data", sleep()), **more)  # type: ignore[call-overload]
    assert isinstance(fit, mm.CorrelatedResult)
    return fit


@pytest.mark.parametrize("reml", [True, False])
def test_a_random_intercept_is_compound_symmetry(reml: bool) -> None:
    by_residuals = mm.lmer("Reaction ~ Days", sleep(), residual="cs(Days | Subject)", reml=reml)
    by_effects = mm.lmer("Reaction ~ Days + (1 | Subject)", sleep(), reml=reml)
    assert isinstance(by_residuals, mm.MmrmResult)
    assert by_residuals.deviance == pytest.approx(by_effects.deviance, abs=1e-8)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)"])
def test_independence_changes_nothing(formula: str, reml: bool) -> None:
    ours = fitted(formula, residual="id(Days | Subject)", weights="w", reml=reml)
    theirs = mm.lmer(formula, sleep(), weights="w", reml=reml)
    assert ours.deviance == pytest.approx(theirs.deviance, abs=1e-8)
    assert ours.sigma == pytest.approx(theirs.sigma, rel=1e-6)
    np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-5)
    np.testing.assert_allclose(ours.coef_table(), theirs.coef_table(), rtol=2e-4)
    np.testing.assert_allclose(ours.random_effects["Subject"], theirs.random_effects["Subject"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        ours.random_effects_cov["Subject"], theirs.random_effects_cov["Subject"], rtol=1e-4, atol=1e-4
    )
    if reml:
        one, two = ours.coef_table("kenward-roger"), theirs.coef_table("kenward-roger")
        np.testing.assert_allclose(one["std_error"], two["std_error"], rtol=1e-5)
    np.testing.assert_allclose(ours.fittedvalues, theirs.fittedvalues, rtol=1e-6)


def test_a_known_variance_of_the_estimate_is_the_fit() -> None:
    free = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep(), reml=False)
    held = fitted("Reaction ~ Days + (Days | Subject)", sigma=free.sigma, reml=False)
    assert held.deviance == pytest.approx(free.deviance, abs=1e-8)
    assert held.df_model_total == free.df_model_total - 1
    np.testing.assert_allclose(held.varcorr["Subject"], free.varcorr["Subject"], rtol=1e-4)


def test_autoregression_is_exponential_decay_on_whole_numbers() -> None:
    one = fitted("Reaction ~ Days + (1 | Subject)", residual="ar1(Days | Subject)")
    two = fitted("Reaction ~ Days + (1 | Subject)", residual="car1(Days | Subject)")
    assert one.deviance == pytest.approx(two.deviance, abs=1e-8)
    for ddf in ("satterthwaite", "kenward-roger"):
        np.testing.assert_allclose(one.coef_table(ddf), two.coef_table(ddf), rtol=1e-4)
    rho = one.residual_parameters().loc["correlation", "estimate"]
    assert np.exp(-1 / two.residual_parameters().loc["range", "estimate"]) == pytest.approx(rho, rel=1e-5)


def test_powers_of_the_exponential_are_exponentials_of_the_power() -> None:
    frame = sleep().assign(x=lambda f: f["Days"] + 1.0, log=lambda f: np.log(f["Days"] + 1.0))
    one = fitted("Reaction ~ Days + (1 | Subject)", data=frame, variance="power(x)")
    two = fitted("Reaction ~ Days + (1 | Subject)", data=frame, variance="exp(log)")
    assert one.deviance == pytest.approx(two.deviance, abs=1e-9)
    assert one.residual_parameters().loc["power(x)", "estimate"] == pytest.approx(
        two.residual_parameters().loc["rate(log)", "estimate"], rel=1e-6
    )


def test_strata_apart_are_fits_of_their_own() -> None:
    frame = orthodont()
    both = mm.lmer("distance ~ Sex * age", frame, residual="ar1(v | Sex / Subject)", reml=False)
    apart = [
        mm.lmer("distance ~ age", frame[frame["Sex"] == sex], residual="ar1(v | Subject)", reml=False)
        for sex in ("Male", "Female")
    ]
    assert both.deviance == pytest.approx(sum(one.deviance for one in apart), abs=1e-8)
    # one variance a sex with independent rows: least squares apart
    strata = fitted("distance ~ Sex * age", data=frame, variance="ident(Sex)", reml=False)
    total = 0.0
    for sex in ("Male", "Female"):
        own = frame[frame["Sex"] == sex]
        X = np.column_stack([np.ones(len(own)), own["age"]])
        rss = float(np.linalg.lstsq(X, own["distance"], rcond=None)[1][0])
        total += len(own) * (np.log(2 * np.pi * rss / len(own)) + 1)
    assert strata.deviance == pytest.approx(total, abs=1e-8)


def test_own_times_are_visits_in_common_where_there_are_few() -> None:
    call = CorrelatedCall("Reaction ~ Days + (1 | Subject)", sleep(), residual="exp(Days | Subject, nugget=True)")
    common = build_correlated(call)
    assert isinstance(common, CorrelatedProblem)
    rng = np.random.default_rng(3)
    frame = sleep().assign(t=lambda f: f["Days"] + rng.uniform(-0.4, 0.4, len(f)))
    own = build_correlated(
        CorrelatedCall("Reaction ~ Days + (1 | Subject)", frame, residual="exp(t | Subject, nugget=True)")
    )
    assert isinstance(own, CorrelatedProblem)
    assert isinstance(own.residual, OnOwnTimes)
    # times that differ by nothing that matters
    near = frame.assign(t=frame["Days"] + 1e-9 * np.arange(len(frame)))
    one = fitted("Reaction ~ Days + (1 | Subject)", residual="exp(Days | Subject, nugget=True)")
    two = fitted("Reaction ~ Days + (1 | Subject)", data=near, residual="exp(t | Subject, nugget=True)")
    assert two.deviance == pytest.approx(one.deviance, abs=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_and_origins_change_nothing(factor: float) -> None:
    frame = sleep()
    moved = frame.assign(Reaction=factor * frame["Reaction"], t=factor * (frame["Days"] + 1000.0))
    one = fitted("Reaction ~ Days + (1 | Subject)", residual="exp(Days | Subject)", variance="exp(Days)")
    two = fitted("Reaction ~ Days + (1 | Subject)", data=moved, residual="exp(t | Subject)", variance="exp(Days)")
    n = len(frame) - 2
    assert two.deviance - 2 * n * np.log(factor) == pytest.approx(one.deviance, abs=1e-6)
    np.testing.assert_allclose(two.coef_table()["statistic"], one.coef_table()["statistic"], rtol=1e-5)


def test_rows_may_stand_in_any_order() -> None:
    shuffled = sleep().sample(frac=1, random_state=2)
    one = fitted("Reaction ~ Days + (1 | Subject)", residual="ar1(Days | Subject)", variance="ident(word)", weights="w")
    two = fitted(
        "Reaction ~ Days + (1 | Subject)",
        data=shuffled,
        residual="ar1(Days | Subject)",
        variance="ident(word)",
        weights="w",
    )
    assert one.deviance == pytest.approx(two.deviance, abs=1e-8)
    np.testing.assert_allclose(one.residuals("normalized"), two.residuals("normalized").loc[sleep().index], atol=1e-5)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_structures_compare() -> None:
    frame = sleep()
    plain = mm.lmer("Reaction ~ Days + (1 | Subject)", frame)
    ar1 = mm.lmer("Reaction ~ Days + (1 | Subject)", frame, residual="ar1(Days | Subject)")
    both = mm.lmer("Reaction ~ Days + (1 | Subject)", frame, residual="ar1(Days | Subject)", variance="exp(Days)")
    without = mm.lmer("Reaction ~ Days", frame, residual="ar1(Days | Subject)")
    table = mm.compare(plain, ar1, both)
    assert table["df"].iloc[1:].tolist() == [1, 1]
    assert table["chisq"].iloc[1] == pytest.approx(plain.deviance - ar1.deviance)
    assert mm.compare(without, ar1)["chisq"].iloc[1] == pytest.approx(without.deviance - ar1.deviance)
    other = mm.lmer("Reaction ~ Days", frame, residual="gau(Days | Subject, nugget=True)", variance="exp(Days)")
    assert np.isnan(mm.compare(ar1, other)["chisq"].iloc[1])
    refitted = mm.compare(ar1, mm.lmer("Reaction ~ 1 + (1 | Subject)", frame, residual="ar1(Days | Subject)"))
    assert refitted["chisq"].iloc[1] > 0


def test_tests_of_fixed_effects_and_means() -> None:
    fit = fitted("distance ~ Sex * age + (1 | Subject)", data=orthodont(), residual="ar1(v | Subject)")
    table = fit.anova(ddf="kenward-roger")
    assert list(table.index) == ["Sex", "age", "Sex:age"]
    means = fit.margins("Sex")
    assert len(means) == 2
    found = fit.contrast("age = 0")
    assert found["estimate"].iloc[0] == pytest.approx(fit.fe_params["age"])
    with pytest.raises(mm.InferenceError, match="kenward-roger-sas"):
        fit.coef_table("kenward-roger-sas")


def test_predictions_of_new_subjects_are_the_mean() -> None:
    fit = fitted("Reaction ~ Days + (1 | Subject)", residual="ar1(Days | Subject)")
    new = pd.DataFrame({"Days": [0, 9], "Subject": ["999", "308"]})
    mean, known = fit.predict(new), fit.predict(new, conditional=True)
    assert known.iloc[0] == pytest.approx(mean.iloc[0])
    assert known.iloc[1] == pytest.approx(sleep()["Reaction"].iloc[9])  # the very row
    with_noise = fitted("Reaction ~ Days + (1 | Subject)", residual="exp(Days | Subject, nugget=True)")
    assert isinstance(with_noise.predict(new, conditional=True), pd.Series)
    wide = fit.predict(new, interval="prediction")
    assert isinstance(wide, pd.DataFrame)
    total = fit.sigma**2 + fit.varcorr["Subject"].iloc[0, 0]
    se = fit.predict(new, interval="confidence", ddf="normal")["se"]
    np.testing.assert_allclose(wide["se"] ** 2, se**2 + total, rtol=1e-9)
    with pytest.raises(mm.InferenceError, match="Days that the fit did not have"):
        fit.predict(new.assign(Days=[0, 12]), conditional=True)


def test_dates_are_times_in_days() -> None:
    one = fitted("Reaction ~ Days + (1 | Subject)", residual="exp(date | Subject)")
    two = fitted("Reaction ~ Days + (1 | Subject)", residual="exp(Days | Subject)")
    assert one.deviance == pytest.approx(two.deviance, abs=1e-9)


def test_a_saved_fit_answers_as_before(tmp_path: Path) -> None:
    fit = fitted("Reaction ~ Days + (1 | Subject)", residual="ar1(Days | Subject)", variance="ident(word)")
    fit.save(tmp_path / "fit.mm")
    again = mm.load(tmp_path / "fit.mm")
    assert str(again.summary()) == str(fit.summary())
    new = sleep().iloc[:12]
    pd.testing.assert_series_equal(again.predict(new, conditional=True), fit.predict(new, conditional=True))
    np.testing.assert_array_equal(again.simulate(2, seed=4), fit.simulate(2, seed=4))


def test_the_command_line_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", "sleepstudy", "Reaction ~ Days + (1 | Subject)", "--residual", "ar1(Days | Subject)"]
    assert main([*command, "--variance", "exp(Days)"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "residual ar1(Days | Subject), variance exp(Days)" in shown
    assert "rate(Days)" in shown
    assert main([*command, "--json", "-"]) == 2
    assert "--json is for models with independent residuals" in capsys.readouterr().err


BAD = {
    "residual is 3": {"residual": 3},
    "no covariance structure": {"residual": "foo(Days | Subject)"},
    "One covariance structure": {"residual": "ar1(Days | Subject) + cs(Days | Subject)"},
    "nugget is for correlations that fall": {"residual": "ar1(Days | Subject, nugget=True)"},
    "Behind the subject may stand": {"residual": "exp(Days | Subject, nugget)"},
    "no variance function": {"variance": "idnet(Subject)"},
    "joined by": {"variance": "ident(Subject) + power(Days)"},
    "cannot take zero": {"variance": "power(Days)"},
    "needs numbers": {"variance": "exp(word)"},
    "is constant": {"variance": "exp(one)"},
    "needs two levels": {"variance": "ident(one)"},
    "must be a positive number": {"sigma": 0},
    "sigma is 'x'": {"sigma": "x"},
    "has several": {"residual": "ar1h(word | Subject)", "sigma": 1.0},
    "two rows at one": {"residual": "ar1(one | Subject)"},
    "start is for models": {"residual": "ar1(Days | Subject)", "start": [1.0]},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_told(message: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=message):
        mm.lmer("Reaction ~ Days + (1 | Subject)", sleep(), **BAD[message])  # type: ignore[call-overload]


def test_a_model_without_anything_random_is_refused() -> None:
    with pytest.raises(mm.FormulaError, match="no random term"):
        mm.lmer("Reaction ~ Days", sleep(), sigma=1.0)


def test_structured_effects_are_refused() -> None:
    with pytest.raises(mm.FormulaError, match="have no structured covariances"):
        mm.lmer("Reaction ~ Days + cs(0 + word | Subject)", sleep(), variance="exp(Days)")


def test_absorbed_effects_are_refused() -> None:
    with pytest.raises(mm.FormulaError, match="absorbs fixed effects"):
        mm.lmer("Reaction ~ Days + fe(Subject)", sleep(), residual="ar1(Days | Subject)")


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
def test_refits_and_updates_keep_what_is_on_the_residuals() -> None:
    fit = fitted("Reaction ~ Days + (1 | Subject)", residual="ar1(Days | Subject)", variance="exp(Days)")
    again = fit.refit(sleep()["Reaction"])
    assert again.deviance == pytest.approx(fit.deviance, abs=1e-9)
    doubled = fit.refit(2 * sleep()["Reaction"])
    assert doubled.sigma == pytest.approx(2 * fit.sigma, rel=1e-6)
    smaller = fit.update(". ~ . - Days", reml=False)
    theirs = mm.lmer(
        "Reaction ~ (1 | Subject)", sleep(), residual="ar1(Days | Subject)", variance="exp(Days)", reml=False
    )
    assert isinstance(smaller, mm.CorrelatedResult)
    assert smaller.deviance == pytest.approx(theirs.deviance, abs=1e-8)
    plain = mm.lmer("Reaction ~ Days", sleep(), residual="ar1(Days | Subject)")
    assert plain.update(". ~ . + I(Days**2)").df_model_total == plain.df_model_total + 1


def test_subjects_that_are_too_large_are_refused() -> None:
    frame = pd.DataFrame({"y": np.sin(np.arange(3000.0)), "id": np.arange(3000) // 1600, "v": np.arange(3000)})
    with pytest.raises(mm.DesignError, match="a block has 1600 rows, more than 1500"):
        mm.lmer("y ~ 1", frame, residual="gau(v | id)")
    by_neighbours = mm.lmer("y ~ 1", frame, residual="ar1(v | id)", reml=False)
    with pytest.raises(mm.InferenceError, match="a level of id has 1600 rows, more than 1500"):
        by_neighbours.simulate(1)


def test_parts_that_cannot_be_told_apart_are_found() -> None:
    with pytest.warns(mm.IdentificationWarning, match="do not tell cs"):
        fit = mm.lmer("Reaction ~ Days + (1 | Subject)", sleep(), residual="cs(Days | Subject)")
    assert not fit.converged
    assert fit.optimizer.status == "not identified"


def test_effects_that_are_nothing_are_exact_zeros() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"id": np.repeat(np.arange(30), 5), "v": np.tile(np.arange(5), 30)})
    frame["y"] = rng.standard_normal(150)
    frame["y"] -= frame.groupby("id")["y"].transform("mean")
    with pytest.warns(mm.SingularFitWarning, match="random effects of id is singular"):
        fit = mm.lmer("y ~ 1 + (1 | id)", frame, residual="ar1(v | id)")
    assert isinstance(fit, mm.CorrelatedResult)
    assert fit.is_singular
    assert fit.varcorr["id"].iloc[0, 0] == 0
    assert fit.deviance == pytest.approx(mm.lmer("y ~ 1", frame, residual="ar1(v | id)").deviance, abs=1e-8)


def test_levels_are_refused_where_nothing_is_random() -> None:
    fit = fitted("Reaction ~ Days", residual="ar1(Days | Subject)", variance="exp(Days)")
    for ask in (fit.random_effects_frame, fit.coef_by_level):
        with pytest.raises(mm.InferenceError, match="has no random effects"):
            ask()
