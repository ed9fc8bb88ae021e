"""Hypotheses read from texts, mappings and matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedmodels.errors import InferenceError
from mixedmodels.inference.hypotheses import read_hypotheses

NAMES = ("Intercept", "Days", "A[T.b]", "A[T.b]:Days", "I(Days ** 2)", "I(age - 0.5)", "sleep hours", "x", "x2")


def row(**values: float) -> np.ndarray:
    """Return coefficients by the position of the names."""
    return np.array([values.get(f"c{i}", 0.0) for i in range(len(NAMES))])


@pytest.mark.parametrize(
    ("text", "coefficients", "rhs"),
    [
        ("Days = 0", row(c1=1), 0),
        ("Days", row(c1=1), 0),
        ("Days == 10", row(c1=1), 10),
        ("3 = Days", row(c1=-1), -3),
        ("Days - A[T.b] = 0", row(c1=1, c2=-1), 0),
        ("2*Days + x", row(c1=2, c7=1), 0),
        ("x*2 - x2/4 = 1e-1", row(c7=2, c8=-0.25), 0.1),
        ("-(Days + x)/2 + 1 = 3", row(c1=-0.5, c7=-0.5), 2),
        ("A[T.b]:Days = A[T.b]", row(c3=1, c2=-1), 0),
        ("I(Days**2) - I(age-0.5)", row(c4=1, c5=-1), 0),
        ("`sleep hours` + sleep hours", row(c6=2), 0),
        (" Intercept+9 *Days=350. ", row(c0=1, c1=9), 350),
        ("2 * 3 * x - -x", row(c7=7), 0),
        ("+.5 x2".replace(" ", "*"), row(c8=0.5), 0),
    ],
)
def test_texts(text: str, coefficients: np.ndarray, rhs: float) -> None:
    read = read_hypotheses(text, NAMES)
    assert read.labels == (text.strip(),)
    np.testing.assert_allclose(read.L, coefficients[None])
    np.testing.assert_allclose(read.rhs, [rhs])


def test_mappings_matrices_and_lists() -> None:
    one = row(c1=1.0, c7=-2.0)
    for same in ({"Days": 1, "x": -2}, pd.Series({"Days": 1.0, "x": -2.0}), one, one.tolist(), one[None], [one]):
        read = read_hypotheses(same, NAMES)
        assert read.labels == ("L1",)
        np.testing.assert_array_equal(read.L, one[None])
        np.testing.assert_array_equal(read.rhs, [0])
    mixed = read_hypotheses(["Days = 2", {"x": 1}, one], NAMES)
    assert mixed.labels == ("Days = 2", "L2", "L3")
    np.testing.assert_array_equal(mixed.L, [row(c1=1), row(c7=1), one])
    np.testing.assert_array_equal(mixed.rhs, [2, 0, 0])
    frame = pd.DataFrame({"x": [1.0, 0.0], "Days": [0.0, 3.0]}, index=["first", "second"])
    assert read_hypotheses(frame, NAMES).labels == ("first", "second")
    np.testing.assert_array_equal(read_hypotheses(frame, NAMES).L, [row(c7=1), row(c1=3)])


def test_a_mapping_of_contrasts_names_them() -> None:
    vector = row(c7=1.0, c8=-1.0)
    read = read_hypotheses(
        {"slope": {"Days": 1}, "day 9": {"Intercept": 1, "Days": 9}, "text": "x = 2", "vector": vector.tolist()}, NAMES
    )
    assert read.labels == ("slope", "day 9", "text", "vector")
    np.testing.assert_array_equal(read.L, [row(c1=1), row(c0=1, c1=9), row(c7=1), vector])
    np.testing.assert_array_equal(read.rhs, [0, 0, 2, 0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("Day = 0", r"names 'Day', which is not a coefficient. Did you mean 'Days'\? The coefficients are: Intercept"),
        ("A[T.c] - x = 0", r"names 'A\[T.c\]', .* Did you mean 'A\[T.b\]'"),
        ("A[T.b]:days", r"names 'A\[T.b\]:days'"),
        ("`sleep` = 0", "names 'sleep'"),
        ("log(x)", r"names 'log\(x\)'"),
        ("x * Days", "multiplies two coefficients"),
        ("1 / x", "divides by a coefficient"),
        ("x / 0", "divides by zero"),
        ("x +", "cannot be read at its end"),
        ("x = 1 = 2", "cannot be read at '= 2'"),
        ("(x - Days", "cannot be read at its end"),
        ("2 x", "cannot be read at 'x'"),
        ("x # Days", "cannot be read at '# Days'"),
        ("", "cannot be read at its end"),
        ("x - x = 0", "no coefficient that is not zero"),
        ("1 = 1", "no coefficient that is not zero"),
        ({"xx": 1}, "names 'xx'"),
        ({"x": "1"}, "The contrast 'x' has no coefficient that is not zero"),
        ({"Days": 1, "slope": {"x": 1}}, "Days of the contrast is 1; it must be a text, a mapping or a row"),
        ({"slope": {"xx": 1}}, "names 'xx'"),
        ({"slope": {"x": "1"}}, "coefficient of 'x' in the contrast is '1'; it must be a number"),
        ({"x": np.inf}, "finite"),
        ([1, 2], "L1 of the contrast has 2 numbers, but there are 9 coefficients"),
        (np.eye(3), "L1 of the contrast has 3 numbers"),
        (["x", 3], "L2 of the contrast is 3"),
        ([], "empty list"),
        (7, "int is none of them"),
        (None, "NoneType is none of them"),
        (np.zeros((1, 9)), "'L1' has no coefficient"),
    ],
)
def test_what_cannot_be_read(bad: object, message: str) -> None:
    with pytest.raises(InferenceError, match=message):
        read_hypotheses(bad, NAMES)
