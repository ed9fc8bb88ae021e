"""A formula and data become a design: arrays with names, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from formulaic.formula import SimpleFormula

from mixedmodels.design.checks import (
    check_conditions,
    check_factors,
    check_numeric,
    check_response,
    check_terms,
    check_weights,
    few_levels,
    few_repeats,
    numbers_among_labels,
)
from mixedmodels.design.coding import read_contrasts
from mixedmodels.design.design import Design
from mixedmodels.design.evaluation import Evaluation, MatrixRecipe, Memory, check_finite
from mixedmodels.design.expression import INTERCEPT, columns_in, columns_of, lookups, plain_names, unknown_column
from mixedmodels.design.frame import Column, Frame, Mask, check_order, open_frame, read_array
from mixedmodels.design.grouping import group_rows, level_codes
from mixedmodels.design.missing import Gaps, UsedRows, refuse
from mixedmodels.design.probe import Probe, make_probe
from mixedmodels.design.recipe import DesignRecipe, FactorRecipe
from mixedmodels.design.records import Codes, Finding, Floats, RandomFactor
from mixedmodels.errors import DataError, DesignError
from mixedmodels.formula.algebra import expand_terms, terms_of
from mixedmodels.formula.expressions import column_name, is_computed, is_lookup
from mixedmodels.formula.parse import check_subtracted
from mixedmodels.formula.terms import Formula, RandomTerm
from mixedmodels.formula.words import Text, has_rest

# Names of weights and offsets given as arrays, as in R's model frames.
_WEIGHTS, _OFFSET = "(weights)", "(offset)"
_INTERCEPT_ONLY = MatrixRecipe((INTERCEPT,), (), None)


@dataclass(frozen=True)
class _Plan:
    """What the formula and the arguments want from the data."""

    formula: Formula
    fixed: SimpleFormula
    random: tuple[SimpleFormula, ...]
    offsets: tuple[str, ...]
    weights: str | None
    sources: Mapping[str, tuple[str, ...]]
    term_columns: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def expressions(self) -> set[str]:
        """What stands in terms and left and right of bars, columns among it."""
        factors = [factor for part in (self.fixed, *self.random) for term in part for factor in term.factors]
        read = {column_name(factor) if is_lookup(factor) else str(factor.expr) for factor in factors}
        return read | {variable for term in self.formula.random for variable in term.group}


@dataclass(frozen=True)
class _RandomPart:
    """One random term's columns, None for the single column of ones."""

    term: RandomTerm
    matrix: Floats | None
    recipe: MatrixRecipe


@dataclass(frozen=True)
class _Parts:
    """All that is computed row by row, and the rows where something could not be."""

    response: Column
    offsets: tuple[Column, ...]
    weights: Column | None
    X: Floats
    fixed: MatrixRecipe
    random: tuple[_RandomPart, ...]
    groups: Mapping[str, Column]
    gaps: list[tuple[str, Mask]]


def build_design(
    formula: Formula,
    data: object,
    *,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | None = None,
    missing: str = "drop",
    planned: bool = False,
) -> Design:
    """Return the arrays of a model, checked, and the recipe that makes them from new data.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    data
        pandas or polars DataFrame, pyarrow Table, or a mapping of equal-length arrays. Never modified; a pandas index
        labels what is returned by row, and is not used otherwise.
    weights
        Column name or array, > 0. Values are taken by position; a Series in another order than the data is refused.
    offset
        Column name or array, as for weights; offsets in the formula are added to it.
    contrasts
        Column name -> coding of a categorical column, for the fixed part and left of the bars.
    missing
        ``"drop"`` leaves out rows with missing values, ``"raise"`` refuses them.
    planned
        Levels and rows are still to be multiplied: leave it to ``check_factors`` whether they are enough.

    Raises
    ------
    DataError
        The data do not fit the formula.
    DesignError
        The model cannot be identified from these data.
    """
    if not isinstance(missing, str) or missing not in ("drop", "raise"):
        raise DataError(f"missing must be 'drop' or 'raise', not {missing!r}.")
    frame = open_frame(data)
    if not frame.n_rows:
        raise DataError("The data have no rows.")
    plan = _make_plan(formula, frame, weights, offset)
    source = {name: frame.read(name) for name in plan.columns}
    check_conditions({*plan.expressions, plan.formula.response, *plan.offsets}, source)
    source = _with_booleans_as_levels(plan, source)
    for name, value in ((_WEIGHTS, weights), (_OFFSET, offset)):
        if value is not None and not isinstance(value, str):
            source[name] = _read_argument(name, value, frame)

    gaps = [(name, column.missing) for name, column in source.items() if column.missing is not None]
    rows = UsedRows(frame.n_rows)
    while True:
        if missing == "raise":
            refuse(gaps, frame.n_rows)
        rows = rows.without(gaps)
        with _telling_what_may_be_why(rows):
            evaluation = _used_levels_only(plan, rows, source, contrasts)
        parts = _evaluate(plan, evaluation)
        _check_gaps_close(gaps, parts.gaps)
        gaps = parts.gaps
        if not gaps:
            labels = frame.index if frame.index is None or rows.positions is None else frame.index[rows.positions]
            doubtful = _doubtful_categories(plan, evaluation)
            with _telling_what_may_be_why(rows, doubtful):
                made = _assemble(plan, rows, evaluation, parts, labels)
                design = replace(made, findings=(*doubtful, *made.findings))
                if not planned:
                    check_factors(design.factors, design.n_obs)
                return design


