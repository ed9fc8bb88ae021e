"""The door: what goes in, what comes out, and what it warns of."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

SLEEP = "Reaction ~ Days + (Days | Subject)"


def dropped_rows() -> pd.DataFrame:
    data = load("sleepstudy")
    return data.assign(Reaction=data["Reaction"].where(data.index != 3))


WARNED = [
    ("Reaction ~ Days + (1 | Subject)", dropped_rows(), None, mm.DroppedRowsWarning, "1 of 180 rows"),
    (
        "Reaction ~ Days + I(2 * Days) + (1 | Subject)",
        load("sleepstudy"),
        None,
        mm.RankDeficiencyWarning,
        "was dropped",
    ),
    ("Yield ~ 1 + (1 | Batch)", load("Dyestuff2"), None, mm.SingularFitWarning, "variance of Intercept in Batch"),
    (SLEEP, load("sleepstudy"), mm.Control(max_iterations=1, n_starts=1), mm.ConvergenceWarning, "Not converged"),
]


@pytest.mark.parametrize(
    ("formula", "data", "control", "category", "words"), WARNED, ids=lambda x: getattr(x, "__name__", "")
)
def test_findings_that_matter_are_warned_of_at_the_callers_line(
    formula: str, data: pd.DataFrame, control: mm.Control | None, category: type[Warning], words: str
) -> None:
    for fit in (
        lambda: mm.lmer(formula, data, control=control),
        lambda: mm.LinearMixedModel(formula, data).fit(control=control),
    ):
        with pytest.warns(category, match=words) as record:
            fit()
        assert len(record) == 1
        assert record[0].filename == __file__


def test_a_clean_fit_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = mm.lmer(SLEEP, load("sleepstudy"))
    assert fit.findings == ()


def test_model_and_function_agree() -> None:
    model, fit = mm.LinearMixedModel(SLEEP, load("sleepstudy")), mm.lmer(SLEEP, load("sleepstudy"), reml=False)
    assert model.fit(reml=False).deviance == pytest.approx(fit.deviance, abs=1e-9)
    assert model.deviance(fit.theta, reml=False) == pytest.approx(fit.deviance, abs=1e-8)
    assert np.abs(model.gradient(fit.theta, reml=False)).max() < 1e-3
    assert (
        model.theta_names == tuple(fit.theta.index) == ("Subject.Intercept", "Subject.Days.Intercept", "Subject.Days")
    )
    assert repr(model) == "<LinearMixedModel: Reaction ~ Days + (Days | Subject); 180 observations>"


def test_data_are_not_changed() -> None:
    data = load("sleepstudy")
    before = data.copy()
    mm.lmer(SLEEP, data)
    pd.testing.assert_frame_equal(data, before)


def test_what_happens_to_the_data_later_does_not_reach_the_model() -> None:
    data = load("sleepstudy")
    fit = mm.lmer(SLEEP, data)
    data["Reaction"] = 0.0
    assert fit.update(". ~ .").deviance == pytest.approx(fit.deviance, abs=1e-9)
    columns = {name: load("sleepstudy")[name].to_numpy() for name in ("Reaction", "Days", "Subject")}
    fit = mm.lmer(SLEEP, columns)
    columns["Reaction"] = np.zeros(180)
    assert fit.update(". ~ .").deviance == pytest.approx(fit.deviance, abs=1e-9)


def test_unknown_arguments_are_errors() -> None:
    with pytest.raises(TypeError, match="wieghts"):
        mm.lmer(SLEEP, load("sleepstudy"), wieghts="Days")


def test_wrong_arguments_are_named() -> None:
    data = load("sleepstudy")
    model = mm.LinearMixedModel(SLEEP, data)
    fit = model.fit()
    for question, message in (
        (lambda: fit.conf_int(which=3), "There is no parameter 3"),
        (lambda: fit.profile(5), "There is no parameter 5 to profile"),
        (lambda: fit.update(formula=3), "The formula is 3; it must be a text"),
        (lambda: fit.influence(by=3), "3"),
        (lambda: fit.bootstrap(5, kind="cases", level_of=3), "There is no grouping factor 3"),
        (lambda: fit.variance_parameters(scale=None), "scale=None is not available"),
        (lambda: fit.tidy(effects=()), "effects is empty"),
        (lambda: mm.compare(fit, fit.update(reml=False), refit="no"), "refit is 'no'; it must be True"),
        (lambda: mm.lmer(SLEEP, data, contrasts=3), "contrasts is 3; it must be a coding of all factors"),
        (lambda: model.deviance([1.0, 0.0, 1.0], reml="x"), "reml is 'x'; it must be True"),
        (lambda: model.gradient([1.0, 0.0, 1.0], reml="x"), "reml is 'x'; it must be True"),
    ):
        with pytest.raises(mm.MixedModelsError, match=message):
            question()


def test_errors_are_of_one_tree() -> None:
    for formula, category in (("Reaction ~ Days", mm.FormulaError), ("Reaction ~ Day + (1 | Subject)", mm.DataError)):
        with pytest.raises(category) as caught:
            mm.lmer(formula, load("sleepstudy"))
        assert isinstance(caught.value, mm.MixedModelsError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.filterwarnings("ignore::mixedmodels.ConvergenceWarning")  # the criterion is flat
def test_a_variance_that_reml_cannot_see_is_refused_by_the_doors_and_said_by_the_model() -> None:
    data, formula = load("sleepstudy"), "Reaction ~ Days + Subject + (1 | Subject)"
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", data)
    for door in (lambda: mm.lmer(formula, data), lambda: fit.update(". ~ . + Subject")):
        with pytest.raises(mm.DesignError, match="of every level of 'Subject' already"):
            door()
    with pytest.warns(mm.IdentificationWarning, match="cannot tell the variance of Intercept in Subject"):
        said = mm.LinearMixedModel(formula, data).fit()
    table = said.coef_table()
    assert table.loc["Intercept", ["std_error", "df", "p_value", "ci_lower"]].isna().all()
    # within subjects nothing depends on the variance between them: least squares
    X = np.column_stack([pd.get_dummies(data["Subject"]).to_numpy(float), data["Days"]])
    residual = data["Reaction"] - X @ np.linalg.lstsq(X, data["Reaction"], rcond=None)[0]
    variance = residual @ residual / (180 - 19) * np.linalg.inv(X.T @ X)[-1, -1]
    assert table.loc["Days", "std_error"] == pytest.approx(np.sqrt(variance), rel=1e-8)
    assert table.loc["Days", "df"] == pytest.approx(161, rel=1e-5)
    with pytest.warns(mm.SingularFitWarning):
        assert mm.lmer(formula, data, reml=False).theta.tolist() == [0.0]
