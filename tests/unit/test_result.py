"""The result: every answer comes from the state, and another fit never changes it."""

from __future__ import annotations

import json
import pickle
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mixedmodels as mm
from data_loader import load
from fixed_theta import reference_state
from mixedmodels.result.lmm import LmmResult

SLEEP = "Reaction ~ Days + (Days | Subject)"


@cache
def sleep_fit() -> LmmResult:
    return mm.lmer(SLEEP, load("sleepstudy"))


def with_gaps() -> pd.DataFrame:
    data = load("sleepstudy")
    return data.assign(Reaction=data["Reaction"].where(~data.index.isin([2, 5])), unused=np.nan)


@cache
def fit_with_gaps() -> LmmResult:
    with pytest.warns(mm.DroppedRowsWarning):
        return mm.lmer(SLEEP, with_gaps())


def test_estimates_are_those_of_r() -> None:
    state, theirs = reference_state("sleepstudy_slope")
    fit = LmmResult(state)
    np.testing.assert_allclose(fit.fe_params, theirs["fixef"]["estimate"], rtol=1e-7)
    np.testing.assert_allclose(fit.bse_fe, theirs["fixef"]["se"], rtol=1e-7)
    np.testing.assert_allclose(fit.cov_fe, theirs["vcov_fixef"], rtol=1e-7)
    np.testing.assert_allclose(fit.theta, theirs["theta"]["value"])
    assert fit.sigma == pytest.approx(theirs["sigma"])
    assert fit.scale == pytest.approx(theirs["sigma"] ** 2)
    assert fit.llf == pytest.approx(theirs["logLik"])
    assert fit.deviance == pytest.approx(theirs["minus2_loglik"])
    assert (fit.aic, fit.bic) == pytest.approx((theirs["AIC"], theirs["BIC"]))
    assert fit.df_model_total == theirs["df"]
    np.testing.assert_allclose(fit.fittedvalues[:10], theirs["fitted_first10"])
    np.testing.assert_allclose(fit.resid[:10], theirs["residuals_first10"], atol=1e-8)
    assert (fit.nobs, fit.n_dropped, fit.df_resid, fit.n_groups) == (180, 0, 178, {"Subject": 18})
    assert (fit.reml, fit.converged, fit.is_singular, fit.findings) == (True, True, False, ())
    assert fit.formula == SLEEP
    assert fit.aicc > fit.aic


def test_names() -> None:
    fit = sleep_fit()
    assert list(fit.fe_params.index) == list(fit.cov_fe.columns) == ["Intercept", "Days"]
    assert list(fit.varcorr) == list(fit.random_effects) == list(fit.random_effects_cov) == ["Subject"]
    assert list(fit.varcorr["Subject"]) == list(fit.random_effects["Subject"]) == ["Intercept", "Days"]
    with pytest.raises(mm.InferenceError, match=r"^There is no .*Did you mean 'Subject'\?$"):
        _ = fit.varcorr["Subjekt"]
    assert fit.varcorr.get("Subjekt") is None


def test_an_intercept_without_random_variance_explains_nothing() -> None:
    data = load("Dyestuff2")
    with pytest.warns(mm.SingularFitWarning):
        assert mm.lmer("Yield ~ 1 + (1 | Batch)", data).r2() == {"marginal": 0.0, "conditional": 0.0}


def test_frames_can_be_changed_without_changing_the_fit() -> None:
    fit = sleep_fit()
    for make in (lambda: fit.fe_params, lambda: fit.cov_fe, lambda: fit.theta, fit.coef_table):
        frame, before = make(), make()
        frame.iloc[:] = 0.0
        assert make().equals(before)


def test_rows_are_named_by_their_position() -> None:
    fit = fit_with_gaps()
    assert fit.n_dropped == 2
    used = [i for i in range(180) if i not in (2, 5)]
    assert list(fit.fittedvalues.index) == list(fit.resid.index) == used
    np.testing.assert_allclose(fit.fittedvalues + fit.resid, with_gaps()["Reaction"].iloc[used])
    assert list(sleep_fit().resid.index) == list(range(180))


