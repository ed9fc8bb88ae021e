"""Formulas with fewer terms mean what they say when they are read again."""

from __future__ import annotations

import pytest

from mixedmodels.formula.algebra import expand_terms
from mixedmodels.formula.parse import parse_formula
from mixedmodels.formula.reduced import reduced, with_fixed_terms, with_random_terms

ODD = "`my y` ~ 0 + `a b`*c + {x + 1} + I(`a b` > 1) + poly(x, 2) + `1` + offset(`o o`) + offset(2*z) + (1|`g g`/h)"
FORMULAS = ("log(y) ~ a * b * c + (a | g)", "y ~ 1 + (1 | g)", "y ~ 0 + a:b + (0 + x | C(k):m)", ODD)


@pytest.mark.parametrize("text", FORMULAS)
def test_all_terms_kept_is_the_same_model(text: str) -> None:
    formula = parse_formula(text)
    names = [str(term) for term in expand_terms(formula.fixed)]
    again = parse_formula(with_fixed_terms(formula, names))
    assert list(expand_terms(again.fixed)) == list(expand_terms(formula.fixed))
    assert (again.response, again.offsets, again.random, again.names) == (
        formula.response, formula.offsets, formula.random, formula.names,
    )  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_each_term_can_go(text: str) -> None:
    formula = parse_formula(text)
    terms = [term for term in expand_terms(formula.fixed) if str(term) != "1"]
    for gone in terms:
        rest = [str(term) for term in terms if term != gone]
        left = expand_terms(parse_formula(with_fixed_terms(formula, rest)).fixed)
        assert [str(term) for term in left if str(term) != "1"] == rest
        assert ("1" in map(str, left)) == ("1" in map(str, expand_terms(formula.fixed)))


@pytest.mark.parametrize(
    ("text", "position", "left", "becomes"),
    [
        ("y ~ x + (x | g)", 0, ["1"], "y ~ x + (1 | g)"),
        ("y ~ x + (x + z || g)", 0, ["1", "z"], "y ~ x + (z || g)"),
        ("y ~ x + (x || g)", 0, ["x"], "y ~ x + (0 + x | g)"),
        ("y ~ x + (x | g / h)", 1, ["1"], "y ~ x + (x | h:g) + (1 | g)"),
        ("y ~ x + (1 | `g g` / h) + (1 | k)", 0, None, "y ~ x + (1 | `g g`) + (1 | k)"),
        ("y ~ x + (1 | a) + (x | a)", 1, ["1"], "y ~ x + (1 | a)"),
    ],
)
def test_random_terms(text: str, position: int, left: list[str] | None, becomes: str) -> None:
    formula = parse_formula(text)
    kept = [] if left is None else [reduced(formula.random[position], left, formula)]
    terms = [*formula.random[:position], *kept, *formula.random[position + 1 :]]
    assert with_random_terms(formula, terms) == becomes
