"""Slopes and their differences against emtrends: ``slopes.json`` by ``slopes.R``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference.test_margins import COLUMNS, fitted
from reference.test_posthoc import in_order

SLOPES = json.loads((Path(__file__).parent / "slopes.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


@pytest.mark.parametrize("name", SLOPES)
def test_agrees_with_emtrends(name: str) -> None:
    file: dict[str, Any] = dict(SLOPES[name])
    change = "whole" if file["change"] == "complete" else file["change"]
    table = fitted(file["data"], tuple(file["factors"]), change, file["formula"]).slopes(**file["args"])
    overall = "1" in file["keys"]
    table = table if overall else in_order(table, file)
    file |= {column: np.atleast_1d(np.array(file[column], float)) for column in (*COLUMNS, "p_value")}
    scale = file["std_error"]
    for column in ("estimate", "ci_lower", "ci_upper"):
        expected = file[column]
        finite = np.isfinite(expected)
        np.testing.assert_allclose(((table[column] - expected) / scale)[finite], 0, atol=1e-4, err_msg=column)
    for column in ("std_error", "df", "statistic"):
        np.testing.assert_allclose(table[column], file[column], rtol=1e-4, atol=1e-5, err_msg=column)
    np.testing.assert_allclose(table["p_value"], file["p_value"], rtol=1e-3, atol=1e-7)
