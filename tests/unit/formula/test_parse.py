"""The formula language: what each spelling means, and where each complaint points."""

from __future__ import annotations

import pytest

from mixedmodels.errors import FormulaError
from mixedmodels.formula.parse import parse_formula


def random_terms(text: str) -> list[tuple[str, str, bool]]:
    """Return columns, grouping factor and correlatedness of each random term."""
    return [(term.columns, term.group_name, term.correlated) for term in parse_formula(text).random]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("(1|g)", [("1", "g", True)]),
        ("(x|g)", [("1 + x", "g", True)]),
        ("(1 + x | g)", [("1 + x", "g", True)]),
        ("(0+x|g)", [("0 + x", "g", True)]),
        ("(x + 0|g)", [("x + 0", "g", True)]),
        ("(-1 + x|g)", [("-1 + x", "g", True)]),
        ("(x - 1 | g)", [("x - 1", "g", True)]),
        ("(x||g)", [("1 + x", "g", False)]),
        ("(1|a/b)", [("1", "b:a", True), ("1", "a", True)]),
        ("(1|a/b/c)", [("1", "c:b:a", True), ("1", "b:a", True), ("1", "a", True)]),
        ("(1|a:b)", [("1", "a:b", True)]),
        ("(1|a:b/c)", [("1", "c:a:b", True), ("1", "a:b", True)]),
        ("(1|(a:b)/c)", [("1", "c:a:b", True), ("1", "a:b", True)]),
        ("(1|(a/b))", [("1", "b:a", True), ("1", "a", True)]),
        ("(x*z|g)", [("1 + x*z", "g", True)]),
        ("(x+I(x^2)|g)", [("1 + x + I(x**2)", "g", True)]),
        ("(log(x)|g)", [("1 + log(x)", "g", True)]),
        ("(poly(x, 2)|g)", [("1 + poly(x, 2)", "g", True)]),
        ("(x|C(g))", [("1 + x", "C(g)", True)]),
        ("(1|as.factor(g))", [("1", "factor(g)", True)]),
        ("(x|g) + (1|h) + (0 + z||i)", [("1 + x", "g", True), ("1", "h", True), ("0 + z", "i", False)]),
        ("(1|`my group`)", [("1", "my group", True)]),
        ("((1|g))", [("1", "g", True)]),
        ("(z + (1|g))", [("1", "g", True)]),
    ],
)
def test_random_terms(term: str, expected: list[tuple[str, str, bool]]) -> None:
    assert random_terms(f"y ~ w + {term}") == expected


@pytest.mark.parametrize(
    ("right", "fixed"),
    [
        ("(1|g)", "1"),
        ("x + (1|g)", "x"),
        ("(1|g) + x", "x"),
        ("0 + x + (1|g)", "0 + x"),
        ("x + (1|g) - 1", "x - 1"),
        ("(1|g) - 1", "-1"),
        ("-1 + x + (1|g)", "-1 + x"),
        ("x + + z + (1|g)", "x + z"),
        ("x - -z + (1|g)", "x + z"),
        ("a*b + a:c + (1|g)", "a*b + a:c"),
        ("(a + b)^2 + (1|g)", "(a + b)^2"),
        ("(x + (1|g)) + z", "x + z"),
        ("I(x^2) + (1|g)", "I(x**2)"),
        ("poly(x, 2, raw = TRUE) + (1|g)", "poly(x, 2, raw = TRUE)"),
        ("`a b` + log(`a b`) + (1|g)", "`a b` + log(`a b`)"),
        ("x.y + (1|g)", "x.y"),
        (". + (1|g)", "."),
        ("C(f, contr.sum) + (1|g)", "C(f, contr.sum)"),
        ("I(f == '^ | ~') + (1|g)", "I(f == '^ | ~')"),
        ("bs(x, df = 4) + {x + 1} + (1|g)", "bs(x, df = 4) + {x + 1}"),
        ("f(x)[0] + (1|g)", "f(x)[0]"),
        ("log(x).clip(0, 1)*z + (1|g)", "log(x).clip(0, 1)*z"),
        ("x.groupby(g).transform('mean') + (1|g)", "x.groupby(g).transform('mean')"),
        ("I((x > 1) | (z > 2)) + (1|g)", "I((x > 1) | (z > 2))"),
    ],
)
def test_fixed_part(right: str, fixed: str) -> None:
    assert parse_formula(f"y ~ {right}").fixed == fixed


