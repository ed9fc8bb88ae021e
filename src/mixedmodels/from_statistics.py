"""The door for data that may not leave a database: the SQL text of their sums, and a fit to these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixedmodels.design.statistics import COUNTS, measures_of, open_statistics, statistics_sql
from mixedmodels.errors import DataError
from mixedmodels.fit.call import check_evaluation
from mixedmodels.fit.fit import fit_identified
from mixedmodels.fit.streamed import streamed_problem
from mixedmodels.formula.parse import parse_formula
from mixedmodels.lmer import warn_of_findings
from mixedmodels.result.lmm import LmmResult
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.fit.control import Control


@refuses_unknown
def sufficient_statistics_sql(formula: str, table: str, *, by: Sequence[str] = ()) -> str:
    """Return the SQL text of all sums that a linear mixed model needs of a table.

    Its answer has a row for each combination of levels that occurs, with counts, sums and sums of products about the
    mean of the table, so that dates in seconds lose no digits: standard SQL, two scans, one ``GROUP BY``. Rows with a
    NULL in a column of the formula are left out. No row of the table is in it, unless a combination occurs once.

    Parameters
    ----------
    formula
        As for ``lmer``, of columns as they are: what is computed from numbers row by row must be a column of a view.
    table
        Name of a table or view, or what else can stand after FROM, which is put there as it is.
    by
        Names of categories in terms, and of numbers with few values that something is computed from, ``C(year)``.
        Grouping factors need not be named.

    Raises
    ------
    DataError
        Two columns of the statistics would have one name.
    FormulaError
        The formula needs more than sums of columns.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> print(mm.sufficient_statistics_sql("y ~ f + (1 | g)", "trial", by=["f"]))
    WITH used AS (
      SELECT "g", "f", CAST("y" AS DOUBLE PRECISION) AS "y"
      FROM trial
      WHERE "g" IS NOT NULL AND "f" IS NOT NULL AND "y" IS NOT NULL
    ),
    centre AS (
      SELECT AVG("y") AS "origin__y"
      FROM used
    )
    SELECT
      "g",
      "f",
      "origin__y",
      COUNT(*) AS n_rows,
      SUM("y" - "origin__y") AS "sum__y",
      SUM(("y" - "origin__y") * ("y" - "origin__y")) AS "sum__y__y"
    FROM used CROSS JOIN centre
    GROUP BY "g", "f", "origin__y"
    """
    if not isinstance(table, str) or not table.strip():
        raise DataError(f"table must be the name of a table, or a query in parentheses, not {table!r}.")
    if isinstance(by, str) or not all(isinstance(name, str) for name in by):
        raise DataError(f"by must be a list of names of columns, not {by!r}.")
    return statistics_sql(measures_of(parse_formula(formula), by), table)


@refuses_unknown
def lmer_from_statistics(
    formula: str,
    statistics: object,
    *,
    reml: bool = True,
    contrasts: Mapping[str, object] | str | None = None,
    evaluate: str = "python",
    start: npt.ArrayLike | None = None,
    control: Control | None = None,
) -> LmmResult:
    """Return a linear mixed model fitted to sums, as ``lmer`` fits it to the rows.

    Parameters
    ----------
    formula
        As for ``sufficient_statistics_sql``; fewer terms than there will do.
    statistics
        What its text answers: a data frame, or a file or stream as for ``lmer``. Those of several tables, one below the
        other, are fitted together, whatever their origins.
    reml, contrasts, evaluate, start, control
        As for ``lmer``.

    Raises
    ------
    MixedModelsError
        As for ``lmer``; if the statistics lack what the formula needs.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, IdentificationWarning, RankDeficiencyWarning
        For findings of the fit that change its reading.
    """
    parsed = parse_formula(formula)
    check_evaluation(parsed, evaluate, contrasts)
    rows = open_statistics(parsed, statistics)
    problem = streamed_problem(parsed, rows, counts=COUNTS, contrasts=contrasts, missing="raise")
    state = fit_identified(problem, reml=reml, start=start, control=control)
    warn_of_findings(state.findings)
    return LmmResult(state)
