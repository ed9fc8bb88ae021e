"""Which columns a formula reads as labels, and of which it takes the values; knows no data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from formulaic.parser.types import Factor

from mixedmodels.formula.algebra import expand_terms
from mixedmodels.formula.expressions import column_name, is_computed, is_lookup, mentions
from mixedmodels.formula.terms import Formula

_CODED = re.compile(r"(?:C|factor)\(\s*(?:`(?P<quoted>[^`]+)`|(?P<plain>\w+))\s*[,)]")


@dataclass(frozen=True)
class Uses:
    """Names of columns by what a formula makes of them; a column may be both.

    Attributes
    ----------
    labels
        Grouping variables, and columns in ``C(...)`` or ``factor(...)``.
    values
        Terms as they are, and what something is computed from.
    """

    labels: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()

    def __or__(self, other: Uses) -> Uses:
        return Uses(self.labels | other.labels, self.values | other.values)


NO_USES = Uses()
"""No column is used."""


def column_uses(formula: Formula) -> Uses:
    """Return what a formula makes of the columns that it names; those that ``.`` stands for are not among them.

    Examples
    --------
    >>> from mixedmodels.formula.parse import parse_formula
    >>> uses = column_uses(parse_formula("log(y) ~ x + C(arm) + (x | clinic / ward)"))
    >>> sorted(uses.labels), sorted(uses.values)
    (['arm', 'clinic', 'ward'], ['x', 'y'])
    """
    factors = _factors(formula)
    groups = [variable for group in formula.groups for variable in group]
    values = {column_name(factor) for factor in factors if is_lookup(factor)}
    values |= {text for text in (formula.response, *formula.offsets) if text in formula.names}
    if formula.residual is not None:  # visits may be times
        groups += [name for name in (formula.residual.group, formula.residual.subject) if name is not None]
        values |= set(formula.residual.visits)
    values |= {term.column for term in formula.variance}
    uses = Uses(frozenset(group for group in groups if group in formula.names), frozenset(values))
    for expression in computed_expressions(formula):
        uses |= _uses_of(expression)
    return uses


def computed_expressions(formula: Formula) -> list[str]:
    """Return the expressions in Python that a formula computes, also for its response, offsets and groups."""
    groups = [variable for group in formula.groups for variable in group]
    computed = [str(factor.expr) for factor in _factors(formula) if is_computed(factor)]
    return computed + [text for text in (formula.response, *formula.offsets, *groups) if text not in formula.names]


def _factors(formula: Formula) -> list[Factor]:
    terms = [term for part in (formula.fixed, *(r.columns for r in formula.random)) for term in expand_terms(part)]
    return [factor for term in terms for factor in term.factors]


def _uses_of(expression: str) -> Uses:
    """Return the uses of the columns in an expression."""
    names = frozenset(mention.name for mention in mentions(expression) if not mention.is_called)
    coded = _CODED.match(expression)
    label = frozenset({coded["quoted"] or coded["plain"]} if coded else ())
    return Uses(label, names - label)
