"""Predictions, comparisons and slopes by marginaleffects, with our covariance and degrees of freedom."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

me = pytest.importorskip("marginaleffects")
pl = pytest.importorskip("polars")

SLEEP = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
CAKE = mm.lmer("angle ~ recipe * temp + (1 | replicate/recipe)", mm.load_dataset("cake"))
COLUMNS = ["estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper"]

pytestmark = pytest.mark.filterwarnings("ignore:.*get_categories:DeprecationWarning")

categories = pytest.mark.skipif(
    tuple(map(int, version("polars").split(".")[:1])) >= (2,) and version("marginaleffects") == "0.6.0",
    reason="marginaleffects 0.6.0 calls what polars 2 removed when a variable is categorical",
)


def same(result: object, table: pd.DataFrame, rtol: float = 1e-6) -> None:
    """Compare a result of theirs, rows in the same order, with a table of ours."""
    theirs = result.data.rename({"conf_low": "ci_lower", "conf_high": "ci_upper"})
    for column in COLUMNS:
        np.testing.assert_allclose(theirs[column].to_numpy(), table[column], rtol=rtol, err_msg=column)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "robust", "normal"])
def test_a_slope_is_the_coefficient(ddf: str) -> None:
    model = SLEEP.to_marginaleffects(ddf)
    same(model.with_df(me.avg_slopes(model, variables="Days", eps_vcov=1.0)), SLEEP.coef_table(ddf).loc[["Days"]], 1e-5)


def test_predictions_are_of_the_population() -> None:
    model = SLEEP.to_marginaleffects()
    new = pl.DataFrame({"Reaction": [0.0, 0.0], "Days": [0, 9]})
    same(model.with_df(me.predictions(model, newdata=new)), SLEEP.margins("Days", at={"Days": [0, 9]}), 1e-5)
    plain = me.predictions(model, newdata=new)
    np.testing.assert_allclose(plain.data["estimate"], SLEEP.predict(new.to_pandas(), random_effects="population"))


def test_transformed_variables() -> None:
    data = mm.load_dataset("sleepstudy")
    fit = mm.lmer("log(Reaction) ~ log1p(Days) + (1 | Subject)", data)
    model = fit.to_marginaleffects()
    new = data[["Days"]].head(1)
    slope = model.with_df(me.slopes(model, variables="Days", newdata=pl.from_pandas(new))).data
    row = fit.coef_table().loc["log1p(Days)"]
    np.testing.assert_allclose([slope["df"][0], slope["estimate"][0]], row[["df", "estimate"]], rtol=1e-3)
    grid = me.predictions(model, newdata=pl.DataFrame({"Days": [2, 9]})).data["estimate"]
    np.testing.assert_allclose(grid, fit.predict(pd.DataFrame({"Days": [2, 9]}), random_effects="population"))


def test_all_rows_share_the_smallest_df_without_with_df() -> None:
    assert CAKE.to_marginaleffects().df_resid == pytest.approx(CAKE.coef_table()["df"].min())


@categories
def test_comparisons_of_categories_are_margins() -> None:
    model = CAKE.to_marginaleffects("kenward-roger")
    grid = me.datagrid(model=model, temp=200)
    result = model.with_df(me.comparisons(model, variables={"recipe": "revpairwise"}, newdata=grid, eps_vcov=1.0))
    same(result, CAKE.margins("recipe", at={"temp": 200}, pairwise=True, adjust="none", ddf="kenward-roger"), 1e-5)


@categories
def test_average_predictions_by_group() -> None:
    model = CAKE.to_marginaleffects()
    result = model.with_df(me.avg_predictions(model, by="recipe", eps_vcov=1.0))
    same(result, CAKE.margins("recipe"), 1e-5)


def test_refusals() -> None:
    model = SLEEP.to_marginaleffects()
    with pytest.raises(mm.InferenceError, match="with_df needs a result with standard errors"):
        model.with_df(me.avg_slopes(model, variables="Days", vcov=False))
    with pytest.raises(mm.InferenceError, match=r"vcov='HC3' is not read here.*ddf='HC3'"):
        me.avg_slopes(model, variables="Days", vcov="HC3")
    offset = mm.lmer("Reaction ~ 1 + offset(Days) + (1 | Subject)", mm.load_dataset("sleepstudy"))
    with pytest.raises(mm.InferenceError, match="marginaleffects knows no offsets"):
        offset.to_marginaleffects()
    none = mm.lmer("Reaction ~ 0 + (1 | Subject)", mm.load_dataset("sleepstudy"))
    with pytest.raises(mm.InferenceError, match="this fit has none"):
        none.to_marginaleffects()
    with pytest.raises(mm.InferenceError, match="ddf='kr' is not available"):
        SLEEP.to_marginaleffects("kr")


CBPP = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", mm.load_dataset("cbpp"), "binomial")
GROUSE = mm.glmer("TICKS ~ YEAR + cHEIGHT + (1 | LOCATION)", load("grouseticks"), "poisson")


@categories
@pytest.mark.parametrize("fit", [CBPP, GROUSE], ids=["logit", "log"])
def test_average_means_have_the_errors_of_the_delta_method(fit: mm.GlmmResult) -> None:
    X, family = fit.state.design.X, fit.state.family
    eta = X @ fit.fe_params.to_numpy()
    J = (family.slope(eta)[:, None] * X).mean(axis=0)
    found = me.avg_predictions(fit.to_marginaleffects()).data
    np.testing.assert_allclose(found["estimate"][0], family.mean(eta).mean(), rtol=1e-10)
    np.testing.assert_allclose(found["std_error"][0], np.sqrt(J @ fit.cov_fe.to_numpy() @ J), rtol=1e-4)


@categories
def test_means_of_generalised_models_are_predictions() -> None:
    new = load("grouseticks")[["YEAR", "cHEIGHT", "LOCATION", "TICKS"]].head(4)
    theirs = pl.from_pandas(new.assign(YEAR=new["YEAR"].astype(str), LOCATION=new["LOCATION"].astype(str)))
    for scale in ("response", "link"):
        found = me.predictions(GROUSE.to_marginaleffects(scale), newdata=theirs).data["estimate"]
        ours = GROUSE.predict(new, scale=scale, random_effects="population")
        np.testing.assert_allclose(found, ours, rtol=1e-10)


def test_generalised_models_without_a_mean_are_refused() -> None:
    with pytest.raises(mm.InferenceError, match="have no mean"):
        mm.glmer("rating ~ temp + contact + (1 | judge)", load("wine"), "ordinal").to_marginaleffects()
    with pytest.raises(mm.InferenceError, match="scale"):
        CBPP.to_marginaleffects("odds")
