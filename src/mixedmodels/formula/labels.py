"""Which columns a formula reads as labels, and of which it takes the values; knows no data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mixedmodels.formula.expressions import expand_terms, names_in
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


def column_uses(formula: Formula) -> Uses:
    """Return what a formula makes of the columns that it names; those that ``.`` stands for are not among them.

    Examples
    --------
    >>> from mixedmodels.formula.parse import parse_formula
    >>> uses = column_uses(parse_formula("log(y) ~ x + C(arm) + (x | clinic / ward)"))
    >>> sorted(uses.labels), sorted(uses.values)
    (['arm', 'clinic', 'ward'], ['x', 'y'])
    """
    terms = (term for part in (formula.fixed, *(r.columns for r in formula.random)) for term in expand_terms(part))
    factors = [factor.expr for term in terms for factor in term.factors]
    uses = Uses()
    for expression in (formula.response, *formula.offsets, *factors):
        uses |= _uses_of(expression)
    for variable in (variable for term in formula.random for variable in term.group):
        found = _uses_of(variable)
        is_column = found.values == {variable}
        uses |= Uses(labels=found.values) if is_column else found
    return uses


def _uses_of(expression: str) -> Uses:
    """Return the uses of one column or expression."""
    try:
        names = frozenset(names_in(expression).values)
    except SyntaxError:  # the name of a column that had backticks, such as one with a space
        names = frozenset({expression})
    coded = _CODED.match(expression)
    label = frozenset({coded["quoted"] or coded["plain"]} if coded else ())
    return Uses(label, names - label)
