"""Estimated marginal means and their differences (Searle, Speed and Milliken 1980).

A mean is l'beta: the rows of the reference grid with the levels asked for, averaged over the other variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text, shown_level
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.findings import listing
from mixedmodels.inference.approximation import RowEstimates, rows_covariance
from mixedmodels.inference.contrast import MAX_NAMED, dropped_columns, estimable_rows
from mixedmodels.inference.degrees import approximation, estimate_rows
from mixedmodels.inference.grid_average import average
from mixedmodels.inference.multiplicity import (
    Survival,
    adjusted_p,
    adjusted_quantile,
    check_adjust,
    dunnett_survival,
    tukey_survival,
)
from mixedmodels.inference.nested_factors import Nesting, find_nesting, variables_of_terms
from mixedmodels.inference.reference_grid import (
    ReferenceGrid,
    check_variable,
    predictors,
    reference_grid,
)
from mixedmodels.inference.wald import check_level, row_table

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.approximation import Approximation

WEIGHTS = ("equal", "proportional")
COMPARISONS = ("pairwise", "trt.vs.ctrl")


@dataclass(frozen=True)
class _Family:
    """Comparisons that are adjusted together: those within one combination of ``by``.

    Attributes
    ----------
    by
        Values of the ``by`` variables.
    labels
        One a comparison.
    L
        (m, n_fixed).
    n_means
        Means that are compared.
    """

    by: tuple[Any, ...]
    labels: list[str]
    L: Floats
    n_means: int


@dataclass(frozen=True)
class _Comparison:
    """Which means are compared: all pairs, or each with the control, None for the first."""

    all_pairs: bool
    control: object


def margins(
    state: FitState,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    pairwise: bool | str = False,
    *,
    adjust: str | None = None,
    ddf: str | Approximation = "satterthwaite",
    control: object = None,
    weights: str = "equal",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return estimated marginal means, or their differences, one row each.

    Parameters
    ----------
    state
        The fit.
    specs
        Variables whose combinations of levels have a mean each.
    by
        Variables within whose levels means are compared.
    at
        Values of variables, instead of all levels of a categorical and the mean of a numeric one.
    pairwise
        True or ``"pairwise"``: return the differences of all pairs instead of the means. ``"trt.vs.ctrl"``: the
        differences from a control, the first combination of ``specs`` unless ``control`` names another.
    adjust
        For differences, within each level of ``by``: ``"tukey"`` (all pairs; the default there), ``"dunnett"`` (against
        a control; the default there), ``"holm"``, ``"bonferroni"``, ``"sidak"``, ``"none"``.
    ddf
        As for ``degrees.approximation``.
    control
        Return the differences from this level of ``specs`` instead; a tuple if there are several variables.
    weights
        Average over other categorical variables with ``"equal"`` weights, or ``"proportional"`` to their rows.
    level
        Coverage of the intervals, those of a family of differences together.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, indexed by ``by`` and ``specs``, or by
        ``by`` and ``contrast``; also by what a variable is nested in, where its levels do not tell. Means that the data
        do not determine are NaN. ``attrs["notes"]`` says which these are, what is nested, was averaged over and held,
        what interacts with that, and how tests were adjusted.

    Raises
    ------
    InferenceError
        If a variable, level or argument is not allowed, or a variable is continuous.
    """
    check_level(level)
    specs, by = _names(specs, "specs"), _names(by, "by")
    adjust = _check_comparison(pairwise, control, adjust)
    if weights not in WEIGHTS:
        raise InferenceError(
            f'weights is {weights!r}; it must be "equal" or "proportional".{nearest(str(weights), WEIGHTS)}'
        )
    at = {} if at is None else at
    if not isinstance(at, Mapping):
        raise InferenceError(f"at is {at!r}; it must map variables to their values, such as {{'x': [0, 1]}}.")
    grid = _grid(state.design, specs, by, at)
    method = approximation(state, ddf)
    nesting = find_nesting(state.design, grid.categorical)
    by, specs, kept, cells, averaged = _means(grid, nesting, specs, by, weights)
    labels = [_text(cell) for cell in cells]
    notes = (
        *_nesting_notes(nesting, grid),
        *_grid_notes(state.design, grid, kept, weights, at),
        *_interaction_notes(state.design, nesting, grid, kept, at),
        *method.notes,
    )
    if adjust is None:
        L = _estimable(state, averaged, labels)
        _check_some(L, "means")
        offset = 0.0 if state.design.offset is None else float(state.design.offset.mean())
        table = row_table(_estimates(state, L, method, offset), _index((*by, *specs), cells), level)
    else:
        comparison = _Comparison(control is None and pairwise != "trt.vs.ctrl", control)
        families = _families(state, cells, averaged, len(by), comparison)
        _check_some(np.vstack([family.L for family in families]), "differences")
        tables = [_difference_table(state, family, method, adjust, level) for family in families]
        table = pd.concat(tables)
        table.index = _index((*by, "contrast"), [(*f.by, label) for f in families for label in f.labels])
        notes = (*notes, *_adjustment_notes(adjust, families, level))
    table.attrs["notes"] = (*_unknown_notes(state, table), *_certain_notes(table), *notes)
    return table


