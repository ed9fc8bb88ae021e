"""A formula and data become a design: arrays with names, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.effect_kinds import ONE_VARIANCE
from mixedmodels.covariance.relationship import Relationship, read_relationship
from mixedmodels.design.absorbed import Absorbed, AbsorbedFactor, check_random_effects
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
from mixedmodels.design.effect_terms import effect_terms
from mixedmodels.design.evaluation import Evaluation, MatrixRecipe, Memory, check_finite
from mixedmodels.design.expression import INTERCEPT, plain_names
from mixedmodels.design.frame import Column, Frame, Mask, check_order, open_frame, read_array
from mixedmodels.design.grouping import Grouping, group_rows, level_codes, look_up
from mixedmodels.design.labels import level_text, shown_level
from mixedmodels.design.missing import Gaps, UsedRows, refuse
from mixedmodels.design.plan import Arguments, Part, Plan, make_plan
from mixedmodels.design.probe import Probe, make_probe
from mixedmodels.design.recipe import DesignRecipe, FactorRecipe
from mixedmodels.design.records import Codes, Finding, Floats, RandomFactor
from mixedmodels.design.residual_rows import empty_visits, residual_rows, variance_columns
from mixedmodels.design.response import Reader, Response, read_numbers
from mixedmodels.errors import DataError, DesignError
from mixedmodels.formula.terms import Formula, RandomTerm

_WEIGHTS, _OFFSET = "(weights)", "(offset)"
"""Names of weights and offsets given as arrays, as in R's model frames."""
_INTERCEPT_ONLY = MatrixRecipe((INTERCEPT,), (), None)


@dataclass(frozen=True)
class RandomPart:
    """One random term's columns, None for the single column of ones."""

    term: RandomTerm
    matrix: Floats | None
    recipe: MatrixRecipe


@dataclass(frozen=True)
class Parts:
    """All that is computed row by row, the rows where something could not be, and categories that may be numbers."""

    response: Response
    offsets: tuple[Column, ...]
    weights: Column | None
    X: Floats
    fixed: MatrixRecipe
    random: tuple[RandomPart, ...]
    groups: Mapping[str, Column]
    gaps: list[tuple[str, Mask]]
    doubtful: list[Finding]

    def take(self, rows: npt.NDArray[np.intp]) -> Parts:
        """Return what was computed for some rows, none of which has a gap."""
        X = np.ascontiguousarray(self.X[rows])

        def taken(part: RandomPart) -> RandomPart:
            if part.matrix is None:
                return part
            matrix = X if part.matrix is self.X else np.ascontiguousarray(part.matrix[rows])
            return replace(part, matrix=matrix)

        return replace(
            self,
            response=replace(self.response, column=self.response.column.take(rows)),
            offsets=tuple(column.take(rows) for column in self.offsets),
            weights=None if self.weights is None else self.weights.take(rows),
            X=X,
            random=tuple(map(taken, self.random)),
            groups={name: column.take(rows) for name, column in self.groups.items()},
        )