def test_refit_is_the_fit_to_the_other_response() -> None:
    data = load("sleepstudy")
    y = np.sqrt(data["Reaction"]) * 10
    fit, before = sleep_fit(), sleep_fit().deviance
    refitted = fit.refit(y)
    direct = mm.lmer(SLEEP, data.assign(Reaction=y))
    assert refitted.deviance == pytest.approx(direct.deviance, abs=1e-7)
    np.testing.assert_allclose(refitted.fe_params, direct.fe_params, rtol=1e-6)
    assert fit.deviance == before
    assert fit.refit(data["Reaction"]).deviance == pytest.approx(before, abs=1e-9)


def test_refit_keeps_method_and_limits() -> None:
    control = mm.Control(max_iterations=50)
    fit = mm.lmer(SLEEP, load("sleepstudy"), reml=False, control=control)
    refitted = fit.refit(load("sleepstudy")["Reaction"])
    assert not refitted.reml
    assert refitted.state.control is control


@pytest.mark.parametrize(
    ("changes", "formula", "arguments"),
    [
        ({"formula": ". ~ . + I(Days**2)"}, "Reaction ~ Days + I(Days**2) + (Days | Subject)", {}),
        ({"formula": ". ~ . - (Days | Subject) + (1 | Subject)"}, "Reaction ~ Days + (1 | Subject)", {}),
        ({"formula": "log(.) ~ ."}, "log(Reaction) ~ Days + (Days | Subject)", {}),
        ({"reml": False}, SLEEP, {"reml": False}),
        ({"weights": "w"}, SLEEP, {"weights": "w"}),
    ],
)
def test_update_is_the_changed_call(changes: dict, formula: str, arguments: dict) -> None:
    data = load("sleepstudy").assign(w=lambda d: 1.0 + d["Days"] % 2)
    updated = mm.lmer(SLEEP, data).update(**changes)
    assert updated.formula == formula
    assert updated.deviance == pytest.approx(mm.lmer(formula, data, **arguments).deviance, abs=1e-7)


def test_update_takes_other_data_and_forgets_what_it_is_told_to() -> None:
    data = load("sleepstudy").assign(w=lambda d: 1.0 + d["Days"] % 2)
    weighted = mm.lmer(SLEEP, data, weights="w", reml=False)
    half = data[data["Days"] < 6]
    assert weighted.update(data=half).nobs == len(half)
    assert not weighted.update(data=half).reml
    unweighted = weighted.update(weights=None, reml=True)
    assert unweighted.deviance == pytest.approx(sleep_fit().deviance, abs=1e-7)
    with pytest.raises(TypeError, match="wieghts"):
        weighted.update(wieghts=None)


def test_what_needs_the_data_says_so_when_they_are_not_there() -> None:
    refitted = sleep_fit().refit(load("sleepstudy")["Reaction"] + 1)
    with pytest.raises(mm.InferenceError, match="update needs the data of the fit"):
        refitted.update(reml=False)
    with pytest.raises(mm.InferenceError, match="augment needs the data of the fit"):
        refitted.augment()
    assert len(refitted.augment(load("sleepstudy"))) == 180


def test_saved_and_pickled_results_answer_the_same(tmp_path: Path) -> None:
    fit = fit_with_gaps()
    fit.save(tmp_path / "fit.mm")
    for copy in (mm.load(tmp_path / "fit.mm"), pickle.loads(pickle.dumps(fit))):
        assert copy.summary() == fit.summary()
        assert copy.to_dict() == fit.to_dict()
        used = [*fit.state.design.used_columns, ".fitted", ".resid", ".fixed"]
        pd.testing.assert_frame_equal(copy.augment()[used], fit.augment()[used])
        np.testing.assert_allclose(copy.random_effects_cov["Subject"], fit.random_effects_cov["Subject"])
        y = np.sqrt(fit.state.design.y)
        assert copy.refit(y).deviance == pytest.approx(fit.refit(y).deviance, abs=1e-9)


