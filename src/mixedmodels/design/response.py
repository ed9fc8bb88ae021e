"""How the left-hand side of a formula becomes numbers: as they are, or as successes among trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixedmodels.design.checks import check_numeric
from mixedmodels.design.evaluation import Evaluation
from mixedmodels.design.expression import columns_in, counted_parts
from mixedmodels.design.frame import Column
from mixedmodels.design.labels import level_text, odd_ones
from mixedmodels.design.records import Finding
from mixedmodels.errors import DataError


@dataclass(frozen=True)
class Response:
    """A response, a number a row.

    Attributes
    ----------
    column
        The numbers.
    trials
        What they are successes among, where the formula says it; else None.
    findings
        What to know of how it was read.
    categories
        What the numbers are positions of, where they are ordered categories; else None.
    """

    column: Column
    trials: Column | None = None
    findings: tuple[Finding, ...] = ()
    categories: pd.Index | None = None

    @property
    def is_computed(self) -> bool:
        """Whether it is one expression of the data, which can be evaluated again."""
        return self.trials is None and self.categories is None


Reader = Callable[[Evaluation, str], Response]


def read_numbers(evaluation: Evaluation, expression: str) -> Response:
    """Return numbers as they are.

    Raises
    ------
    DataError
        They are none.
    """
    if counted_parts(expression) is not None:
        columns_in(expression, evaluation.columns)  # which refuses two responses
    column = evaluation.values(expression)
    check_numeric("response", expression, column)
    return Response(column)


def read_successes(evaluation: Evaluation, expression: str) -> Response:
    """Return successes: numbers, booleans, the second of two levels, or those of ``cbind(successes, failures)``.

    Raises
    ------
    DataError
        It is none of these, or has more than two levels.
    """
    parts = counted_parts(expression)
    if parts is not None:
        successes, failures = (_count(evaluation, part) for part in parts)
        missing = [column.missing for column in (successes, failures) if column.missing is not None]
        gaps = np.logical_or.reduce(missing) if missing else None
        trials = Column(successes.values + failures.values, missing=gaps)
        return Response(Column(successes.values, missing=gaps), trials)
    column = evaluation.values(expression)
    if column.levels is None:
        check_numeric("response", expression, column)
        return Response(column)
    used = column.drop_unused_levels() if column.missing is None else column
    assert used.levels is not None
    if len(used.levels) > 2:
        listed = ", ".join(repr(level_text(level)) for level in used.levels[:4])
        more = ", ..." if len(used.levels) > 4 else ""
        raise DataError(
            f"The response {expression!r} has {len(used.levels)} levels ({listed}{more}); a binomial response has two. "
            f'Say which is a success, such as ({expression} == "{level_text(used.levels[-1])}") on the left.'
        )
    success = level_text(used.levels[-1])
    others = "one level only" if len(used.levels) == 1 else f"the other level is {level_text(used.levels[0])!r}"
    finding = Finding(
        "success_level",
        f"A success is {expression} = {success!r}; {others}.",
        {"success": success, "levels": tuple(map(level_text, used.levels))},
    )
    values = np.asarray(used.values == len(used.levels) - 1, dtype=np.float64)
    return Response(Column(values, missing=column.missing), findings=(finding,))


def read_categories(evaluation: Evaluation, expression: str) -> Response:
    """Return positions of ordered categories, from 0 on: of levels in their order, of whole numbers, of booleans.

    Raises
    ------
    DataError
        It is none of these, or has more categories than ratings have.
    """
    if counted_parts(expression) is not None:
        raise DataError(
            f"The response {expression!r} has two columns; an ordinal response is one column of ordered categories."
        )
    column = evaluation.values(expression)
    if column.is_date:
        raise DataError(
            f"The response {expression!r} holds dates or times; an ordinal response has ordered categories."
        )
    coded = _numbers_as_levels(expression, column) if column.levels is None else _levels_in_order(column)
    assert coded.levels is not None
    there = coded.values if coded.missing is None else coded.values[~coded.missing]
    present = np.isin(np.arange(len(coded.levels)), there)
    categories = coded.levels[present]
    if len(categories) > MAX_CATEGORIES:
        raise DataError(
            f"The response {expression!r} has {len(categories)} different values, with a threshold between each two; "
            f"an ordinal model has at most {MAX_CATEGORIES}. Group them, or take them as numbers: mixedmodels.lmer."
        )
    place = np.cumsum(present) - 1.0
    values = np.where(coded.values < 0, 0.0, place[coded.values])
    found = (*_unused(expression, coded.levels[~present]), *_order(expression, column, categories))
    return Response(Column(values, missing=coded.missing), findings=found, categories=categories)


def _numbers_as_levels(expression: str, column: Column) -> Column:
    """Return whole numbers and booleans as levels, with those that lie between them."""
    check_numeric("response", expression, column)
    there = column.values if column.missing is None else column.values[~column.missing]
    odd = there != np.round(there)
    if odd.any():
        raise DataError(
            f"The response {expression!r} holds {float(there[odd.argmax()])!r}; an ordinal response has ordered "
            "categories: texts, a category or whole numbers. Numbers with decimals are fitted by mixedmodels.lmer."
        )
    numbers = np.unique(there)
    if column.is_boolean:
        return Column(np.searchsorted(numbers, column.values), pd.Index(numbers), column.missing)
    if len(numbers) and len(numbers) <= MAX_CATEGORIES and numbers[-1] - numbers[0] < 2 * len(numbers):
        numbers = np.arange(numbers[0], numbers[-1] + 1)
    levels = pd.Index(numbers.astype(np.int64))
    return Column(np.searchsorted(numbers, column.values).clip(0, len(numbers) - 1), levels, column.missing)


def _levels_in_order(column: Column) -> Column:
    """Return the column, levels that are texts of numbers in the order of these."""
    assert column.levels is not None
    if odd_ones(column.levels):
        return column
    numbers = pd.to_numeric(pd.Series([level_text(level) for level in column.levels]))
    order = np.argsort(numbers.to_numpy(), kind="stable")
    place = np.argsort(order)
    return Column(np.where(column.values < 0, -1, place[column.values]), column.levels[order], column.missing)


def _unused(expression: str, unused: pd.Index) -> tuple[Finding, ...]:
    if not len(unused):
        return ()
    texts = tuple(map(level_text, unused))
    listed = ", ".join(map(repr, texts[:4])) + (", ..." if len(texts) > 4 else "")
    of = "category" if len(texts) == 1 else "categories"
    return (
        Finding(
            "unused_categories",
            f"No row has the {of} {listed} of {expression}: nothing says where {'its' if len(texts) == 1 else 'their'} "
            "thresholds are, and the model is one of the others.",
            {"categories": texts},
        ),
    )


def _order(expression: str, column: Column, categories: pd.Index) -> tuple[Finding, ...]:
    """Return in which order texts are taken, which only their author knows."""
    if column.levels is None or len(categories) < 3:
        return ()
    texts = tuple(map(level_text, categories))
    listed = " < ".join(map(repr, texts[:6])) + (" < ..." if len(texts) > 6 else "")
    return (
        Finding("category_order", f"The categories of {expression} are in the order {listed}.", {"categories": texts}),
    )


MAX_CATEGORIES = 100
"""Of an ordinal response."""


def _count(evaluation: Evaluation, expression: str) -> Column:
    column = evaluation.values(expression)
    check_numeric("response", expression, column)
    return Column(np.asarray(column.values, dtype=np.float64), missing=column.missing)
