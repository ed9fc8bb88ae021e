"""Predictions of three rows, known and with an unknown level, against R: ``predict`` of ``reference/lmm``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_loader import load
from reference.test_lmm import CASES, case

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")

PREDICTED = [(n, m) for n in CASES for m in ("ML", "REML") if case(n, m).theirs.get("predict")]


@pytest.mark.parametrize(("name", "method"), PREDICTED)
def test_predictions(name: str, method: str) -> None:
    theirs: dict[str, Any] = case(name, method).theirs["predict"]
    fit = case(name, method).fit
    data = pd.DataFrame(load(case(name, method).file["data"])).iloc[np.array(theirs["csv_rows"]) - 1]
    close = {"rtol": 1e-5, "atol": 1e-5 * fit.sigma}
    np.testing.assert_allclose(fit.predict(data), theirs["conditional"], **close)
    np.testing.assert_allclose(fit.predict(data, random_effects="population"), theirs["population"], **close)
    for unknown in theirs["unknown_level"]:
        column = data[unknown["variable"]]
        changed = data.assign(**{unknown["variable"]: ["never seen"] * 3 if column.dtype != float else [-1e9] * 3})
        np.testing.assert_allclose(fit.predict(changed, new_levels="population"), unknown["conditional"], **close)


@pytest.mark.parametrize("name", ["sleepstudy_slope", "penicillin_crossed", "cake_factor", "dietox_offset"])
def test_rows_of_the_fit_are_their_own_new_data(name: str) -> None:
    fit = case(name, "REML").fit
    data = pd.DataFrame(load(case(name, "REML").file["data"]))
    np.testing.assert_allclose(fit.predict(data).to_numpy(), fit.predict().to_numpy(), rtol=1e-12)
    np.testing.assert_allclose(fit.predict(), fit.fittedvalues, rtol=1e-14)
