"""The conditional AIC, and all information criteria with what each counted.

The conditional AIC is about new observations of the levels at hand: -2 log f(y | b) + 2 (Phi + 1), 1 for sigma. With
theta known, Phi is rho = tr(H), H the hat matrix of y^ = X beta + Z b (Vaida and Blanchard 2005). Because theta is
estimated, Phi = tr(dy^/dy) with theta moving with y (Greven and Kneib 2010, theorem 3). Here dtheta/dy comes from the
criterion d(theta, y) = log-determinants + nu log s by the implicit function theorem: with V0 = V / sigma^2,
r = V0^-1 (y - X beta), s = y'r, g_i = dr/dtheta_i, D the Hessian of d, and nu = n (ML) or n - p (REML),

    Phi = rho + 2 nu sum_ij (D^-1)_ij [g_i'W^-1 g_j / s - (r'W^-1 g_i) (y'g_j) / s^2]

A variance at zero does not move: its g_i is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.fit.fitted import random_part
from mixedmodels.fit.structured_fit import refuse_structures
from mixedmodels.inference import criteria

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.problem import Problem
    from mixedmodels.fit.records import FitState

STEP = 1e-4
"""Of the differences in theta~, which has no units."""


@dataclass(frozen=True)
class ConditionalAic:
    """The conditional AIC in its parts.

    Attributes
    ----------
    deviance
        -2 log f(y | b) at the estimates.
    rho
        Effective parameters of y^ at fixed theta, tr(H).
    phi
        Effective parameters of y^, theta among them.
    """

    deviance: float
    rho: float
    phi: float

    @property
    def value(self) -> float:
        """-2 log f(y | b) + 2 (Phi + 1)."""
        return self.deviance + 2 * (self.phi + 1)


def criteria_table(state: FitState) -> pd.DataFrame:
    """Return AIC, AICc, BIC and the conditional AIC of a fit with what each counted.

    Parameters
    ----------
    state
        The fit.

    Returns
    -------
    pandas.DataFrame
        ``value, deviance, n_params, penalty, counted``, indexed by criterion; value = deviance + penalty.
    """
    refuse_absorbed(state.design.absorbed, "The conditional AIC of criteria()")
    n, k, p = state.design.n_obs, state.n_params, state.n_fixed
    deviance = state.optimum.deviance
    likelihood = "restricted likelihood" if state.reml else "likelihood"
    parameters = f"{p} fixed effects, {len(state.theta)} theta and sigma, by the {likelihood}"
    conditional = conditional_aic(state)
    levels = "effective parameters of the fitted values, fixed and random and the estimated theta, and sigma"
    rows = {
        "aic": (criteria.aic(state), deviance, k, parameters),
        "aicc": (criteria.aicc(state), deviance, k, f"{parameters}, corrected for {n} rows"),
        "bic": (criteria.bic(state), deviance, k, f"{parameters}; log of {n} rows"),
        "conditional_aic": (conditional.value, conditional.deviance, conditional.phi + 1, levels),
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "deviance", "n_params", "counted"])
    table.insert(3, "penalty", table["value"] - table["deviance"])
    return table.rename_axis("criterion")


def conditional_aic(state: FitState) -> ConditionalAic:
    """Return the conditional AIC of a fit, theta's estimation counted.

    Parameters
    ----------
    state
        The fit.
    """
    refuse_structures(state.design, "The conditional AIC")
    design = state.design
    y = design.y if design.offset is None else design.y - design.offset
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    rows, theta = _Rows.of(state, y, weights), state.information.theta
    r = rows.weighted_residuals(theta)
    deviance = (
        design.n_obs * math.log(2 * math.pi * state.sigma**2)
        - float(np.log(weights).sum())
        + float(r @ (r / weights)) / state.sigma**2
    )
    rho = _effective_parameters(state, weights)
    return ConditionalAic(deviance, rho, rho + _from_theta(state, rows, r))


@dataclass(frozen=True)
class _Rows:
    """The rows of a fit in the bases of their columns, where far origins cost differences no digits."""

    problem: Problem
    y: Floats
    weights: Floats
    X: Floats
    factors: tuple[RandomFactor, ...]

    @classmethod
    def of(cls, state: FitState, y: Floats, weights: Floats) -> _Rows:
        factors = []
        for factor, basis in zip(state.design.factors, state.problem.effect_bases, strict=True):
            Z = np.ones((len(y), 1)) if factor.Z is None else factor.Z
            factors.append(replace(factor, Z=basis.coordinates(Z)))
        X = state.fixed_root.coordinates(state.design.X[:, list(state.kept)])
        return cls(state.problem, y, weights, X, tuple(factors))

    def weighted_residuals(self, theta: Floats) -> Floats:
        """Return W (y - X beta - Z b) = V0^-1 (y - X beta) at the engine's theta, (n_obs,)."""
        beta, b = self.problem.solve_in_bases(theta)
        fitted = self.X @ beta
        for factor, modes in zip(self.factors, b, strict=True):
            fitted += random_part(factor, modes)
        return self.weights * (self.y - fitted)


def _effective_parameters(state: FitState, weights: Floats) -> float:
    """Return tr(H) at fixed theta."""
    X = np.ascontiguousarray(state.design.X[:, list(state.kept)])
    factors = state.design.factors
    own = state.problem.model.quadratic_forms(state.theta, X, [f.codes for f in factors], [f.Z for f in factors])
    return float(weights @ own)


def _from_theta(state: FitState, rows: _Rows, r: Floats) -> float:
    """Return Phi - rho, what theta's estimation adds."""
    y, weights, theta = rows.y, rows.weights, state.information.theta
    g = np.empty((len(theta), len(y)))
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = STEP
        ahead, behind = (rows.weighted_residuals(theta + sign * step) for sign in (1.0, -1.0))
        g[i] = (ahead - behind) / (2 * STEP)
    hessian = state.information.hessian
    D = hessian[:-1, :-1] - np.outer(hessian[:-1, -1], hessian[-1, :-1]) / hessian[-1, -1]
    nu = len(y) - state.n_fixed if state.reml else len(y)
    unit = np.abs(y).max()
    y, r, g = y / unit, r / unit, g / unit
    s = float(y @ r)
    moved = (g / weights) @ g.T / s - np.outer((g / weights) @ r, g @ y) / s**2
    return float(2 * nu * np.sum(np.linalg.pinv(D, rcond=1e-10, hermitian=True) * moved))
