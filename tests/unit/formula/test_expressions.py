"""Names that expressions mention."""

from __future__ import annotations

import pytest

from mixedmodels.formula.algebra import terms_of
from mixedmodels.formula.expressions import as_written, mentions


@pytest.mark.parametrize(
    ("expression", "values", "functions"),
    [
        ("x", ("x",), ()),
        ("log(x + z)", ("x", "z"), ("log",)),
        ("log(log(x))", ("x",), ("log", "log")),
        ("np.log(x)", ("np", "x"), ()),
        ("x.fillna(0)", ("x",), ()),
        ("bs(x, df=4)", ("x",), ("bs",)),
        ("C(f, contr.sum)", ("f", "contr"), ("C",)),
        ("log(`yield`) + `in`", ("yield", "in"), ("log",)),
        ("f == '`x`'", ("f",), ()),
        ("log(`a b`) + `c`", ("a b", "c"), ("log",)),
        ("I([v + x for v in z])", ("x", "z"), ("I",)),
        ("I((lambda t: t + x)(z))", ("z", "x"), ("I",)),
        ("f == 'x'", ("f",), ()),
    ],
)
def test_mentions(expression: str, values: tuple[str, ...], functions: tuple[str, ...]) -> None:
    found = mentions(expression)
    assert {mention.name for mention in found if not mention.is_called} == set(values)
    assert tuple(mention.name for mention in found if mention.is_called) == functions


def test_terms_have_an_intercept_unless_removed() -> None:
    assert [str(term) for term in terms_of("x")] == ["1", "x"]
    assert [str(term) for term in terms_of("0 + x")] == ["x"]
    assert list(terms_of("1 + x")) == list(terms_of("x"))


def test_what_is_taken_of_a_name_and_what_is_quoted() -> None:
    first, second = mentions("np.log(`np`)")
    assert (first.name, first.attribute, first.is_quoted) == ("np", "log", False)
    assert (second.name, second.attribute, second.is_quoted) == ("np", None, True)


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("I(x**2)", "I(x ** 2)"),
        ("log( `a b`+1 )", "log(`a b` + 1)"),
        ("C(f,levels = ['a','`b`'])", "C(f, levels=['a', '`b`'])"),
    ],
)
def test_one_spelling_for_each_meaning(expression: str, written: str) -> None:
    assert as_written(expression) == written
    assert as_written(written) == written
