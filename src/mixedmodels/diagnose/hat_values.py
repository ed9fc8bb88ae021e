"""Leverage of single rows, and Cook's distance from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.predict.rows import fitted_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState


def hat_values(state: FitState) -> Floats:
    """Return d fitted_i / d y_i, (n_obs,), of the conditional fitted values at the estimated theta.

    The diagonal of [X Z] C^-1 [X Z]'W, C the mixed-model equations; their sum is the effective number of parameters of
    Vaida and Blanchard (2005).
    """
    rows = fitted_rows(state)
    own = state.problem.model.quadratic_forms(np.ascontiguousarray(state.theta), rows.X, list(rows.codes), list(rows.Z))
    return own if state.design.weights is None else own * state.design.weights


def cooks_distance(state: FitState) -> Floats:
    """Return Cook's (1977) distance of each row at fixed theta and sigma, (n_obs,).

    h / (1 - h)^2 times the squared standardised residual over the number of fixed effects.
    """
    h = hat_values(state)
    return np.asarray((residuals(state, "standardized") / (1 - h)) ** 2 * h / state.n_fixed)
