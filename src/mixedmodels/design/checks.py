"""What must hold before a model can be fitted, and what is worth saying."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from mixedmodels.design.frame import Column
from mixedmodels.design.grouping import integer_codes
from mixedmodels.design.labels import level_text, odd_ones
from mixedmodels.design.records import Finding, Floats, RandomFactor
from mixedmodels.errors import DataError, DesignError
from mixedmodels.formula.expressions import adds_conditions

FEW_LEVELS = 5
FEW_REPEATS = 5
"""Rows beyond the first of their level, for as many or fewer to tell a factor's effect hardly from the residual."""
LARGEST_SHARE_OF_ODD_ONES = 0.2
"""Of levels that are no numbers, for the others to look as if they were meant as numbers."""


def check_numeric(role: str, expression: str, column: Column) -> None:
    """A response, an offset or weights must be numbers.

    Raises
    ------
    DataError
        They are not.
    """
    if column.is_number:
        return
    if column.levels is None:
        raise DataError(f"The {role} {expression!r} holds dates or times. Convert them to numbers, such as days.")
    odd = odd_ones(column.levels)
    found = odd or list(map(level_text, column.levels))
    listed = ", ".join(map(repr, found[:3])) + (", ..." if len(found) > 3 else "")
    if odd and len(odd) < len(column.levels):
        listed += " among numbers"
        hint = (
            " Make that missing: leave the field of a file empty, or use pandas.to_numeric(..., errors='coerce'), "
            "which reads all but numbers as missing."
        )
    else:
        convert = f"data[{expression!r}] = data[{expression!r}].astype(float)"
        hint = "" if odd else f" They look like numbers: convert them first, {convert}."
    raise DataError(f"The {role} {expression!r} must be numeric, but holds {listed}.{hint}")


def check_conditions(expressions: Iterable[str], columns: Mapping[str, Column]) -> None:
    """No expression adds conditions.

    Parameters
    ----------
    expressions
        Those in which something is added or subtracted.
    columns
        The columns that the formula uses.

    Raises
    ------
    DataError
        One does.
    """
    booleans = {name for name, column in columns.items() if column.is_boolean}
    for expression in expressions:
        if adds_conditions(expression, booleans):
            raise DataError(
                f"{expression!r} adds or subtracts conditions, which NumPy does not count. Put 1* before each to "
                "count them, as in I(1*(x > 1) + 1*(z > 1)), or | between them for 'or'."
            )


def check_terms(names: Iterable[str], columns: Mapping[str, Column]) -> None:
    """Columns that stand in a formula as they are must be numbers or categories that differ.

    Raises
    ------
    DataError
        A column holds dates.
    DesignError
        A categorical column has one level.
    """
    for name in names:
        levels = columns[name].levels
        if columns[name].is_date:
            raise DataError(
                f"Column {name!r} holds dates or times, which have no slope. "
                f"Convert it to numbers, such as days, or use C({name}) for one effect a date."
            )
        if levels is not None and len(levels) == 1:
            raise DesignError(
                f"Column {name!r} has one level only ({level_text(levels[0])!r}), so it has no effect to estimate. "
                "Leave it out of the formula."
            )


def check_response(expression: str, y: Floats, offset: Floats | None) -> None:
    """The response must vary.

    Raises
    ------
    DesignError
        It does not, after the offset is taken off.
    """
    for values, what in ((y, ""), (None if offset is None else y - offset, " less its offset")):
        if values is not None:
            check_varies(f"{expression!r}{what}", values.min(), values.max(), len(y))


def check_varies(response: str, least: float, most: float, n_obs: int) -> None:
    """The least value of the response must not be the largest one.

    Raises
    ------
    DesignError
        It is.
    """
    if least == most:
        raise DesignError(
            f"The response {response} is constant: it is {float(least)} in all {n_obs} rows. "
            "There is no variance to explain."
        )


def check_weights(name: str, weights: Floats) -> None:
    """Weights must be positive.

    Raises
    ------
    DataError
        Some are not.
    """
    wrong = weights <= 0
    if wrong.any():
        raise DataError(
            f"The weights {name!r} must be positive. {np.count_nonzero(wrong)} of {len(weights)} are not, the first is "
            f"{float(weights[wrong.argmax()])} in row {wrong.argmax()} of those used (counted from 0). "
            "Leave rows without weight out of the data."
        )