def _names(variables: str | Sequence[str] | None, what: str) -> tuple[str, ...]:
    if variables is None:
        return ()
    names = tuple(variables) if isinstance(variables, Iterable) and not isinstance(variables, str) else (variables,)
    if not all(isinstance(name, str) for name in names):
        raise InferenceError(f"{what} is {variables!r}; it must be the name of a variable, or a list of names.")
    if len(set(names)) < len(names):
        raise InferenceError(f"{what} names a variable twice: {', '.join(names)}.")
    return names


def _check_comparison(pairwise: bool | str, control: object, adjust: str | None) -> str | None:
    """Return the adjustment, None if means and no differences are asked for."""
    if not isinstance(pairwise, bool) and pairwise not in COMPARISONS:
        raise InferenceError(
            f'pairwise is {pairwise!r}; it must be True or "pairwise" for all pairs, "trt.vs.ctrl" for differences '
            f"from a control, or False.{nearest(str(pairwise), COMPARISONS)}"
        )
    if adjust is not None:
        check_adjust(adjust)
    all_pairs = pairwise in (True, "pairwise")
    if all_pairs and control is not None:
        raise InferenceError("pairwise and control ask for different comparisons. Give one of them.")
    if not pairwise and control is None:
        if adjust is not None:
            raise InferenceError("adjust is for differences. Add pairwise=True or control=..., or leave adjust out.")
        return None
    own, other = ("tukey", "dunnett") if all_pairs else ("dunnett", "tukey")
    if adjust == other:
        what = "differences from a control" if all_pairs else "all pairs"
        raise InferenceError(f'adjust="{other}" is for {what}; use "{own}" or one of the others here.')
    return adjust or own


def _grid(design: Design, specs: tuple[str, ...], by: tuple[str, ...], at: Mapping[str, object]) -> ReferenceGrid:
    names = predictors(design)
    for name in (*specs, *by):
        check_variable(name, names)
    both = [name for name in specs if name in by]
    if both:
        raise InferenceError(f"{both[0]!r} is in specs and in by. Leave it out of one of them.")
    if not specs:
        raise InferenceError(f"specs names no variable; the variables of the fixed part are: {', '.join(names)}.")
    grid = reference_grid(design, at)
    for name in (*specs, *by):
        if name not in grid.categorical and name not in at:
            raise InferenceError(
                f"{name!r} is continuous and has no levels. Give the values to use, such as at={{{name!r}: [...]}}, "
                f"or test its slope with contrast."
            )
    return grid


def _means(
    grid: ReferenceGrid, nesting: Nesting, specs: tuple[str, ...], by: tuple[str, ...], weights: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], list[tuple[Any, ...]], Floats]:
    """Return the variables that name means, by and specs; all not averaged over; names of means; and the means.

    Means of a nested variable are within the levels of its outer variables, which name them where its own do not.
    """
    groups = (*by, *nesting.outer_of(by, beside=specs))
    kept = (*groups, *specs, *nesting.outer_of(specs, beside=groups))
    cells, averaged = average(grid, nesting, kept, weights)
    told = {outer for name, outer in nesting.told if name in kept and outer in nesting.outer.get(name, ())}
    shown = [name in by or name in specs or name not in told for name in kept]
    named = [tuple(part for part, is_shown in zip(cell, shown, strict=True) if is_shown) for cell in cells]
    names = [name for name, is_shown in zip(kept, shown, strict=True) if is_shown]
    n_by = len([name for name in names if name in groups])
    return tuple(names[:n_by]), tuple(names[n_by:]), kept, named, averaged


