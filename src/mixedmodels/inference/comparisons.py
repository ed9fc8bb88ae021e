"""Tests of means or slopes and of contrasts among them, adjusted for their number.

Each row l'beta is tested against theta0: differing from it, above or below it; or with a margin delta, as being less
than delta away (equivalence, two one-sided tests: Schuirmann 1987), not delta below (non-inferiority) or not delta
above it (non-superiority). With d = l'beta - theta0 and its standard error s:

    two-sided   d / s                      with a margin    (abs(d) - delta) / s, small values speak for equivalence
    greater     d / s                                       (d + delta) / s
    less        d / s                                       (d - delta) / s
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.approximation import RowEstimates, rows_covariance
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.contrast_kinds import (
    KINDS,
    OF_R,
    Cell,
    Weights,
    cell_text,
    control_weights,
    custom_weights,
    find_cell,
    interaction_weights,
    kind_name,
    named_weights,
)
from mixedmodels.inference.degrees import estimate_rows
from mixedmodels.inference.multiplicity import (
    NAMES,
    OF_P,
    SIDES,
    adjusted_p,
    adjusted_quantile,
    check_adjust,
    family_survival,
)
from mixedmodels.inference.wald import COLUMNS, check_level

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation
    from mixedmodels.inference.grid_average import GridMeans

ZERO_SUM = 1e-10
"""Sum of a contrast's weights, relative to the largest, that counts as zero."""


@dataclass(frozen=True)
class Hypothesis:
    """What each row is tested against, and how sure its interval is.

    Attributes
    ----------
    null
        theta0.
    side
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    delta
        Margin; 0 for none.
    level
        Coverage of intervals.
    """

    null: float = 0.0
    side: str = "two-sided"
    delta: float = 0.0
    level: float = 0.95

    @property
    def is_equivalence(self) -> bool:
        """True for two one-sided tests."""
        return self.side == "two-sided" and self.delta > 0

    @property
    def tail(self) -> str:
        """Where values of the statistic speak for what is to be shown."""
        return "less" if self.is_equivalence else self.side

    def statistic(self, estimate: Floats, std_error: Floats) -> Floats:
        """Return Student's t, (m,)."""
        d = estimate - self.null
        if self.is_equivalence:
            d = np.abs(d) - self.delta
        elif self.delta:
            d = d + (self.delta if self.side == "greater" else -self.delta)
        return np.asarray(d / std_error)


