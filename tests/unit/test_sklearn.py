"""The scikit-learn regressor: their own estimator checks, agreement with lmer, folds by level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from mixedmodels.sklearn import LevelFold, MixedModelRegressor  # noqa: E402

SLEEP = mm.load_dataset("sleepstudy")
X, Y = SLEEP[["Days", "Subject"]], SLEEP["Reaction"]


@parametrize_with_checks([MixedModelRegressor()])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_formula_is_fitted_as_by_lmer() -> None:
    ours = MixedModelRegressor("Days + (Days | Subject)").fit(X, Y)
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert ours.result_.deviance == pytest.approx(fit.deviance)
    np.testing.assert_allclose(ours.predict(X), fit.fittedvalues, rtol=1e-9)
    assert ours.intercept_ == pytest.approx(fit.fe_params["Intercept"])
    np.testing.assert_allclose(ours.coef_, [fit.fe_params["Days"]])


def test_groups_make_a_random_intercept() -> None:
    ours = MixedModelRegressor().fit(X[["Days"]], Y, groups=X["Subject"])
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    np.testing.assert_allclose(ours.predict(X[["Days"]], groups=X["Subject"]), fit.fittedvalues, rtol=1e-9)
    population = fit.predict(random_effects="population")
    np.testing.assert_allclose(ours.predict(X[["Days"]]), population, rtol=1e-9)


def test_weights() -> None:
    w = np.linspace(1, 3, len(SLEEP))
    ours = MixedModelRegressor("Days + (1 | Subject)").fit(X, Y, sample_weight=w)
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, weights=w)
    assert ours.result_.deviance == pytest.approx(fit.deviance)


def test_pandas_output_and_clones() -> None:
    ours = clone(MixedModelRegressor("Days + (Days | Subject)")).fit(X, Y).set_output(transform="pandas")
    rows = X.iloc[[5, 7]].set_axis(["a", "b"])
    predicted = ours.predict(rows)
    assert isinstance(predicted, pd.Series)
    assert list(predicted.index) == ["a", "b"]


def test_folds_keep_levels_together() -> None:
    folds = LevelFold("Subject", 6)
    for train, test in folds.split(X):
        assert not set(X["Subject"].iloc[train]) & set(X["Subject"].iloc[test])
    scores = cross_val_score(MixedModelRegressor("Days + (Days | Subject)"), X, Y, cv=folds)
    assert len(scores) == folds.get_n_splits() == 6


@pytest.mark.parametrize("formula", ["log(Reaction) ~ Days + (1 | Subject)", "a + b ~ Days + (1 | Subject)"])
def test_a_transformed_response_is_not_lost(formula: str) -> None:
    with pytest.raises(mm.FormulaError, match="TransformedTargetRegressor"):
        MixedModelRegressor(formula).fit(X, Y)


@pytest.mark.parametrize("left", ["", "~", "Reaction ~", "`my y` ~"])
def test_a_name_of_the_response_changes_nothing(left: str) -> None:
    named = MixedModelRegressor(f"{left} Days + (1 | Subject)").fit(X, Y)
    np.testing.assert_array_equal(named.coef_, MixedModelRegressor("Days + (1 | Subject)").fit(X, Y).coef_)


@pytest.mark.parametrize("arguments", [{"random_effects": "foo"}, {"random_effects": None}, {"new_levels": "drop"}])
def test_choices_for_predictions_are_checked_by_fit(arguments: dict[str, Any]) -> None:
    said = f"{next(iter(arguments))}.*it must be"
    for formula in ("Days + (1 | Subject)", None):
        with pytest.raises(mm.InferenceError, match=said):
            MixedModelRegressor(formula, **arguments).fit(X[["Days"]] if formula is None else X, Y)


def test_lengths_must_agree() -> None:
    said = "inconsistent numbers of samples"
    with pytest.raises(ValueError, match=said):
        MixedModelRegressor("Days + (1 | Subject)").fit(X, Y.head(3))
    with pytest.raises(ValueError, match=said):
        MixedModelRegressor().fit(X[["Days"]], Y, groups=X["Subject"].head(3))
    with pytest.raises(ValueError, match="y to be passed"):
        MixedModelRegressor("Days + (1 | Subject)").fit(X, None)
    fitted = MixedModelRegressor().fit(X[["Days"]], Y, groups=X["Subject"])
    with pytest.raises(ValueError, match=said):
        fitted.predict(X[["Days"]], groups=X["Subject"].head(3))


@pytest.mark.parametrize("name", ["response_", "weights_"])
def test_columns_with_the_regressors_own_names_are_refused(name: str) -> None:
    taken = X.assign(**{name: np.arange(len(X))})
    regressor = MixedModelRegressor(f"Days + {name} + (1 | Subject)")
    with pytest.raises(mm.DataError, match=f"X has a column '{name}'.*Rename that column"):
        regressor.fit(taken, Y, sample_weight=np.ones(len(X)))
    if name == "weights_":
        assert regressor.fit(taken, Y).coef_.shape == (2,)


def test_bad_input() -> None:
    with pytest.raises(mm.FormulaError, match="groups= goes with formula=None"):
        MixedModelRegressor("Days + (1 | Subject)").fit(X, Y, groups=X["Subject"])
    with pytest.raises(mm.DataError, match="has 18 levels, fewer than 20 folds"):
        next(LevelFold("Subject", 20).split(X))
    with pytest.raises(mm.DataError, match="the column 'subject'"):
        next(LevelFold("subject").split(X))
    with pytest.raises(mm.DataError, match="transform='polars'"):
        MixedModelRegressor().set_output(transform="polars")
    strict = MixedModelRegressor("Days + (1 | Subject)", new_levels="raise").fit(X, Y)
    with pytest.raises(mm.DataError, match="'nobody'"):
        strict.predict(pd.DataFrame({"Days": [1.0], "Subject": ["nobody"]}))
