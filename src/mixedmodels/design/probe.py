"""Rows of the fit that show which expressions can be computed for new rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from formulaic.parser.types import Term
from formulaic.transforms.contrasts import Contrasts

from mixedmodels.design.evaluation import Evaluation, MatrixRecipe, Memory
from mixedmodels.design.frame import Column
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.formula.expressions import is_lookup

Rows = npt.NDArray[np.intp]

N_CANDIDATES = 50
"""Rows among which those that differ most are taken."""

TOLERANCE = 1e-6
"""Difference, relative to the size of a column, that counts as rounding."""


@dataclass(frozen=True)
class ProbedMatrix:
    """Rows of a model matrix of the fit.

    Attributes
    ----------
    recipe
        How it was made.
    rows
        (n_rows, n_columns).
    sizes
        Largest absolute values in its columns at the candidates, (n_columns,).
    """

    recipe: MatrixRecipe
    rows: Floats
    sizes: Floats

    def changed_terms(self, alone: Evaluation, i: int) -> Iterator[str]:
        """Yield the terms that become something else when the i-th row is evaluated alone, which is repeated there."""
        try:
            found = alone.matrix(self.recipe)[0]
        except DataError:
            found = np.full(len(self.sizes), np.nan)
        is_same = np.abs(found - self.rows[i]) <= TOLERANCE * self.sizes
        assert self.recipe.spec is not None
        for term, columns in self.recipe.spec.term_slices.items():
            if _is_computed(term) and not is_same[columns].all():
                yield str(term)


@dataclass(frozen=True)
class Probe:
    """A few rows of the fit and what they became there.

    Expressions such as ``x - np.mean(x)`` give a row another value among other rows. Each of these rows evaluated alone
    must become what it became among all.

    Attributes
    ----------
    columns
        The data columns at these rows.
    matrices
        Their rows in matrices with computed terms.
    values
        Response, offsets and grouping variables that are computed, by expression.
    """

    columns: Mapping[str, Column]
    matrices: tuple[ProbedMatrix, ...]
    values: Mapping[str, Column]

    def changed(self, memory: Memory, contrasts: Mapping[str, Contrasts]) -> frozenset[str]:
        """Return the terms and expressions that give a row alone another value than among all rows.

        Parameters
        ----------
        memory, contrasts
            Those of the fit.
        """
        changed: set[str] = set()
        n_rows = len(next(iter(self.columns.values())).values)
        for i in range(n_rows):
            row = np.array([i, i])  # NumPy warns where a single one has no standard deviation
            columns = {name: column.take(row) for name, column in self.columns.items()}
            alone = Evaluation(columns, len(row), memory, contrasts)
            for matrix in self.matrices:
                changed.update(matrix.changed_terms(alone, i))
            changed.update(name for name, column in self.values.items() if not _is_same(alone, name, column, row))
        return frozenset(changed)


def make_probe(
    evaluation: Evaluation, matrices: Iterable[tuple[MatrixRecipe, Floats]], values: Mapping[str, Column]
) -> Probe | None:
    """Return a few rows that differ from each other, or None if nothing is computed.

    Parameters
    ----------
    evaluation
        Of the rows of the fit.
    matrices
        Its model matrices, (n_rows, n_columns) each, with their recipes.
    values
        Response, offsets and grouping variables.
    """
    computed = [(recipe, matrix) for recipe, matrix in matrices if any(map(_is_computed, recipe.terms))]
    expressions = {name: column for name, column in values.items() if name not in evaluation.columns}
    if not computed and not expressions:
        return None
    candidates = np.random.default_rng(0).integers(evaluation.n_rows, size=N_CANDIDATES)
    parts = [matrix[candidates] for _, matrix in computed]
    numbers = [column.values[candidates, None] for column in expressions.values()]
    chosen = _most_different(np.hstack([*parts, *(v.astype(np.float64) for v in numbers)]))
    rows = candidates[chosen]
    return Probe(
        {name: column.take(rows) for name, column in evaluation.columns.items()},
        tuple(
            ProbedMatrix(recipe, part[chosen], np.abs(part).max(axis=0))
            for (recipe, _), part in zip(computed, parts, strict=True)
        ),
        {name: column.take(rows) for name, column in expressions.items()},
    )


def _most_different(values: Floats) -> Rows:
    """Return three rows: the first, that unlike it in most columns, that unlike it in most of the other columns."""
    differs = values != values[0]
    second = differs.sum(axis=1).argmax()
    third = (differs & ~differs[second]).sum(axis=1).argmax()
    return np.array([0, second, third])


def _is_computed(term: Term) -> bool:
    return any(not is_lookup(factor) and factor.expr != "1" for factor in term.factors)


def _is_same(alone: Evaluation, expression: str, column: Column, row: Rows) -> bool:
    """Return whether an expression gives a row alone the value that it has in a column."""
    try:
        found, expected = alone.values(expression), column.take(row)
    except DataError:
        return False
    if expected.is_number and found.is_number:
        size = TOLERANCE * np.abs(column.values.astype(np.float64)).max()
        return bool(np.allclose(found.values, expected.values, rtol=0, atol=size))
    return found.to_series().tolist() == expected.to_series().tolist()
