"""Contrasts by name against published tables and their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.inference.contrast_kinds import (
    KINDS,
    OF_R,
    control_weights,
    interaction_weights,
    kind_name,
    named_weights,
)

CELLS = [("a",), ("b",), ("c",), ("d",)]


def rows(kind: str, cells: list[tuple[str, ...]] = CELLS) -> dict[str, list[float]]:
    weights = named_weights(kind, cells)
    return {label[0]: row for label, row in zip(weights.labels, weights.rows.tolist(), strict=True)}


def test_differences() -> None:
    assert rows("consecutive") == {"b - a": [-1, 1, 0, 0], "c - b": [0, -1, 1, 0], "d - c": [0, 0, -1, 1]}
    assert rows("reverse-consecutive")["a - b"] == [1, -1, 0, 0]
    assert list(rows("pairwise"))[:2] == ["a - b", "a - c"]
    assert list(rows("reverse-pairwise"))[:3] == ["b - a", "c - a", "c - b"]
    assert rows("control") == {"b - a": [-1, 1, 0, 0], "c - a": [-1, 0, 1, 0], "d - a": [-1, 0, 0, 1]}


def test_levels_with_the_sign_in_them_are_in_parentheses() -> None:
    cells = [("a",), ("b - c",), ("a - b",), ("c",)]
    assert {("a - (b - c)",), ("(a - b) - c",)} <= set(named_weights("pairwise", cells).labels)
    assert named_weights("pairwise", cells, "/").labels[0] == ("a / b - c",)
    assert control_weights([("a / b",), ("c",)], ("a / b",), "/").labels == [("c / (a / b)",)]


def test_against_means() -> None:
    assert rows("mean")["b - mean"] == [-0.25, 0.75, -0.25, -0.25]
    np.testing.assert_allclose(rows("others")["b - others"], [-1 / 3, 1, -1 / 3, -1 / 3])
    np.testing.assert_allclose(rows("helmert")["d - mean(a .. c)"], [-1 / 3, -1 / 3, -1 / 3, 1])
    assert list(rows("helmert")) == ["b - a", "c - mean(a .. b)", "d - mean(a .. c)"]


def test_polynomials_of_fisher_and_yates() -> None:
    """Statistical Tables for Biological, Agricultural and Medical Research, table XXIII."""
    assert rows("polynomial") == {"linear": [-3, -1, 1, 3], "quadratic": [1, -1, -1, 1], "cubic": [-1, 3, -3, 1]}
    seven = [(letter,) for letter in "abcdefg"]
    assert rows("polynomial", seven)["cubic"] == [-1, 1, 1, 0, -1, -1, 1]
    assert rows("polynomial", seven)["quartic"] == [3, -7, 1, 6, 1, -7, 3]
    assert list(rows("polynomial", [(i,) for i in range(9)]))[-1] == "degree 6"


@pytest.mark.parametrize("kind", KINDS)
def test_one_mean_has_no_contrast(kind: str) -> None:
    assert rows(kind, [("a",)]) == {}
    assert all(abs(sum(row)) < 1e-12 for row in rows(kind).values())


def test_names_of_r() -> None:
    assert {kind_name(name, "contrasts") for name in OF_R} <= set(KINDS)


def test_products() -> None:
    cells = [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b"), ("z", "a"), ("z", "b")]
    made = interaction_weights({"B": "pairwise", "A": "polynomial"}, ["A", "B"], cells)
    assert made.labels == [("linear", "a - b"), ("quadratic", "a - b")]
    np.testing.assert_allclose(made.rows, [[-1, 1, 0, 0, 1, -1], [1, -1, -2, 2, 1, -1]])
    with pytest.raises(mm.InferenceError, match="a mean of each combination of A and B; some do not occur"):
        interaction_weights({"B": "pairwise", "A": "mean"}, ["A", "B"], cells[:-1])


def test_weights_in_every_form() -> None:
    data = mm.load_dataset("Oats")
    fit = mm.lmer("yield ~ Variety + C(nitro) + (1 | Block/Variety)", data)
    row = [-1.0, 0.0, 0.0, 1.0]
    forms = [
        {"ends": row},
        {"ends": {0.0: -1, 0.6: 1}},
        {"ends": {"0.0": -1, "0.6": 1}},
        pd.DataFrame([row], index=["ends"]),
        pd.DataFrame([[-1.0, 1.0]], index=["ends"], columns=[0.0, 0.6]),
    ]
    expected = fit.margins("nitro", control=0.0, adjust="none").iloc[-1]
    for form in forms:
        table = fit.margins("nitro", contrasts=form)
        assert table.index.tolist() == ["ends"]
        np.testing.assert_allclose(table.iloc[0], expected, rtol=1e-10)
    assert fit.margins("nitro", contrasts=[row, row]).index.tolist() == ["C1", "C2"]
    assert fit.margins("nitro", contrasts=row).index.tolist() == ["C1"]


def test_interaction_contrasts_are_contrasts_of_contrasts() -> None:
    data = mm.load_dataset("Oats")
    fit = mm.lmer("yield ~ Variety * C(nitro) + (1 | Block/Variety)", data)
    table = fit.margins(["Variety", "nitro"], contrasts={"nitro": {"ends": [-1, 0, 0, 1]}, "Variety": "consecutive"})
    assert table.index.names == ["Variety", "nitro"]
    ends = fit.margins("nitro", by="Variety", contrasts={"ends": [-1, 0, 0, 1]})["estimate"].droplevel("contrast")
    np.testing.assert_allclose(table["estimate"], np.diff(ends), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")
def test_pairs_of_cells_within_each_other() -> None:
    """Contrasts within ``by`` weigh the means that there are; nested ones do not have the others."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 8), "a": np.tile(list("xy"), 48)})
    data["b"] = np.where(data.a == "x", rng.choice(list("pq"), 96), rng.choice(list("rs"), 96))
    data["y"] = rng.normal(size=96)
    fit = mm.lmer("y ~ a / b + (1 | g)", data)
    own = {"p - q": {"p": 1, "q": -1}, "r - s": {"r": 1, "s": -1}}
    table = fit.margins("b", contrasts=own)
    assert table.index.tolist() == ["p - q", "r - s"]
    pairs = fit.margins("b", pairwise=True).loc[list(own)]
    np.testing.assert_allclose(table["estimate"], pairs["estimate"], rtol=1e-10)
