"""The model's data and what its parameters are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.mixedlm.reading.formula_recipe import FormulaRecipe


@dataclass(frozen=True)
class ModelData:
    """The rows used, as arrays and as given, and the names of everything.

    Attributes
    ----------
    endog, exog, exog_re
        Arrays of the rows used.
    endog_labels, exog_labels
        Labels of the rows used, where response and fixed part were pandas objects.
    frame
        The data of a formula, None without one.
    recipe
        How the fixed part is made of data, None without a formula.
    formula
        The formula, None without one.
    ynames, xnames
        The response and the fixed effects.
    xlabels
        The fixed effects as the columns were called, which need not be texts.
    exog_re_names, exog_re_names_full
        Random coefficients and their variances and covariances.
    vcomp_names
        Variance components.
    """

    endog: Floats
    exog: Floats
    exog_re: Floats | None
    endog_labels: pd.Index | None
    exog_labels: pd.Index | None
    frame: pd.DataFrame | None
    recipe: FormulaRecipe | None
    formula: str | None
    ynames: str
    xnames: list[str]
    xlabels: list[Any]
    exog_re_names: list[str]
    exog_re_names_full: list[str]
    vcomp_names: list[str]

    @property
    def design_info(self) -> Any:
        """patsy's ``DesignInfo`` of the fixed part, for ``patsy.build_design_matrices``; None without a formula."""
        return None if self.recipe is None else self.recipe.info

    @property
    def model_spec(self) -> Any:
        """``design_info``, under its newer name."""
        return self.design_info

    @property
    def row_labels(self) -> pd.Index | None:
        """Labels of the rows used, if the data were a pandas object."""
        return self.endog_labels if self.exog_labels is None else self.exog_labels

    @property
    def orig_endog(self) -> Any:
        """Response as given, rows with missing values left out."""
        if self.endog_labels is None:
            return self.endog
        return pd.Series(self.endog, index=self.endog_labels, name=self.ynames, copy=False)

    @property
    def orig_exog(self) -> Any:
        """Fixed part as given, rows with missing values left out."""
        if self.exog_labels is None:
            return self.exog
        return pd.DataFrame(self.exog, index=self.exog_labels, columns=self.xnames, copy=False)

    @property
    def param_names(self) -> list[str]:
        """Names of all parameters, in packed order."""
        return [*self.xnames, *self.exog_re_names_full, *(f"{name} Var" for name in self.vcomp_names)]

    @property
    def param_labels(self) -> list[Any]:
        """Names of all parameters, those of columns as they were given."""
        return [*self.xlabels, *self.param_names[len(self.xnames) :]]

    @property
    def cov_names(self) -> list[str]:
        """Names of the rows of the parameters' covariance."""
        return self.param_names


def covariance_names(effects: Sequence[str]) -> list[str]:
    """Return the names of a covariance's lower triangle, row by row: ``a Var``, ``a x b Cov``, ``b Var``."""
    return [
        f"{effects[i]} Var" if i == j else f"{effects[j]} x {effects[i]} Cov"
        for i in range(len(effects))
        for j in range(i + 1)
    ]
