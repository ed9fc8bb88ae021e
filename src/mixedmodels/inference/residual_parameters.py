"""Parameters of the covariance of residuals, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.inference.marginal_degrees import observed_root
from mixedmodels.inference.wald import check_level, t_quantile

if TYPE_CHECKING:
    from mixedmodels.covariance.residual import Parameter
    from mixedmodels.fit.marginal_fit import MarginalState

COLUMNS = ("estimate", "std_error", "ci_lower", "ci_upper")


def residual_parameters(state: MarginalState, level: float = 0.95) -> pd.DataFrame:
    """Return the parameters of the structure: ``estimate, std_error, ci_lower, ci_upper``, by group and parameter.

    Standard errors are from the inverse Hessian by the delta method. Intervals are normal on scales without bounds: the
    logarithm of standard deviations and ranges, Fisher's z of correlations, between the limits of the structure.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage.
    """
    check_level(level)
    quantile = float(t_quantile(np.array(np.inf), 0.5 + level / 2))
    k = state.problem.structure.n_coordinates
    root = np.sqrt(2.0) * observed_root(state)
    rows, labels = [], []
    groups = state.parameter_groups
    for g, parameters in enumerate(state.parameters):
        own = root[g * k : (g + 1) * k]
        for parameter in parameters:
            error = float(np.linalg.norm(parameter.slope @ own))
            scale = state.problem.model.scale if parameter.is_sd else 1.0
            lower, upper = _limits(parameter, error, quantile)
            rows.append((scale * parameter.value, scale * error, scale * lower, scale * upper))
            labels.append((groups[g], parameter.name) if len(groups) > 1 else (parameter.name,))
    names = [state.problem.rows.term.group, "parameter"] if len(groups) > 1 else ["parameter"]
    index = (
        pd.MultiIndex.from_tuples(labels, names=names)
        if len(groups) > 1
        else pd.Index([label[0] for label in labels], name="parameter")
    )
    return pd.DataFrame(rows, index=index, columns=list(COLUMNS))


def _limits(parameter: Parameter, error: float, quantile: float) -> tuple[float, float]:
    """Return the interval on a scale without bounds, mapped back."""
    low, high = parameter.limits
    x = parameter.value
    if np.isinf(low):
        return x - quantile * error, x + quantile * error
    if np.isinf(high):
        with np.errstate(over="ignore"):  # of an estimate near zero nothing is known: from zero to infinity
            factor = np.exp(quantile * error / x)
        return x / factor, x * factor
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    u = min(max((x - middle) / half, -1 + 1e-12), 1 - 1e-12)
    z, spread = np.arctanh(u), quantile * error / half / (1 - u * u)
    return middle + half * float(np.tanh(z - spread)), middle + half * float(np.tanh(z + spread))
