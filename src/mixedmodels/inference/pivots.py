"""Bootstrap limits of standard deviations and correlations by pivots.

What varies between estimates of a level's effects is S = Sigma + N, N the covariance of their errors. In balanced
designs the estimate of S has a Wishart distribution whatever Sigma is, so that log S_ii and Fisher's z of its
correlations lie around the truth as their replicates lie around the estimate. They are reflected there, and the limits
taken back to Sigma (Davison and Hinkley 1997, section 5.2); log Sigma_ii itself would be stretched near zero. Of a
level with posterior covariance C, S^-1 = Sigma^-1 (Sigma - C) Sigma^-1; it is averaged over levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import chdtri

from mixedmodels.covariance.unstructured import relative_factor, split_theta

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.variance_parameter import VarianceParameter

LIFT = 0.01
"""What a zero on the diagonal of Lambda~ is raised to, to see the information that levels have on the effect."""
NO_INFORMATION = 1e-10
"""Share of the largest information of levels that counts as none."""
MOST_ZEROS = 0.25
"""Share of replicates of zero up to which the others show how the missing tail goes on."""
FEWEST, MOST = 0.5, 1e6
"""Degrees of freedom between which that tail is looked for."""


@dataclass(frozen=True)
class Pivots:
    """Estimate and replicates of the variance parameters.

    Parameters
    ----------
    parameters
        The variance parameters of the fit.
    noise
        Returns N of each factor at rows of variance parameters, (n_values, n_effects, n_effects).
    estimates
        By name.
    replicates
        One column a parameter.
    """

    parameters: tuple[VarianceParameter, ...]
    noise: Callable[[pd.DataFrame], list[Floats]]
    estimates: pd.Series[float]
    replicates: pd.DataFrame

    @cached_property
    def _values(self) -> pd.DataFrame:
        """The estimates in the first row, a replicate in each other."""
        return pd.concat([self.estimates.to_frame().T, self.replicates])

    @cached_property
    def _noise(self) -> list[Floats]:
        """N of each factor at each row of the values, (n_values, n_effects, n_effects)."""
        return self.noise(self._values)

    def limits(self, parameter: VarianceParameter, tails: Floats) -> tuple[float, float]:
        """Return the limits of a parameter at two tail probabilities; infinite where there is no limit.

        Parameters
        ----------
        parameter
            Which.
        tails
            Such as 0.025 and 0.975.
        """
        if parameter.kind in {"sigma", "dispersion"}:
            values = self._values[parameter.name].to_numpy()
            low, high = np.quantile(values[1:], tails)
            return float(values[0] ** 2 / high), float(values[0] ** 2 / low) if low > 0 else np.inf
        if parameter.factor < 0:  # of residuals or structures, which levels' errors have no part in
            z = np.array([parameter.free(value) for value in self._values[parameter.name]])
            low, high = 2 * z[0] - np.quantile(z[1:], tails)[::-1]
            return parameter.natural(low)[0], parameter.natural(high)[0]
        noise = self._noise[parameter.factor]
        if parameter.kind == "sd":
            return self._sd_limits(parameter, noise[:, parameter.row, parameter.row], tails)
        return self._correlation_limits(parameter, noise, tails)

    def _sd_limits(self, parameter: VarianceParameter, noise: Floats, tails: Floats) -> tuple[float, float]:
        sd = self._values[parameter.name].to_numpy()
        observed = sd**2 + noise
        ratios = observed[1:] / observed[0]
        low, high = np.quantile(ratios, tails)
        zeros = float(np.mean(sd[1:] == 0))
        low = min(low, _chi_squared_tail(ratios, tails)) if zeros <= MOST_ZEROS else 0.0
        variances = observed[0] / high - noise[0], observed[0] / low - noise[0] if low > 0 else np.inf
        return float(np.sqrt(max(variances[0], 0.0))), float(np.sqrt(max(variances[1], 0.0)))

    def _correlation_limits(self, parameter: VarianceParameter, noise: Floats, tails: Floats) -> tuple[float, float]:
        place = {p.row: p.name for p in self.parameters if p.kind == "sd" and p.factor == parameter.factor}
        row, column = parameter.row, parameter.column
        a, b = self._values[place[row]].to_numpy(), self._values[place[column]].to_numpy()
        covariance = self._values[parameter.name].fillna(0.0).to_numpy() * a * b
        scale = np.sqrt(a**2 + noise[:, row, row]) * np.sqrt(b**2 + noise[:, column, column])
        z = np.arctanh((covariance + noise[:, row, column]) / scale)
        low, high = 2 * z[0] - np.quantile(z[1:], tails)[::-1]
        limits = (np.tanh([low, high]) * scale[0] - noise[0, row, column]) / (a[0] * b[0])
        return float(limits[0]), float(limits[1])


def error_covariances(state: FitState) -> list[Floats]:
    """Return N / sigma^2 of each factor's effects, (n_effects, n_effects)."""
    model, factors = state.problem.model, state.design.factors
    _, row, column = model.parameters.T
    theta = model.to_engine(np.ascontiguousarray(state.theta))
    lifted = model.to_user(np.where((row == column) & (np.abs(theta) < LIFT), LIFT, theta))
    parts = split_theta(lifted, [f.n_theta for f in factors])
    out = []
    for factor, part, C in zip(factors, parts, state.problem.conditional_covariance(lifted), strict=True):
        out.append(error_covariance(relative_factor(part, factor.block_sizes), C))
    return out


def error_covariance(root: Floats, C: Floats) -> Floats:
    """Return N of one factor's effects, (n_effects, n_effects).

    Parameters
    ----------
    root
        Of Sigma, (n_effects, n_effects), without zeros on its diagonal.
    C
        Covariance of each level's effects given the data, (n_levels, n_effects, n_effects).
    """
    inverse = np.linalg.inv(root)
    # in units of Sigma, I - root^-1 C root^-T: no cancellation between effects of different size
    information = np.eye(len(root)) - inverse @ C.mean(axis=0) @ inverse.T
    # what levels tell nothing about has no error here; it is not determined
    error = np.linalg.pinv(information, rcond=NO_INFORMATION, hermitian=True)
    return np.asarray(root @ error @ root.T - root @ root.T)


def _chi_squared_tail(ratios: Floats, tails: Floats) -> float:
    """Return the lower quantile of the scaled chi-squared variable with the others of these, or 0 if there is none."""
    from scipy.optimize import brentq  # noqa: PLC0415  # takes longer to import than most fits take

    middle, top = np.quantile(ratios, [0.5, tails[1]])

    def excess(df: float) -> float:
        return float(np.log(chdtri(df, 1 - tails[1]) / chdtri(df, 0.5)) - np.log(top / middle))

    if excess(FEWEST) < 0 or excess(MOST) > 0:
        return 0.0
    df = brentq(excess, FEWEST, MOST)
    return float(middle * chdtri(df, 1 - tails[0]) / chdtri(df, 0.5))
