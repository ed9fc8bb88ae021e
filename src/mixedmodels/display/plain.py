"""A fit as plain Python data."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mixedmodels.design.labels import level_text
from mixedmodels.inference import criteria
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.wald import coef_table

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.approximation import Approximation


def to_dict(state: FitState, ddf: str | Approximation = "satterthwaite", level: float = 0.95) -> dict[str, Any]:
    """Return a fit as plain Python data, fit for JSON: no arrays, None for what is undefined or infinite.

    Parameters
    ----------
    state
        The fit.
    ddf, level
        As for ``coef_table``.
    """
    design, optimum = state.design, state.optimum
    covariances = factor_covariances(state)
    return {
        "version": version("mixedmodels"),
        "formula": design.formula.text,
        "reml": state.reml,
        "nobs": design.n_obs,
        "n_dropped": sum(design.n_dropped.values()),
        "dropped_rows": dict(design.n_dropped),
        "n_groups": {factor.name: factor.n_levels for factor in design.factors},
        "llf": criteria.log_likelihood(state),
        "deviance": optimum.deviance,
        "aic": criteria.aic(state),
        "bic": criteria.bic(state),
        "aicc": _finite(criteria.aicc(state)),
        "df_model_total": state.n_params,
        "df_resid": criteria.residual_df(state),
        "sigma": state.sigma,
        "theta": dict(zip(design.theta_names, state.theta.tolist(), strict=True)),
        "ddf": ddf if isinstance(ddf, str) else type(ddf).__name__,
        "level": level,
        "fixed_effects": _records(coef_table(state, ddf, level).reset_index()),
        "cov_fixed_effects": state.cov_beta.tolist(),
        "varcorr": _records(covariance_frame(covariances, state.sigma)),
        "random_effects": {
            factor.name: {
                "levels": [level_text(level) for level in factor.levels],
                "effects": list(factor.columns),
                "values": b.tolist(),
            }
            for factor, b in zip(design.factors, state.b, strict=True)
        },
        "converged": optimum.converged,
        "is_singular": state.is_singular,
        "findings": [{"kind": finding.kind, "message": finding.message} for finding in state.findings],
        "optimizer": {
            "status": optimum.status,
            "gradient_norm": _finite(optimum.gradient_norm),
            "n_iterations": optimum.n_iterations,
            "n_evaluations": optimum.n_evaluations,
            "other_optima": list(optimum.other_optima),
        },
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _finite(value) for key, value in row.items()} for row in table.to_dict("records")]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