def build_design(
    formula: Formula,
    data: object,
    *,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    planned: bool = False,
    read_response: Reader = read_numbers,
    residual: bool = True,
    relationships: Mapping[str, object] | None = None,
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
        Column name -> coding of a categorical column, for the fixed part and left of the bars; or one coding for all.
    missing
        ``"drop"`` leaves out rows with missing values, ``"raise"`` refuses them.
    planned
        Levels and rows are still to be multiplied: leave it to ``check_factors`` whether they are enough.
    read_response
        How the left-hand side becomes numbers.
    residual
        Rows have a residual of their own, from which random effects must differ. Without one a random effect may have a
        level a row, and the response may be constant.

    relationships
        Known covariances among the levels of grouping factors, by name, as ``read_relationship`` takes them.

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
    plan = make_plan(formula, frame.names, frame.index_names, name_arguments(weights, offset))
    source = {name: frame.read(name) for name in plan.columns}
    check_conditions(plan.sums, source)
    source = with_booleans_as_levels(plan, source)
    for name, value in ((_WEIGHTS, weights), (_OFFSET, offset)):
        if value is not None and not isinstance(value, str):
            source[name] = _read_argument(name, value, frame)

    known = _read_relationships(formula, relationships)
    gaps = [(name, column.missing) for name, column in source.items() if column.missing is not None]
    rows = UsedRows(frame.n_rows)
    doubtful: list[Finding] = []
    try:
        while True:
            if missing == "raise":
                refuse(gaps, frame.n_rows)
            rows = rows.without(gaps)
            evaluation = _used_levels_only(plan, rows, source, contrasts)
            parts = evaluate_parts(plan, evaluation, read_response=read_response)
            _check_gaps_close(gaps, parts.gaps)
            gaps, doubtful = parts.gaps, parts.doubtful
            if not gaps:
                design = _assemble(plan, rows, evaluation, parts, index=frame.index, residual=residual, known=known)
                if not planned:
                    check_factors(design.factors, design.n_obs if residual else None)
                return _with_empty_visits(design, source)
    except DesignError as error:
        # rows left out and numbers read as labels may be why it cannot be estimated
        told = [finding.message for finding in doubtful] + ([rows.left_out] if rows.n_left_out else [])
        if not told:
            raise
        raise DesignError(" ".join([str(error), *told])) from error


def _with_empty_visits(design: Design, source: Mapping[str, Column]) -> Design:
    """Return the design, told of visits that no row has."""
    if design.residual is None or len(design.residual.term.visits) > 1:
        return design
    found = tuple(empty_visits(design.residual, source[design.residual.term.visits[0]]))
    return replace(design, findings=(*design.findings, *found)) if found else design


def _check_gaps_close(before: Gaps, after: Gaps) -> None:
    """What is computed row by row has no gaps once the rows with gaps are left out; ``lag(x)`` has one again.

    Raises
    ------
    DataError
        An expression has gaps anew.
    """
    for name, _ in after:
        if any(name == left_out for left_out, _ in before):
            raise DataError(
                f"{name!r} is missing in further rows after those where it was missing were left out, because it is "
                "computed from other rows. Make it a column of the data."
            )


def with_booleans_as_levels(plan: Plan, source: dict[str, Column]) -> dict[str, Column]:
    """Return the columns, those of true and false that are terms and that nothing is computed from with levels."""
    booleans = [name for name in plan.term_columns if source[name].is_boolean]
    if not booleans:
        return source
    computed = {name for text in (plan.formula.response, *plan.formula.offsets) for name in plan.sources[text]}
    computed |= set(plan.offsets)
    booleans = [name for name in booleans if name not in computed]
    return source | {name: source[name].as_levels() for name in plain_names(plan.expressions, booleans)}


def name_arguments(weights: object, offset: object) -> Arguments:
    """Return what weights and offset are called, which are names of columns or arrays."""
    columns = tuple(argument for argument in (weights, offset) if isinstance(argument, str))
    return Arguments(_argument_name(weights, _WEIGHTS), _argument_name(offset, _OFFSET), columns)


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
    plan: Plan, rows: UsedRows, source: Mapping[str, Column], contrasts: Mapping[str, object] | str | None
) -> Evaluation:
    """Return the columns at the rows used, categorical ones that are coded without unused levels."""
    columns = rows.take(source)
    for name in plan.term_columns:
        columns[name] = columns[name].drop_unused_levels()
    check_terms(plan.lookups, columns)
    codings = read_contrasts(contrasts, plan.lookups, columns)
    return Evaluation(columns, rows.n_used, Memory(), codings)


