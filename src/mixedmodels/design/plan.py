"""What a formula and the arguments want from data whose columns have these names, read once for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from formulaic.formula import SimpleFormula

from mixedmodels.design.expression import INTERCEPT, columns_in, columns_of, counted_parts, lookups, unknown_column
from mixedmodels.errors import DataError
from mixedmodels.formula.algebra import expand_terms, terms_of
from mixedmodels.formula.expressions import column_name, is_computed, is_lookup
from mixedmodels.formula.parse import check_subtracted
from mixedmodels.formula.terms import Formula
from mixedmodels.formula.words import Text, has_rest

MAX_KNOWN = 256
"""Plans that are remembered; the least recently used is forgotten first."""


@dataclass(frozen=True)
class Part:
    """The fixed part, or what is left of one bar.

    Attributes
    ----------
    terms
        Its terms.
    columns
        The columns of the data that they use, in order of appearance.
    lookups
        Those that stand there as they are, outside of expressions.
    plain
        Names of the matrix's columns if each is the intercept or a column as it is, else None.
    """

    terms: SimpleFormula
    columns: tuple[str, ...]
    lookups: tuple[str, ...]
    plain: tuple[str, ...] | None

    @property
    def is_intercept(self) -> bool:
        """Whether it is the intercept alone."""
        return self.plain == (INTERCEPT,)


@dataclass(frozen=True)
class Plan:
    """What the formula and the arguments want from the data.

    Attributes
    ----------
    formula
        The formula.
    fixed, random
        The fixed part, and the left side of each bar; one that has the terms of the fixed part is that very part.
    offsets, weights
        Names of columns, expressions, and of what is given as arrays.
    sources
        The columns that response, offsets, weights and grouping variables are read or computed from.
    term_columns
        Those of the fixed part and left of the bars.
    columns
        All of them.
    lookups
        Columns that stand in terms as they are.
    expressions
        What stands in terms and left and right of bars, columns among it.
    sums
        Expressions, the response and offsets among them, in which something is added or subtracted.
    """

    formula: Formula
    fixed: Part
    random: tuple[Part, ...]
    offsets: tuple[str, ...]
    weights: str | None
    sources: Mapping[str, tuple[str, ...]]
    term_columns: tuple[str, ...]
    columns: tuple[str, ...]
    lookups: tuple[str, ...]
    expressions: tuple[str, ...]
    sums: tuple[str, ...]


def read_part(terms: SimpleFormula, known: Collection[str]) -> Part:
    """Return terms with what is often asked of them.

    Parameters
    ----------
    terms
        Of the fixed part or of one bar.
    known
        Names of the columns of the data.

    Raises
    ------
    DataError
        A name is neither a column nor a function.
    """
    return Part(terms, columns_of(terms, known), tuple(dict.fromkeys(lookups(terms))), _plain_names(terms))


@dataclass(frozen=True)
class Arguments:
    """What weights and offset are called.

    Attributes
    ----------
    weights, offset
        A name, or None where there are none.
    columns
        Those of the two that are columns of the data.
    """

    weights: str | None = None
    offset: str | None = None
    columns: tuple[str, ...] = ()


@lru_cache(maxsize=MAX_KNOWN)
def make_plan(formula: Formula, names: tuple[str, ...], index_names: tuple[str, ...], arguments: Arguments) -> Plan:
    """Return the terms and the columns that they use, `.` expanded. It depends on these arguments and nothing else.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    names, index_names
        Of the columns of the data, and of a pandas index.
    arguments
        Weights and offset.

    Raises
    ------
    DataError
        A name is unknown, or is the name of a column and an expression.
    """
    known = (*names, *index_names)
    for name in arguments.columns:
        if name not in known:
            raise unknown_column(name, known)
    offsets = formula.offsets if arguments.offset is None else (*formula.offsets, arguments.offset)
    groups = formula.grouping_variables
    sources = {text: _source(text, formula, known) for text in (formula.response, *groups, *formula.offsets)}
    sources |= {name: (name,) for name in arguments.columns}
    read = [name for text in sources for name in sources[text]]
    fixed = read_part(_fixed_terms(formula, names, {*read, *arguments.columns}), known)
    parts = (fixed, *(read_part(terms_of(term.columns), known) for term in formula.random))
    term_columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    columns = tuple(dict.fromkeys([*sources[formula.response], *term_columns, *read, *arguments.columns]))
    for name in columns:
        if name in index_names:
            raise DataError(
                f"{name!r} is the index of the data, which is not used, and no column. Make it one: data.reset_index()."
            )
    _check_names_apart(formula, parts, columns)
    factors = [factor for part in parts for term in part.terms for factor in term.factors]
    words = [column_name(factor) if is_lookup(factor) else str(factor.expr) for factor in factors]
    expressions = tuple(dict.fromkeys([*words, *groups]))
    computed = [text for text in dict.fromkeys([*expressions, formula.response, *offsets]) if text not in columns]
    return Plan(
        formula=formula,
        fixed=fixed,
        random=tuple(fixed if list(part.terms) == list(fixed.terms) else part for part in parts[1:]),
        offsets=offsets,
        weights=arguments.weights,
        sources=sources,
        term_columns=term_columns,
        columns=columns,
        lookups=tuple(dict.fromkeys(name for part in parts for name in part.lookups)),
        expressions=expressions,
        sums=tuple(text for text in computed if "+" in text or "-" in text),
    )


def _fixed_terms(formula: Formula, names: Sequence[str], used: Collection[str]) -> SimpleFormula:
    """Return the terms of the fixed part; a dot in it stands for the columns that are not used elsewhere."""
    if not has_rest(Text(formula.fixed).tokens()):
        return terms_of(formula.fixed)
    rest = [name for name in names if name not in used]
    check_subtracted(formula, rest)
    return expand_terms(formula.fixed, rest)


def _source(text: str, formula: Formula, known: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a response, a grouping variable or an offset is read or computed from."""
    if text not in formula.names:
        counted = counted_parts(text) or (text,)
        return tuple(dict.fromkeys(name for part in counted for name in columns_in(part, known)))
    if text not in known:
        raise unknown_column(text, known)
    return (text,)


def _check_names_apart(formula: Formula, parts: Sequence[Part], columns: Sequence[str]) -> None:
    """No expression may read like the name of a column that the formula uses.

    Raises
    ------
    DataError
        One does.
    """
    computed = [factor.expr for part in parts for term in part.terms for factor in term.factors if is_computed(factor)]
    groups = [variable for group in formula.groups for variable in group]
    computed += [text for text in (formula.response, *formula.offsets, *groups) if text not in formula.names]
    for text in computed:
        if text in columns:
            raise DataError(
                f"{text!r} is the name of a column and an expression in one formula. Give the column another name."
            )


def _plain_names(terms: SimpleFormula) -> tuple[str, ...] | None:
    """Return the names of the matrix's columns if each is the intercept or a column as it is, else None."""
    names = []
    for term in terms:
        first, *others = term.factors
        if others or not (is_lookup(first) or first.expr == "1"):
            return None
        names.append(str(first.expr) if is_lookup(first) else INTERCEPT)
    return tuple(names)