def test_plain_data_are_json() -> None:
    record = json.loads(json.dumps(fit_with_gaps().to_dict(), allow_nan=False))
    assert record["n_dropped"] == fit_with_gaps().n_dropped == 2
    assert record["dropped_rows"] == {"missing Reaction": 2}
    assert record["fixed_effects"][1]["term"] == "Days"
    assert fit_with_gaps().to_dict(ddf="normal")["fixed_effects"][1]["df"] is None
    assert fit_with_gaps().to_dict(ddf="residual")["fixed_effects"][1]["df"] == 176
    assert record["varcorr"][-1]["group"] == "Residual"
    assert len(record["random_effects"]["Subject"]["values"]) == 18


def test_plain_data_of_a_singular_fit_have_no_nan() -> None:
    state, _ = reference_state("dyestuff2_zero")
    json.dumps(LmmResult(state).to_dict(), allow_nan=False)


def test_tidy_has_a_row_for_each_parameter() -> None:
    fit = sleep_fit()
    tidy = fit.tidy()
    assert tidy["term"].tolist() == [
        "Intercept",
        "Days",
        "sd__Intercept",
        "sd__Days",
        "cor__Intercept.Days",
        "sd__Observation",
    ]
    assert tidy["effect"].tolist() == ["fixed"] * 2 + ["ran_pars"] * 4
    assert tidy["group"].iloc[2:].tolist() == ["Subject"] * 3 + ["Residual"]
    assert tidy["estimate"].iloc[-1] == fit.sigma
    assert list(tidy) == ["effect", "group", "term", *fit.coef_table()]
    assert list(tidy) == list(fit.tidy("fixed")) == list(fit.tidy("ran_pars"))
    assert len(fit.tidy("fixed")) + len(fit.tidy(["ran_pars"])) == len(tidy)
    with pytest.raises(mm.InferenceError, match="no 'ran_vals' effects; there are"):
        fit.tidy("ran_vals")


def test_glance_is_one_row() -> None:
    fit = sleep_fit()
    row = fit.glance().iloc[0]
    for name in row.index:
        assert row[name] == getattr(fit, name)


@pytest.mark.parametrize("convert", [lambda d: d, pl.from_pandas, pa.Table.from_pandas, lambda d: d.to_dict("series")])
def test_augment_adds_to_the_rows_used(convert) -> None:
    fit, data = fit_with_gaps(), with_gaps()
    rows = fit.augment(convert(data))
    assert list(rows) == [*data, ".fitted", ".resid", ".fixed"]
    assert len(rows) == 178
    np.testing.assert_allclose(rows[".fitted"] + rows[".resid"], rows["Reaction"])
    np.testing.assert_allclose(rows[".fixed"], fit.fe_params["Intercept"] + fit.fe_params["Days"] * rows["Days"])
    pd.testing.assert_frame_equal(fit.augment(), fit.augment(data))
    np.testing.assert_allclose(fit.augment(data.dropna(subset="Reaction"))[".fitted"], rows[".fitted"])


@pytest.mark.parametrize("convert", [lambda d: d, pl.from_pandas, pa.Table.from_pandas, lambda d: d.to_dict("series")])
def test_augment_of_new_data_is_what_predict_says(convert) -> None:
    fit = fit_with_gaps()
    new = pd.DataFrame(
        {"Days": [1.0, 20.0, np.nan], "Subject": ["308", "309", "310"], "Reaction": [250.0, np.nan, 1.0]}
    )
    rows = fit.augment(convert(new), interval="prediction", level=0.8)
    assert list(rows) == [*new, ".fitted", ".resid", ".fixed", ".se", ".lower", ".upper"]
    predicted = fit.predict(new, interval="prediction", level=0.8)
    for name, ours in ((".fitted", "mean"), (".se", "se"), (".lower", "lower"), (".upper", "upper")):
        np.testing.assert_array_equal(rows[name], predicted[ours])
    np.testing.assert_array_equal(rows[".fixed"], fit.predict(new, random_effects="population"))
    np.testing.assert_array_equal(rows[".resid"], new["Reaction"] - predicted["mean"])
    assert rows[".resid"].isna().tolist() == [False, True, True]
    assert list(fit.augment(convert(new.drop(columns="Reaction")))) == ["Days", "Subject", ".fitted", ".fixed"]


