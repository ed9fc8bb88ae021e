"""Trials fitted by SAS's PROC MIXED, mmrm and nlme: ``trials.json`` names the source of each number.

The data are the R package mmrm's, which are not part of this project: the tests read them from the folder that the
environment variable MIXEDMODELS_TRIAL_DATA names, and are skipped without it.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

FOLDER = os.environ.get("MIXEDMODELS_TRIAL_DATA")
TRIALS = {record["id"]: record for record in json.loads((Path(__file__).parent / "trials.json").read_text("utf-8"))}
pytestmark = [
    pytest.mark.skipif(
        FOLDER is None or not (Path(FOLDER) / "fev_data.csv").exists(),
        reason="MIXEDMODELS_TRIAL_DATA does not name a folder with fev_data.csv",
    ),
    pytest.mark.filterwarnings("ignore::mixedmodels.DroppedRowsWarning"),
]
FITTED = [name for name, record in TRIALS.items() if "residual" in record and "minus2_loglik" in record]
KENWARD_ROGER = [name for name, record in TRIALS.items() if "kenward_roger" in record]
OF_NLME = {
    "nlme_fev_us": "us(AVISIT | USUBJID)",
    "nlme_fev_ar1h": "ar1h(AVISIT | USUBJID)",
    "nlme_fev_exp": "exp(VISITN | USUBJID)",
    "nlme_fev_arma11": "arma11h(AVISIT | USUBJID)",
}
FULL = "FEV1 ~ RACE + SEX + ARMCD * AVISIT"


@cache
def fev() -> pd.DataFrame:
    """Return the trial, Male first."""
    assert FOLDER is not None
    frame = pd.read_csv(Path(FOLDER) / "fev_data.csv")
    frame["SEX"] = pd.Categorical(frame["SEX"], ["Male", "Female"])
    return frame


@cache
def fitted(formula: str, method: str = "REML", weights: str | None = None) -> mm.MmrmResult:
    """Return our fit."""
    return mm.mmrm(formula, fev(), reml=method == "REML", weights=weights)


def of_record(record: dict[str, Any]) -> mm.MmrmResult:
    """Return our fit of a record."""
    fixed = record["formula"].split(" (")[0]
    return fitted(f"{fixed} + {record['residual']}", record["method"], record.get("weights"))


@pytest.mark.parametrize("name", FITTED)
def test_criterion_of_sas(name: str) -> None:
    record = TRIALS[name]
    fit = of_record(record)
    assert fit.converged
    assert fit.deviance == pytest.approx(record["minus2_loglik"], abs=2e-5)


@pytest.mark.parametrize("name", FITTED)
def test_no_criterion_is_above_that_of_sas(name: str) -> None:
    record = TRIALS[name]
    assert of_record(record).deviance <= record["minus2_loglik"] + 1e-8


@pytest.mark.parametrize("method", ["kenward_roger", "kenward_roger_linear"])
@pytest.mark.parametrize("name", KENWARD_ROGER)
def test_kenward_roger_of_sas(name: str, method: str) -> None:
    record = TRIALS[name]
    ddf = {"kenward_roger": "kenward-roger-sas", "kenward_roger_linear": "kenward-roger-linear"}[method]
    row = of_record(record).coef_table(ddf).loc["ARMCD[T.TRT]"]
    assert row["std_error"] == pytest.approx(record[method]["se"], rel=1.5e-4)
    assert row["df"] == pytest.approx(record[method]["df"], rel=5e-4)


@pytest.mark.parametrize("name", KENWARD_ROGER)
def test_empirical_covariance_of_sas(name: str) -> None:
    record = TRIALS[name]
    ours = of_record(record).cov_fe_robust("CR0").to_frame()
    np.testing.assert_allclose(ours, record["cr0_covariance"], rtol=3e-4)  # twice that of a standard error


def test_satterthwaite_and_covariance_of_mmrm() -> None:
    record = TRIALS["fev_us_full_satterthwaite"]
    fit = fitted(f"{FULL} + us(AVISIT | USUBJID)")
    table = fit.coef_table()
    np.testing.assert_allclose(table["std_error"], [row["se"] for row in record["rows"]], rtol=2e-4)
    np.testing.assert_allclose(table["df"], [row["df"] for row in record["rows"]], rtol=2e-4)
    theirs = np.array(record["covariance"])
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert isinstance(fit.residual_covariance, pd.DataFrame)
    assert np.abs((fit.residual_covariance - theirs) / size).to_numpy().max() < 1e-3


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("name", OF_NLME)
def test_estimates_of_nlme(name: str, method: str) -> None:
    record = TRIALS[f"{name}_{method}"]
    fit = fitted(f"{FULL} + {OF_NLME[name]}", method)
    assert fit.deviance == pytest.approx(record["minus2_loglik"], abs=1e-6)
    assert fit.df_model_total == record["df"]
    # nlme's criterion is up to 1e-8 above ours, so its coefficients are known to the root of that in standard errors
    away = (fit.fe_params.to_numpy() - list(record["fixef"].values())) / fit.bse_fe
    assert np.abs(away).max() < 1e-4
    # the first three: nlme takes rows for those of other subjects behind, as labels sort otherwise than they stand
    np.testing.assert_allclose(fit.residuals("normalized")[:3], record["normalized_residuals_first5"][:3], rtol=1e-5)


def test_predictions_of_sas() -> None:
    record = TRIALS["fev_predict_ar1"]
    fit = of_record(record)
    new = pd.DataFrame({"USUBJID": "PT1", "ARMCD": "TRT", "AVISIT": ["VIS1", "VIS3"]})
    found = fit.predict(new, conditional=True, interval="prediction")
    assert isinstance(found, pd.DataFrame)
    np.testing.assert_allclose(found["mean"], record["mean"], rtol=1e-6)
    np.testing.assert_allclose(found["se"], record["se"], rtol=1e-6)
