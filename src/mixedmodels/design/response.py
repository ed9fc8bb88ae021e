"""How the left-hand side of a formula becomes numbers: as they are, or as successes among trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixedmodels.design.checks import check_numeric
from mixedmodels.design.evaluation import Evaluation
from mixedmodels.design.expression import columns_in, counted_parts
from mixedmodels.design.frame import Column
from mixedmodels.design.labels import level_text
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
    """

    column: Column
    trials: Column | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def is_computed(self) -> bool:
        """Whether it is one expression of the data, which can be evaluated again."""
        return self.trials is None


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


def _count(evaluation: Evaluation, expression: str) -> Column:
    column = evaluation.values(expression)
    check_numeric("response", expression, column)
    return Column(np.asarray(column.values, dtype=np.float64), missing=column.missing)
