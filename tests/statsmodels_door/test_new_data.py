"""Predictions of a MixedLM for new rows: lmer's numbers where the model is the same, its own rows' elsewhere."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels import MixedLM, mixedlm

SLEEP = load("sleepstudy").astype({"Subject": str})
PASTES = load("Pastes").astype({"batch": str, "cask": str})
NEW_SLEEP = SLEEP.iloc[[3, 20, 40, 60]].assign(Days=[11, 2, 3, 4], Subject=["308", "330", "none", "308"])
NEW_PASTES = PASTES.iloc[[7, 20, 33, 59]].assign(batch=["A", "B", "none", "J"], cask=["b", "none", "c", "a"])
CASKS: dict[str, Any] = {"groups": "batch", "re_formula": "1", "vc_formula": {"cask": "0 + cask"}}
DAYS = {"0 + center(Days)", "1 + center(Days)", "1 + C(Days > 4)", "0 + Days", "0 + bs(Days, df=3)"}
kinds = pytest.mark.parametrize("interval", ["confidence", "prediction"])
wheres = pytest.mark.parametrize("where", ["conditional", "population"])


def columns(data: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(data)), data["Days"]])


def cask_designs(data: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    labels = sorted(set(PASTES["cask"]))
    return {"cask": {k: np.array([[c == l for l in labels] for c in its.cask]) for k, its in data.groupby("batch")}}


@kinds
@wheres
@pytest.mark.parametrize("correction", [None, "kackar-harville"])
def test_intervals_with_random_slopes_are_lmers(interval: str, where: str, correction: str | None) -> None:
    asked: dict[str, Any] = {"random_effects": where, "interval": interval, "correction": correction}
    expected = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).predict(NEW_SLEEP, new_levels="population", **asked)
    X, groups = columns(NEW_SLEEP), NEW_SLEEP["Subject"]
    by_name = mixedlm("Reaction ~ Days", SLEEP, groups="Subject", re_formula="~Days").fit()
    by_labels = mixedlm("Reaction ~ Days", SLEEP, groups=SLEEP["Subject"].tolist(), re_formula="~Days").fit()
    arrays = MixedLM(SLEEP["Reaction"], columns(SLEEP), SLEEP["Subject"], exog_re=columns(SLEEP)).fit()
    for found in (
        by_name.predict(NEW_SLEEP, **asked),
        by_name.as_lmm_result().predict(NEW_SLEEP, new_levels="population", **asked),
        by_labels.predict(NEW_SLEEP, groups=groups.tolist(), **asked),
        arrays.predict(X, groups=groups, exog_re=X, **asked),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    pd.testing.assert_index_equal(by_name.predict(NEW_SLEEP, **asked).index, NEW_SLEEP.index)


@kinds
@wheres
def test_intervals_with_nested_components_are_lmers(interval: str, where: str) -> None:
    asked: dict[str, Any] = {"random_effects": where, "interval": interval}
    same = mm.lmer("strength ~ 1 + (1 | batch) + (1 | cask:batch)", PASTES)
    by_formula = mixedlm("strength ~ 1", PASTES, **CASKS).fit()
    expected = same.predict(NEW_PASTES, new_levels="population", **asked)
    np.testing.assert_allclose(by_formula.predict(NEW_PASTES, **asked), expected, rtol=1e-7)
    if where == "population":
        without = NEW_PASTES[["batch"]]
        np.testing.assert_allclose(by_formula.predict(without, **asked), expected, rtol=1e-7)
    ones, known = np.ones((len(PASTES), 1)), PASTES.iloc[[7, 20, 33, 59, 58]]
    vc = cask_designs(PASTES)
    with pytest.warns(FutureWarning, match="deprecated"):
        arrays = MixedLM(PASTES["strength"], ones, PASTES["batch"], exog_re=ones, exog_vc=vc).fit()
    found = arrays.predict(ones[:5], groups=known["batch"], exog_vc=cask_designs(known), **asked)
    np.testing.assert_allclose(found, same.predict(known, **asked), rtol=1e-7)


@kinds
def test_intervals_with_a_crossed_component_are_lmers(interval: str) -> None:
    data = load("Penicillin").assign(all=1)
    components = {"plate": "0 + plate", "sample": "0 + sample"}
    fit = mixedlm("diameter ~ 1", data, groups="all", vc_formula=components).fit()
    same = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    rows = data.iloc[[0, 50, 143]]
    found = fit.predict(rows, random_effects="conditional", interval=interval)
    np.testing.assert_allclose(found, same.predict(rows, interval=interval), rtol=1e-6)


def test_a_component_named_as_the_groups() -> None:
    fit = mixedlm("strength ~ 1", PASTES, groups="batch", re_formula="1", vc_formula={"batch": "0 + cask"}).fit()
    rows = PASTES.iloc[[59, 2, 31]]
    found = fit.predict(rows, random_effects="conditional")
    np.testing.assert_allclose(found, fit.fittedvalues[[59, 2, 31]], rtol=1e-10)


@pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
@pytest.mark.parametrize("formula", sorted(DAYS))
def test_the_same_rows_have_the_fitted_values(formula: str) -> None:
    fit = mixedlm("Reaction ~ Days", SLEEP, groups="Subject", vc_formula={"days": formula}).fit()
    rows, asked = [1, 100, 30], {"random_effects": "conditional", "interval": "prediction"}
    for same in (fit, pickle.loads(pickle.dumps(fit))):
        found = same.predict(SLEEP.iloc[rows], random_effects="conditional")
        np.testing.assert_allclose(found, fit.fittedvalues.iloc[rows], rtol=1e-10)
        np.testing.assert_allclose(same.predict(SLEEP.iloc[rows], **asked), same.predict(**asked).iloc[rows], rtol=1e-7)


def test_coefficients_that_remember() -> None:
    fit = mixedlm("Reaction ~ Days", SLEEP, groups=SLEEP["Subject"], re_formula="center(Days)").fit()
    rows = SLEEP.iloc[[5, 77]]
    found = fit.predict(rows, groups=rows["Subject"], random_effects="conditional")
    np.testing.assert_allclose(found, fit.fittedvalues.iloc[[5, 77]], rtol=1e-10)


def test_draws_for_new_rows_have_lmers_distribution() -> None:
    same = mm.lmer("Reaction ~ Days + (1 | Subject)", SLEEP)
    fit = mixedlm("Reaction ~ Days", SLEEP, groups="Subject").fit()
    for random_effects in ("new", "conditional"):
        asked: dict[str, Any] = {"seed": 1, "data": NEW_SLEEP, "random_effects": random_effects}
        np.testing.assert_allclose(fit.simulate(2, **asked), same.simulate(2, **asked), rtol=1e-6)


def test_a_row_as_a_series() -> None:
    data = load("dietox")
    fit = mixedlm("Weight ~ Time + C(Cu)", data, groups="Pig").fit()
    for where in ("conditional", "population"):
        found = fit.predict(data.iloc[7], random_effects=where)
        assert found.index.tolist() == [7]
        assert found[7] == pytest.approx(fit.predict(data[7:8], random_effects=where)[7])
    frame = pd.DataFrame(columns(SLEEP), columns=["const", "Days"])
    arrays = MixedLM(SLEEP["Reaction"], frame, SLEEP["Subject"]).fit()
    assert arrays.predict(frame.iloc[7]).tolist() == pytest.approx([arrays.predict()[7]])
    assert arrays.predict(columns(SLEEP)[7]).tolist() == pytest.approx([arrays.predict()[7]])


def test_rows_without_a_group_and_groups_that_are_new() -> None:
    fit = mixedlm("Reaction ~ Days", SLEEP, groups="Subject").fit()
    rows = NEW_SLEEP.assign(Subject=["308", None, "none", "330"])
    plain = fit.predict(rows, random_effects="conditional")
    table = fit.predict(rows, random_effects="conditional", interval="prediction")
    pd.testing.assert_series_equal(plain, table["mean"], check_names=False)
    assert plain.isna().tolist() == [False, True, False, False]
    with pytest.raises(mm.DataError, match=r"Row 2 \(counted from 0\) has the level 'none' of 'Subject'"):
        fit.predict(rows, random_effects="conditional", new_levels="raise")


def test_what_new_rows_need() -> None:
    by_labels = mixedlm("Reaction ~ Days", SLEEP, groups=SLEEP["Subject"], re_formula="~Days").fit()
    conditional: dict[str, Any] = {"random_effects": "conditional"}
    with pytest.raises(mm.DataError, match="need their groups"):
        by_labels.predict(NEW_SLEEP, **conditional)
    with pytest.raises(mm.DataError, match=r"groups has the shape \(2,\), but there are 4 new rows"):
        by_labels.predict(NEW_SLEEP, groups=["308", "330"], **conditional)
    with pytest.raises(mm.DataError, match=r"groups, exog_re and exog_vc describe new rows"):
        by_labels.predict(groups=["308"], **conditional)
    X = columns(SLEEP)
    arrays = MixedLM(SLEEP["Reaction"], X, SLEEP["Subject"], exog_re=X).fit()
    with pytest.raises(mm.DataError, match="columns of their coefficients: exog_re"):
        arrays.predict(X[:3], groups=SLEEP["Subject"][:3], **conditional)
    with pytest.raises(mm.DataError, match=r"exog_re has the shape \(3, 1\); there are 3 new rows and 2 random"):
        arrays.predict(X[:3], groups=SLEEP["Subject"][:3], exog_re=X[:3, 1], **conditional)
    ones, vc = np.ones((len(PASTES), 1)), cask_designs(PASTES)
    with pytest.warns(FutureWarning, match="deprecated"):
        nested = MixedLM(PASTES["strength"], ones, PASTES["batch"], exog_vc=vc).fit()
    with pytest.raises(mm.DataError, match=r"'cask' was given as matrices\. New rows need theirs"):
        nested.predict(ones[:3], groups=PASTES["batch"][:3], **conditional)
    with pytest.raises(mm.DataError, match=r"in group 'A' has the shape \(3, 2\); there are 3 new rows and 3 columns"):
        nested.predict(ones[:3], groups=PASTES["batch"][:3], exog_vc={"cask": {"A": np.ones((3, 2))}}, **conditional)


def test_infinite_values_have_no_interval() -> None:
    """They took the standard errors of all rows along; without an interval they stay, as in statsmodels."""
    fit = mixedlm("Reaction ~ np.log(Days + 1)", SLEEP, groups="Subject").fit()
    rows = SLEEP.head(20).assign(Days=[-1.0, *range(19)])
    assert np.isneginf(fit.predict(rows)).tolist() == [True] + [False] * 19
    with pytest.raises(mm.DataError, match=r"'np\.log\(Days \+ 1\)' is infinite in 1 of 20 rows, the first row 0"):
        fit.predict(rows, interval="confidence")
