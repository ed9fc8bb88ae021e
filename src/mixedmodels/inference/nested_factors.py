"""Which categorical variables of the fixed part are nested in others.

B is nested in A if each of its levels occurs with one level of A only, or if the formula has effects of B within A and
none of B itself, as ``A/B`` does: a level of B then means something else in each level of A.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.expression import columns_of_factor
from mixedmodels.design.fixed_terms import term_matrix
from mixedmodels.formula.expressions import mentions

if TYPE_CHECKING:
    from mixedmodels.design.design import Design


@dataclass(frozen=True)
class Nesting:
    """The nested variables.

    Attributes
    ----------
    outer
        Nested variable -> those that it is nested in, and those that these are nested in.
    told
        (nested variable, outer variable), where a level of the one tells the level of the other.
    """

    outer: Mapping[str, tuple[str, ...]]
    told: frozenset[tuple[str, str]]

    def related(self, a: str, b: str) -> bool:
        """Return True if one of two variables is nested in the other."""
        return a in self.outer.get(b, ()) or b in self.outer.get(a, ())

    def unnamed(self, name: str) -> tuple[str, ...]:
        """Return the innermost variables that one is nested in and that its levels do not tell, nor the others."""
        outer = [other for other in self.outer.get(name, ()) if (name, other) not in self.told]
        return tuple(o for o in outer if not any((other, o) in self.told for other in outer))

    def outer_of(self, names: Collection[str], beside: Collection[str] = ()) -> tuple[str, ...]:
        """Return the variables that some are nested in and that are not among these or those beside them."""
        found = dict.fromkeys(outer for name in names for outer in self.outer.get(name, ()))
        return tuple(name for name in found if name not in names and name not in beside)


def find_nesting(design: Design, categorical: Collection[str]) -> Nesting:
    """Return which categorical variables are nested in others.

    Parameters
    ----------
    design
        The model's arrays and its recipe.
    categorical
        Names of the categorical variables of the fixed part.
    """
    names = [name for name in design.recipe.fixed.columns if name in categorical]
    told = _told(design, names)
    direct: dict[str, set[str]] = {name: set() for name in names}
    for name, outer in (*told, *_by_formula(design, names)):
        if name not in direct[outer]:  # of two that tell each other, one is nested
            direct[name].add(outer)
    found = {name: _all_outer(direct, name) for name in names if direct[name]}
    return Nesting({name: tuple(o for o in names if o in outer) for name, outer in found.items()}, frozenset(told))


def _told(design: Design, names: Collection[str]) -> list[tuple[str, str]]:
    """Return the pairs of variables where a level of the first occurs with one level of the second only."""
    codes = {name: np.unique(design.cells[name].values, return_inverse=True)[1] for name in names}
    return [
        (name, outer)
        for name, outer in permutations(names, 2)
        if len(np.unique(np.column_stack([codes[name], codes[outer]]), axis=0)) == codes[name].max() + 1
    ]


def _by_formula(design: Design, names: Collection[str]) -> list[tuple[str, str]]:
    """Return the pairs of variables where all terms with the first have the second too, and not the other way about."""
    terms = variables_of_terms(design)
    always: dict[str, set[str]] = {}
    for name in names:
        with_it = [term for term in terms if name in term]
        always[name] = set.intersection(*map(set, with_it)) - {name} if with_it else set()
    return [(name, outer) for name in names for outer in always[name] if outer in names and name not in always[outer]]


def variables_of_terms(design: Design) -> list[tuple[str, ...]]:
    """Return the data columns of each term of the fixed part, in the order of its factors."""
    fixed = design.recipe.fixed
    if not fixed.is_computed:
        return [(name,) for name in fixed.columns]
    if not fixed.terms:  # made by patsy, whose factors are texts
        terms = term_matrix(design).terms
        named = [[m.name for factor in term.factors for m in mentions(factor)] for term in terms]
        return [tuple(dict.fromkeys(name for name in names if name in fixed.columns)) for names in named]
    return [
        tuple(dict.fromkeys(name for factor in term.factors for name in columns_of_factor(factor, fixed.columns)))
        for term in fixed.terms
    ]


def partners_of(design: Design, name: str) -> frozenset[str]:
    """Return the data columns that share a term of the fixed part with one, itself among them."""
    return frozenset[str]().union(*(term for term in variables_of_terms(design) if name in term))


def _all_outer(outer: Mapping[str, Collection[str]], name: str) -> set[str]:
    found: set[str] = set()
    new = set(outer[name])
    while new:
        found |= new
        new = {further for one in new for further in outer[one]} - found
    return found - {name}
