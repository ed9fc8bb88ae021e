"""Semivariances of normalized residuals against nlme's Variogram: ``variogram.json`` by ``variogram.R``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels.diagnose.variogram import semivariances

VARIOGRAM = json.loads((Path(__file__).parent / "variogram.json").read_text(encoding="utf-8"))


def test_mean_semivariances_by_distance() -> None:
    fit = mm.mmrm("distance ~ age * Sex + exp(age | Subject)", load("Orthodont"))
    assert fit.deviance == pytest.approx(VARIOGRAM["deviance"], abs=1e-6)
    found = semivariances(fit.state)
    assert found.n_left_out == 0
    for distance, theirs, n in zip(*(VARIOGRAM[k] for k in ("distance", "variogram", "n_pairs")), strict=True):
        at = found.distance == distance
        assert at.sum() == n
        # gls stops where its criterion changes by less than 1e-10 of its size
        assert found.semivariance[at].mean() == pytest.approx(theirs, rel=1e-4)
    assert set(np.unique(found.distance)) == set(VARIOGRAM["distance"])
