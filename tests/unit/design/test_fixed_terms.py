"""The fixed part by terms: a column for every level, whatever the coding of the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.design.fixed_terms import FixedTerm, TermMatrix, term_matrix
from mixedmodels.errors import InferenceError
from mixedmodels.formula.parse import parse_formula


def design(fixed: str, **options: object) -> Design:
    rng = np.random.default_rng(2)
    data = pd.DataFrame(
        {"A": list("abc") * 8, "B": list("uuvv") * 6, "x": rng.normal(size=24), "y": rng.normal(size=24)}
    )
    data["g"] = np.arange(24) // 3
    return build_design(parse_formula(f"y ~ {fixed} + (1 | g)"), data, **options)


def columns_by_term(of: TermMatrix) -> dict[str, int]:
    return {term.name: int((of.term == k).sum()) for k, term in enumerate(of.terms)}


@pytest.mark.parametrize("options", [{}, {"contrasts": {"A": "sum"}}, {"contrasts": {"A": "helmert", "B": "poly"}}])
def test_a_column_for_every_level(options: dict[str, object]) -> None:
    made = design("x + A * B + A:x", **options)
    R = term_matrix(made)
    assert columns_by_term(R) == {"x": 1, "A": 3, "B": 2, "A:B": 6, "A:x": 3}
    assert (R.term == -1).sum() == 1
    indicators = R.matrix[:, R.term == 1]
    np.testing.assert_array_equal(indicators.sum(axis=1), 1)
    np.testing.assert_array_equal(indicators.argmax(axis=1), np.arange(24) % 3)
    rank = np.linalg.matrix_rank
    assert rank(R.matrix) == rank(made.X) == rank(np.hstack([R.matrix, made.X]))


def test_plain_columns_are_terms() -> None:
    R = term_matrix(design("x"))
    assert columns_by_term(R) == {"x": 1}
    assert R.term.tolist() == [-1, 0]
    assert columns_by_term(term_matrix(design("1"))) == {}
    assert columns_by_term(term_matrix(design("0 + A"))) == {"A": 3}


def test_containment() -> None:
    terms = {term.name: term for term in term_matrix(design("x * A * B + I(x**2)")).terms}
    contained = {a: {b for b in terms if terms[a].is_contained_in(terms[b])} for a in terms}
    assert contained == {
        "x": {"x:A", "x:B", "x:A:B"},
        "A": {"A:B"},
        "B": {"A:B"},
        "I(x ** 2)": set(),
        "x:A": {"x:A:B"},
        "x:B": {"x:A:B"},
        "A:B": set(),
        "x:A:B": set(),
    }
    assert terms["x:A"] == FixedTerm("x:A", frozenset({"x"}), frozenset({"A"}))


def test_rows_that_were_dropped_are_gone() -> None:
    made = design("A + x")
    assert all(len(column.values) == made.n_obs for column in made.columns.values())


def test_a_design_without_its_columns_is_refused() -> None:
    with pytest.raises(InferenceError, match="made from columns that this model does not hold"):
        term_matrix(replace(design("A"), columns={}))
