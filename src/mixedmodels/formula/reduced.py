"""A formula with fewer terms, written out: products expanded, nested random terms apart where they differ."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mixedmodels.formula.algebra import ONE, expand_terms
from mixedmodels.formula.expressions import column_name, is_lookup

if TYPE_CHECKING:
    from formulaic.parser.types import Factor, Term

    from mixedmodels.formula.terms import Formula, RandomTerm

_NAME = re.compile(r"[^\W\d][\w.]*")
_CALL = re.compile(r"[\w.]+\(.*\)", re.DOTALL)


def with_fixed_terms(formula: Formula, names: Collection[str], columns: Collection[str] = ()) -> str:
    """Return the text of a formula with some of the terms of its fixed part, and its intercept if it has one.

    Parameters
    ----------
    formula
        The formula.
    names
        Terms that stay, as tables call them: ``"a:b"``.
    columns
        What ``.`` may stand for.

    Examples
    --------
    >>> from mixedmodels.formula.parse import parse_formula
    >>> with_fixed_terms(parse_formula("y ~ a * b + (a | g / h)"), ["a", "b"])
    'y ~ a + b + (a | g / h)'
    """
    terms = [term for term in expand_terms(formula.fixed, columns) if term == ONE or str(term) in names]
    return _written(formula, _sum(terms), formula.random)


def with_random_terms(formula: Formula, random: Sequence[RandomTerm]) -> str:
    """Return the text of a formula with other random terms; of two that are the same one is left.

    Parameters
    ----------
    formula
        The formula.
    random
        The terms, those of the formula among them.

    Examples
    --------
    >>> from mixedmodels.formula.parse import parse_formula
    >>> formula = parse_formula("y ~ x + (x | g / h)")
    >>> inner, outer = formula.random
    >>> with_random_terms(formula, [reduced(inner, ["1"], formula), outer])
    'y ~ x + (1 | h:g) + (x | g)'
    """
    return _written(formula, formula.fixed, random)


def reduced(term: RandomTerm, columns: Iterable[Term | str], formula: Formula) -> RandomTerm:
    """Return a random term with some of the terms left of its bar.

    Parameters
    ----------
    term
        The whole.
    columns
        What is left, at least one.
    formula
        The formula that the term is of, which knows names from expressions.
    """
    kept = list(columns)
    text = _sum(kept)
    left = text if text.startswith("0 + ") or text == "1" else f"1 + {text}"
    smaller = replace(term, columns=left, correlated=term.correlated or len(kept) == 1)
    return replace(smaller, text=_alone(smaller, formula))


def _sum(terms: Iterable[Term | str]) -> str:
    """Return terms joined by plus; the intercept is understood, or taken away by 0."""
    kept = list(terms)
    texts = [text for term in kept if (text := _term(term)) != "1"]
    if len(texts) < len(kept):
        return " + ".join(texts) or "1"
    return " + ".join(["0", *texts])


def _term(term: Term | str) -> str:
    if isinstance(term, str):
        return term
    return "1" if term == ONE else ":".join(map(_factor, term.factors))


def _factor(factor: Factor) -> str:
    text = str(factor.expr)
    if is_lookup(factor):
        return _quoted(column_name(factor))
    return text if _CALL.fullmatch(text) else f"{{{text}}}"


def _quoted(name: str) -> str:
    return name if _NAME.fullmatch(name) else f"`{name}`"


def _variable(text: str, formula: Formula) -> str:
    return _quoted(text) if text in formula.names else text


def absorbed_text(group: Sequence[str], formula: Formula) -> str:
    """Return ``fe(a:b)``.

    Parameters
    ----------
    group
        The variables of an absorbed factor.
    formula
        Knows which of them are names.
    """
    return f"fe({':'.join(_variable(variable, formula) for variable in group)})"


def _alone(term: RandomTerm, formula: Formula) -> str:
    """Return a random term written by itself, without the nesting that it may come from."""
    bar = "|" if term.correlated else "||"
    group = ":".join(_variable(variable, formula) for variable in term.group)
    return f"({term.columns.removeprefix('1 + ')} {bar} {group})"


def _written(formula: Formula, fixed: str, random: Sequence[RandomTerm]) -> str:
    whole = {term.text for term in formula.random if all(other in random for other in _siblings(term, formula))}
    texts = [term.text if term.text in whole else _alone(term, formula) for term in random]
    offsets = [f"offset({_variable(expression, formula)})" for expression in formula.offsets]
    absorbed = [absorbed_text(group, formula) for group in formula.absorbed]
    right = " + ".join([fixed, *absorbed, *offsets, *dict.fromkeys(texts)])
    return f"{_variable(formula.response, formula)} ~ {right}"


def _siblings(term: RandomTerm, formula: Formula) -> list[RandomTerm]:
    """Return the terms that were written as one with this, itself among them."""
    return [other for other in formula.random if other.text == term.text]