def check_hypothesis(null: object, side: object, delta: object, level: float) -> Hypothesis:
    """Return what is tested.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    """
    check_level(level)
    if side not in SIDES:
        known = ", ".join(f'"{name}"' for name in SIDES)
        raise InferenceError(f"side is {side!r}; it must be one of {known}.{nearest(str(side), SIDES)}")
    values = []
    for name, value in (("null", null), ("delta", delta)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise InferenceError(f"{name} is {value!r}; it must be a number.")
        values.append(float(value))
    if values[1] < 0:
        raise InferenceError(f"delta is {delta!r}; a margin is not below zero.")
    return Hypothesis(values[0], str(side), values[1], level)


@dataclass(frozen=True)
class Comparison:
    """Which contrasts are taken among the means of each combination of ``by``, and how their tests are adjusted.

    Attributes
    ----------
    kind
        Name of a kind of contrasts; None if they are given by weights or by kinds of several variables.
    given
        Weights, or a mapping from variables to kinds; None if there is a kind.
    control
        The level that others are compared with; None for the first.
    adjust
        One of ``multiplicity.ADJUSTMENTS``.
    """

    kind: str | None
    given: object
    control: object
    adjust: str

    def is_interaction(self, names: Sequence[str]) -> bool:
        """Return True if contrasts are products of one for each of some variables."""
        return isinstance(self.given, Mapping) and bool(self.given) and self.given.keys() <= set(names)


def read_comparison(
    pairwise: object, contrasts: object, control: object, adjust: str | None, hypothesis: Hypothesis
) -> Comparison | None:
    """Return the contrasts that are asked for; None if there are none.

    Parameters
    ----------
    pairwise
        False, True for all pairs, or the name of a kind of contrasts.
    contrasts
        None, the name of a kind, or weights.
    control
        The level to compare with.
    adjust
        An adjustment; None for what goes with the contrasts and the hypothesis.
    hypothesis
        What is tested.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or two ask for different contrasts.
    """
    if not isinstance(pairwise, bool) and not (isinstance(pairwise, str) and pairwise in (*KINDS, *OF_R)):
        raise InferenceError(
            f'pairwise is {pairwise!r}; it must be True or "pairwise" for all pairs, "trt.vs.ctrl" for differences '
            f"from a control, the name of another kind of contrasts, or False.{nearest(str(pairwise), [*KINDS, *OF_R])}"
        )
    if adjust is not None:
        check_adjust(adjust)
    if contrasts is not None and pairwise:
        raise InferenceError("pairwise and contrasts ask for different comparisons. Give one of them.")
    asked = pairwise if isinstance(pairwise, str) else ("pairwise" if pairwise else None)
    wanted = asked if contrasts is None else contrasts
    kind = None
    if isinstance(wanted, str):
        kind = kind_name(wanted, "contrasts")
    elif control is not None and contrasts is None:
        kind = "control"
    if control is not None and kind != "control":
        what = "pairwise" if contrasts is None else "contrasts"
        raise InferenceError(f"{what} and control ask for different comparisons. Give one of them.")
    if kind is None and contrasts is None:
        if adjust is not None:
            raise InferenceError(
                "adjust is for differences. Add pairwise=True, contrasts=... or control=..., or leave adjust out."
            )
        return None
    adjust = adjust or _usual_adjustment(kind, hypothesis)
    _check_adjustment(adjust, kind, hypothesis)
    return Comparison(kind, None if kind else contrasts, control, adjust)


def _usual_adjustment(kind: str | None, hypothesis: Hypothesis) -> str:
    usual = "none" if kind is None else KINDS[kind].adjust
    if usual in OF_P:
        return usual
    if hypothesis.is_equivalence:
        return "holm"
    return "mvt" if usual == "tukey" and hypothesis.side != "two-sided" else usual


def _check_adjustment(adjust: str, kind: str | None, hypothesis: Hypothesis) -> None:
    whole = {"tukey": ("pairwise", "reverse-pairwise"), "dunnett": ("control",)}
    if adjust in whole and kind not in whole[adjust]:
        own = f'"{KINDS[kind].adjust}"' if kind else '"mvt"'
        what = "all pairs" if adjust == "tukey" else "differences from a control"
        raise InferenceError(f'adjust="{adjust}" is for {what}; use {own} or one of the others here.')
    if hypothesis.is_equivalence and adjust not in OF_P:
        raise InferenceError(
            f'adjust="{adjust}" is not for tests of equivalence; use "holm", "bonferroni", "sidak", "fdr" or "none".'
        )
    if hypothesis.side != "two-sided" and adjust in ("tukey", "scheffe"):
        raise InferenceError(f'adjust="{adjust}" is for two-sided tests; use "mvt" or one of the others on one side.')


@dataclass(frozen=True)
class Family:
    """Contrasts that are adjusted together: those within one combination of ``by``.

    Attributes
    ----------
    by
        Values of the ``by`` variables.
    labels
        One a contrast, with a part for each variable of an interaction contrast.
    L
        (m, n_fixed), NaN for what the data do not determine.
    n_means
        Means that are compared.
    sums
        (m,), sum of each contrast's weights.
    """

    by: Cell
    labels: list[Cell]
    L: Floats
    n_means: int
    sums: Floats


def families(state: FixedFit, means: GridMeans, comparison: Comparison, minus: str = "-") -> list[Family]:
    """Return the contrasts within each combination of the ``by`` variables.

    A contrast may be known where its means are not. A combination without the means that it weighs does not have it.

    Parameters
    ----------
    state
        The fit.
    means
        The means.
    comparison
        Which contrasts.
    minus
        The sign of a difference in names.

    Raises
    ------
    InferenceError
        If contrasts cannot be read, or there are none.
    """
    found = []
    for by, rows, weights in contrast_weights(means, comparison, minus):
        differences = combined(weights.rows, means.rows[rows])
        labels = [cell_text(label) for label in weights.labels]
        L = estimable_where_known(state, differences, labels)
        found.append(Family(by, weights.labels, L, len(rows), weights.rows.sum(axis=1)))
    return found


def contrast_weights(
    means: GridMeans, comparison: Comparison, minus: str = "-"
) -> list[tuple[Cell, list[int], Weights]]:
    """Return the contrasts within each combination of the ``by`` variables: its values, its means, and their weights.

    Parameters
    ----------
    means, comparison, minus
        As for `families`.

    Raises
    ------
    InferenceError
        As `families`.
    """
    cells, n_by = means.cells, len(means.by)
    found = []
    own_cells = list(dict.fromkeys(cell[n_by:] for cell in cells))
    for by, members in groupby(range(len(cells)), key=lambda i: cells[i][:n_by]):
        rows = list(members)
        weights = _weights(comparison, means.specs, [cells[i][n_by:] for i in rows], own_cells, minus)
        if weights.labels:
            found.append((by, rows, weights))
    if not found:
        raise InferenceError("There is only one mean, and so no difference. Leave pairwise, contrasts and control out.")
    return found


def combined(weights: Floats, means: Floats) -> Floats:
    """Return combinations of means, NaN where one that counts is."""
    unknown = np.asarray(np.isnan(means).any(axis=1))
    combined: Floats = weights @ np.where(unknown[:, None], 0.0, means)
    combined[np.abs(weights) @ unknown > 0] = np.nan
    return combined


def _weights(
    comparison: Comparison, specs: Sequence[str], own: Sequence[Cell], all_cells: Sequence[Cell], minus: str
) -> Weights:
    if comparison.control is not None:
        return control_weights(own, all_cells[find_cell(all_cells, comparison.control)], minus)
    if comparison.kind == "control":
        return control_weights(own, own[0], minus)
    if comparison.kind is not None:
        return named_weights(comparison.kind, own, minus)
    if comparison.is_interaction(specs):
        assert isinstance(comparison.given, Mapping)
        lacking = [name for name in specs if name not in comparison.given]
        if lacking:
            raise InferenceError(
                f"contrasts has no kind for {lacking[0]!r}. Give it one, or have contrasts at each of its levels by "
                f"naming it as by instead."
            )
        return interaction_weights(comparison.given, specs, own, minus)
    weights = custom_weights(comparison.given, all_cells)
    there = [all_cells.index(cell) for cell in own]
    absent = [i for i in range(len(all_cells)) if i not in there]
    kept = [i for i, row in enumerate(weights.rows) if not row[absent].any()]
    return Weights([weights.labels[i] for i in kept], weights.rows[kept][:, there])


def estimates(L: Floats, method: Approximation, offset: float = 0.0) -> RowEstimates:
    """Return the estimates of the rows of L; NaN where a row is NaN, known without error where it is zero."""
    estimated = ~np.isnan(L).any(axis=1) & L.any(axis=1)
    rows = estimate_rows(method.state, L[estimated], method)
    full = np.full((3, len(L)), np.nan)
    full[:2, ~L.any(axis=1)] = [[offset], [0.0]]
    full[:, estimated] = rows.estimate + offset, rows.std_error, rows.df
    return RowEstimates(*full)


def check_some(L: Floats, what: str) -> None:
    """Raise if no row can be estimated.

    Raises
    ------
    InferenceError
        If all rows of L have NaN.
    """
    if np.isnan(L).any(axis=1).all():
        raise InferenceError(
            f"None of these {what} can be estimated, because columns of the fixed part were dropped as aliased. "
            "Take them out of the formula, or average over fewer variables with at."
        )


def row_tests(
    rows: RowEstimates,
    index: pd.Index,
    hypothesis: Hypothesis,
    *,
    adjust: str = "none",
    n_means: int = 1,
    covariance: Floats | None = None,
) -> pd.DataFrame:
    """Return one family's estimates with tests and intervals, adjusted for their number.

    Parameters
    ----------
    rows
        The estimates; those without error, or unknown, have no test and do not count.
    index
        Their names.
    hypothesis
        What is tested.
    adjust
        One of ``multiplicity.ADJUSTMENTS``.
    n_means
        Means that are compared.
    covariance
        Of those rows that have an error, where the adjustment needs it.
    """
    known = rows.std_error > 0
    se = np.where(known, rows.std_error, np.nan)
    side = hypothesis.side
    statistic = hypothesis.statistic(rows.estimate, se)
    p_value, width = np.full((2, len(se)), np.nan)
    if known.any():
        df, m = rows.df[known], int(known.sum())
        survival = None if covariance is None else family_survival(adjust, n_means, covariance, side)
        p_value[known] = adjusted_p(adjust, statistic[known], df, survival, side=hypothesis.tail)
        width[known] = adjusted_quantile(adjust, m, df, hypothesis.level, survival, side=side) * se[known]
    width[rows.std_error == 0] = 0.0
    lower = np.where(side == "less", np.where(np.isnan(width), np.nan, -np.inf), rows.estimate - width)
    upper = np.where(side == "greater", np.where(np.isnan(width), np.nan, np.inf), rows.estimate + width)
    values = np.column_stack([rows.estimate, rows.std_error, rows.df, statistic, p_value, lower, upper])
    return pd.DataFrame(values, index=index, columns=COLUMNS)


def families_table(
    found: Sequence[Family], names: Sequence[str], method: Approximation, hypothesis: Hypothesis, adjust: str
) -> pd.DataFrame:
    """Return all contrasts with tests and intervals that are adjusted within families.

    Parameters
    ----------
    found
        The families.
    names
        Of the parts of the index.
    method
        Covariance and degrees of freedom.
    hypothesis, adjust
        As for `row_tests`.

    Raises
    ------
    InferenceError
        If no contrast can be estimated.
    """
    check_some(np.vstack([family.L for family in found]), "differences")
    tables = []
    for family in found:
        rows = estimates(family.L, method)
        known = rows.std_error > 0
        covariance = rows_covariance(method, family.L[known]) if known.any() and adjust not in OF_P else None
        index = labels_index(names, [(*family.by, *label) for label in family.labels])
        tables.append(row_tests(rows, index, hypothesis, adjust=adjust, n_means=family.n_means, covariance=covariance))
    return pd.concat(tables)


def contrast_names(means: GridMeans, comparison: Comparison) -> tuple[str, ...]:
    """Return the names of the index of a table of contrasts."""
    return (*means.by, *means.specs) if comparison.is_interaction(means.specs) else (*means.by, "contrast")


def labels_index(names: Sequence[str], cells: Sequence[tuple[Any, ...]]) -> pd.Index:
    """Return an index of one or several parts."""
    index: pd.Index = pd.MultiIndex.from_tuples(cells, names=list(names))
    return index.get_level_values(0) if len(names) == 1 else index


def hypothesis_notes(hypothesis: Hypothesis, scale: str = "") -> Iterator[str]:
    """Yield what is tested, where it is not a difference from zero.

    Parameters
    ----------
    hypothesis
        What is tested.
    scale
        A clause about the scale of null and delta.
    """
    null, delta = f"{hypothesis.null:g}", f"{hypothesis.delta:g}"
    if hypothesis.is_equivalence:
        yield f"Tests of equivalence: of being less than {delta} away from {null}{scale}, by two one-sided tests."
        yield "Intervals are two-sided; equivalence at 5 % is one of 90 % within the margins."
    elif hypothesis.delta and hypothesis.side == "greater":
        yield f"Tests of non-inferiority: of being above {null} - {delta}{scale}."
    elif hypothesis.delta:
        yield f"Tests of non-superiority: of being below {null} + {delta}{scale}."
    elif hypothesis.side != "two-sided":
        yield f"One-sided tests: of being {'above' if hypothesis.side == 'greater' else 'below'} {null}{scale}."
    elif hypothesis.null:
        yield f"Tests against {null}{scale}."


def adjustment_notes(adjust: str, n_families: int, argument: str = "by") -> Iterator[str]:
    """Yield how tests and intervals are adjusted, within the levels of the variables of an argument."""
    if adjust == "none":
        yield "P-values and intervals are not adjusted for several comparisons."
        return
    within = f" within each level of {argument}" if n_families > 1 else ""
    yield f"P-values and intervals are adjusted by {NAMES[adjust]}{within}."
    if adjust == "holm":
        yield "Intervals are Bonferroni's: Holm's method has none."
    if adjust == "fdr":
        yield "Intervals are Bonferroni's: control of the false discovery rate has none."


def comparison_notes(comparison: Comparison, specs: Sequence[str]) -> Iterator[str]:
    """Yield what contrasts take for granted."""
    given = comparison.given
    kinds = dict(given) if isinstance(given, Mapping) else dict.fromkeys(specs, comparison.kind)
    taken = [str(name) for name, kind in kinds.items() if isinstance(kind, str) and kind in ("polynomial", "poly")]
    if taken:
        yield f"Polynomials take the levels of {' and '.join(taken)} as equally far apart."