def _estimable(state: FitState, L: Floats, labels: Sequence[str]) -> Floats:
    """Return rows of combinations in the estimated columns; NaN for those that the data do not determine."""
    if state.n_fixed == L.shape[1]:
        return L
    rows = np.full((len(L), state.n_fixed), np.nan)
    for i, label in enumerate(labels):
        try:
            rows[i] = estimable_rows(state, L[i : i + 1], [label])
        except InferenceError:
            continue
    return rows


def _check_some(L: Floats, what: str) -> None:
    if np.isnan(L).all():
        raise InferenceError(
            f"None of these {what} can be estimated, because columns of the fixed part were dropped as aliased. "
            "Take them out of the formula, or average over fewer variables with at."
        )


def _estimates(state: FitState, L: Floats, method: Approximation, offset: float = 0.0) -> RowEstimates:
    """Return the estimates of the rows of L; NaN where a row is NaN, known without error where it is zero."""
    estimated = ~np.isnan(L).any(axis=1) & L.any(axis=1)
    rows = estimate_rows(state, L[estimated], method)
    full = np.full((3, len(L)), np.nan)
    full[:2, ~L.any(axis=1)] = [[offset], [0.0]]
    full[:, estimated] = rows.estimate + offset, rows.std_error, rows.df
    return RowEstimates(*full)


def _families(
    state: FitState, cells: list[tuple[Any, ...]], means: Floats, n_by: int, comparison: _Comparison
) -> list[_Family]:
    """Return the comparisons within each combination of the ``by`` variables, which come first in the cells.

    A difference may be known where its means are not. A combination with one mean, or without the control, has none.
    """
    families = []
    own_cells = list(dict.fromkeys(cell[n_by:] for cell in cells))
    control = None if comparison.control is None else own_cells[_find_control(own_cells, comparison.control)]
    for by, members in groupby(range(len(cells)), key=lambda i: cells[i][:n_by]):
        rows = list(members)
        own = [cells[i][n_by:] for i in rows]
        if comparison.all_pairs:
            pairs = list(combinations(range(len(rows)), 2))
        else:
            first = own[0] if control is None else control
            pairs = [(i, own.index(first)) for i in range(len(rows)) if first in own and own[i] != first]
        if pairs:
            labels = [f"{_text(own[i])} - {_text(own[j])}" for i, j in pairs]
            difference = np.array([means[rows[i]] - means[rows[j]] for i, j in pairs])
            families.append(_Family(by, labels, _estimable(state, difference, labels), len(rows)))
    if not families:
        raise InferenceError("There is only one mean, and so no difference. Leave pairwise and control out.")
    return families


def _find_control(cells: list[tuple[Any, ...]], control: object) -> int:
    wanted = control if isinstance(control, tuple) else (control,)
    if any(getattr(part, "ndim", 0) for part in wanted):
        raise InferenceError(f"control is a {type(control).__name__!r}; it must be a level, or a tuple of levels.")
    if wanted in cells:
        return cells.index(wanted)
    printed = [tuple(map(shown_level, cell)) for cell in cells]
    as_shown = tuple(map(shown_level, wanted))
    if as_shown in printed:
        return printed.index(as_shown)
    known = [_text(cell) for cell in cells if any(isinstance(part, str) for part in cell)]
    shown = [repr(cell[0] if len(cell) == 1 else cell) for cell in printed[:20]]
    raise InferenceError(
        f"There is no level {control!r} to compare with; there are {', '.join(shown)}.{nearest(_text(wanted), known)}"
    )


def _difference_table(
    state: FitState, family: _Family, method: Approximation, adjust: str, level: float
) -> pd.DataFrame:
    """Return one family's differences with adjusted tests and intervals."""
    rows = _estimates(state, family.L, method)
    table = row_table(rows, pd.Index(family.labels), level)
    known = rows.std_error > 0
    if not known.any():
        return table
    survival = _survival(family.L[known], method, adjust, family.n_means)
    statistic, df = table["statistic"].to_numpy()[known], rows.df[known]
    half_width = adjusted_quantile(adjust, int(known.sum()), df, level, survival) * rows.std_error[known]
    table.loc[known, "p_value"] = adjusted_p(adjust, statistic, df, survival)
    table.loc[known, "ci_lower"] = rows.estimate[known] - half_width
    table.loc[known, "ci_upper"] = rows.estimate[known] + half_width
    return table


