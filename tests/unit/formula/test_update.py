"""Formulas in which a dot stands for what was there."""

from __future__ import annotations

import pytest

from mixedmodels.errors import FormulaError
from mixedmodels.formula.parse import parse_formula
from mixedmodels.formula.update import update_formula

OLD = "log(y) ~ a * b + offset(z) + (a | g/h) + (1 | k)"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("w ~ v + (1 | u)", "w ~ v + (1 | u)"),
        (". ~ .", "log(y) ~ a * b + (a | g/h) + (1 | k) + offset(z)"),
        ("~ . + x", "log(y) ~ a * b + x + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ x + .", "log(y) ~ x + a * b + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ . - a:b", "log(y) ~ a * b - a:b + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ .:x", "log(y) ~ (a * b):x + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ -1 + .", "log(y) ~ -1 + a * b + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ . - (1|k)", "log(y) ~ a * b + (a | g/h) + offset(z)"),
        (". ~ . - (a | g / h) + (1 | g)", "log(y) ~ a * b + (1 | g) + (1 | k) + offset(z)"),
        (". ~ . - offset(z)", "log(y) ~ a * b + (a | g/h) + (1 | k)"),
        (". ~ 1 + (1 | k)", "log(y) ~ 1 + (1 | k)"),
        ("sqrt(.) ~ .", "sqrt(log(y)) ~ a * b + (a | g/h) + (1 | k) + offset(z)"),
        (". ~ . + I(x**2.5) + f(`a.b`)", "log(y) ~ a * b + I(x**2.5) + f(`a.b`) + (a | g/h) + (1 | k) + offset(z)"),
    ],
)
def test_updates(new: str, expected: str) -> None:
    assert update_formula(parse_formula(OLD), new) == expected


@pytest.mark.parametrize("new", [". ~ .", ". ~ . + x - x", ". ~ .:v", ". ~ . + (1 | u)"])
@pytest.mark.parametrize("old", [OLD, "y ~ x + (1 | g)", "`my y` ~ `a b` + offset(`c d`) + (x || g)", "y ~ (1 | g)"])
def test_updated_formulas_can_be_read(old: str, new: str) -> None:
    before = parse_formula(old)
    after = parse_formula(update_formula(before, new))
    assert after.response == before.response
    assert after.offsets == before.offsets
    assert set(after.random) >= set(before.random)


def test_only_what_is_there_can_be_taken_away() -> None:
    with pytest.raises(FormulaError, match=r"no term \(1 \| j\) to take away; there are .*Did you mean '\(1 \| k\)'"):
        update_formula(parse_formula(OLD), ". ~ . - (1 | j)")


@pytest.mark.parametrize(
    ("subtracted", "message"),
    [
        ("aa", r"no term aa to take away; there are a, b, a:b\. Did you mean 'a'\?\n.*- aa.*\n +\^$"),
        ("b:aa", r"no term b:aa .* Did you mean 'a:b'"),
        ("a*c", r"no term c to take away"),
        ("log(a)", r"no term log\(a\) to take away"),
    ],
)
def test_only_fixed_terms_that_are_there_can_be_taken_away(subtracted: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        parse_formula(update_formula(parse_formula(OLD), f". ~ . - {subtracted}"))


@pytest.mark.parametrize("subtracted", ["b:a", "a*b", "(a + b)", "1", "b - a:b"])
def test_terms_are_the_same_in_any_order(subtracted: str) -> None:
    parse_formula(update_formula(parse_formula(OLD), f". ~ . - {subtracted}"))
