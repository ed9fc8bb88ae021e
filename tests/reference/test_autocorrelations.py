"""Autocorrelations of residuals against nlme's ACF: ``autocorrelations.json`` by ``autocorrelations.R``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.diagnose.lags import autocorrelations

ACF = json.loads((Path(__file__).parent / "autocorrelations.json").read_text(encoding="utf-8"))
KINDS = [name for name in ACF if name != "versions"]


@pytest.mark.parametrize("kind", KINDS)
def test_autocorrelations_by_lag(kind: str) -> None:
    frame = pd.read_csv(DATA / "Orthodont.csv")
    frame["visit"] = pd.Categorical(frame["age"].astype(str), ["8", "10", "12", "14"])
    found = autocorrelations(mm.mmrm(f"distance ~ age * Sex + {kind}(visit | Subject)", frame).state)
    np.testing.assert_array_equal(found.lag, ACF[kind]["pearson"]["lag"])
    # gls stops where its criterion changes by less than 1e-12 of its size
    np.testing.assert_allclose(found.pearson, ACF[kind]["pearson"]["acf"], rtol=1e-5, atol=1e-6)
    if kind != "cs":  # for which nlme takes another root of the covariance than Cholesky's
        np.testing.assert_allclose(found.normalized, ACF[kind]["normalized"]["acf"], rtol=1e-5, atol=1e-6)