def _survival(L: Floats, method: Approximation, adjust: str, n_means: int) -> Survival | None:
    if adjust == "tukey":
        return tukey_survival(n_means)
    if adjust != "dunnett":
        return None
    covariance = rows_covariance(method, L)
    sd = np.sqrt(np.diag(covariance))
    return dunnett_survival(covariance / np.outer(sd, sd))


def _index(names: tuple[str, ...], cells: Sequence[tuple[Any, ...]]) -> pd.Index:
    index: pd.Index = pd.MultiIndex.from_tuples(cells, names=names)
    return index.get_level_values(0) if len(names) == 1 else index


def _text(cell: tuple[Any, ...]) -> str:
    return " ".join(map(level_text, cell))


def _grid_notes(
    design: Design, grid: ReferenceGrid, kept: tuple[str, ...], weights: str, at: Mapping[str, object]
) -> Iterator[str]:
    others = [name for name in grid.levels if name not in kept]
    averaged = [name for name in others if len(grid.levels[name]) > 1]
    means = [name for name in others if name not in grid.categorical and name not in at]
    if averaged:
        how = "equal weights" if weights == "equal" else "weights proportional to rows"
        yield f"Averaged over {', '.join(averaged)} with {how}."
    if means:
        yield f"At the mean of {', '.join(means)}."
    if design.offset is not None:
        yield "The mean of the offset is added to means."


def _nesting_notes(nesting: Nesting, grid: ReferenceGrid) -> Iterator[str]:
    """Yield which variables with a choice of levels are nested."""
    for name, outer in nesting.outer.items():
        if len(grid.levels[name]) > 1:
            yield f"{name} is nested in {listing(outer)}."


def _interaction_notes(
    design: Design, nesting: Nesting, grid: ReferenceGrid, kept: tuple[str, ...], at: Mapping[str, object]
) -> Iterator[str]:
    """Yield which variables interact with others that are averaged over or held at their means."""
    terms = variables_of_terms(design)
    others = [name for name in grid.levels if name not in kept]
    averaged = [name for name in others if len(grid.levels[name]) > 1]
    held = [name for name in others if name not in grid.categorical and name not in at]
    for name in kept:
        partners = {other for term in terms if name in term for other in term if not nesting.related(name, other)}
        hidden = [other for other in averaged if other in partners]
        if hidden:
            yield f"{name} interacts with {listing(hidden)}: averages over {listing(hidden)} may mislead."
        hidden = [other for other in held if other in partners]
        if hidden:
            yield f"{name} interacts with {listing(hidden)}: what holds at the mean of {listing(hidden)} may mislead."


def _unknown_notes(state: FitState, table: pd.DataFrame) -> Iterator[str]:
    lost = table.index[table["estimate"].isna()]
    if not len(lost):
        return
    labels = [_text(label if isinstance(label, tuple) else (label,)) for label in lost]
    rest = f" and {len(labels) - MAX_NAMED} more" if len(labels) > MAX_NAMED else ""
    yield f"Cannot be estimated: {', '.join(labels[:MAX_NAMED])}{rest}, because {dropped_columns(state)}."


def _certain_notes(table: pd.DataFrame) -> Iterator[str]:
    certain = table.index[table["std_error"] == 0]
    if len(certain):
        labels = [_text(label if isinstance(label, tuple) else (label,)) for label in certain[:MAX_NAMED]]
        rest = f" and {len(certain) - MAX_NAMED} more" if len(certain) > MAX_NAMED else ""
        yield f"Without test, since no coefficient plays a part there: {', '.join(labels)}{rest}."


def _adjustment_notes(adjust: str, families: Sequence[_Family], level: float) -> Iterator[str]:
    if adjust == "none":
        yield "P-values and intervals are not adjusted for several comparisons."
        return
    method = {"tukey": "Tukey", "dunnett": "Dunnett", "holm": "Holm", "bonferroni": "Bonferroni", "sidak": "Sidak"}
    within = " within each level of by" if len(families) > 1 else ""
    yield f"P-values and intervals are adjusted by {method[adjust]}'s method{within}."
    if adjust == "holm":
        yield "Intervals are Bonferroni's: Holm's method has none."
