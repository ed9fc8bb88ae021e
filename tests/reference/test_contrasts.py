"""Contrasts against lmerTest and pbkrtest: ``contrasts.json`` by ``contrasts.R``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixedmodels as mm
from reference.test_anova import METHODS, data_of
from reference.test_lmm import same_order

CONTRASTS = json.loads((Path(__file__).parent / "contrasts.json").read_text(encoding="utf-8"))
CASES = [(name, ddf) for name in CONTRASTS for ddf in METHODS]


@cache
def fitted(name: str) -> mm.LmmResult:
    """Return our fit of one case."""
    return mm.lmer(CONTRASTS[name]["formula"][0], data_of(CONTRASTS[name]))


def texts(name: str) -> list[str]:
    """Return R's matrix and right-hand sides as texts, for our names of the coefficients."""
    file, names = CONTRASTS[name], list(fitted(name).fe_params.index)
    ours = [names[i] for i in same_order(names, file["names"])]
    return [
        " + ".join(f"{value} * {term}" for value, term in zip(row, ours, strict=True) if value) + f" = {rhs}"
        for row, rhs in zip(file["L"], file["rhs"], strict=True)
    ]


@pytest.mark.parametrize(("name", "ddf"), CASES)
def test_rows_and_joint_test(name: str, ddf: str) -> None:
    theirs: dict[str, Any] = CONTRASTS[name][ddf]
    table = fitted(name).contrast(texts(name), ddf=ddf, joint=True)
    rows, joint = table.iloc[:-1], table.iloc[-1]
    columns = {
        "estimate": "estimate",
        "std_error": "se",
        "df": "df",
        "statistic": "t",
        "ci_lower": "lower",
        "ci_upper": "upper",
    }
    for ours, column in columns.items():
        np.testing.assert_allclose(rows[ours], theirs[column], rtol=1e-4, err_msg=ours)
    np.testing.assert_allclose(rows["p_value"], theirs["p"], rtol=1e-3)
    assert joint["num_df"] == theirs["num_df"][0]
    assert joint["df"] == pytest.approx(theirs["den_df"][0], rel=1e-4)
    assert joint["statistic"] == pytest.approx(theirs["F"][0], rel=1e-4)
    assert joint["p_value"] == pytest.approx(theirs["joint_p"][0], rel=1e-3)
