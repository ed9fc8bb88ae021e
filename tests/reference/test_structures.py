"""Residual covariance structures against nlme's gls: ``structures.json`` by ``structures.R``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA

GLS = json.loads((Path(__file__).parent / "structures.json").read_text(encoding="utf-8"))
KINDS = [name for name in GLS if name != "versions"]
OF_TIME = {"exp", "gau"}


@cache
def frame() -> pd.DataFrame:
    """Return the rows that R had."""
    read = pd.read_csv(DATA / "Orthodont.csv")
    read = read[np.arange(1, len(read) + 1) % 7 != 3]
    read["Sex"] = pd.Categorical(read["Sex"], ["Male", "Female"])
    read["visit"] = pd.Categorical(read["age"].astype(str), ["8", "10", "12", "14"])
    return read


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("kind", KINDS)
def test_criterion_coefficients_and_standard_errors(kind: str, method: str) -> None:
    theirs = GLS[kind][method]
    when = "age" if kind in OF_TIME else "visit"
    fit = mm.mmrm(f"distance ~ age * Sex + {kind}({when} | Subject)", frame(), reml=method == "REML")
    assert fit.converged
    assert fit.deviance == pytest.approx(theirs["minus2_loglik"], abs=2e-8)
    assert fit.df_model_total == theirs["n_params"]
    # gls stops where its criterion changes by less than 1e-10 of its size
    np.testing.assert_allclose(fit.fe_params, theirs["coefficients"], rtol=2e-5)
    np.testing.assert_allclose(fit.bse_fe, theirs["std_errors"], rtol=2e-5)
