"""What the columns of a random term belong to, where a structure restricts their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.effect_kinds import CORRELATIONS, REDUCED_RANK, UNSTRUCTURED, is_restricted, needs_order
from mixedmodels.design.labels import level_text
from mixedmodels.design.records import EffectTerm
from mixedmodels.errors import DesignError

if TYPE_CHECKING:
    from mixedmodels.design.evaluation import MatrixRecipe
    from mixedmodels.formula.terms import RandomTerm


def effect_terms(terms: Sequence[tuple[RandomTerm, MatrixRecipe]]) -> tuple[EffectTerm, ...]:
    """Return the terms of one grouping factor, none if blocks of Lambda say all of them.

    Raises
    ------
    DesignError
        A structure does not go with the columns of its term.
    """
    if not any(is_restricted(term.kind) for term, _ in terms):
        return ()
    found = tuple(_effect_term(term, recipe) for term, recipe in terms)
    return found if any(is_restricted(term.structure) for term in found) else ()


def _effect_term(term: RandomTerm, recipe: MatrixRecipe) -> EffectTerm:
    n, kind, rank = len(recipe.names), term.kind, term.rank
    if is_restricted(kind) and n == 1:
        raise DesignError(
            f"{term.text} has one effect, {recipe.names[0]!r}, and its structure says how several are correlated. "
            f"Write (... | {term.group_name}), or name a category left of the bar: {kind}(0 + f | {term.group_name}). "
            "Numbers that stand for levels are a category as C(x)."
        )
    if kind == REDUCED_RANK and rank >= n:
        kind, rank = UNSTRUCTURED, 0
    visits = _levels(term, recipe) if needs_order(kind) else Visits(tuple(map(str, recipe.names)))
    return EffectTerm(kind, n, rank, visits)


def _levels(term: RandomTerm, recipe: MatrixRecipe) -> Visits:
    """Return the levels that a term has one effect for each of, in their order.

    Whole numbers are as far apart as their differences say, in the largest step that divides all of them: 8, 10, 14 are
    one and two steps apart. Other levels are one step apart.

    Raises
    ------
    DesignError
        The term has other columns.
    """
    coded = recipe.coded_levels
    levels = list(next(iter(coded.values()), []))
    if len(coded) != 1 or len(levels) != len(recipe.names) or len(set(recipe.column_terms)) > 1:
        raise DesignError(
            f"{term.text}: {term.kind} is for the levels of one category in their order, and its effects are "
            f"{', '.join(recipe.names[:4])}{', ...' if len(recipe.names) > 4 else ''}. Write "
            f"{term.kind}(0 + f | {term.group_name}) with a category f, C(x) for numbers x."
        )
    labels = tuple(level_text(level) for level in levels)
    try:
        numbers = np.array([float(label) for label in labels])
    except ValueError:
        return Visits(labels)
    steps = np.diff(numbers)
    if CORRELATIONS[term.kind][0].needs == "equal steps" and not np.allclose(steps, steps[0]):
        raise DesignError(
            f"{term.text}: {term.kind} has one correlation for each lag and is for equal steps, and the levels are "
            f"{', '.join(labels[:6])}{', ...' if len(labels) > 6 else ''}. Use us, cs or ar1, or number the levels one "
            "by one where their order is meant."
        )
    if not np.array_equal(numbers, np.round(numbers)):
        return Visits(labels)
    return Visits(labels, ((numbers - numbers[0]) / np.gcd.reduce(steps.astype(np.int64)))[:, None])