def evaluate_parts(
    plan: Plan, evaluation: Evaluation, known: Parts | None = None, read_response: Reader = read_numbers
) -> Parts:
    """Return all that is computed row by row.

    Parameters
    ----------
    plan, evaluation
        What is wanted, and of which rows.
    known
        The parts of other rows, whose recipes are repeated.
    read_response
        How the left-hand side becomes numbers.
    """
    response = read_response(evaluation, plan.formula.response)
    offsets = tuple(map(evaluation.values, plan.offsets))
    for expression, column in zip(plan.offsets, offsets, strict=True):
        check_numeric("offset", expression, column)
    weights = None if plan.weights is None else evaluation.values(plan.weights)
    if weights is not None:
        check_numeric("weights", str(plan.weights), weights)
    groups = {v: evaluation.values(v) for v in plan.formula.grouping_variables}

    def columns(part: Part, of: MatrixRecipe | None) -> tuple[Floats, MatrixRecipe]:
        return evaluation.first_matrix(part) if of is None else (evaluation.matrix(of), of)

    X, fixed = columns(plan.fixed, None if known is None else known.fixed)
    random = []
    for k, (term, part) in enumerate(zip(plan.formula.random, plan.random, strict=True)):
        if part.is_intercept:
            random.append(RandomPart(term, None, _INTERCEPT_ONLY))
        elif part is plan.fixed:
            random.append(RandomPart(term, X, fixed))
        else:
            random.append(RandomPart(term, *columns(part, None if known is None else known.random[k].recipe)))

    named = [(plan.formula.response, response.column), *zip(plan.offsets, offsets, strict=True), *groups.items()]
    gaps = [(name, column.missing) for name, column in named if column.missing is not None]
    for matrix, recipe in [(X, fixed), *((part.matrix, part.recipe) for part in random)]:
        # Columns as they are were checked when they were read.
        if matrix is not None and recipe.spec is not None:
            gaps += _matrix_gaps(matrix, recipe.names)
    doubtful = numbers_among_labels(plan.lookups, evaluation.columns)
    return Parts(response, offsets, weights, X, fixed, tuple(random), groups, gaps, doubtful)


def _matrix_gaps(matrix: Floats, names: Sequence[str]) -> list[tuple[str, Mask]]:
    """Return the columns in which transformations gave no number; infinite values are an error."""
    with np.errstate(all="ignore"):
        if np.isfinite(matrix.sum()):
            return []
    check_finite(names, matrix, "those used")
    return [(name, np.isnan(values)) for name, values in zip(names, matrix.T, strict=True) if np.isnan(values).any()]


def _assemble(
    plan: Plan,
    rows: UsedRows,
    evaluation: Evaluation,
    parts: Parts,
    *,
    index: pd.Index | None,
    residual: bool,
    known: Mapping[str, Relationship],
) -> Design:
    y = np.array(parts.response.column.values, dtype=np.float64)
    trials = parts.response.trials
    offset = np.stack([c.values for c in parts.offsets]).sum(axis=0, dtype=np.float64) if parts.offsets else None
    weights = None if parts.weights is None else np.array(parts.weights.values, dtype=np.float64)
    if residual:
        check_response(plan.formula.response, y, offset)
    if weights is not None:
        check_weights(str(plan.weights), weights)
    built = sorted(_factors(parts, known), key=lambda pair: -pair[0].n_levels)
    factors = tuple(factor for factor, _ in built)
    recipe = make_recipe(plan, evaluation, parts, tuple(factor_recipe for _, factor_recipe in built))
    absorbed, groupings = _absorbed(plan, parts, weights)
    if absorbed is not None:
        if any(factor.terms for factor in factors):
            raise DesignError(
                f"{plan.formula.text!r}: fe(...) absorbs fixed effects beside random effects without a structure only. "
                "Use (... | g), or write the factor without fe()."
            )
        check_random_effects(absorbed, factors)
        recipe = replace(recipe, absorbed=groupings)
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
            *parts.doubtful,
            *rows.findings(),
            *split_findings(parts.random),
            *few_levels(factors),
            *(few_repeats(factors, len(y)) if residual else ()),
            *parts.response.findings,
        ),
        recipe=recipe,
        columns={name: evaluation.columns[name] for name in plan.term_columns},
        labels=index if index is None or rows.positions is None else index[rows.positions],
        residual=None if plan.formula.residual is None else residual_rows(plan.formula.residual, parts.groups),
        variance=variance_columns(plan.formula.variance, parts.groups),
        trials=None if trials is None else np.array(trials.values, dtype=np.float64),
        absorbed=absorbed,
        categories=() if parts.response.categories is None else tuple(map(shown_level, parts.response.categories)),
    )


