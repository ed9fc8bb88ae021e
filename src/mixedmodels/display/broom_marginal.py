"""Models with correlated residuals as tidy data frames, one row a term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.display.broom import tidied
from mixedmodels.inference.residual_parameters import residual_parameters
from mixedmodels.inference.wald import coef_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.inference.approximation import Approximation


def tidy_marginal(
    state: MarginalState, effects: str | Iterable[str], ddf: str | Approximation, level: float
) -> pd.DataFrame:
    """Return one row a parameter of a model with correlated residuals, in the columns of ``tidy``.

    Parameters
    ----------
    state
        The fit.
    effects
        As for ``tidy``; parameters of the residuals' covariance have the names of ``residual_parameters``, and the
        group of subjects where each has its own.
    ddf, level
        As for ``coef_table``.
    """

    def parameters() -> pd.DataFrame:
        table = residual_parameters(state, level)
        is_grouped = table.index.nlevels > 1
        groups = table.index.get_level_values(0) if is_grouped else ["Residual"] * len(table)
        named = table.assign(effect="ran_pars", group=[str(g) for g in groups], term=table.index.get_level_values(-1))
        return named.reset_index(drop=True)

    return tidied(effects, coef_table(state, ddf, level), parameters)