@pytest.mark.parametrize(
    ("left", "response"),
    [
        ("y", "y"),
        ("log(y)", "log(y)"),
        ("I(incidence / size)", "I(incidence / size)"),
        ("log((deaths + 0.5) / expected)", "log((deaths + 0.5) / expected)"),
        ("y^2 / z", "y**2 / z"),
        ("`my y`", "my y"),
        ("log(`my y`)", "log(`my y`)"),
        ("yield", "yield"),
    ],
)
def test_response(left: str, response: str) -> None:
    assert parse_formula(f"{left} ~ x + (1|g)").response == response


def test_offsets() -> None:
    formula = parse_formula("y ~ offset(log(t^2)) + x + offset(w) + (1|g) + offset(`a b`)")
    assert formula.offsets == ("log(t**2)", "w", "a b")
    assert formula.fixed == "x"


@pytest.mark.parametrize(
    ("text", "kind", "rank"),
    [
        ("us(x | g)", "us", 0),
        ("diag(x | g)", "diag", 0),
        ("homdiag(0 + f | g)", "homdiag", 0),
        ("cs(0 + f | g, hom = TRUE)", "homcs", 0),
        ("ar1(0 + f | g, hom=False)", "hetar1", 0),
        ("hetar1(0 + f | g)", "hetar1", 0),
        ("toep(0 + f | g, hom=FALSE)", "toep", 0),
        ("rr(0 + f | g)", "rr", 2),
        ("rr(0 + f | g, d = 3)", "rr", 3),
        ("(x | g)", "us", 0),
        ("(x || g)", "diag", 0),
    ],
)
def test_structures_of_random_effects(text: str, kind: str, rank: int) -> None:
    (term,) = parse_formula(f"y ~ x + {text}").random
    assert (term.kind, term.rank, term.group, term.text) == (kind, rank, ("g",), text)


def test_a_structure_over_nested_factors_is_one_term_for_each() -> None:
    inner, outer = parse_formula("y ~ ar1(0 + factor(t) | g / h)").random
    assert (inner.group, outer.group) == (("h", "g"), ("g",))
    assert inner.columns == outer.columns == "0 + factor(t)"


def test_whitespace_and_printed_signs() -> None:
    plain = parse_formula("y ~ x - 1 + (1 | g)")
    for text in ("y ~\n  x - 1 +\n  (1 | g)", "y\u00a0~ x \u2212 1 + (1 \u2223 g)", "y \u223c x - 1 + (1\t| g)"):
        formula = parse_formula(text)
        assert (formula.response, formula.fixed) == (plain.response, plain.fixed)
        assert [t.group for t in formula.random] == [("g",)]


def test_names_in_other_scripts() -> None:
    assert random_terms("größe ~ βx + (βx | 学校)") == [("1 + βx", "学校", True)]


def test_term_keeps_its_text() -> None:
    assert parse_formula("y ~ (1  +  x |  g/h)").random[0].text == "(1 + x | g/h)"


