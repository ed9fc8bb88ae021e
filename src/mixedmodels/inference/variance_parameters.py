"""Variance parameters as users know them: standard deviations, correlations, and how precisely they are estimated.

psi = (theta~, log sigma) are the engine's parameters; Sigma_k = sigma^2 T_k Lambda~_k Lambda~_k' T_k' is the covariance
of the effects of factor k in the user's units. Standard errors are those of the delta method with Var(psi) = 2 H^-1, H
the exact Hessian of -2 log-likelihood in psi; intervals are formed where the parameter has no bounds: log for standard
deviations and variances, Fisher's z for correlations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mixedmodels.covariance.unstructured import theta_elements
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.inference.curvature import flat_directions, has_first_order_effect, inverse_root
from mixedmodels.inference.structured_map import StructuredMap
from mixedmodels.inference.variance_parameter import VarianceParameter
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FitState

SCALES = ("sd", "variance", "log")
BOUNDARY_SD = 1e-6
"""Standard deviation relative to the residual's, or distance of a correlation from one, that counts as a boundary."""


def list_parameters(factors: tuple[RandomFactor, ...]) -> tuple[VarianceParameter, ...]:
    """Return the variance parameters in theta's order, sigma last; a tied block has one standard deviation."""
    return (*of_factors(factors), VarianceParameter("sigma", "sigma", -1, -1, -1))


def of_factors(factors: tuple[RandomFactor, ...]) -> Iterator[VarianceParameter]:
    """Yield the standard deviations and correlations of the random effects, in theta's order."""
    for k, factor in enumerate(factors):
        start = 0
        for size in factor.block_sizes:
            for column in range(start, start + (size if size > 0 else 1)):
                a = factor.columns[column]
                yield VarianceParameter(f"sd_{a}|{factor.name}", "sd", k, column, column)
                for row in range(column + 1, start + max(size, 0)):
                    yield VarianceParameter(f"cor_{factor.columns[row]}.{a}|{factor.name}", "cor", k, row, column)
            start += abs(size)


def natural_values(parameters: Sequence[VarianceParameter], covariances: Sequence[Floats], sigma: Floats) -> Floats:
    """Return standard deviations, correlations and sigma of m fits, (m, n_parameters).

    Parameters
    ----------
    parameters
        Which.
    covariances
        Sigma_k of each factor, (m, n_effects, n_effects).
    sigma
        (m,).
    """
    columns = []
    for p in parameters:
        if p.kind == "sigma":
            columns.append(sigma)
            continue
        S = covariances[p.factor]
        if p.kind == "sd":
            columns.append(np.sqrt(S[:, p.row, p.row]))
        else:
            scale = np.sqrt(S[:, p.row, p.row]) * np.sqrt(S[:, p.column, p.column])
            defined = scale > 0
            correlation = np.clip(S[:, p.row, p.column] / np.where(defined, scale, 1.0), -1.0, 1.0)
            columns.append(np.where(defined, correlation, np.nan))
    return np.stack(columns, axis=1)


