"""Marginal means and their differences against emmeans: the reference fits, and ``margins.json`` by ``margins.R``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from reference.test_lmm import CASES, LMM, case

MARGINS = json.loads((Path(__file__).parent / "margins.json").read_text(encoding="utf-8"))
EMMEANS = {name: json.loads((LMM / f"{name}.json").read_text(encoding="utf-8")).get("emmeans_reml") for name in CASES}
TABLES = [(name, i) for name, tables in EMMEANS.items() for i in range(len(tables or []))]
COLUMNS = {"estimate": 1e-6, "std_error": 1e-6, "df": 1e-4, "statistic": 1e-5, "ci_lower": 1e-5, "ci_upper": 1e-5}

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def in_order(table: pd.DataFrame, keys: dict[str, list[str]]) -> pd.DataFrame:
    """Return our rows in R's order; R puts brackets around labels that would read as numbers or sums."""
    ours = table.reset_index().astype(dict.fromkeys(keys, str))
    for key in keys:
        ours[key] = ours[key].str.removesuffix(".0")
    rows = {tuple(row): i for i, row in enumerate(ours[list(keys)].itertuples(index=False))}
    clean = [[label.replace("(", "").replace(")", "").replace("temperature", "") for label in keys[k]] for k in keys]
    return ours.iloc[[rows[key] for key in zip(*clean, strict=True)]]


def agree(table: pd.DataFrame, theirs: dict[str, Any], names: dict[str, str]) -> None:
    """Compare the columns that R has."""
    scale = np.array(theirs[names["std_error"]], float)
    for ours, name in names.items():
        unit = scale if ours in ("estimate", "ci_lower", "ci_upper") else 1.0
        expected = np.array(theirs[name], float) / unit
        np.testing.assert_allclose(table[ours] / unit, expected, rtol=COLUMNS[ours], atol=COLUMNS[ours], err_msg=ours)


@pytest.mark.parametrize(("name", "i"), TABLES)
def test_reference_fits(name: str, i: int) -> None:
    theirs = EMMEANS[name][i]
    fit = case(name, "REML").fit
    specs, _, by = theirs["spec"].partition(" | ")
    arguments: dict[str, Any] = {"specs": specs, "by": by or None, "ddf": theirs["df_method"]}
    names = {"std_error": "se", "df": "df", "ci_lower": "lower", "ci_upper": "upper"}
    means = in_order(fit.margins(**arguments), theirs["means"]["by"])
    agree(means, theirs["means"], {"estimate": "emmean", **names})
    plain = in_order(fit.margins(**arguments, pairwise=True, adjust="none"), theirs["pairs"]["by"])
    agree(plain, theirs["pairs"], {"estimate": "estimate", "statistic": "t", **names})
    np.testing.assert_allclose(plain["p_value"], theirs["pairs"]["p"], rtol=1e-3)
    tukey = in_order(fit.margins(**arguments, pairwise=True), theirs["pairs"]["by"])
    np.testing.assert_allclose(tukey["p_value"], theirs["pairs"]["p_tukey"], rtol=1e-3, atol=1e-11)


@cache
def fitted(data: str, factors: tuple[str, ...], change: str, formula: str) -> mm.LmmResult:
    """Return our fit of one model of ``margins.R``; levels in the order of their appearance."""
    frame = pd.read_csv(DATA / f"{data}.csv", keep_default_na=False, na_values=["NA"])
    for name in factors:
        text = frame[name].astype(str)
        frame[name] = pd.Categorical(text, categories=text.unique())
    row = frame.index + 1
    return mm.lmer(formula, frame if change == "whole" else frame[(row % 7 != 0) & (row % 11 != 3)])


@pytest.mark.parametrize("name", MARGINS)
def test_unbalanced_rows(name: str) -> None:
    file = MARGINS[name]
    fit = fitted(file["data"], tuple(file["factors"]), file["change"], file["formula"])
    table = in_order(fit.margins(**file["args"]), file["keys"])
    loose = 3e-4 if name.startswith("dunnett") else 1e-4  # R integrates by Monte Carlo
    scale = np.array(file["std_error"])
    for column in ("estimate", "ci_lower", "ci_upper"):
        np.testing.assert_allclose((table[column] - file[column]) / scale, 0, atol=10 * loose, err_msg=column)
    for column in ("std_error", "df", "statistic"):
        np.testing.assert_allclose(table[column], np.array(file[column], float), rtol=1e-4, err_msg=column)
    np.testing.assert_allclose(table["p_value"], file["p_value"], rtol=10 * loose, atol=loose)
