"""Leverage of single rows, and Cook's distance from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.predict.rows import fitted_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

FULL_LEVERAGE_TOL = 1e-10


def hat_values(state: FitState) -> Floats:
    """Return d fitted_i / d y_i, (n_obs,), of the conditional fitted values at the estimated theta.

    The diagonal of [X Z] C^-1 [X Z]'W, C the mixed-model equations; their sum is the effective number of parameters of
    Vaida and Blanchard (2005).
    """
    refuse_absorbed(state.design.absorbed, "hat_values()")
    rows = fitted_rows(state)
    own = state.problem.model.quadratic_forms(np.ascontiguousarray(state.theta), rows.X, list(rows.codes), list(rows.Z))
    return own if state.design.weights is None else own * state.design.weights


def cooks_distance(state: FitState) -> Floats:
    """Return Cook's (1977) distance of each row at fixed theta and sigma, (n_obs,).

    h / (1 - h)^2 times the squared standardised residual over the number of fixed effects, as in lme4: the change of
    the conditional fitted values, random effects included. What it does to the fixed effects alone is usually much
    less and is in ``influence(method="one-step")``. nan for a row that alone determines a fixed effect.

    Raises
    ------
    InferenceError
        If the fit has no fixed effects.
    """
    refuse_absorbed(state.design.absorbed, "cooks_distance()")
    if state.n_fixed == 0:
        raise InferenceError("Cook's distance is measured on the fixed effects, and this fit has none.")
    h = hat_values(state)
    return np.asarray((residuals(state, "standardized") / remaining(h)) ** 2 * h / state.n_fixed)


def remaining(h: Floats) -> Floats:
    """Return 1 - h, nan where a row determines its own fitted value."""
    return np.where(h < 1 - FULL_LEVERAGE_TOL, 1 - h, np.nan)
