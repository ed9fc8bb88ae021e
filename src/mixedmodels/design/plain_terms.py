"""Model matrices whose terms are columns as they are and products of these, made from codes as formulaic makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain, product
from math import prod
from operator import mul
from typing import Any

import numpy as np
import numpy.typing as npt
from formulaic.materializers.base import EncodedTermStructure
from formulaic.materializers.types import ScopedTerm
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor
from formulaic.transforms.contrasts import ContrastsState, TreatmentContrasts

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.frame import Column
from mixedmodels.design.records import Floats
from mixedmodels.formula.expressions import column_name, is_lookup

USUAL = TreatmentContrasts()
"""The coding of a category that has no other."""

MAX_CELLS = 4096
"""Combinations of levels whose rows are made once and handed to the rows of the data."""

Words = tuple[tuple[str, ...], ...]
Structure = Sequence[EncodedTermStructure]


def words_of(spec: ModelSpec) -> Words:
    """Return the factors of each term as they are written."""
    return tuple([tuple([factor.expr for factor in term.factors]) for term in spec.formula])


def plain_factors(
    spec: ModelSpec, columns: Mapping[str, Column], coded: Mapping[str, object]
) -> dict[str, Column] | None:
    """Return the columns that terms are products of, by their expressions; None if they take more than products.

    Parameters
    ----------
    spec
        The terms, and the levels that their categories had where they were evaluated before.
    columns
        Columns of the data, without missing values.
    coded
        Those that have another coding than the usual one.
    """
    plain: dict[str, Column] = {}
    for factor in chain.from_iterable(term.factors for term in spec.formula):
        if is_lookup(factor):
            name = column_name(factor)
            column = columns[name]
            if name in coded or not _is_as_before(column, spec.encoder_state.get(factor.expr)):
                return None
            plain[factor.expr] = column
        elif factor.expr != "1":
            return None
    return plain or None


def _is_as_before(column: Column, before: tuple[Factor.Kind, dict[str, Any]] | None) -> bool:
    """Return whether a column is a number or a category whose codes count the levels of an earlier evaluation."""
    if column.levels is None:
        is_number = column.is_number and not column.is_boolean
        return is_number and (before is None or before[0] is Factor.Kind.NUMERICAL)
    return len(column.levels) > 0 and (before is None or before[1].get("categories") == column.labels)


def plain_matrix(
    spec: ModelSpec, structure: Structure, plain: Mapping[str, Column], n_rows: int
) -> tuple[Floats, ModelSpec] | None:
    """Return the model matrix, (n_rows, n_columns), C order, to the last bit formulaic's, and what repeats it.

    None where formulaic would join columns because the text of one level is that of another.

    Parameters
    ----------
    spec
        As for ``plain_factors``; what its categories are coded by is added to it.
    structure
        Of each term, its products of factors with all levels or all but the first.
    plain
        As ``plain_factors`` returns it.
    n_rows
        Of the columns.
    """
    levels = {expression: column.labels for expression, column in plain.items() if column.levels is not None}
    parts = [part for _, scoped, _ in structure for part in scoped]
    names = [[name for part in scoped for name in _names(part, levels)] for _, scoped, _ in structure]
    if any(len(set(of_term)) < len(of_term) for of_term in names):
        return None
    for expression in plain:
        spec.encoder_state.setdefault(expression, _state(levels.get(expression)))
    named = [
        EncodedTermStructure(term, scoped, of_term)
        for term, (_, scoped, _), of_term in zip(spec.formula, structure, names, strict=True)
    ]
    made = spec.update(structure=named, materializer="pandas", materializer_params={})
    n_columns = sum(map(len, names))
    n_cells = prod(map(len, levels.values()))
    if len(levels) < len(plain) or n_cells > min(n_rows, MAX_CELLS):
        return _filled(parts, {key: column.numbers for key, column in plain.items()}, levels, (n_rows, n_columns)), made
    shape = tuple(map(len, levels.values()))
    cells = dict(zip(levels, np.indices(shape).reshape(len(shape), n_cells), strict=True))
    cell = np.ravel_multi_index([plain[key].values for key in levels], shape)
    matrix = np.empty((n_rows, n_columns))
    return _filled(parts, cells, levels, (n_cells, n_columns)).take(cell, axis=0, out=matrix, mode="clip"), made


def _filled(
    parts: Sequence[ScopedTerm],
    values: Mapping[str, npt.NDArray[Any]],
    levels: Mapping[str, list[Any]],
    shape: tuple[int, int],
) -> Floats:
    """Return the columns of all products, (n_rows, n_columns), of numbers and codes."""
    matrix = np.empty(shape)
    columns = chain.from_iterable(_columns(part, values, levels) for part in parts)
    for j, column in enumerate(columns):
        matrix[:, j] = column
    return matrix


def _columns(
    part: ScopedTerm, values: Mapping[str, npt.NDArray[Any]], levels: Mapping[str, list[Any]]
) -> Iterator[npt.NDArray[Any] | float]:
    """Yield the columns of a product of factors, (n_rows,), the levels of its first factor fastest.

    Factors of one column are multiplied first, as formulaic does: it decides the sign of zeros.
    """
    choices = []
    for scoped in part.factors:
        key = scoped.factor.expr
        of_levels = range(int(scoped.reduced), len(levels[key])) if key in levels else None
        choices.append([values[key]] if of_levels is None else [values[key] == k for k in of_levels])
    alone = [columns[0] for columns in choices if len(columns) == 1]
    choices = [columns for columns in choices if len(columns) != 1]
    if alone:
        choices.append([reduce(mul, alone)])
    for chosen in product(*reversed(choices)):
        yield reduce(mul, reversed(chosen)) if chosen else 1.0


def _names(part: ScopedTerm, levels: Mapping[str, list[Any]]) -> list[str]:
    """Return the names of the columns of a product of factors."""
    words = [_words(scoped.factor.expr, scoped.reduced, levels) for scoped in reversed(part.factors)]
    return [":".join(reversed(chosen)) for chosen in product(*words)] if words else [INTERCEPT]


def _words(expression: str, reduced: bool, levels: Mapping[str, list[Any]]) -> list[str]:
    """Return what a factor's columns are called in products."""
    if expression not in levels:
        return [expression]
    text = USUAL.get_factor_format(levels[expression], reduced_rank=reduced)
    return [text.format(name=expression, field=level) for level in levels[expression][int(reduced) :]]


def _state(levels: list[Any] | None) -> tuple[Factor.Kind, dict[str, Any]]:
    """Return what formulaic remembers of a number, or of a category with these levels."""
    if levels is None:
        return Factor.Kind.NUMERICAL, {}
    return Factor.Kind.CATEGORICAL, {"categories": levels, "contrasts": ContrastsState(USUAL, levels)}