@contextmanager
def _telling_what_may_be_why(rows: UsedRows, doubtful: Sequence[Finding] = ()) -> Iterator[None]:
    """What cannot be estimated may be so because of rows left out or numbers read as labels: complaints end with it."""
    try:
        yield
    except DesignError as error:
        told = [finding.message for finding in doubtful] + ([rows.left_out] if rows.n_left_out else [])
        if not told:
            raise
        raise DesignError(" ".join([str(error), *told])) from error


def _doubtful_categories(plan: _Plan, evaluation: Evaluation) -> list[Finding]:
    """Return what to tell the user about categories that may be numbers."""
    names = [name for part in (plan.fixed, *plan.random) for name in lookups(part)]
    return numbers_among_labels(names, evaluation.columns)


def _check_gaps_close(before: Gaps, after: Gaps) -> None:
    """What is computed row by row has no gaps once the rows with gaps are left out; ``lag(x)`` has one again.

    Raises
    ------
    DataError
        An expression has gaps anew.
    """
    left_out = {name for name, _ in before}
    for name, _ in after:
        if name in left_out:
            raise DataError(
                f"{name!r} is missing in further rows after those where it was missing were left out, because it is "
                "computed from other rows. Make it a column of the data."
            )


def _make_plan(formula: Formula, frame: Frame, weights: object, offset: object) -> _Plan:
    """Return the terms and the columns that they use, `.` expanded; a name unknown is an error."""
    known = (*frame.names, *frame.index_names)
    weight, extra = _argument_name(weights, _WEIGHTS), _argument_name(offset, _OFFSET)
    offsets = formula.offsets if extra is None else (*formula.offsets, extra)
    arguments = [name for name in (weights, offset) if isinstance(name, str)]
    for name in arguments:
        if name not in known:
            raise unknown_column(name, known)
    groups = [variable for term in formula.random for variable in term.group]
    sources = {text: _source(text, formula, known) for text in (formula.response, *groups, *formula.offsets)}
    sources |= {name: (name,) for name in arguments}
    read = [name for text in sources for name in sources[text]]
    if has_rest(Text(formula.fixed).tokens()):
        rest = [name for name in frame.names if name not in {*read, *arguments}]
        check_subtracted(formula, rest)
        fixed = expand_terms(formula.fixed, rest)
    else:
        fixed = terms_of(formula.fixed)
    random = tuple(terms_of(term.columns) for term in formula.random)
    terms = dict.fromkeys(name for part in (fixed, *random) for name in columns_of(part, known))
    columns = tuple(dict.fromkeys([*sources[formula.response], *terms, *read, *arguments]))
    for name in columns:
        if name in frame.index_names:
            raise DataError(
                f"{name!r} is the index of the data, which is not used, and no column. Make it one: data.reset_index()."
            )
    _check_names_apart(formula, (fixed, *random), columns)
    return _Plan(formula, fixed, random, offsets, weight, sources, tuple(terms), columns)


