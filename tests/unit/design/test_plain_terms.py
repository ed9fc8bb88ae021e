"""Matrices made from codes against formulaic's own: same bits, same names, same way to repeat them."""

from __future__ import annotations

from itertools import chain
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.build import build_design
from mixedmodels.design.evaluation import Evaluation, Memory
from mixedmodels.design.frame import Column, open_frame
from mixedmodels.design.plain_terms import MAX_CELLS, plain_factors
from mixedmodels.design.plan import Part, read_part
from mixedmodels.formula.algebra import terms_of
from mixedmodels.formula.parse import parse_formula

N_FORMULAS = 396
NUMBERS = ("x", "z", "k", "u", "`odd name`")
CATEGORIES = ("a", "b", "c", "d", "e")


def messy(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Return rows with gaps, unused and empty levels, small whole numbers, booleans, texts and ordered categories."""
    frame = pd.DataFrame(
        {
            "y": rng.standard_normal(n),
            "g": rng.integers(0, 5, n),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.standard_normal(n)),
            "z": rng.standard_normal(n).astype(np.float32),
            "k": rng.integers(-100, 100, n).astype(np.int8),
            "u": rng.integers(0, 250, n).astype(np.uint8),
            "odd name": rng.standard_normal(n) - 1e8,
            "a": rng.choice(["low", "a:b", "Ä"], n),
            "b": pd.Categorical.from_codes(rng.integers(0, 3, n), ["q", "p", "z", "never"], ordered=True),
            "c": rng.random(n) < 0.4,
            "d": pd.Categorical(rng.choice([10, 2, 3], n), categories=[10, 3, 2]),
            "e": pd.Categorical.from_codes(rng.integers(-1, 2, n), ["yes", "no"]),
        }
    )
    return frame[(frame["a"] != "low") | (frame["b"] != "q")].reset_index(drop=True)  # a cell without rows


def some_formula(rng: np.random.Generator) -> str:
    """Return a right-hand side: an intercept or none, products of up to three columns, perhaps an offset."""
    terms = []
    for _ in range(rng.integers(1, 5)):
        chosen = rng.choice([*NUMBERS, *CATEGORIES, *CATEGORIES], rng.integers(1, 4), replace=False)
        terms.append(str(rng.choice([":", " * "])).join(dict.fromkeys(chosen)))
    if rng.random() < 0.2:
        terms.append("offset(x)")
    return str(rng.choice(["", "1 + ", "0 + "])) + " + ".join(terms)


def as_formulaic_sees(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the complete rows, categories with the levels that they have, booleans as categories."""
    kept = frame.loc[frame[names].notna().all(axis=1)].copy()
    for name in names:
        if kept[name].dtype == bool:
            kept[name] = pd.Categorical(kept[name], categories=[False, True])
        elif isinstance(kept[name].dtype, pd.CategoricalDtype):
            kept[name] = kept[name].cat.remove_unused_categories()
        elif kept[name].dtype.kind in "iu":
            kept[name] = kept[name].astype(np.int64)
        elif kept[name].dtype.kind == "f":
            kept[name] = kept[name].astype(np.float64)
    return kept


def parts_of(structure: Any) -> list[tuple[Any, ...]]:
    """Return terms, their products of factors and their columns, as texts."""
    return [(str(term), [str(part) for part in scoped], list(columns)) for term, scoped, columns in structure]


@pytest.mark.parametrize("seed", range(12))
def test_columns_and_names_are_formulaics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = messy(rng, 120)
    for _ in range(N_FORMULAS // 12):
        text = f"y ~ {some_formula(rng)} + (1 | g)"
        design = build_design(parse_formula(text), frame)
        recipe = design.recipe.fixed
        kept = as_formulaic_sees(frame, ["y", *recipe.columns, *(["x"] if "offset" in text else [])])
        terms = terms_of(parse_formula(text).fixed)
        expected = formulaic.model_matrix(terms, kept, output="numpy", na_action="ignore")
        assert list(design.x_names) == list(expected.model_spec.column_names), text
        assert design.X.tobytes() == np.ascontiguousarray(expected, dtype=np.float64).tobytes(), text
        if recipe.spec is not None:
            assert parts_of(recipe.spec.structure) == parts_of(expected.model_spec.structure), text
            assert recipe.coded_levels == {
                factor.expr: state.levels for factor, state in expected.model_spec.factor_contrasts.items()
            }


@pytest.mark.parametrize("seed", range(6))
def test_repeats_and_full_indicators_are_formulaics(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    columns = columns_of(messy(rng, 200))
    later = {name: column.take(rng.integers(0, len(columns["y"].values), 25)) for name, column in columns.items()}
    for _ in range(20):
        part = some_part(rng, columns)
        evaluation, again = (Evaluation(of, len(of["y"].values), Memory(), {}) for of in (columns, later))
        matrix, recipe = evaluation.first_matrix(part)
        if recipe.spec is None:
            continue
        assert plain_factors(recipe.spec, columns, {}) is not None
        theirs, spec = evaluation._by_formulaic(recipe.spec.update(structure=None, encoder_state={}))
        assert matrix.tobytes() == theirs.tobytes()
        assert spec.encoder_state == {key: recipe.spec.encoder_state[key] for key in spec.encoder_state}
        assert again.matrix(recipe).tobytes() == again._by_formulaic(recipe.spec)[0].tobytes()
        full, full_spec = evaluation.indicator_matrix(recipe.spec)
        theirs, their_spec = evaluation._by_formulaic(recipe.spec.update(ensure_full_rank=False, structure=None))
        assert full.tobytes() == theirs.tobytes()
        assert parts_of(full_spec.structure) == parts_of(their_spec.structure)


def columns_of(frame: pd.DataFrame) -> dict[str, Column]:
    """Return the complete rows as a design has them."""
    kept = as_formulaic_sees(frame, list(frame.columns)).reset_index(drop=True)
    opened = open_frame(kept)
    return {name: opened.read(name) for name in opened.names}


def some_part(rng: np.random.Generator, columns: dict[str, Column]) -> Part:
    """Return the terms of a formula without an offset."""
    return read_part(terms_of(some_formula(rng).replace(" + offset(x)", "")), columns)


def test_many_cells_are_not_made_at_once() -> None:
    n, sizes = 5000, (70, 80)
    rng = np.random.default_rng(3)
    assert sizes[0] * sizes[1] > MAX_CELLS
    columns = {
        name: Column(rng.integers(0, size, n).astype(np.int32), pd.Index(range(size)))
        for name, size in zip("ab", sizes, strict=True)
    }
    evaluation = Evaluation(columns, n, Memory(), {})
    matrix, recipe = evaluation.first_matrix(read_part(terms_of("a + b"), columns))
    assert recipe.spec is not None
    assert matrix.tobytes() == evaluation._by_formulaic(recipe.spec)[0].tobytes()


@pytest.mark.parametrize("formula", ["np.log(x + 9) + a", "C(a) + x", "poly(x, 2) : a", "I(x * k) + b"], ids=str)
def test_what_takes_more_than_products_is_left_to_formulaic(formula: str) -> None:
    columns = columns_of(messy(np.random.default_rng(4), 60))
    part = read_part(terms_of(formula), columns)
    evaluation = Evaluation(columns, len(columns["y"].values), Memory(), {})
    _, recipe = evaluation.first_matrix(part)
    assert recipe.spec is not None
    assert plain_factors(recipe.spec, columns, {}) is None


def test_texts_that_are_alike_are_joined_as_formulaic_joins_them() -> None:
    levels = pd.Index([1, "1", 2], dtype=object)
    columns = {"a": Column(np.array([0, 1, 2, 1, 0]), levels)}
    evaluation = Evaluation(columns, 5, Memory(), {})
    matrix, recipe = evaluation.first_matrix(read_part(terms_of("0 + a"), columns))
    kept = pd.DataFrame({"a": pd.Categorical.from_codes(columns["a"].values, levels)})
    expected = formulaic.model_matrix("0 + a", kept, output="numpy")
    assert recipe.names == tuple(expected.model_spec.column_names)
    assert matrix.tobytes() == np.ascontiguousarray(expected, dtype=np.float64).tobytes()


def test_one_level_has_no_column_beside_the_intercept() -> None:
    columns = {"a": Column(np.zeros(4, dtype=np.int8), pd.Index(["only"])), "x": Column(np.arange(4.0))}
    for text in ("a + x", "0 + a + a:x", "x:a"):
        evaluation = Evaluation(columns, 4, Memory(), {})
        matrix, recipe = evaluation.first_matrix(read_part(terms_of(text), columns))
        assert recipe.spec is not None
        theirs, spec = evaluation._by_formulaic(recipe.spec.update(structure=None))
        assert recipe.names == tuple(chain.from_iterable(columns for *_, columns in spec.structure))
        assert matrix.tobytes() == theirs.tobytes()
