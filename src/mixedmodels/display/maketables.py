"""What the package maketables asks a fit for, by its plug-in format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.fit.generalized import GlmmState
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table
from mixedmodels.inference.zero_effects import zero_table
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    from mixedmodels.fit.records import MixedFit

COLUMNS = {
    "estimate": "b",
    "std_error": "se",
    "statistic": "t",
    "p_value": "p",
    "ci_lower": "ci95l",
    "ci_upper": "ci95u",
}


def coefficients(state: MixedFit, ddf: str) -> pd.DataFrame:
    """Return the fixed effects in maketables' columns ``b, se, t, p, ci95l, ci95u``, those on chances of zeros last.

    Parameters
    ----------
    state
        The fit.
    ddf
        Degrees of freedom of the tests, as for ``coef_table``.
    """
    table = coef_table(state, ddf)
    if isinstance(state, GlmmState) and state.problem.zeros is not None:
        table = pd.concat([table, zero_table(state).rename(index="zero_inflation: {}".format)])
    return table[list(COLUMNS)].rename(columns=COLUMNS).rename_axis("Coefficient")


def statistics(state: MixedFit) -> dict[str, tuple[str, str]]:
    """Return sizes, standard deviations, dispersion and criteria: key -> label and text.

    Parameters
    ----------
    state
        The fit.
    """
    frame = covariance_frame(factor_covariances(state), state.sigma if state.has_residual else None)
    frame = frame[frame["effect_2"].isna()]
    pairs = zip(frame["group"], frame["effect_1"], strict=True)
    names = ["Residual" if group == "Residual" else f"{effect} by {group}" for group, effect in pairs]
    dispersion = state.dispersion if isinstance(state, GlmmState) else None
    return {
        **{
            f"SD {n}": (f"SD {n}", text)
            for n, text in zip(names, numbers.column(frame["sd_or_corr"].tolist()), strict=True)
        },
        **({} if dispersion is None else {"dispersion": ("Dispersion d", numbers.significant(dispersion))}),
        "N": ("Observations", str(state.design.n_obs)),
        **{
            f"Levels of {factor.name}": (f"Levels of {factor.name}", str(factor.n_levels))
            for factor in state.design.factors
        },
        "ll": ("Log-likelihood", numbers.criterion(criteria.log_likelihood(state))),
        "aic": ("AIC", numbers.criterion(criteria.aic(state))),
        "bic": ("BIC", numbers.criterion(criteria.bic(state))),
    }
