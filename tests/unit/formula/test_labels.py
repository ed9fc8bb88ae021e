"""What a formula makes of the columns that it names."""

from __future__ import annotations

import pytest

from mixedmodels.formula.labels import column_uses
from mixedmodels.formula.parse import parse_formula


@pytest.mark.parametrize(
    ("formula", "labels", "values"),
    [
        ("y ~ x + (x | g)", "g", "xy"),
        ("y ~ x + (1 | a / b) + (1 | c:d)", "abcd", "xy"),
        ("y ~ C(f) + factor(h, contr.sum) * x + (1 | C(g))", "fgh", ["x", "y", "contr"]),
        ("log(y) ~ I(x > z) + offset(w) + (poly(t, 2) || g)", "g", "twxyz"),
        ("y ~ x + (1 | floor(x))", "", "xy"),
        ("y ~ x + C(x) + (x | x)", "x", "xy"),
        ("y ~ . + (1 | g)", "g", "y"),
        ("`a y` ~ `a b` + C(`c d`) + (1 | `e f`)", ["c d", "e f"], ["a b", "a y"]),
    ],
)
def test_uses_of_columns(formula: str, labels: str | list[str], values: str | list[str]) -> None:
    uses = column_uses(parse_formula(formula))
    assert uses.labels == set(labels)
    assert uses.values == set(values)
