"""Cluster-robust covariances against clubSandwich: ``robust.json`` by ``robust.R``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.inference.robust import KINDS, robust_covariance
from reference.test_lmm import same_order

ROBUST = json.loads((Path(__file__).parent / "robust.json").read_text(encoding="utf-8"))
CASES = [name for name in ROBUST if name != "versions"]


@cache
def fitted(name: str) -> tuple[mm.LmmResult, pd.DataFrame]:
    """Return our fit of one case and its data."""
    file = ROBUST[name]
    frame = pd.read_csv(DATA / f"{file['data']}.csv")
    row = np.arange(1, len(frame) + 1)
    frame = frame[(row % 7 != 0) & (row % 11 != 3)].reset_index(drop=True)
    for factor in file["factors"]:
        frame[factor] = pd.Categorical(frame[factor], categories=frame[factor].unique())
    return mm.lmer(file["formula"], frame), frame


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_covariance_degrees_and_joint_test(name: str, kind: str) -> None:
    file, (fit, frame) = ROBUST[name], fitted(name)
    theirs = file[kind]
    ours = same_order(list(fit.fe_params.index), file["names"])
    robust = robust_covariance(fit.state, kind, frame[file["cluster"]])
    cov = np.atleast_2d(theirs["cov"])
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(robust.covariance[np.ix_(ours, ours)] / scale, cov / scale, rtol=1e-5, atol=1e-6)
    eye = np.eye(fit.state.n_fixed)[ours]
    np.testing.assert_allclose(robust.row_df(eye), theirs["df"], rtol=1e-5)
    L = np.atleast_2d(file["L"]) @ eye
    test = robust.f_test(L, L @ fit.state.beta)
    assert test.num_df == theirs["num_df"]
    np.testing.assert_allclose([test.f_value, test.den_df], [theirs["f"], theirs["den_df"]], rtol=1e-5)
