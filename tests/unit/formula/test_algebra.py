"""Sums, products and nestings of terms: those of patsy, and what is refused."""

from __future__ import annotations

import random

import patsy
import pytest

from mixedmodels.errors import FormulaError
from mixedmodels.formula.algebra import terms_of
from mixedmodels.formula.parse import parse_formula


def random_sum(draw: random.Random, depth: int) -> str:
    """Return a sum of products of a, b, c and d, with parentheses inside of parentheses."""
    return " + ".join(random_product(draw, depth) for _ in range(draw.randint(1, 3)))


def random_product(draw: random.Random, depth: int) -> str:
    text = random_operand(draw, depth)
    for _ in range(draw.randint(0, 2)):
        text += draw.choice(["*", ":", "/"]) + random_operand(draw, depth)
    return text


def random_operand(draw: random.Random, depth: int) -> str:
    if depth and draw.random() < 0.4:
        return f"({random_sum(draw, depth - 1)})"
    return f"(a + {draw.choice('bcd')})**{draw.randint(1, 3)}" if draw.random() < 0.1 else draw.choice("abcd")


@pytest.mark.parametrize("seed", range(5))
def test_terms_are_those_of_patsy(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        text = random_sum(draw, 2)
        theirs = [frozenset(f.name() for f in t.factors) for t in patsy.ModelDesc.from_formula(text).rhs_termlist]
        ours = [frozenset(f.expr for f in t.factors) - {"1"} for t in terms_of(text)]
        assert set(ours) == set(theirs), text
        assert len(ours) == len(theirs), text
        assert [len(t) for t in ours] == sorted(len(t) for t in ours)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("(1 + a)*b", ["1", "a", "b", "a:b"]),
        ("a + b + a:b - b:a", ["1", "a", "b"]),
        ("(a + b)*c - (a + b):c", ["1", "a", "b", "c"]),
        ("a*b - (a - a)", ["1", "a", "b", "a:b"]),
        ("(a - 1) + b", ["a", "b"]),
        ("a + (0 + b)", ["a", "b"]),
        ("a - 0", ["1", "a"]),
        ("a - (1)", ["a"]),
        ("1:a + 1*b", ["1", "a", "b"]),
        ("a + b %in% a", ["1", "a", "b:a"]),
        ("c*b %in% a", ["1", "c", "b:a", "c:b:a"]),
        ("`1` + `2.5` + `.`", ["1", "`1`", "`2.5`", "`.`"]),
    ],
)
def test_intercept_numbers_and_what_is_taken_away(text: str, terms: list[str]) -> None:
    assert [str(term) for term in terms_of(text)] == terms


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("y ~ f + (yr - 2010||g)", "              ^", "as in I(yr - 2010)"),
        ("y ~ (x - 3)*f + (1|g)", "         ^", "as in I(x - 3)"),
        ("y ~ f/(x - 3) + (1|g)", "           ^", "as in I(x - 3)"),
        (
            "y ~ (x - z)*f + (1|g)",
            "         ^",
            "no term z to take away; there are x. Arithmetic stands in I(), as in I(x - z)",
        ),
        ("y ~ x + (0 + x - 3|g)", "                 ^", "as in I(x - 3)"),
        ("y ~ f + (x - no|g)", "             ^", "no term no to take away"),
        ("y ~ x + -3 + (1|g)", "         ^", "3 is no term"),
        ("y ~ x - 'a' + (1|g)", "        ^", "'a' is quoted text"),
        ("y ~ x + 0:z + (1|g)", "        ^", "0 is no term"),
        ("y ~ x + 2:z + (1|g)", "        ^", "as in I(2*z)"),
        ("y ~ x:-z + (1|g)", "      ^", "right of ':'"),
        ("y ~ (x:-z) + (1|g)", "       ^", "right of ':'"),
        ("y ~ (x - 1)*f + (1|g)", "    ^", "The intercept can be taken away outside of products"),
        ("y ~ x^2 + (1|g)", "     ^", "again; arithmetic stands in I(), as in I(x^2)"),
        ("y ~ d$x + (1|g)", "     ^", "without the data"),
        ("y ~ x @ z + (1|g)", "      ^", "'@' is no operator"),
        ("y ~ (" + "+".join("abcdefghijklmnop") + ")^9 + (1|g)", " " * 37 + "^", "more than 50,000 pairs"),
        ("y ~ " + 60 * "(" + "x" + 60 * ")" + " + (1|g)", " " * 54 + "^", "50 deep"),
        ("y ~ my x + (1|g)", "       ^", "stands in backticks: `my x`"),
        ("y ~ log(my x) + (1|g)", "    ^", "stands in backticks: `my x`"),
        ("my y ~ x + (1|g)", "^", "stands in backticks: `my y`"),
        ("y ~ x + (1|my g)", "           ^", "stands in backticks: `my g`"),
        ("y ~ log (x) + (1|g)", "        ^", "next to its bracket: log(...)"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(text: str, place: str, says: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    message, shown, caret = str(caught.value).split("\n")
    assert says in message
    assert (shown, caret) == (f"  {text}", f"  {place}")


def test_high_powers_are_all_products() -> None:
    assert list(terms_of("(a + b + c)**20")) == list(terms_of("a * b * c"))
