"""Names that expressions mention."""

from __future__ import annotations

import pytest

from mixedmodels.formula.expressions import Names, names_in, terms_of


@pytest.mark.parametrize(
    ("expression", "values", "functions"),
    [
        ("x", ("x",), ()),
        ("yield", ("yield",), ()),
        ("log(x + z)", ("x", "z"), ("log",)),
        ("log(log(x))", ("x",), ("log",)),
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
def test_names_in(expression: str, values: tuple[str, ...], functions: tuple[str, ...]) -> None:
    names = names_in(expression)
    assert isinstance(names, Names)
    assert set(names.values) == set(values)
    assert names.functions == functions


def test_terms_have_an_intercept_unless_removed() -> None:
    assert [str(term) for term in terms_of("x")] == ["1", "x"]
    assert [str(term) for term in terms_of("0 + x")] == ["x"]
    assert list(terms_of("1 + x")) == list(terms_of("x"))
