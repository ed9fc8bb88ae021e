"""What the package maketables asks a fit for, by its plug-in format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.fit.records import FitState

COLUMNS = {
    "estimate": "b",
    "std_error": "se",
    "statistic": "t",
    "p_value": "p",
    "ci_lower": "ci95l",
    "ci_upper": "ci95u",
}


def coefficients(state: FitState) -> pd.DataFrame:
    """Return the fixed effects in maketables' columns ``b, se, t, p, ci95l, ci95u``."""
    return coef_table(state)[list(COLUMNS)].rename(columns=COLUMNS).rename_axis("Coefficient")


def statistics(state: FitState) -> dict[str, tuple[str, str]]:
    """Return sizes, standard deviations and criteria: key -> label and text."""
    frame = covariance_frame(factor_covariances(state), state.sigma)
    frame = frame[frame["effect_2"].isna()]
    pairs = zip(frame["group"], frame["effect_1"], strict=True)
    names = ["Residual" if group == "Residual" else f"{effect} by {group}" for group, effect in pairs]
    return {
        **{
            f"SD {n}": (f"SD {n}", text)
            for n, text in zip(names, numbers.column(frame["sd_or_corr"].tolist()), strict=True)
        },
        "N": ("Observations", str(state.design.n_obs)),
        **{
            f"Levels of {factor.name}": (f"Levels of {factor.name}", str(factor.n_levels))
            for factor in state.design.factors
        },
        "ll": ("Log-likelihood", numbers.criterion(criteria.log_likelihood(state))),
        "aic": ("AIC", numbers.criterion(criteria.aic(state))),
        "bic": ("BIC", numbers.criterion(criteria.bic(state))),
    }