def test_augment_tells_new_data_from_those_of_the_fit() -> None:
    fit, data = fit_with_gaps(), with_gaps()
    later = data.assign(Days=data["Days"] + 10)  # as many rows
    for new in (later, later.iloc[:178], data.iloc[::-1]):
        rows = fit.augment(new)
        assert rows.index.equals(new.index)
        np.testing.assert_allclose(rows[".fitted"], fit.predict(new))
    own = fit.augment(interval="confidence")
    np.testing.assert_array_equal(own[[".se", ".lower", ".upper"]], fit.predict(interval="confidence").iloc[:, 1:])
    unknown = data.head(2).assign(Subject="new")
    with pytest.raises(mm.DataError, match="level 'new'"):
        fit.augment(unknown)
    rows = fit.augment(unknown, new_levels="population")
    np.testing.assert_array_equal(rows[".fitted"], rows[".fixed"])
    with pytest.raises(mm.InferenceError, match="new_levels='drop' is not available"):
        fit.augment(new_levels="drop")
    with pytest.raises(mm.DataError, match="Days"):
        fit.augment({"Subject": ["308"], "Reaction": [1.0]})


def test_augment_computes_the_response_as_the_fit_did() -> None:
    data = load("sleepstudy")
    new = data.iloc[[3, 60]].assign(Days=[11, 12])
    log = mm.lmer("np.log(Reaction / 100) ~ scale(Days) + (1 | Subject)", data)
    rows = log.augment(new)
    np.testing.assert_allclose(rows[".fitted"] + rows[".resid"], np.log(new["Reaction"] / 100))
    scaled = mm.lmer("scale(Reaction) ~ Days + (1 | Subject)", data)
    rows = scaled.augment(new)
    reaction = data["Reaction"]
    np.testing.assert_allclose(rows[".fitted"] + rows[".resid"], (new["Reaction"] - reaction.mean()) / reaction.std())
    centred = mm.lmer("I(Reaction - Reaction.mean()) ~ Days + (1 | Subject)", data)
    np.testing.assert_allclose(centred.augment(data)[".resid"], centred.resid)
    assert list(centred.augment(new.drop(columns="Reaction"))) == ["Days", "Subject", ".fitted", ".fixed"]
    with pytest.raises(mm.DataError, match=r"'I\(Reaction - Reaction.mean\(\)\)' depends on all rows of the data"):
        centred.augment(new)


def test_augment_of_a_model_that_has_no_new_data() -> None:
    data = load("sleepstudy")
    fit = mm.lmer("Reaction ~ I(Days - np.mean(Days)) + (1 | Subject)", data)
    np.testing.assert_allclose(fit.augment(data)[".fitted"], fit.fittedvalues)
    with pytest.raises(mm.DataError, match="depends on all rows of the data"):
        fit.augment(data.head(5))
    offset = mm.lmer("Reaction ~ Days + (1 | Subject)", data, offset=np.arange(180.0))
    np.testing.assert_allclose(offset.augment(data)[".fitted"], offset.fittedvalues)
    with pytest.raises(mm.InferenceError, match="offset given as an array"):
        offset.augment(data.head(5))


def test_in_one_line_and_in_a_notebook() -> None:
    fit = LmmResult(reference_state("sleepstudy_slope")[0])
    assert repr(fit) == "<LmmResult: Reaction ~ Days + (Days | Subject); REML criterion 1743.628, 180 observations>"
    assert fit._repr_html_() == fit.summary().to_html()