def _absorbed(plan: Plan, parts: Parts, weights: Floats | None) -> tuple[Absorbed | None, tuple[Grouping, ...]]:
    """Return the factors of fixed effects that are absorbed, and how new data find their levels."""
    found, groupings = [], []
    for group in plan.formula.absorbed:
        codes, grouping = group_rows(group, lambda name: level_codes(parts.groups[name]))
        found.append(AbsorbedFactor(":".join(group), grouping.levels, codes))
        groupings.append(grouping)
    return (Absorbed(tuple(found), weights) if found else None), tuple(groupings)


def make_recipe(plan: Plan, evaluation: Evaluation, parts: Parts, factors: tuple[FactorRecipe, ...]) -> DesignRecipe:
    """Return how new data become rows of a design, whose factors are known."""
    term_columns = {name: evaluation.columns[name] for name in plan.term_columns}
    return DesignRecipe(
        parts.fixed,
        factors,
        tuple(name for name in plan.offsets if name != _OFFSET),
        dict(plan.sources),
        {name: column.levels for name, column in term_columns.items() if column.levels is not None},
        evaluation.contrasts,
        evaluation.memory,
        frozenset(name for name, column in term_columns.items() if column.is_boolean),
        {name: column.values.dtype for name, column in term_columns.items() if column.is_date},
        None if plan.weights == _WEIGHTS else plan.weights,
        probe_of(plan, evaluation, parts),
    )


def probe_of(plan: Plan, evaluation: Evaluation, parts: Parts) -> Probe | None:
    matrices = [(parts.fixed, parts.X)]
    matrices += [(p.recipe, p.matrix) for p in parts.random if p.matrix is not None and p.matrix is not parts.X]
    values = dict(zip(plan.offsets, parts.offsets, strict=True))
    if parts.response.is_computed and parts.response.column.levels is None and not parts.response.findings:
        values[plan.formula.response] = parts.response.column
    return make_probe(evaluation, matrices, {**values, **parts.groups})


def _factors(parts: Parts, known: Mapping[str, Relationship]) -> list[tuple[RandomFactor, FactorRecipe]]:
    """Return the grouping factors in order of appearance, the columns of all their terms side by side."""
    grouped = by_group(parts.random)
    coded: dict[str, tuple[Codes, pd.Index]] = {
        name: level_codes(parts.groups[name]) for group in grouped for name in group
    }
    factors = []
    for group, terms in grouped.items():
        relationship = known.get(terms[0].term.group_name)
        if relationship is None:
            codes, grouping = group_rows(group, coded.__getitem__)
        else:
            codes, grouping = _related_rows(group[0], parts.groups[group[0]], relationship)
        Z = side_by_side([t.matrix for t in terms], len(codes))
        factors.append((make_factor(terms, grouping, codes, Z, relationship), factor_recipe(terms, grouping)))
    return factors


def _related_rows(name: str, column: Column, relationship: Relationship) -> tuple[Codes, Grouping]:
    """Return the level of each row among those of a relationship.

    Raises
    ------
    DataError
        A row has a level that the relationship has not.
    """
    codes = look_up(column, relationship.levels)
    if (codes < 0).any():
        level = column.values[codes < 0][0]
        label = level_text(level if column.levels is None else column.levels[level])
        raise DataError(
            f"Column {name!r} has the level {label!r}, which its relationship has not. Add it there: an animal without "
            "known parents to the pedigree, or a row and a column to the matrix; or leave its rows out."
        )
    return codes, Grouping((name,), (relationship.levels,), (), relationship.levels)