def test_results_are_cached() -> None:
    assert parse_formula("y ~ x + (1 | g)") is parse_formula("y ~ x + (1 | g)")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        # `place` marks the character that the caret points to; '^' under the formula
        ("y ~ x", "     ^", "no random term"),
        ("y ~ x + ou(t | g)", "        ^", "structure ou(...) is not supported. A random term is (x | g)"),
        ("y ~ x:cs(f | g) + (1 | g)", "      ^", "structure cs(...) is not supported"),
        ("y ~ x - cs(f | g)", "        ^", "can be added but not subtracted"),
        ("y ~ x + cs(f || g)", "        ^", "cs(...) has one bar"),
        ("y ~ x + cs(f | g, d=2)", "                  ^", "cs(...) takes hom=True"),
        ("y ~ x + rr(f | g, d=0)", "                  ^", "rr(...) takes d=2"),
        ("y ~ x + rr(f | g, 2)", "                  ^", "rr(...) takes d=2"),
        ("y ~ x + us(f | g, hom=TRUE)", "                  ^", "us(...) takes no options"),
        ("y ~ x + ar1(f | g | h)", "                  ^", "one bar"),
        ("y ~ x + (1 | g) + corAR1(form = ~ 1 | g)", "                  ^", "structure corAR1(...) is not supported"),
        ("y ~ x + (1 | g) # both", "                ^", "has no comments"),
        ("y x + (1|g)", "  ^", "needs '~'"),
        ("", "^", "needs '~'"),
        ("~ x + (1|g)", "^", "response is missing"),
        ("y ~", "   ^", "Nothing stands right of '~'"),
        ("y ~ z ~ x + (1|g)", "      ^", "one '~' only"),
        ("y | z ~ (1|g)", "  ^", "stand right of '~'"),
        ("y ~ x + (1|g", "        ^", "never closed"),
        ("y ~ x) + (1|g)", "     ^", "closes nothing"),
        ("y ~ x] + (1|g)", "     ^", "closes nothing"),
        ("y ~ log(x + (1|g)", "       ^", "never closed"),
        ("y ~ log(x] + (1|g)", "         ^", "does not match"),
        ("y ~ `a + (1|g)", "    ^", "never closed"),
        ("y ~ x + 1|g", "         ^", "needs parentheses"),
        ("y ~ x + 1||g", "         ^", "needs parentheses"),
        ("y ~ x:(1|g)", "      ^", "interaction"),
        ("y ~ x*(z + (1|g))", "           ^", "interaction"),
        ("y ~ x - (1|g)", "        ^", "not subtracted"),
        ("y ~ (x|g)(1|h)", "         ^", "operator such as '+' is missing"),
        ("y ~ (|g)", "     ^", "left of the bar"),
        ("y ~ (1|)", "       ^", "grouping factor is missing"),
        ("y ~ (0|g)", "     ^", "No column is left of the bar"),
        ("y ~ (1|g|h)", "        ^", "one bar"),
        ("y ~ (1|a+b)", "        ^", "joined by ':' or '/'"),
        ("y ~ (1|a*b)", "        ^", "joined by ':' or '/'"),
        ("y ~ (1|2)", "       ^", "joined by ':' or '/'"),
        ("y ~ (1|a/)", "         ^", "missing beside"),
        ("y ~ (1|g:g)", "       ^", "twice"),
        ("y ~ (.|g)", "     ^", "fixed part only"),
        ("y ~ (offset(x)|g)", "     ^", "offset cannot"),
        ("y ~ x z + (1|g)", "      ^", "operator such as '+' is missing before 'z'"),
        ("y ~ x + (1|g) +", "               ^", "right of '+'"),
        ("y ~ x * + (1|g)", "       ^", "right of '*'"),
        ("y ~ * x + (1|g)", "    ^", "left of '*'"),
        ("y ~ () + (1|g)", "     ^", "missing before ')'"),
        ("y ~ offset(x):z + (1|g)", "    ^", "on its own"),
        ("y ~ x - offset(z) + (1|g)", "        ^", "on its own"),
        ("y ~ offset() + (1|g)", "    ^", "empty"),
        ("y ~ 2*x + (1|g)", "    ^", "2 is no term"),
        ("y ~ x + z^w + (1|g)", "          ^", "positive whole number"),
        ("y ~ 'a' + (1|g)", "    ^", "'a' is quoted text"),
        ("y ~ log(x z) + (1|g)", "    ^", "cannot be read"),
        ("y ~ log(lambda) + (1|g)", "    ^", "'lambda' stands in backticks: `lambda`"),
        ("log(y z) ~ x + (1|g)", "^", "cannot be read"),
        ("y ~ (1|f(g h))", "       ^", "cannot be read"),
    ],
)
def test_complaints_show_the_place(text: str, place: str, says: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    message, shown, caret = str(caught.value).split("\n")
    assert says in message
    assert shown == f"  {text}"
    assert caret == f"  {place}"
    assert caught.value.position == place.index("^")


def test_formula_must_be_text() -> None:
    with pytest.raises(FormulaError, match="of type 'list'"):
        parse_formula(["y ~ x"])  # type: ignore[arg-type]  # what is refused
