"""F tests and checks as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display.table import Table
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    import pandas as pd


def anova_table(tests: pd.DataFrame) -> Table:
    """Return F tests by term, with degrees of freedom and p-values."""
    rows = tuple(
        (
            str(term),
            numbers.fixed(row["num_df"], 0),
            numbers.fixed(row["den_df"], 1),
            numbers.statistic(row["f_value"]),
            numbers.p_value(row["p_value"]),
        )
        for term, row in tests.iterrows()
    )
    return Table("Tests of the terms", ("", "Num. df", "Den. df", "F", "P>F"), rows, "lrnnn")


def chi_squared_tests(tests: pd.DataFrame) -> Table:
    """Return chi-squared tests by term, with degrees of freedom and p-values."""
    rows = tuple(
        (
            str(term),
            numbers.statistic(row["chisq"]),
            numbers.fixed(row["df"], 0),
            numbers.p_value(row["p_value"]),
        )
        for term, row in tests.iterrows()
    )
    return Table("Tests of the terms", ("", "Chisq", "Df", "P>Chisq"), rows, "lnrn")


def check_table(checks: pd.DataFrame) -> Table:
    """Return what was checked, what was found and, if anything is to be done, what."""
    columns = ("verdict", "found", "advice") if checks["advice"].any() else ("verdict", "found")
    rows = tuple((str(name), *(row[c] for c in columns)) for name, row in checks.iterrows())
    return Table("", ("", *(c.capitalize() for c in columns)), rows, "l" * (len(columns) + 1))


def share_table(r2: dict[str, float], icc: dict[str, float], of: str = "") -> Table:
    """Return explained variances and intraclass correlations, of the response or of what ``of`` says."""
    rows = (
        ("R squared of the fixed effects (marginal)", numbers.fixed(r2["marginal"], 3)),
        ("R squared of fixed and random effects (conditional)", numbers.fixed(r2["conditional"], 3)),
        ("Intraclass correlation, given the fixed effects", numbers.fixed(icc["adjusted"], 3)),
    )
    return Table(f"Shares of the variance{of}", (), rows, "lr")