def _read_relationships(formula: Formula, given: Mapping[str, object] | None) -> dict[str, Relationship]:
    """Return the relationships by grouping factor.

    Raises
    ------
    DataError, DesignError
        One is none, or of no grouping factor.
    """
    if given is not None and not isinstance(given, Mapping):
        raise DataError("relationship must map grouping factors to what is known of levels: {'animal': pedigree}.")
    given = given or {}
    named = {term.group_name: term.relationship or term.group_name for term in formula.random}
    for term in formula.random:
        name = named[term.group_name]
        if term.relationship not in ("", name) or (not term.relationship and name != term.group_name):
            raise DesignError(
                f"{term.text} shares the grouping factor {term.group_name!r} with another term, and not its "
                f"relationship. Levels that are not related need a column of their own, a copy of {term.group_name!r}."
            )
        if term.relationship and name not in given:
            raise DesignError(
                f"{term.text} names the relationship {name!r}, which is not given. Give it to lmer beside the formula, "
                f"relationship={{{name!r}: ...}}: a pedigree, a matrix with labels, or a sparse inverse."
            )
    for name in given:
        if name not in [key for group, key in named.items() if ":" not in group]:
            raise DesignError(
                f"relationship has {name!r}, which is no grouping factor of {formula.text!r} of one column, and not "
                f"named by propto(...); there are {', '.join(dict.fromkeys(named.values()))}."
            )
    if formula.absorbed and given:
        raise DesignError(
            "relationship and fe(...) do not go together. Make the absorbed factor a term of the fixed part."
        )
    read = {name: read_relationship(value, name) for name, value in given.items()}
    return {group: read[name] for group, name in named.items() if name in read}


def by_group(random: Sequence[RandomPart]) -> dict[tuple[str, ...], list[RandomPart]]:
    """Return the random terms of each grouping factor.

    Raises
    ------
    DesignError
        A term is there twice.
    """
    found: dict[tuple[str, ...], list[RandomPart]] = {}
    for part in random:
        terms = found.setdefault(part.term.group, [])
        if any((part.term.columns, part.term.kind) == (p.term.columns, p.term.kind) for p in terms):
            raise DesignError(f"The random term {part.term.text} is in the formula twice. Keep one of them.")
        terms.append(part)
    return found


def block_sizes(terms: Sequence[RandomPart]) -> tuple[int, ...]:
    """Return the sizes of the blocks of the covariance of some terms of one factor."""
    return tuple(size for t in terms for size in _sizes(t.term, len(t.recipe.names)))


def _sizes(term: RandomTerm, n: int) -> tuple[int, ...]:
    """Return the sizes of the blocks of a term with n columns."""
    if term.kind == ONE_VARIANCE and n > 1:
        return (-n,)
    return (n,) if term.correlated else (1,) * n


def make_factor(
    terms: Sequence[RandomPart],
    grouping: Grouping,
    codes: Codes,
    Z: Floats | None,
    relationship: Relationship | None = None,
) -> RandomFactor:
    """Return the grouping factor of some terms."""
    return RandomFactor(
        name=terms[0].term.group_name,
        levels=grouping.levels,
        codes=codes,
        columns=tuple(name for t in terms for name in t.recipe.names),
        Z=Z,
        block_sizes=block_sizes(terms),
        terms=effect_terms([(t.term, t.recipe) for t in terms]),
        relationship=relationship,
    )


def factor_recipe(terms: Sequence[RandomPart], grouping: Grouping) -> FactorRecipe:
    """Return how new data get the levels and columns of some terms of one factor."""
    return FactorRecipe(grouping, tuple(t.recipe for t in terms))


def side_by_side(matrices: Sequence[Floats | None], n_rows: int) -> Floats | None:
    """Return the columns of some terms, (n_rows, n_columns); None stands for the single column of ones."""
    if len(matrices) == 1:
        return matrices[0]
    return np.hstack([np.ones((n_rows, 1)) if matrix is None else matrix for matrix in matrices])


def split_findings(random: Sequence[RandomPart]) -> list[Finding]:
    """Return what `||` did to categorical variables."""
    return [
        Finding(
            "double_bar_split",
            f"{part.term.text}: the bars || split the categorical variable into its columns, each with a variance of "
            f"its own and no correlations: {', '.join(part.recipe.names)}. Use a single bar to keep them together.",
            {"term": part.term.text, "columns": part.recipe.names},
        )
        for part in random
        if not part.term.correlated and not part.term.structure and part.recipe.has_categories
    ]
