"""Contrasts, one-sided tests, margins, weights and transformed responses against emmeans, by ``posthoc.R``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reference.test_margins import fitted

POSTHOC = json.loads((Path(__file__).parent / "posthoc.json").read_text(encoding="utf-8"))
MONTE_CARLO = 1e-3
"""Accuracy of R's multivariate t."""

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def label(text: str, arguments: dict[str, Any]) -> str:
    """Return our name of a contrast that R calls the effect of a mean."""
    of = "others" if arguments.get("contrasts") == "others" else "mean"
    sign = "/" if arguments.get("scale") == "response" else "-"
    return text.replace(" effect", f" {sign} {of}")


def in_order(table: pd.DataFrame, file: dict[str, Any]) -> pd.DataFrame:
    """Return our rows in R's order."""
    keys = {name.split("_")[0]: values for name, values in file["keys"].items() if name != "null"}
    ours = table.reset_index().astype(dict.fromkeys(keys, str))
    rows = {tuple(row): i for i, row in enumerate(ours[list(keys)].itertuples(index=False))}
    order = [rows[tuple(label(part, file["args"]) for part in key)] for key in zip(*keys.values(), strict=True)]
    return ours.iloc[order]


@pytest.mark.parametrize("name", POSTHOC)
def test_agrees_with_emmeans(name: str) -> None:
    file = POSTHOC[name]
    fit = fitted(file["data"], tuple(file["factors"]), file["change"], file["formula"])
    table = in_order(fit.margins(**file["args"]), file)
    by_simulation = name in ("consecutive", "mvt", "mvt_by", "less_mvt", "less_control")
    scale = np.array(file["std_error"])
    for column in ("estimate", "ci_lower", "ci_upper"):
        expected = np.array(file[column], float)
        finite = np.isfinite(expected)
        assert (np.isfinite(table[column]) == finite).all()
        loose = 20 * MONTE_CARLO if by_simulation and column != "estimate" else 1e-3
        np.testing.assert_allclose(
            ((table[column] - expected) / scale)[finite],
            0,
            atol=loose if column != "estimate" else 1e-4,
            err_msg=column,
        )
    for column in ("std_error", "df", "statistic"):
        np.testing.assert_allclose(table[column], np.array(file[column], float), rtol=2e-4, atol=1e-5, err_msg=column)
    loose = {"rtol": 1e-2, "atol": MONTE_CARLO} if by_simulation else {"rtol": 1e-3, "atol": 1e-7}
    np.testing.assert_allclose(table["p_value"], file["p_value"], **loose)
