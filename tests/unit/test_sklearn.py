"""The scikit-learn regressor: their own estimator checks, agreement with lmer, folds by level."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedmodels as mm

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from mixedmodels.sklearn import LevelFold, MixedModelClassifier, MixedModelRegressor  # noqa: E402

SLEEP = mm.load_dataset("sleepstudy")
X, Y = SLEEP[["Days", "Subject"]], SLEEP["Reaction"]


def _expected_to_fail(estimator: Any) -> dict[str, str]:
    """Return the check that, before scikit-learn 1.7, called the two classes otherwise in each fit that it compares."""
    is_old = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 7)
    name = "check_sample_weight_equivalence_on_dense_data"
    return {name: "classes are called otherwise"} if is_old and isinstance(estimator, MixedModelClassifier) else {}


@parametrize_with_checks([MixedModelRegressor(), MixedModelClassifier()], expected_failed_checks=_expected_to_fail)
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


def test_formulas_of_strangers_run_nothing() -> None:
    strange = "I(Days.clip(0, 5)) + (1 | Subject)"
    assert MixedModelRegressor(strange).fit(X, Y).result_ is not None
    with pytest.raises(mm.FormulaError, match=r"has 'Days.clip', which is no listed function"):
        MixedModelRegressor(strange, evaluate="restricted").fit(X, Y)
    listed = "log(Days + 1) + (1 | Subject)"
    restricted, python = (MixedModelRegressor(listed, evaluate=e).fit(X, Y) for e in ("restricted", "python"))
    np.testing.assert_array_equal(restricted.predict(X), python.predict(X))
    groups = MixedModelRegressor(evaluate="restricted").fit(X[["Days"]], Y, groups=X["Subject"])
    assert groups.result_.call.evaluate == "restricted"


@pytest.mark.parametrize("formula", [None, "Days + (1 | Subject)"])
def test_ways_to_evaluate_are_two(formula: str | None) -> None:
    with pytest.raises(mm.FormulaError, match=r"evaluate is 'restrict'; .* Did you mean 'restricted'\?"):
        MixedModelRegressor(formula, evaluate="restrict").fit(X if formula else X[["Days"]], Y)


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


@pytest.mark.parametrize("name", ["y", "response_"])
def test_columns_of_x_keep_their_names(name: str) -> None:
    extra = X.assign(**{name: np.arange(len(X)) % 7})
    fit = mm.lmer(f"Reaction ~ Days + {name} + (1 | Subject)", extra.assign(Reaction=Y))
    for left in ("", f"{name} ~", "Reaction ~"):
        ours = MixedModelRegressor(f"{left} Days + {name} + (1 | Subject)").fit(extra, Y)
        np.testing.assert_allclose(ours.coef_, fit.fe_params.iloc[1:], rtol=1e-6)


def test_names_that_the_regressor_needs_itself_are_refused() -> None:
    taken = X.assign(y=1.0, response_=np.arange(len(X)), weights_=np.arange(len(X)))
    regressor = MixedModelRegressor("Days + weights_ + (1 | Subject)")
    with pytest.raises(mm.DataError, match=r"X has a column 'response_'.*Rename that column"):
        regressor.fit(taken, Y)
    taken = taken.drop(columns="y")
    with pytest.raises(mm.DataError, match=r"X has a column 'weights_'.*Rename that column"):
        regressor.fit(taken, Y, sample_weight=np.ones(len(X)))
    assert regressor.fit(taken, Y).coef_.shape == (2,)


def test_messages_name_the_response_as_the_caller_does() -> None:
    for formula, name in (("Dais + (1 | Subject)", "y"), ("Reaction ~ Dais + (1 | Subject)", "Reaction")):
        with pytest.raises(mm.DataError, match=f"The columns are: Days, Subject, {name}\\."):
            MixedModelRegressor(formula).fit(X, Y)
    assert MixedModelRegressor("`my y` ~ Days + (1 | Subject)").fit(X, Y).result_.formula.startswith("`my y` ~")


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("interval", ["prediction", "confidence"])
def test_intervals_are_those_of_the_result(interval: str, level: float) -> None:
    new = pd.DataFrame({"Days": [0, 4, 12, 3], "Subject": ["308", "309", "310", "nobody"]}, index=list("abcd"))
    regressor = MixedModelRegressor("Days + (Days | Subject)").fit(X, Y)
    theirs = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).predict(
        new, interval=interval, level=level, new_levels="population"
    )
    limits = regressor.predict_interval(new, interval=interval, level=level)
    np.testing.assert_allclose(limits, theirs[["lower", "upper"]], rtol=1e-9)
    if interval == "prediction":
        mean, std = regressor.predict(new, return_std=True)
        np.testing.assert_array_equal(mean, regressor.predict(new))
        np.testing.assert_allclose(std, theirs["se"], rtol=1e-9)
        assert std[3] > std[1]  # nobody is met for the first time
    regressor.set_output(transform="pandas")
    assert list(regressor.predict_interval(new).index) == list(new.index)
    assert [list(part.index) for part in regressor.predict(new, return_std=True)] == 2 * [list("abcd")]


def test_intervals_of_groups_and_weights() -> None:
    w = np.linspace(1, 3, len(SLEEP))
    ours = MixedModelRegressor().fit(X[["Days"]].to_numpy(), Y, groups=X["Subject"], sample_weight=w)
    fit = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, weights=w)
    days, who = X[["Days"]].to_numpy()[:5], X["Subject"][:5]
    for weights in (None, w[:5]):
        theirs = fit.predict(SLEEP.head(5), interval="prediction", weights=1.0 if weights is None else weights)
        limits = ours.predict_interval(days, groups=who, sample_weight=weights)
        np.testing.assert_allclose(limits, theirs[["lower", "upper"]], rtol=1e-9)
    population = fit.predict(SLEEP.head(5), random_effects="population", interval="prediction", weights=1.0)
    np.testing.assert_allclose(ours.predict(days, return_std=True)[1], population["se"], rtol=1e-9)
    with pytest.raises(mm.InferenceError, match="sample_weight must be positive; the smallest is 0"):
        ours.predict_interval(days, sample_weight=[1, 0, 1, 1, 1])
    with pytest.raises(mm.DataError, match="sample_weight must not be negative; the smallest is -3"):
        MixedModelRegressor().fit(X[["Days"]], Y, sample_weight=-w)
    with pytest.raises(mm.InferenceError, match="it goes with interval='prediction'"):
        ours.predict_interval(days, interval="confidence", sample_weight=w[:5])
    with pytest.raises(mm.InferenceError, match="interval='both' is not available"):
        ours.predict_interval(days, interval="both")


@pytest.mark.parametrize("origin", [0.0, 1e9])
@pytest.mark.parametrize("weighted", [False, True])
def test_least_squares_has_the_intervals_of_statsmodels(weighted: bool, origin: float) -> None:
    rng = np.random.default_rng(1)
    A, new = rng.normal(size=(30, 3)), rng.normal(size=(6, 3))
    y, w = A @ [1.0, 2.0, 0.0] + rng.normal(size=30), rng.uniform(0.5, 3, 30) if weighted else np.ones(30)
    rounding = 1e-15 * origin  # of the data
    theirs = sm.WLS(y, sm.add_constant(A), weights=w).fit().get_prediction(sm.add_constant(new))
    frame = theirs.summary_frame(alpha=0.1)
    ours = MixedModelRegressor().fit(A + origin, y, sample_weight=w if weighted else None)
    limits = ours.predict_interval(new + origin, level=0.9)
    np.testing.assert_allclose(limits, frame[["obs_ci_lower", "obs_ci_upper"]], rtol=1e-9, atol=rounding)
    limits = ours.predict_interval(new + origin, interval="confidence", level=0.9)
    np.testing.assert_allclose(limits, frame[["mean_ci_lower", "mean_ci_upper"]], rtol=1e-9, atol=rounding)


def test_least_squares_says_where_it_cannot_tell() -> None:
    x = np.arange(8.0)
    ours = MixedModelRegressor().fit(np.column_stack([x, 2 * x]), x + np.resize([1, -1], 8))
    mean, std = ours.predict([[3.0, 6.0], [3.0, 7.0]], return_std=True)
    alone = MixedModelRegressor().fit(x[:, None], x + np.resize([1, -1], 8)).predict([[3.0]], return_std=True)
    np.testing.assert_allclose([mean[0], std[0]], np.ravel(alone))
    assert np.isnan(std[1])


def test_standard_deviations_come_through_a_pipeline() -> None:
    columns = ColumnTransformer([("scaled", StandardScaler(), ["Days"])], remainder="passthrough")
    columns.set_output(transform="pandas")
    model = MixedModelRegressor("scaled__Days + (scaled__Days | remainder__Subject)")
    pipeline = clone(Pipeline([("columns", columns), ("model", model)])).fit(X, Y)
    mean, std = pipeline.predict(X.head(4), return_std=True)
    theirs = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).predict(X.head(4), interval="prediction")
    np.testing.assert_allclose(mean, theirs["mean"], rtol=1e-6)
    np.testing.assert_allclose(std, theirs["se"], rtol=1e-5)
    again = pickle.loads(pickle.dumps(MixedModelRegressor().fit(X[["Days"]], Y)))
    assert again.predict_interval(X[["Days"]]).shape == (180, 2)


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


def cows() -> pd.DataFrame:
    """Return cbpp with a row a cow."""
    herds = mm.load_dataset("cbpp")
    out = herds.loc[herds.index.repeat(herds["size"])].reset_index()
    out["sick"] = np.where(out.groupby("index").cumcount() < out["incidence"], "yes", "no")
    return out


CBPP = cows()
COWS, SICK = CBPP[["period", "herd", "size"]], CBPP["sick"]


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_a_classifier_is_fitted_as_by_glmer() -> None:
    ours = MixedModelClassifier("period + (1 | herd)", n_agq=5).fit(COWS, SICK)
    fit = mm.glmer("sick ~ period + (1 | herd)", CBPP, n_agq=5)
    assert ours.result_.deviance == pytest.approx(fit.deviance)
    assert list(ours.classes_) == ["no", "yes"]
    chances = ours.predict_proba(COWS)
    np.testing.assert_allclose(chances[:, 1], fit.fittedvalues, rtol=1e-7)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(ours.predict(COWS), np.where(fit.fittedvalues > 0.5, "yes", "no"))
    np.testing.assert_allclose(ours.coef_[0], fit.fe_params.iloc[1:], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_herds_that_were_not_there_are_averaged_over() -> None:
    new = COWS.head(4).assign(herd="new")
    fit = mm.glmer("sick ~ period + (1 | herd)", CBPP)
    for new_levels, random_effects in (("averaged", "averaged"), ("population", "population")):
        ours = MixedModelClassifier("period + (1 | herd)", new_levels=new_levels).fit(COWS, SICK)
        expected = fit.predict(new, random_effects=random_effects, new_levels="population")
        np.testing.assert_allclose(ours.predict_proba(new)[:, 1], expected, rtol=1e-6)
        known = ours.predict_proba(pd.concat([new, COWS.head(3)]))[4:, 1]
        np.testing.assert_allclose(known, fit.fittedvalues.head(3), rtol=1e-6)
    with pytest.raises(mm.DataError, match="new"):
        MixedModelClassifier("period + (1 | herd)", new_levels="raise").fit(COWS, SICK).predict(new)
    with pytest.raises(mm.InferenceError, match="must be one of 'raise', 'population', 'averaged'"):
        fit.predict(new, new_levels="mean")
    with pytest.raises(mm.InferenceError, match="means without intervals"):
        fit.predict(new, new_levels="averaged", interval="confidence")


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_one_of_two_factors_new_is_averaged_over_alone() -> None:
    """The mean over draws of the new factor's effects, those of the known one kept."""
    rng = np.random.default_rng(6)
    g, h, x = rng.integers(0, 10, 400), rng.integers(0, 8, 400), rng.standard_normal(400)
    eta = x + rng.standard_normal(10)[g] + 1.5 * rng.standard_normal(8)[h]
    data = pd.DataFrame({"y": rng.random(400) < 1 / (1 + np.exp(-eta)), "x": x, "g": g, "h": h})
    fit = mm.glmer("y ~ x + (1 | g) + (1 | h)", data)
    row = data.head(1).assign(h=99)
    base = float(fit.predict(row, scale="link", new_levels="population").iloc[0])
    z, w = np.polynomial.hermite_e.hermegauss(60)
    sd = fit.theta.iloc[next(i for i, f in enumerate(fit.state.design.factors) if f.name == "h")]
    expected = (w / w.sum()) @ (1 / (1 + np.exp(-base - sd * z)))
    assert float(fit.predict(row, new_levels="averaged").iloc[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_groups_ordered_classes_and_plain_logistic_regression() -> None:
    numbers = CBPP[["size"]].astype(float)
    grouped = MixedModelClassifier().fit(numbers, SICK, groups=CBPP["herd"])
    fit = mm.glmer("sick ~ size + (1 | herd)", CBPP)
    np.testing.assert_allclose(grouped.predict_proba(numbers, groups=CBPP["herd"])[:, 1], fit.fittedvalues, rtol=1e-5)
    averaged = fit.predict(random_effects="averaged")
    np.testing.assert_allclose(grouped.predict_proba(numbers)[:, 1], averaged, rtol=1e-5)
    plain = MixedModelClassifier().fit(numbers, SICK)
    logit = sm.Logit((SICK == "yes").astype(float), sm.add_constant(numbers)).fit(disp=0)
    np.testing.assert_allclose([plain.intercept_[0], plain.coef_[0, 0]], logit.params, rtol=1e-6)
    many = np.minimum(CBPP["incidence"], 3)
    ordinal = MixedModelClassifier("size + (1 | herd)", family="ordinal").fit(CBPP, many).set_output(transform="pandas")
    theirs = mm.glmer("many ~ size + (1 | herd)", CBPP.assign(many=many), "ordinal")
    pd.testing.assert_frame_equal(
        ordinal.predict_proba(CBPP), theirs.fittedvalues, check_names=False, check_column_type=False, rtol=1e-5
    )
    np.testing.assert_allclose(-ordinal.intercept_, theirs.thresholds, rtol=1e-5)
    assert set(ordinal.predict(CBPP)) <= {0, 1, 2, 3}


def test_what_the_classifier_refuses() -> None:
    with pytest.raises(mm.DataError, match=r"y has 4 classes\. If they are ordered"):
        MixedModelClassifier("size + (1 | herd)").fit(CBPP, np.minimum(CBPP["incidence"], 3))
    with pytest.raises(mm.DataError, match="must be 'binomial' or 'ordinal'"):
        MixedModelClassifier("size + (1 | herd)", family="poisson").fit(CBPP, SICK)
    with pytest.raises(mm.FormulaError, match="it is logistic regression"):
        MixedModelClassifier(link="probit").fit(CBPP[["size"]], SICK)
    with pytest.raises(mm.DataError, match="one class, 'yes'"):
        MixedModelClassifier("size + (1 | herd)").fit(CBPP, np.full(len(CBPP), "yes"))
