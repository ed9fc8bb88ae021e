"""The fixed part by terms, before any coding: what hypotheses about terms are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mixedmodels.design.evaluation import Evaluation
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats


WITHOUT_COLUMNS = (
    "this model does not hold: it was made of arrays, or a fixed effect is held, or columns were left out with "
    "drop_cols. Fit it with lmer, a held effect as offset(...)"
)
"""How the columns of the data that a question needs can be missing, and what to do."""


@dataclass(frozen=True)
class FixedTerm:
    """One term of the fixed part.

    Attributes
    ----------
    name
        As formulaic writes it: ``"Date:Variety"``.
    numeric, categorical
        The factors it is the product of.
    """

    name: str
    numeric: frozenset[str]
    categorical: frozenset[str]

    @property
    def variables(self) -> frozenset[str]:
        """The factors, of either kind."""
        return self.numeric | self.categorical

    @property
    def factors(self) -> list[str]:
        """The factors, of either kind, in the order of the name."""
        return sorted(self.variables, key=lambda factor: f":{self.name}:".find(f":{factor}:"))

    def is_contained_in(self, other: FixedTerm) -> bool:
        """Return True if the other term has the same numeric factors and more categorical ones."""
        return self.numeric == other.numeric and self.categorical < other.categorical


@dataclass(frozen=True)
class TermMatrix:
    """The fixed part without a coding: a column for every level.

    Attributes
    ----------
    matrix
        (n_obs, n_columns), or ``moment_rows`` of it; its columns depend on each other.
    terms
        The terms in the order of the formula, the intercept not among them.
    term
        (n_columns,), the term of each column, -1 for the intercept.
    """

    matrix: Floats
    terms: tuple[FixedTerm, ...]
    term: npt.NDArray[np.intp]


def columns_by_term(design: Design) -> dict[str, list[int]]:
    """Return the positions of the columns of each term of the fixed part, the intercept not among them."""
    places: dict[str, list[int]] = {}
    for j, name in enumerate(design.recipe.fixed.column_terms):
        if name != "1":
            places.setdefault(name, []).append(j)
    return places


def can_tell_terms(design: Design) -> bool:
    """Return True if a design has no formula, or holds the columns that its terms are made from."""
    fixed = design.recipe.fixed
    return not fixed.is_computed or design.cells.keys() >= set(fixed.columns)


def term_matrix(design: Design) -> TermMatrix:
    """Return the fixed part of a design by terms, with a column for every level of a categorical variable.

    Raises
    ------
    InferenceError
        If the design does not hold the columns that its terms are made from.
    """
    if not design.recipe.fixed.is_computed:
        names = [name for name in design.x_names if name != INTERCEPT]
        places = np.array([names.index(name) if name != INTERCEPT else -1 for name in design.x_names], dtype=np.intp)
        plain = tuple(FixedTerm(name, frozenset({name}), frozenset()) for name in names)
        return TermMatrix(design.moment_rows, plain, places)
    if not can_tell_terms(design):
        raise InferenceError(
            f"The terms of the fixed part are made from columns that {WITHOUT_COLUMNS}, or test coefficients by "
            "contrast."
        )
    recipe: Any = design.recipe
    if not isinstance(recipe, DesignRecipe):  # the door's, whose formulas are patsy's
        own: TermMatrix = recipe.term_matrix()
        return own
    n_rows = design.n_obs if design.frequency is None else len(design.frequency)
    evaluation = Evaluation(design.cells, n_rows, recipe.memory, recipe.contrasts)
    assert recipe.fixed.spec is not None
    matrix, full = evaluation.indicator_matrix(recipe.fixed.spec)
    if design.stand_in is not None:
        matrix = design.stand_in.full
    coded = {factor.expr for factor in full.factor_contrasts}
    terms: list[FixedTerm] = []
    term: list[int] = []
    for part in full.structure:
        factors = frozenset(factor.expr for factor in part.term.factors) - {"1"}
        term += [len(terms) if factors else -1] * len(part.columns)
        if factors:
            terms.append(FixedTerm(str(part.term), factors - coded, factors & coded))
    return TermMatrix(matrix, tuple(terms), np.array(term, dtype=np.intp))