@pytest.mark.parametrize(
    ("show", "first", "n_lines"),
    [
        (
            lambda fit: fit.bootstrap(20, seed=1, progress=False),
            r"Bootstrap of Reaction ~ Days \+ \(Days \| Subject\): 20 parametric replicates, 0 failed, \d+ singular",
            8,
        ),
        (lambda fit: fit.profile(["sigma", "Days"]), "Profile of 2 parameters, with 95 % intervals", 4),
        (lambda fit: fit.cov_fe_robust(), r"Cluster-robust covariance .*\(CR2, 18 clusters: Subject\)", 4),
        (lambda fit: fit.simulated_residuals(20, seed=1), "Simulated residuals of 180 rows, uniform if", 5),
        (
            lambda fit: fit.optimizer,
            r"<Optimum: converged after \d+ iterations \(\d+ evaluations\), deviance 1743\.628",
            1,
        ),
        (lambda fit: fit.call, r"lmer\('Reaction ~ Days \+ \(Days \| Subject\)', <DataFrame>\)", 1),
        (lambda fit: fit.state, r"<FitState: Reaction ~ Days \+ \(Days \| Subject\); REML, 180 observations>", 1),
    ],
)
def test_what_the_prompt_shows_is_short(show, first: str, n_lines: int) -> None:
    lines = repr(show(sleep_fit())).splitlines()
    assert re.match(first, lines[0])
    assert len(lines) == n_lines


def test_the_call_shows_what_was_given() -> None:
    data = load("cbpp").assign(rate=lambda d: d["incidence"] / d["size"])
    fit = mm.lmer("rate ~ period + (1 | herd)", data, weights="size", offset=np.ones(56), contrasts={"period": "sum"})
    assert repr(fit.call) == (
        "lmer('rate ~ period + (1 | herd)', <DataFrame>, weights='size', offset=<ndarray>, contrasts={'period': 'sum'})"
    )


def test_bias_and_standard_errors_of_the_bootstrap() -> None:
    bootstrap = sleep_fit().bootstrap(20, seed=1, progress=False)
    days = bootstrap.replicates["Days"].to_numpy()
    expected = [sleep_fit().fe_params["Days"], days.mean() - sleep_fit().fe_params["Days"], days.std(ddof=1)]
    np.testing.assert_allclose(bootstrap.summary().loc["Days"], expected)
    assert bootstrap.summary().columns.tolist() == ["estimate", "bias", "std_error"]


def test_update_refuses_to_take_away_what_is_not_there() -> None:
    with pytest.raises(mm.FormulaError, match=r"no term Dys to take away; there are Days\. Did you mean 'Days'"):
        sleep_fit().update(". ~ . - Dys")


def test_one_simulated_response_can_be_fitted() -> None:
    y = sleep_fit().simulate(1, seed=1)
    assert sleep_fit().refit(y).deviance == sleep_fit().refit(y[:, 0]).deviance
    with pytest.raises(mm.DataError, match=r"shape \(180, 2\).*of one response"):
        sleep_fit().refit(sleep_fit().simulate(2))


def test_an_unknown_group_is_named() -> None:
    fit = sleep_fit()
    for by_group in (fit.random_effects, fit.random_effects_cov, fit.varcorr):
        with pytest.raises(mm.UnknownGroupError, match=r"^There is no grouping factor 'subject'.*mean 'Subject'\?$"):
            by_group["subject"]
        assert by_group.get("subject") is None
        assert "subject" not in by_group
    with pytest.raises(mm.UnknownGroupError, match="grouping factor 3; there are Subject"):
        fit.influence(by=3)


def test_contrasts_print_all_their_columns() -> None:
    tests = sleep_fit().contrast({"the mean reaction time after nine days": {"Intercept": 1, "Days": 9}}, joint=True)
    assert set(tests.columns) <= set(repr(tests).split())
    assert not any("..." in line for line in repr(tests).splitlines())


def test_a_coefficient_table_prints_all_its_columns() -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    shown = repr(fit.coef_table())
    assert "..." not in shown
    assert all(name in shown for name in fit.coef_table().columns)
