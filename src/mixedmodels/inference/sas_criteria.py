"""Information criteria of models with correlated residuals: ours, and as SAS's PROC MIXED counts them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.inference import criteria

if TYPE_CHECKING:
    from mixedmodels.fit.marginal_fit import MarginalState


def sas_criteria(state: MarginalState) -> tuple[float, float]:
    """Return AIC and BIC of PROC MIXED: by REML parameters of the covariance alone count, and log n of subjects."""
    k = state.n_covariance if state.reml else state.n_params
    deviance = state.optimum.deviance
    return deviance + 2.0 * k, deviance + k * math.log(state.problem.n_subjects)


def criteria_table(state: MarginalState) -> pd.DataFrame:
    """Return AIC, AICc and BIC, and AIC and BIC of SAS: ``value, deviance, n_params, penalty, counted``."""
    deviance, k = state.optimum.deviance, state.n_params
    all_of_them = "fixed effects and parameters of the covariance"
    of_sas = "parameters of the covariance" if state.reml else all_of_them
    n_sas = state.n_covariance if state.reml else k
    values = {
        "AIC": (criteria.aic(state), k, f"{all_of_them}, twice"),
        "AICc": (criteria.aicc(state), k, f"{all_of_them}, twice, corrected for few rows"),
        "BIC": (criteria.bic(state), k, f"{all_of_them}, log of {state.design.n_obs} rows"),
        "AIC (SAS)": (sas_criteria(state)[0], n_sas, f"{of_sas}, twice"),
        "BIC (SAS)": (sas_criteria(state)[1], n_sas, f"{of_sas}, log of {state.problem.n_subjects} subjects"),
    }
    rows = [(value, deviance, n, value - deviance, counted) for value, n, counted in values.values()]
    return pd.DataFrame(
        rows,
        index=pd.Index(list(values), name="criterion"),
        columns=["value", "deviance", "n_params", "penalty", "counted"],
    )
