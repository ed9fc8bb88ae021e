"""Wald tests of the fixed effects of generalised linear mixed models: normal, from the Hessian in all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.inference.anova import anova
from mixedmodels.inference.degrees import estimate_rows, wald_tests
from mixedmodels.inference.joint_tests import joint_tests
from mixedmodels.inference.wald import coef_table, row_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState


def z_values(state: GlmmState, level: float = 0.95) -> Floats:
    """Return the rows of the coefficient table, 7 columns."""
    rows = np.eye(state.n_fixed)[state.own_fixed]
    return row_values(estimate_rows(state, rows, wald_tests(state)), level)


def chi_squared_table(state: GlmmState, type: int = 3) -> pd.DataFrame:
    """Return Wald's chi-squared tests of the terms: ``chisq, df, p_value``.

    Parameters
    ----------
    state
        The fit.
    type
        As for linear models.
    """
    return _chi_squared(anova(state, type, wald_tests(state)))


def chi_squared_joint_tests(
    state: GlmmState, by: str | Sequence[str] | None, at: Mapping[str, object] | None, weights: str
) -> pd.DataFrame:
    """Return Wald's chi-squared tests of each term's effects on marginal means: ``chisq, df, p_value``.

    Parameters
    ----------
    state
        The fit.
    by, at, weights
        As for ``joint_tests.joint_tests``.
    """
    return _chi_squared(joint_tests(state, by, at, ddf=wald_tests(state), weights=weights))


def _chi_squared(table: pd.DataFrame) -> pd.DataFrame:
    """Return F tests with infinite degrees of freedom as what they are."""
    chisq = table["f_value"] * table["num_df"]
    out = pd.DataFrame({"chisq": chisq, "df": table["num_df"], "p_value": table["p_value"]}, index=table.index)
    out.attrs["notes"] = table.attrs.get("notes", ())
    return out


def z_table(state: GlmmState, level: float = 0.95, exponentiate: bool = False) -> pd.DataFrame:
    """Return estimates, standard errors, z tests and intervals of the fixed effects.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage of the intervals.
    exponentiate
        Return exp of estimates and bounds, ratios of odds or of means; standard errors by the delta method.
    """
    return coef_table(state, wald_tests(state), level, exponentiate)