def check_factors(
    factors: Sequence[RandomFactor],
    n_obs: int | None,
    n_pairs: Callable[[RandomFactor, RandomFactor], int] | None = None,
) -> None:
    """Each random effect must be distinguishable from the residual and from the other effects.

    Parameters
    ----------
    factors
        The grouping factors.
    n_obs
        Rows; None where they have no residual of their own.
    n_pairs
        How many pairs of levels of two factors occur; None counts them by their rows.

    Raises
    ------
    DesignError
        A factor has one level, as many levels as rows, as many effects as rows, or an effect twice.
    """
    for factor in factors:
        _check_levels(factor, n_obs)
        twice = [column for k, column in enumerate(factor.columns) if column in factor.columns[:k]]
        if twice:
            raise DesignError(
                f"The random effect {twice[0]!r} of {factor.name!r} is in two terms, "
                "and their variances cannot be told apart. Keep it in one of them."
            )
    for one, other in combinations(factors, 2):
        shared = set(one.columns) & set(other.columns)
        related = one.relationship is not None or other.relationship is not None
        if shared and not related and one.n_levels == other.n_levels == (n_pairs or _n_pairs)(one, other):
            raise DesignError(
                f"The grouping factors {one.name!r} and {other.name!r} divide the rows into the same {one.n_levels} "
                "groups, so their variances cannot be told apart. Keep one of them."
            )


def _check_levels(factor: RandomFactor, n_obs: int | None) -> None:
    if factor.n_levels == 1:
        raise DesignError(
            f"The grouping factor {factor.name!r} has one level only ({level_text(factor.levels[0])!r}). "
            "A variance between levels needs at least two."
        )
    if (
        n_obs is None or factor.terms or factor.relationship is not None
    ):  # with fewer parameters as many effects as rows may be told from the residual
        return
    if factor.n_levels >= n_obs:
        raise DesignError(
            f"The grouping factor {factor.name!r} has as many levels ({factor.n_levels}) as there are rows, so its "
            "random effect cannot be told apart from the residual. Group by something that repeats, or drop the term."
        )
    largest = max(factor.block_sizes)
    if largest * factor.n_levels >= n_obs:
        raise DesignError(
            f"The grouping factor {factor.name!r} has {factor.n_levels} levels with {largest} correlated random "
            f"effects each, {largest * factor.n_levels} in all, but there are {n_obs} rows only. "
            "They cannot be told apart from the residual: use fewer random effects."
        )


def _n_pairs(one: RandomFactor, other: RandomFactor) -> int:
    _, present = integer_codes(one.codes.astype(np.int64) * other.n_levels + other.codes)
    return len(present)


def numbers_among_labels(names: Iterable[str], columns: Mapping[str, Column]) -> list[Finding]:
    """Return a finding for each category whose levels are numbers but for a few, such as a sign for missing values.

    Parameters
    ----------
    names
        Columns that stand in terms as they are; one in ``C(...)`` is meant to be a category.
    columns
        All of them.
    """
    found = []
    for name in dict.fromkeys(names):
        levels = columns[name].levels
        odd = [] if levels is None else odd_ones(levels)
        if levels is not None and 0 < len(odd) <= LARGEST_SHARE_OF_ODD_ONES * len(levels):
            listed = ", ".join(map(repr, odd[:3])) + (", ..." if len(odd) > 3 else "")
            found.append(
                Finding(
                    "numbers_among_labels",
                    f"Column {name!r} holds {listed} among numbers and so is a category of {len(levels)} levels. If it "
                    f"should be a number, make {'that' if len(odd) == 1 else 'those'} missing (an empty field of a "
                    f"file, or pandas.to_numeric(..., errors='coerce')); if not, write C({name}).",
                    {"column": name, "odd": tuple(odd), "n_levels": len(levels)},
                )
            )
    return found


def few_levels(factors: Iterable[RandomFactor]) -> list[Finding]:
    """Return a finding for each grouping factor with too few levels to estimate a variance well."""
    return [
        Finding(
            "few_levels",
            f"The grouping factor {factor.name!r} has {factor.n_levels} levels only: its variance rests on "
            f"{factor.n_levels} values and is uncertain. A fixed effect may serve better.",
            {"factor": factor.name, "n_levels": factor.n_levels},
        )
        for factor in factors
        if factor.n_levels < FEW_LEVELS
    ]


def few_repeats(factors: Iterable[RandomFactor], n_obs: int) -> list[Finding]:
    """Return a finding for each grouping factor in which nearly every row has a level of its own.

    Parameters
    ----------
    factors
        The grouping factors.
    n_obs
        Rows.
    """
    return [
        Finding(
            "few_repeats",
            f"The grouping factor {factor.name!r} has {factor.n_levels} levels in {n_obs} rows, so that only "
            f"{n_obs - factor.n_levels} rows repeat a level: its effect and the residual can hardly be told apart, and "
            "how their variances share the total is uncertain. Group by something that repeats, or drop the term.",
            {"factor": factor.name, "n_levels": factor.n_levels, "n_repeats": n_obs - factor.n_levels},
        )
        for factor in factors
        if factor.relationship is None and n_obs - factor.n_levels <= min(FEW_REPEATS, factor.n_levels // 4)
    ]
