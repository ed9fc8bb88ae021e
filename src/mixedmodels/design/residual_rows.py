"""Subjects and visits: which rows have correlated residuals, and where each stands among those of its subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.kinds import correlation_needs
from mixedmodels.covariance.variance_kinds import VARIANCES
from mixedmodels.design.frame import Column
from mixedmodels.design.grouping import Grouping, group_rows, level_codes
from mixedmodels.design.labels import LevelTexts, level_text, shown_level
from mixedmodels.design.records import Codes, Finding, Floats
from mixedmodels.errors import DesignError
from mixedmodels.formula.terms import ResidualTerm, VarianceTerm

COUNTING_STEPS = ("ar1", "toep", "ad", "arma11")
"""Structures whose correlations depend on how many visits two are apart."""

MAX_VISITS = 60
"""Different visits beyond which subjects have times of their own."""

ROOM_A_ROW = 64
"""Places of subjects at visits, for each row, up to which all are listed."""

OF_OWN_TIMES = ("exp", "gau", "sph", "exp with nugget", "gau with nugget", "sph with nugget", "ar1", "arma11", "id")
"""Structures that need no visits in common."""


@dataclass(frozen=True)
class ResidualRows:
    """Rows by subject, visit and group of subjects.

    Attributes
    ----------
    term
        The term of the formula.
    subject, visit, group
        Codes of each row, (n_obs,).
    subjects, groups
        Labels of their levels; one group without a name where all subjects have the same covariance.
    visits
        The visits that are in the data.
    grouping
        How rows of new data find their visit.
    """

    term: ResidualTerm
    subject: Codes
    visit: Codes
    group: Codes
    subjects: pd.Index
    groups: pd.Index
    visits: Visits
    grouping: Grouping

    @property
    def n_subjects(self) -> int:
        """Subjects in the data."""
        return len(self.subjects)

    @property
    def has_own_times(self) -> bool:
        """Whether subjects have times of their own instead of visits in common."""
        return len(self.visits) > MAX_VISITS


def residual_rows(term: ResidualTerm, columns: Mapping[str, Column]) -> ResidualRows:
    """Return the rows by subject and visit, checked.

    Parameters
    ----------
    term
        The covariance structure of the formula.
    columns
        Its columns at the rows used, by name, without missing values.

    Raises
    ------
    DesignError
        A subject has two rows at one visit or is in two groups, or the structure does not suit such visits.
    """
    subject, subjects = level_codes(columns[term.subject])
    coded = {name: level_codes(columns[name]) for name in term.visits}
    visit, grouping = group_rows(term.visits, coded.__getitem__)
    positions = _positions(term, columns, visit)
    texts = LevelTexts(grouping.levels)
    visits = Visits(texts if len(texts) > MAX_VISITS else tuple(texts), positions)
    if term.group is None:
        group, groups = np.zeros(len(subject), dtype=np.int32), pd.Index([""])
    else:
        group, groups = level_codes(columns[term.group])
        _check_one_group(term, subject, subjects, group, groups)
    _check_one_row(term, subject, subjects, visit, visits)
    _check_visits(term, visits)
    return ResidualRows(term, subject, visit, group, subjects, groups, visits, grouping)


def _positions(term: ResidualTerm, columns: Mapping[str, Column], visit: Codes) -> Floats | None:
    """Return the coordinates of the visits, (n_visits, n_coordinates), where they are numbers; dates count in days."""
    found = [columns[name] for name in term.visits]
    if any(column.levels is not None or column.is_boolean for column in found):
        return None
    first = np.unique(visit, return_index=True)[1]
    return np.column_stack([_numbers(column)[first] for column in found])


def _numbers(column: Column) -> Floats:
    if column.is_date:
        return np.asarray((column.values - column.values.min()) / np.timedelta64(1, "D"), dtype=np.float64)
    return column.values.astype(np.float64)


def _check_one_group(term: ResidualTerm, subject: Codes, subjects: pd.Index, group: Codes, groups: pd.Index) -> None:
    first = np.zeros(len(subjects), dtype=np.int32)
    first[subject] = group
    other = np.flatnonzero(first[subject] != group)
    if len(other):
        i = int(other[0])
        both = f"{shown_level(groups[group[i]])} and {shown_level(groups[first[subject[i]]])}"
        raise DesignError(
            f"{term.subject} {shown_level(subjects[subject[i]])} has rows in several groups of {term.group}, {both}, "
            f"but {term.text} has one covariance a group. Leave {term.group} out of it, or give these rows another "
            "subject."
        )


def _check_one_row(term: ResidualTerm, subject: Codes, subjects: pd.Index, visit: Codes, visits: Visits) -> None:
    place = subject.astype(np.int64) * len(visits) + visit
    if (n_places := len(subjects) * len(visits)) <= ROOM_A_ROW * len(place):
        seen = np.zeros(n_places, dtype=bool)
        seen[place] = True
        if np.count_nonzero(seen) == len(place):
            return
    order = np.argsort(place, kind="stable")
    twice = np.flatnonzero(np.diff(place[order]) == 0)
    if not len(twice):
        return
    i = int(order[twice[0]])
    more = f" ({len(twice)} such rows in all)" if len(twice) > 1 else ""
    raise DesignError(
        f"{term.subject} {shown_level(subjects[subject[i]])} has two rows at {', '.join(term.visits)} "
        f"{visits.labels[visit[i]]}{more}, and {term.text} takes one row a visit. Keep one of them, or their mean."
    )


def _check_visits(term: ResidualTerm, visits: Visits) -> None:
    needs, name = correlation_needs(term.kind), ", ".join(term.visits)
    if needs == "numbers" and visits.positions is None:
        raise DesignError(
            f"{term.text} needs times or coordinates as numbers, and {name} has labels. Use a numeric column, or a "
            f"structure of visits in order, such as ar1({name} | {term.subject})."
        )
    if len(visits) > MAX_VISITS and (term.kind not in OF_OWN_TIMES or visits.positions is None):
        raise DesignError(
            f"{name} has {len(visits)} different values, more than the {MAX_VISITS} visits that {term.text} can have. "
            f"Round them to common visits, or take a structure of times of each subject's own, such as "
            f"exp({name} | {term.subject})."
        )
    if visits.positions is None or visits.positions.shape[1] > 1:
        return
    gaps = np.diff(np.sort(visits.positions[:, 0]))
    if needs == "whole numbers" and np.any(gaps != np.round(gaps)):
        raise DesignError(
            f"{term.text} needs times that are whole steps apart, and {name} has {visits.labels[0]}, "
            f"{visits.labels[1]}, ... Use exp({name} | {term.subject}), which takes any times, or a category of visits."
        )
    if needs == "equal steps" and np.any(gaps != gaps[0]):
        raise DesignError(
            f"{term.text} needs visits at equal steps, and those of {name} are not. Make it a category, in whose order "
            "visits count as one step apart, or use another structure."
        )


@dataclass(frozen=True)
class VarianceColumn:
    """What a variance function is of, at the rows used.

    Attributes
    ----------
    term
        The term of the formula.
    values
        Numbers, or codes of the levels, (n_obs,).
    levels
        Labels of the levels; None for numbers.
    """

    term: VarianceTerm
    values: Floats
    levels: pd.Index | None


def variance_columns(terms: Sequence[VarianceTerm], columns: Mapping[str, Column]) -> tuple[VarianceColumn, ...]:
    """Return what the variance functions of a formula are of, checked.

    Parameters
    ----------
    terms
        Of the formula.
    columns
        Its columns at the rows used, by name, without missing values.

    Raises
    ------
    DesignError
        A column does not suit its function.
    """
    return tuple(_variance_column(term, columns[term.column]) for term in terms)


def _variance_column(term: VarianceTerm, column: Column) -> VarianceColumn:
    function = VARIANCES[term.kind]
    if function.takes_levels:
        codes, levels = level_codes(column)
        if len(levels) < 2:
            raise DesignError(
                f"variance={term.text!r} needs two levels or more, and {term.column} has {len(levels)} in the rows "
                "used. Leave it out."
            )
        return VarianceColumn(term, codes.astype(np.float64), levels)
    if column.levels is not None or column.is_boolean or column.is_date:
        raise DesignError(
            f"variance={term.text!r} needs numbers, and {term.column} has labels. Use ident({term.column}), a standard "
            "deviation for each level."
        )
    values = column.values.astype(np.float64)
    unsuited = function.unsuited(values)
    if unsuited is not None:
        where = f"{int(np.argmax(values == 0))} of the rows used, counted from 0"
        raise DesignError(
            f"variance={term.text!r} cannot take {unsuited}, and {term.column} has it in row {where}. Use exp("
            f"{term.column}), or shift the column."
        )
    if np.ptp(values) == 0:
        raise DesignError(f"variance={term.text!r} has nothing to tell from: {term.column} is constant. Leave it out.")
    return VarianceColumn(term, values, None)


def empty_visits(rows: ResidualRows, column: Column) -> Iterator[Finding]:
    """Yield a finding where visits that nobody has lie between others, in a structure that counts steps.

    Parameters
    ----------
    rows
        Of the design.
    column
        The visits with all their levels, those without rows among them.
    """
    term, used = rows.term, rows.visits.labels
    if column.levels is None or term.kind.removesuffix("h") not in COUNTING_STEPS:
        return
    levels = [level_text(level) for level in column.levels]
    places = [place for place, level in enumerate(levels) if level in used]
    empty = [level for level in levels[places[0] : places[-1]] if level not in used]
    if empty:
        message = (
            f"{', '.join(term.visits)} has no rows at {', '.join(empty)}, so {term.text} takes the visits before and "
            "after for neighbours. Use whole numbers for visits, if they are to be further apart."
        )
        yield Finding("empty_visits", message, {"visits": empty})


@dataclass(frozen=True)
class Patterns:
    """Subjects of one group with the same visits are one pattern.

    Attributes
    ----------
    order
        Rows by pattern, subject and visit, (n_obs,).
    groups, visits, n_subjects
        Of each pattern.
    """

    order: npt.NDArray[np.int64]
    groups: list[int]
    visits: list[list[int]]
    n_subjects: list[int]

    def each(self) -> Iterator[tuple[int, list[int], npt.NDArray[np.int64]]]:
        """Yield group, visits and rows, (n_subjects, n_visits), of each pattern."""
        first = 0
        for group, visits, n in zip(self.groups, self.visits, self.n_subjects, strict=True):
            size = n * len(visits)
            yield group, visits, self.order[first : first + size].reshape(n, len(visits))
            first += size


def find_patterns(rows: ResidualRows) -> Patterns:
    """Return the patterns of a design.

    Parameters
    ----------
    rows
        Of the design.
    """
    n_visits, n_subjects = len(rows.visits), rows.n_subjects
    seen = np.zeros((n_subjects, n_visits), dtype=bool)
    seen[rows.subject, rows.visit] = True
    key = seen @ (1 << np.arange(n_visits, dtype=np.int64))
    group = np.zeros(n_subjects, dtype=np.int64)
    group[rows.subject] = rows.group
    which = np.unique(key, return_inverse=True)[1]
    present, first, which, counts = np.unique(
        which * len(rows.groups) + group, return_index=True, return_inverse=True, return_counts=True
    )
    size = seen.sum(axis=1)
    by_pattern = np.argsort(which, kind="stable")
    start = np.empty(n_subjects, dtype=np.int64)
    start[by_pattern] = np.cumsum(size[by_pattern]) - size[by_pattern]
    place = start[rows.subject] + (np.cumsum(seen, axis=1) - 1)[rows.subject, rows.visit]
    order = np.empty(len(place), dtype=np.int64)
    order[place] = np.arange(len(place))
    visits = [np.flatnonzero(seen[s]).tolist() for s in first.tolist()]
    return Patterns(order, (present % len(rows.groups)).tolist(), visits, counts.tolist())