class ParameterMap(Protocol):
    """The map from a fit's psi, in which its criterion has no units, to variance parameters as users know them."""

    @property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """All variance parameters."""
        ...

    def values(self, psi: Floats) -> Floats:
        """Return all parameters on their natural scale at m points psi (m, n_psi), (m, n_parameters)."""
        ...

    def value(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a parameter on its natural scale."""
        ...

    def unbounded(self, psi: Floats, parameter: VarianceParameter) -> tuple[float, Floats]:
        """Return the parameter's logarithm, or Fisher's z, with its gradient in psi; not for one on a bound."""
        ...

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Return an element of Sigma_k with its gradient in psi."""
        ...

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a standard deviation is zero or a correlation plus or minus one, or not defined."""
        ...

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a value of the parameter that matters, to measure small ones by."""
        ...


class Parametrized(Protocol):
    """A fit whose variance parameters are functions of psi, which has a covariance."""

    @property
    def map(self) -> ParameterMap:
        """From psi to the parameters."""
        ...

    @property
    def psi(self) -> Floats:
        """Where the criterion is lowest, (n_psi,)."""
        ...

    @property
    def root(self) -> Floats:
        """R with Var(psi) = R R', (n_psi, m)."""
        ...

    def is_undetermined(self, parameter: VarianceParameter) -> bool:
        """Return whether the criterion is flat along a direction that moves the parameter."""
        ...


class Scaled(Protocol):
    """A model, and the engine's units of its random effects, such as a fit."""

    @property
    def design(self) -> Design:
        """The model's arrays."""
        ...

    @property
    def bases(self) -> list[Floats]:
        """What the random effects are in the engine's units, (n_effects, n_effects) a factor."""
        ...


@dataclass(frozen=True)
class CovarianceMap:
    """The map from psi to the covariances of the random effects, with its derivative.

    Parameters
    ----------
    state
        A fit, or a model.
    """

    state: Scaled

    @cached_property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """All variance parameters."""
        return list_parameters(self.state.design.factors)

    @cached_property
    def _places(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Factor and elements of Lambda~ of each theta."""
        factors = enumerate(self.state.design.factors)
        return [(k, elements) for k, factor in factors for elements in theta_elements(factor.block_sizes)]

    @cached_property
    def _rows(self) -> list[Floats]:
        """A with (T Lambda~)_row = theta~ A_row: one (n_effects, n_theta, n_effects) array a factor."""
        rows = [np.zeros((len(T), len(self._places), len(T))) for T in self.state.bases]
        for i, (k, elements) in enumerate(self._places):
            for a, b in elements:
                rows[k][:, i, b] += self.state.bases[k][:, a]
        return rows

    def values(self, psi: Floats) -> Floats:
        """Return all parameters on their natural scale at m points psi (m, k + 1), (m, n_parameters)."""
        sigma = np.exp(psi[:, -1])
        roots = [sigma[:, None, None] * np.einsum("rtc,mt->mrc", rows, psi[:, :-1]) for rows in self._rows]
        return natural_values(self.parameters, [root @ root.swapaxes(1, 2) for root in roots], sigma)

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Return an element of Sigma_k with its gradient (k + 1,) in psi."""
        A, B = self._rows[factor][row], self._rows[factor][column]
        theta, variance = psi[:-1], math.exp(2 * psi[-1])
        a, b = theta @ A, theta @ B
        value = variance * float(a @ b)
        return value, np.append(variance * (A @ b + B @ a), 2 * value)

    def value(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a parameter on its natural scale."""
        if parameter.kind == "sigma":
            return float(np.exp(psi[-1]))
        k, row, column = parameter.factor, parameter.row, parameter.column
        covariance = self.covariance(psi, k, row, column)[0]
        if parameter.kind == "sd":
            return float(np.sqrt(covariance))
        scale = math.prod(math.sqrt(self.covariance(psi, k, j, j)[0]) for j in (row, column))
        return covariance / scale if scale > 0 else np.nan

    def unbounded(self, psi: Floats, parameter: VarianceParameter) -> tuple[float, Floats]:
        """Return log sd or Fisher's z of a correlation and its gradient; not for a parameter on a bound."""
        k, row, column = parameter.factor, parameter.row, parameter.column
        if parameter.kind == "sigma":
            unit = np.zeros(len(psi))
            unit[-1] = 1.0
            return float(psi[-1]), unit
        log_sd, slope = self._log_sd(psi, k, column)
        if parameter.kind == "sd":
            return log_sd, slope
        other, other_slope = self._log_sd(psi, k, row)
        covariance, covariance_slope = self.covariance(psi, k, row, column)
        scale = math.exp(-log_sd - other)
        rho = covariance * scale
        rho_slope = scale * covariance_slope - rho * (slope + other_slope)
        return math.atanh(rho), rho_slope / (1 - rho**2)

    def _log_sd(self, psi: Floats, factor: int, row: int) -> tuple[float, Floats]:
        value, slope = self.covariance(psi, factor, row, row)
        return 0.5 * math.log(value), 0.5 * slope / value

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a standard deviation is zero or a correlation plus or minus one, or not defined."""
        value = self.value(psi, parameter)
        if parameter.kind == "cor":
            return not abs(value) < 1 - BOUNDARY_SD
        if parameter.kind == "sigma":
            return False
        return value <= BOUNDARY_SD * self.natural_sd(psi, parameter)

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return the standard deviation of an effect that adds as much to the response as the residual."""
        return float(np.exp(psi[-1]) * np.linalg.norm(self.state.bases[parameter.factor][parameter.row]))


def estimate(state: FitState) -> Floats:
    """Return psi = (theta~, log sigma) at the optimum; coordinates of structures are in the place of theta~."""
    own = state.coordinates if isinstance(state, StructuredState) else state.engine_theta
    return np.append(own, np.log(state.sigma))


def covariance_map(state: FitState) -> CovarianceMap | StructuredMap:
    """Return the map from psi to the parameters of a fit."""
    return StructuredMap(state) if isinstance(state, StructuredState) else CovarianceMap(state)


@dataclass(frozen=True)
class LinearParameters:
    """The variance parameters of a linear mixed model, functions of psi = (theta~, log sigma).

    Parameters
    ----------
    state
        The fit.
    """

    state: FitState

    @cached_property
    def map(self) -> CovarianceMap | StructuredMap:
        """From psi to the parameters."""
        return covariance_map(self.state)

    @cached_property
    def psi(self) -> Floats:
        """Where the criterion is lowest, (n_theta + 1,)."""
        return estimate(self.state)

    @cached_property
    def root(self) -> Floats:
        """R with Var(psi) = R R', (n_theta + 1, m)."""
        return covariance_root(self.state)

    def is_undetermined(self, parameter: VarianceParameter) -> bool:
        """Return whether the criterion is flat along a direction that moves the parameter."""
        return is_undetermined(self.state, parameter)


def variance_parameters(fit: Parametrized, scale: str = "sd", level: float = 0.95) -> pd.DataFrame:
    """Return the variance parameters with standard errors and Wald intervals that respect their range.

    Parameters
    ----------
    fit
        The fit, as far as its variance parameters go.
    scale
        ``"sd"``: standard deviations and correlations; ``"variance"``: variances and covariances; ``"log"``: logarithms
        of standard deviations and Fisher's z of correlations.
    level
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, ci_lower, ci_upper`` by name, sigma last; no standard error where a standard deviation is
        zero or a correlation plus or minus one, nor where the data cannot tell a parameter from others, which
        ``attrs["notes"]`` says.

    Raises
    ------
    InferenceError
        If the scale is not one of these or the level is not between 0 and 1.
    """
    if scale not in SCALES:
        allowed = ", ".join(f'"{s}"' for s in SCALES)
        raise InferenceError(f"scale={scale!r} is not available; it must be one of {allowed}.{nearest(scale, SCALES)}")
    check_level(level)
    z = float(ndtri(0.5 + level / 2))
    rows = {}
    for parameter in fit.map.parameters:
        is_squared = scale == "variance" and parameter.kind != "dispersion" and not has_no_square(parameter)
        name = variance_name(parameter.name) if is_squared else parameter.name
        if fit.is_undetermined(parameter):
            rows[name] = (_value(fit.map, fit.psi, parameter, scale), np.nan, np.nan, np.nan)
        else:
            rows[name] = _row(fit.map, fit.psi, parameter, root=fit.root, scale=scale, z=z)
    columns = ["estimate", "std_error", "ci_lower", "ci_upper"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("parameter")
    table.attrs["notes"] = undetermined_notes(fit)
    return table


def undetermined_notes(fit: Parametrized) -> tuple[str, ...]:
    """Return a sentence that names the variance parameters that are not determined, if there are any."""
    names = [p.name for p in fit.map.parameters if fit.is_undetermined(p)]
    if not names:
        return ()
    return (f"Not determined, because these data cannot tell them apart: {', '.join(names)}.",)


def covariance_root(state: FitState) -> Floats:
    """Return R with Var(psi) = R R' = 2 H^-1 on the directions in which the likelihood is curved, (n_theta + 1, m)."""
    if isinstance(state, StructuredState):
        return math.sqrt(2) * inverse_root(state.information.hessian, np.zeros((0, len(state.coordinates) + 1)))
    regular = np.append(has_first_order_effect(state.information), True)
    flat = flat_directions(state.problem, state.reml, state.information)
    return math.sqrt(2) * inverse_root(state.information.hessian, flat, regular)


def is_undetermined(state: FitState, parameter: VarianceParameter) -> bool:
    """Return whether the criterion is flat along a direction that moves the parameter."""
    if parameter.kind == "sigma":
        return state.undetermined.residual
    if parameter.factor < 0:
        return False
    return state.undetermined.has(parameter.factor, parameter.row, parameter.column)


def has_no_square(parameter: VarianceParameter) -> bool:
    """Return whether a parameter is an exponent, or a correlation that no covariance stands for."""
    return parameter.kind == "exponent" or (parameter.kind == "cor" and parameter.factor < 0)


def _row(
    covariance_map: ParameterMap, psi: Floats, parameter: VarianceParameter, *, root: Floats, scale: str, z: float
) -> tuple[float, float, float, float]:
    value = covariance_map.value(psi, parameter)
    if covariance_map.on_boundary(psi, parameter):
        return _value(covariance_map, psi, parameter, scale), np.nan, np.nan, np.nan
    free, slope = covariance_map.unbounded(psi, parameter)
    se = float(np.linalg.norm(slope @ root))
    low, high = free - z * se, free + z * se
    if scale == "log":
        return free, se, low, high
    if parameter.kind in {"cor", "exponent"}:
        if scale == "sd" or has_no_square(parameter):
            return value, parameter.natural(free)[1] * se, parameter.natural(low)[0], parameter.natural(high)[0]
        place = parameter.factor, parameter.row, parameter.column
        covariance, slope = covariance_map.covariance(psi, *place)
        se = float(np.linalg.norm(slope @ root))
        return covariance, se, covariance - z * se, covariance + z * se
    power = 2 if scale == "variance" and parameter.kind != "dispersion" else 1
    with np.errstate(over="ignore"):  # an interval without an upper end
        lower, upper = np.exp(power * low), np.exp(power * high)
    return value**power, power * value**power * se, float(lower), float(upper)


def _value(covariance_map: ParameterMap, psi: Floats, parameter: VarianceParameter, scale: str) -> float:
    """Return a parameter that has no standard error; none on the log scale, where it may be infinite."""
    if scale == "log":
        return np.nan if covariance_map.on_boundary(psi, parameter) else covariance_map.unbounded(psi, parameter)[0]
    if scale == "sd" or parameter.kind in {"sigma", "dispersion"} or has_no_square(parameter):
        return covariance_map.value(psi, parameter) ** (2 if scale == "variance" and parameter.kind == "sigma" else 1)
    return covariance_map.covariance(psi, parameter.factor, parameter.row, parameter.column)[0]


def variance_name(name: str) -> str:
    """Return what the square of a standard deviation is called, or the covariance of a correlation."""
    if name == "sigma":
        return "sigma^2"
    return name.replace("sd", "var", 1) if name.startswith("sd") else name.replace("cor_", "cov_", 1)
