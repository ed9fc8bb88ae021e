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

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.approximation import RowEstimates
from mixedmodels.inference.contrast import MAX_NAMED, dropped_columns, estimable_rows
from mixedmodels.inference.degrees import approximation, estimate_rows
from mixedmodels.inference.multiplicity import (
    Survival,
    adjusted_p,
    adjusted_quantile,
    check_adjust,
    dunnett_survival,
    tukey_survival,
)
from mixedmodels.inference.reference_grid import (
    ReferenceGrid,
    check_variable,
    predictors,
    printed_level,
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
        ``by`` and ``contrast``. Means that the data do not determine are NaN. ``attrs["notes"]`` says which these are,
        what was averaged over and held, and how tests were adjusted.

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
    cells, averaged = _average(grid, (*by, *specs), weights)
    labels = [_text(cell) for cell in cells]
    if pairwise == "trt.vs.ctrl" and control is None:
        control = cells[0][len(by) :]
    notes = (*_grid_notes(state.design, grid, (*by, *specs), weights, at), *method.notes)
    if adjust is None:
        L = _estimable(state, averaged, labels)
        _check_some(L, "means")
        offset = 0.0 if state.design.offset is None else float(state.design.offset.mean())
        table = row_table(_estimates(state, L, method, offset), _index((*by, *specs), cells), level)
    else:
        families = list(_families(state, cells, averaged, len(by), control))
        _check_some(np.vstack([family.L for family in families]), "differences")
        tables = [_difference_table(state, family, method, adjust, level) for family in families]
        table = pd.concat(tables)
        table.index = _index((*by, "contrast"), [(*f.by, label) for f in families for label in f.labels])
        notes = (*notes, *_adjustment_notes(adjust, families, level))
    table.attrs["notes"] = (*_unknown_notes(state, table), *notes)
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


def _average(grid: ReferenceGrid, kept: tuple[str, ...], weights: str) -> tuple[list[tuple[Any, ...]], Floats]:
    """Return the combinations of the kept variables and the averages of the grid's rows with them."""
    others = [name for name in grid.levels if name not in kept]
    order = [*kept, *others]
    shape = [len(grid.levels[name]) for name in grid.levels]
    axes = [list(grid.levels).index(name) for name in order]
    X = grid.X.reshape(*shape, -1).transpose(*axes, len(shape))
    X = X.reshape(*(len(grid.levels[name]) for name in kept), -1, X.shape[-1])
    weight = _weights(grid, others, weights)
    averaged = np.einsum("...wp,w->...p", X, weight).reshape(-1, X.shape[-1])
    cells = pd.MultiIndex.from_product([_labels(grid, name) for name in kept])
    return [tuple(cell) for cell in cells], averaged


def _labels(grid: ReferenceGrid, name: str) -> Sequence[Any]:
    """Return the levels of a variable in the grid, as whole numbers where those of a continuous one are."""
    levels = grid.levels[name]
    if name in grid.categorical or not all(level.is_integer() for level in levels):
        return levels
    return [int(level) for level in levels]


def _weights(grid: ReferenceGrid, others: Sequence[str], weights: str) -> Floats:
    """Return the weight of each combination of the variables averaged over; they sum to one."""
    shape = [len(grid.levels[name]) for name in others]
    weight = np.ones(shape)
    counted = [name for name in others if name in grid.categorical]
    if weights == "proportional" and counted:
        codes = np.stack([grid.counts[name] for name in counted])
        counts = np.zeros([len(grid.levels[name]) for name in counted])
        np.add.at(counts, tuple(codes[:, (codes >= 0).all(axis=0)]), 1.0)
        weight = weight * counts.reshape([n if name in counted else 1 for n, name in zip(shape, others, strict=True)])
        if not weight.any():
            raise InferenceError(
                f"No row has these levels of {' and '.join(counted)} together, so weights proportional to rows are all "
                f"zero. Choose other levels with at, or average with equal weights."
            )
    return np.asarray((weight / weight.sum()).ravel())


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
    """Return the estimates of the rows of L; NaN where a row is NaN."""
    known = ~np.isnan(L).any(axis=1)
    rows = estimate_rows(state, L[known], method)
    full = np.full((3, len(L)), np.nan)
    full[:, known] = rows.estimate + offset, rows.std_error, rows.df
    return RowEstimates(*full)


def _families(
    state: FitState, cells: list[tuple[Any, ...]], means: Floats, n_by: int, control: object
) -> Iterator[_Family]:
    """Yield the comparisons within each combination of the ``by`` variables, which come first in the cells.

    A difference may be known where its means are not.
    """
    for by, members in groupby(range(len(cells)), key=lambda i: cells[i][:n_by]):
        rows = list(members)
        own = [cells[i][n_by:] for i in rows]
        if control is None:
            pairs = list(combinations(range(len(rows)), 2))
        else:
            reference = _find_control(own, control)
            pairs = [(i, reference) for i in range(len(rows)) if i != reference]
        if not pairs:
            raise InferenceError("There is only one mean, and so no difference. Leave pairwise and control out.")
        labels = [f"{_text(own[i])} - {_text(own[j])}" for i, j in pairs]
        difference = np.array([means[rows[i]] - means[rows[j]] for i, j in pairs])
        yield _Family(by, labels, _estimable(state, difference, labels), len(rows))


def _find_control(cells: list[tuple[Any, ...]], control: object) -> int:
    wanted = control if isinstance(control, tuple) else (control,)
    if wanted in cells:
        return cells.index(wanted)
    printed = [tuple(map(printed_level, cell)) for cell in cells]
    if wanted in printed:
        return printed.index(wanted)
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
    known = ~np.isnan(rows.estimate)
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
    covariance = L @ method.covariance @ L.T
    sd = np.sqrt(np.diag(covariance))
    return dunnett_survival(covariance / np.outer(sd, sd))


def _index(names: tuple[str, ...], cells: Sequence[tuple[Any, ...]]) -> pd.Index:
    index: pd.Index = pd.MultiIndex.from_tuples(cells, names=names)
    return index.get_level_values(0) if len(names) == 1 else index


def _text(cell: tuple[Any, ...]) -> str:
    return " ".join(map(str, cell))


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


def _unknown_notes(state: FitState, table: pd.DataFrame) -> Iterator[str]:
    lost = table.index[table["estimate"].isna()]
    if not len(lost):
        return
    labels = [_text(label if isinstance(label, tuple) else (label,)) for label in lost]
    rest = f" and {len(labels) - MAX_NAMED} more" if len(labels) > MAX_NAMED else ""
    yield f"Cannot be estimated: {', '.join(labels[:MAX_NAMED])}{rest}, because {dropped_columns(state)}."


def _adjustment_notes(adjust: str, families: Sequence[_Family], level: float) -> Iterator[str]:
    if adjust == "none":
        yield "P-values and intervals are not adjusted for several comparisons."
        return
    method = {"tukey": "Tukey", "dunnett": "Dunnett", "holm": "Holm", "bonferroni": "Bonferroni", "sidak": "Sidak"}
    within = " within each level of by" if len(families) > 1 else ""
    yield f"P-values and intervals are adjusted by {method[adjust]}'s method{within}."
    if adjust == "holm":
        yield "Intervals are Bonferroni's: Holm's method has none."
