"""Expressions of names, numbers and operators, which are computed without being taken apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.build import build_design
from mixedmodels.design.expression import arithmetic
from mixedmodels.errors import DataError
from mixedmodels.formula.parse import parse_formula

DATA = pd.DataFrame(
    {"a": [1, 2, 3, 4, 5, 7], "b": [0.5, 1.5, -1.0, 2.0, 0.25, 3.0], "my b": 1.0, "log": 2.0, "g": list("uuvvww")}
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + 2 * b", DATA["a"] + 2 * DATA["b"]),
        ("-a / b", -DATA["a"] / DATA["b"]),
        ("a % 3 + b**2", DATA["a"] % 3 + DATA["b"] ** 2),
        ("`my b` + b - 1", DATA["b"]),
        ("log + a * b", DATA["a"] * DATA["b"] + 2.0),
    ],
)
def test_values_are_those_of_the_columns(expression: str, expected: pd.Series[float]) -> None:
    design = build_design(parse_formula(f"{expression} ~ 1 + (1 | g)"), DATA)
    np.testing.assert_allclose(design.y, expected, rtol=1e-15)


@pytest.mark.parametrize("code", ["np.log(a)", "a.rank()", "a[0]", "a if b else 1", "a > 1", "[a, b]", "a +"])
def test_anything_else_is_left_to_formulaic(code: str) -> None:
    assert arithmetic(code) is None


def test_labels_among_numbers_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="'g' holds labels"):
        build_design(parse_formula("a - g ~ 1 + (1 | g)"), DATA)
