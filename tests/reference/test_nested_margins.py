"""Marginal means of nested factors against emmeans: ``nested_margins.json`` by ``nested_margins.R``."""

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

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "nested_margins.json").read_text(encoding="utf-8"))
WITHIN = {
    "cut": {"None": "uncut", "S1": "cut", "S20": "cut", "O7": "cut"},
    "month": {"None": "none", "S1": "september", "S20": "september", "O7": "october"},
    "number": {"None": "1", "S1": "1", "S20": "2", "O7": "3"},
}

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")


@cache
def fitted(formula: str) -> mm.LmmResult:
    """Return our fit of a model of the script."""
    frame = pd.read_csv(DATA / "Alfalfa.csv", keep_default_na=False)
    frame = frame.assign(**{name: frame["Date"].map(labels) for name, labels in WITHIN.items()})
    row = frame.index + 1
    return mm.lmer(formula, frame[(row % 7 != 0) & (row % 11 != 3)])


def row_key(keys: dict[str, Any], i: int) -> frozenset[str]:
    """Return the labels of one of R's rows; a number that is a label has its variable before it there."""
    values = [np.atleast_1d(column)[i] for column in keys.values()]
    return frozenset(value.replace("number", "") for value in values)


def difference(label: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return what is compared, whatever the order of the parts of a label."""
    first, second = label.split(" - ")
    return frozenset(first.split()), frozenset(second.split())


def in_our_order(table: pd.DataFrame, theirs: dict[str, Any]) -> tuple[list[int], np.ndarray]:
    """Return the place of each of our rows among R's, and the sign that theirs has."""
    keys = [row_key(theirs["keys"], i) for i in range(np.size(theirs["estimate"]))]
    ours = [label if isinstance(label, tuple) else (label,) for label in table.index]
    if "contrast" not in table.index.names:
        return [next(i for i, key in enumerate(keys) if set(label) <= key) for label in ours], np.ones(len(ours))
    places, signs = [], []
    for *by, label in ours:
        (found,) = (
            (i, sign)
            for i, key in enumerate(keys)
            for sign in (1.0, -1.0)
            for text in key
            if " - " in text and set(by) <= key and _same(difference(label)[:: int(sign)], difference(text))
        )
        places.append(found[0])
        signs.append(found[1])
    return places, np.array(signs)


def _same(ours: tuple[frozenset[str], frozenset[str]], theirs: tuple[frozenset[str], frozenset[str]]) -> bool:
    return all(a <= b for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_nested_factors(name: str) -> None:
    theirs = CASES[name]
    table = fitted(theirs["formula"]).margins(**theirs["args"])
    places, signs = in_our_order(table, theirs)
    assert sorted(places) == list(range(np.size(theirs["estimate"])))
    expected = {
        k: np.atleast_1d(theirs[k]).astype(float)[places] for k in theirs if k not in ("formula", "args", "keys")
    }
    lower, upper = signs * expected["ci_lower"], signs * expected["ci_upper"]
    expected |= {k: signs * expected[k] for k in ("estimate", "statistic")}
    expected |= {"ci_lower": np.minimum(lower, upper), "ci_upper": np.maximum(lower, upper)}
    for column, values in expected.items():
        np.testing.assert_allclose(table[column], values, rtol=1e-3 if column == "p_value" else 1e-4, err_msg=column)