def _source(text: str, formula: Formula, known: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a response, a grouping variable or an offset is read or computed from."""
    if text not in formula.names:
        return columns_in(text, known)
    if text not in known:
        raise unknown_column(text, known)
    return (text,)


def _check_names_apart(formula: Formula, parts: Sequence[SimpleFormula], columns: Sequence[str]) -> None:
    """No expression may read like the name of a column that the formula uses.

    Raises
    ------
    DataError
        One does.
    """
    computed = [factor.expr for terms in parts for term in terms for factor in term.factors if is_computed(factor)]
    groups = [variable for term in formula.random for variable in term.group]
    computed += [text for text in (formula.response, *formula.offsets, *groups) if text not in formula.names]
    for text in computed:
        if text in columns:
            raise DataError(
                f"{text!r} is the name of a column and an expression in one formula. Give the column another name."
            )


def _with_booleans_as_levels(plan: _Plan, source: dict[str, Column]) -> dict[str, Column]:
    """Return the columns, those of true and false that are terms and that nothing is computed from with levels."""
    computed = {name for text in (plan.formula.response, *plan.formula.offsets) for name in plan.sources[text]}
    computed |= set(plan.offsets)
    booleans = [name for name in plan.term_columns if source[name].is_boolean and name not in computed]
    if not booleans:
        return source
    return source | {name: source[name].as_levels() for name in plain_names(plan.expressions, booleans)}


def _argument_name(value: object, name_of_array: str) -> str | None:
    return value if value is None or isinstance(value, str) else name_of_array


def _read_argument(name: str, values: Any, frame: Frame) -> Column:
    n_rows = frame.n_rows
    if np.shape(values) != (n_rows,):
        raise DataError(
            f"{name.strip('()')} must be a column name or an array with one value for each of the {n_rows} rows of the "
            f"data, but its shape is {np.shape(values)}."
        )
    check_order(name.strip("()"), values, pd.RangeIndex(n_rows) if frame.index is None else frame.index)
    return read_array(name, values)


def _used_levels_only(
    plan: _Plan, rows: UsedRows, source: Mapping[str, Column], contrasts: Mapping[str, object] | None
) -> Evaluation:
    """Return the columns at the rows used, categorical ones that are coded without unused levels."""
    columns = rows.take(source)
    for name in plan.term_columns:
        columns[name] = columns[name].drop_unused_levels()
    for terms in (plan.fixed, *plan.random):
        check_terms(terms, columns)
    codings = read_contrasts(contrasts, (plan.fixed, *plan.random), columns)
    return Evaluation(columns, rows.n_used, Memory(), codings)


def _evaluate(plan: _Plan, evaluation: Evaluation) -> _Parts:
    response = evaluation.values(plan.formula.response)
    check_numeric("response", plan.formula.response, response)
    offsets = tuple(map(evaluation.values, plan.offsets))
    for expression, column in zip(plan.offsets, offsets, strict=True):
        check_numeric("offset", expression, column)
    weights = None if plan.weights is None else evaluation.values(plan.weights)
    if weights is not None:
        check_numeric("weights", str(plan.weights), weights)
    groups = {v: evaluation.values(v) for term in plan.formula.random for v in term.group}

    X, fixed = evaluation.first_matrix(plan.fixed)
    random = []
    for term, terms in zip(plan.formula.random, plan.random, strict=True):
        if list(terms) == list(terms_of("1")):
            random.append(_RandomPart(term, None, _INTERCEPT_ONLY))
        elif list(terms) == list(plan.fixed):
            random.append(_RandomPart(term, X, fixed))
        else:
            random.append(_RandomPart(term, *evaluation.first_matrix(terms)))

    named = [(plan.formula.response, response), *zip(plan.offsets, offsets, strict=True), *groups.items()]
    gaps = [(name, column.missing) for name, column in named if column.missing is not None]
    for matrix, recipe in [(X, fixed), *((part.matrix, part.recipe) for part in random)]:
        # Columns as they are were checked when they were read.
        if matrix is not None and recipe.spec is not None:
            gaps += _matrix_gaps(matrix, recipe.names)
    return _Parts(response, offsets, weights, X, fixed, tuple(random), groups, gaps)


def _matrix_gaps(matrix: Floats, names: Sequence[str]) -> list[tuple[str, Mask]]:
    """Return the columns in which transformations gave no number; infinite values are an error."""
    if np.isfinite(matrix).all():
        return []
    check_finite(names, matrix, "those used")
    return [(name, np.isnan(values)) for name, values in zip(names, matrix.T, strict=True) if np.isnan(values).any()]


def _assemble(plan: _Plan, rows: UsedRows, evaluation: Evaluation, parts: _Parts, labels: pd.Index | None) -> Design:
    y = np.array(parts.response.values, dtype=np.float64)
    offset = np.stack([c.values for c in parts.offsets]).sum(axis=0, dtype=np.float64) if parts.offsets else None
    weights = None if parts.weights is None else np.array(parts.weights.values, dtype=np.float64)
    check_response(plan.formula.response, y, offset)
    if weights is not None:
        check_weights(str(plan.weights), weights)
    built = sorted(_factors(parts), key=lambda pair: -pair[0].n_levels)
    factors = tuple(factor for factor, _ in built)
    term_columns = {name: evaluation.columns[name] for name in plan.term_columns}
    recipe = DesignRecipe(
        parts.fixed,
        tuple(factor_recipe for _, factor_recipe in built),
        tuple(name for name in plan.offsets if name != _OFFSET),
        plan.sources,
        {name: column.levels for name, column in term_columns.items() if column.levels is not None},
        evaluation.contrasts,
        evaluation.memory,
        frozenset(name for name, column in term_columns.items() if column.is_boolean),
        {name: column.values.dtype for name, column in term_columns.items() if column.is_date},
        None if plan.weights == _WEIGHTS else plan.weights,
        _probe(plan, evaluation, parts),
    )
    return Design(
        formula=plan.formula,
        response_name=plan.formula.response,
        y=y,
        X=parts.X,
        x_names=parts.fixed.names,
        offset=offset,
        weights=weights,
        factors=factors,
        rows=rows.positions,
        n_rows=rows.n_rows,
        n_dropped=rows.n_dropped,
        findings=(
            *rows.findings(),
            *_split_findings(parts.random),
            *few_levels(factors),
            *few_repeats(factors, len(y)),
        ),
        recipe=recipe,
        columns=term_columns,
        labels=labels,
    )


def _probe(plan: _Plan, evaluation: Evaluation, parts: _Parts) -> Probe | None:
    matrices = [(parts.fixed, parts.X)]
    matrices += [(p.recipe, p.matrix) for p in parts.random if p.matrix is not None and p.matrix is not parts.X]
    return make_probe(evaluation, matrices, {**dict(zip(plan.offsets, parts.offsets, strict=True)), **parts.groups})


def _factors(parts: _Parts) -> list[tuple[RandomFactor, FactorRecipe]]:
    """Return the grouping factors in order of appearance, the columns of all their terms side by side."""
    by_group: dict[tuple[str, ...], list[_RandomPart]] = {}
    for part in parts.random:
        terms = by_group.setdefault(part.term.group, [])
        if any((part.term.columns, part.term.correlated) == (p.term.columns, p.term.correlated) for p in terms):
            raise DesignError(f"The random term {part.term.text} is in the formula twice. Keep one of them.")
        terms.append(part)
    coded: dict[str, tuple[Codes, pd.Index]] = {name: level_codes(column) for name, column in parts.groups.items()}
    factors = []
    for group, terms in by_group.items():
        codes, grouping = group_rows(group, coded.__getitem__)
        sizes = [(len(t.recipe.names),) if t.term.correlated else (1,) * len(t.recipe.names) for t in terms]
        factor = RandomFactor(
            name=terms[0].term.group_name,
            levels=grouping.levels,
            codes=codes,
            columns=tuple(name for t in terms for name in t.recipe.names),
            Z=_side_by_side([t.matrix for t in terms], len(codes)),
            block_sizes=tuple(size for block in sizes for size in block),
        )
        factors.append((factor, FactorRecipe(grouping, tuple(t.recipe for t in terms))))
    return factors


def _side_by_side(matrices: Sequence[Floats | None], n_rows: int) -> Floats | None:
    if len(matrices) == 1:
        return matrices[0]
    return np.hstack([np.ones((n_rows, 1)) if matrix is None else matrix for matrix in matrices])


def _split_findings(random: Sequence[_RandomPart]) -> list[Finding]:
    """Return what `||` did to categorical variables."""
    return [
        Finding(
            "double_bar_split",
            f"{part.term.text}: the bars || split the categorical variable into its columns, each with a variance of "
            f"its own and no correlations: {', '.join(part.recipe.names)}. Use a single bar to keep them together.",
            {"term": part.term.text, "columns": part.recipe.names},
        )
        for part in random
        if not part.term.correlated and part.recipe.has_categories
    ]
