"""Parameters of the covariance of residuals as functions of psi, the step from the estimate to a point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.labels import shown_level
from mixedmodels.errors import InferenceError
from mixedmodels.inference.marginal_degrees import observed_root
from mixedmodels.inference.variance_parameter import VarianceParameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels.covariance.jets import Jet
    from mixedmodels.covariance.residual import Parameter
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState

AT_LIMIT = 1e-6
"""Distance from a limit, as a share of the range, that counts as none."""


@dataclass(frozen=True)
class StructureParameter(VarianceParameter):
    """A parameter of the covariance of one group's residuals.

    Attributes
    ----------
    group, which
        Its place among the structure's parameters.
    between
        What it lies between.
    is_sd
        In units of the response.
    unit
        Of what it is where it has no limits.
    """

    group: int
    which: int
    between: tuple[float, float]
    is_sd: bool
    unit: float = 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """What it lies between."""
        return self.between

    def free(self, value: float) -> float:
        """Return the value without limits and units."""
        return super().free(value / self.unit)

    def natural(self, c: float) -> tuple[float, float]:
        """Return the parameter where its free value is c, and its slope in c."""
        value, slope = super().natural(c)
        return self.unit * value, self.unit * slope


def kind_of(parameter: Parameter) -> str:
    """Return the kind of a parameter of residuals."""
    low, high = parameter.limits
    if parameter.is_sd:
        return "sigma"
    if np.isinf(low):
        return "exponent"
    return "dispersion" if np.isinf(high) else "cor"


def unbounded(jet: Jet, parameter: VarianceParameter, scale: float = 1.0) -> tuple[float, Floats, Floats]:
    """Return the free value of a parameter, the scale times a number, with its derivatives, (k,) and (k, k)."""
    (low, high), x = parameter.limits, float(jet.value)
    if np.isinf(low):
        slope, bend = parameter.free(1.0), 0.0
    elif np.isinf(high):
        slope, bend = 1 / x, -1 / x**2
    else:
        slope = 0.5 * (high - low) / ((x - low) * (high - x))
        bend = slope * (2 * x - low - high) / ((x - low) * (high - x))
    return parameter.free(scale * x), slope * jet.first, slope * jet.second + bend * np.outer(jet.first, jet.first)


def structure_parameters(state: MarginalState) -> tuple[StructureParameter, ...]:
    """Return the parameters of a fit, by the names of ``residual_parameters``, with their group where there are some.

    Parameters
    ----------
    state
        The fit.
    """
    rows, out = state.problem.rows, []
    for g, found in enumerate(state.parameters):
        where = "" if rows.term.group is None else f"|{shown_level(rows.groups[g])}"
        for i, p in enumerate(found):
            out.append(StructureParameter(p.name + where, kind_of(p), -1, -1, -1, g, i, p.limits, p.is_sd))
    return tuple(out)


@dataclass(frozen=True)
class StructureMap:
    """From psi to the parameters of a fit's structure.

    Parameters
    ----------
    state
        The fit, where psi is zero.
    """

    state: MarginalState

    @cached_property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """All parameters of the covariance."""
        return structure_parameters(self.state)

    def point(self, psi: Floats) -> Floats:
        """Return the structure's point."""
        structure = self.state.problem.structure
        return structure.moved(self.state.point, psi.reshape(-1, structure.n_coordinates))

    def psi(self, point: Floats) -> Floats:
        """Return the step that leads to a point."""
        return self.state.problem.structure.steps(self.state.point, point).ravel()

    def values(self, psi: Floats) -> Floats:
        """Return all parameters at m steps psi (m, n_psi), (m, n_parameters)."""
        return np.array([self.values_at(self.point(step)) for step in psi])

    def values_at(self, point: Floats) -> Floats:
        """Return all parameters at a point, (n_parameters,), units of the response."""
        problem = self.state.problem
        scale = problem.model.scale
        groups = problem.structure.parameters(point)
        return np.array([p.value * (scale if p.is_sd else 1.0) for found in groups for p in found])

    def value(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a parameter."""
        return float(self.values(psi[None])[0][self.parameters.index(parameter)])

    def unbounded(self, psi: Floats, parameter: VarianceParameter) -> tuple[float, Floats]:
        """Return the logarithm or Fisher's z with its gradient in the coordinates at the point."""
        value, slope, _ = self.surface(parameter)(self.point(psi))
        return value, slope

    def surface(self, parameter: VarianceParameter) -> Callable[[Floats], tuple[float, Floats, Floats]]:
        """Return the function of a point that is the free value of a parameter, with derivatives, (k,) and (k, k)."""
        assert isinstance(parameter, StructureParameter)
        problem = self.state.problem
        n, k = self.state.n_covariance, problem.structure.n_coordinates
        own = slice(parameter.group * k, (parameter.group + 1) * k)
        scale = problem.model.scale if parameter.is_sd else 1.0

        def free(point: Floats) -> tuple[float, Floats, Floats]:
            jet = problem.structure.parameter(point, parameter.group, parameter.which)
            gradient, hessian = np.zeros(n), np.zeros((n, n))
            value, gradient[own], hessian[own, own] = unbounded(jet, parameter, scale)
            return value, gradient, hessian

        return free

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Refuse: not all parameters are correlations of two visits."""
        raise InferenceError("Covariances of residuals are fit.residual_covariance; there are no intervals of them.")

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a parameter is at an end of its range."""
        low, high = parameter.limits
        value = self.value(psi, parameter)
        if np.isinf(high):
            return not value > 0
        room = AT_LIMIT * (high - low)
        return not low + room < value < high - room

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return the value itself, which is never zero."""
        return self.value(psi, parameter)


@dataclass(frozen=True)
class MarginalParameters:
    """A fit with correlated residuals as far as the parameters of its covariance go.

    Parameters
    ----------
    state
        The fit.
    """

    state: MarginalState

    @cached_property
    def map(self) -> StructureMap:
        """From psi to the parameters."""
        return StructureMap(self.state)

    @cached_property
    def psi(self) -> Floats:
        """Zero, the step to the estimate, (n_psi,)."""
        return np.zeros(self.state.n_covariance)

    @cached_property
    def root(self) -> Floats:
        """R with Var(psi) = R R', (n_psi, m)."""
        return np.asarray(np.sqrt(2.0) * observed_root(self.state))

    def is_undetermined(self, parameter: VarianceParameter) -> bool:
        """Return False: what is not determined is refused."""
        del parameter
        return False
