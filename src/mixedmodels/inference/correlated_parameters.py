"""Parameters of residuals and of the random effects beside them as functions of psi.

psi is the step from the estimate in the coordinates of the residuals, and the coordinates of the random effects as they
are, which are even: at a variance of zero the criterion has no slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.jets import Jet
from mixedmodels.fit.correlated_fit import effects_covariance
from mixedmodels.inference.marginal_parameters import (
    MarginalParameters,
    StructureMap,
    StructureParameter,
    kind_of,
    unbounded,
)
from mixedmodels.inference.variance_parameters import BOUNDARY_SD, natural_values, of_factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.correlated_fit import CorrelatedState
    from mixedmodels.inference.variance_parameter import VarianceParameter

MOVED = 1e-6
"""Change of a parameter's free value along a flat direction from which it has part in it."""


@dataclass(frozen=True)
class CorrelatedMap(StructureMap):
    """From psi to standard deviations and correlations of random effects and to the parameters of residuals.

    Parameters
    ----------
    state
        The fit.
    """

    state: CorrelatedState

    @cached_property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """Those of random effects, as of other fits, and then those of residuals, as ``residual_parameters`` lists."""
        return (*self._of_effects, *self._of_residuals)

    @cached_property
    def _of_effects(self) -> tuple[VarianceParameter, ...]:
        return tuple(of_factors(self.state.design.factors))

    @cached_property
    def _of_residuals(self) -> tuple[StructureParameter, ...]:
        (found,) = self.state.parameters
        units = [float(np.abs(p.slope).max()) if np.isinf(p.limits[0]) else 1.0 for p in found]
        return tuple(
            StructureParameter(p.name, kind_of(p), -1, -1, -1, 0, i, p.limits, p.is_sd, unit)
            for i, (p, unit) in enumerate(zip(found, units, strict=True))
        )

    @cached_property
    def estimate(self) -> Floats:
        """Psi of the estimate, (K,)."""
        out = np.zeros(self.state.n_covariance)
        n = sum(own.stop - own.start for own in self.state.problem.covariance.effects_places)
        out[len(out) - n :] = self.state.point[len(self.state.point) - n :]
        return out

    def point(self, psi: Floats) -> Floats:
        """Return the point of the covariance."""
        return self.state.problem.covariance.moved(self.state.point, psi - self.estimate)

    def psi(self, point: Floats) -> Floats:
        """Return psi of a point."""
        return self.state.problem.covariance.steps(self.state.point, point) + self.estimate

    def values_at(self, point: Floats) -> Floats:
        """Return all parameters at a point, (n_parameters,), units of the response."""
        residual = super().values_at(point)
        if not self._of_effects:
            return residual
        covariances = [S[None] for S in effects_covariance(self.state.problem, point)]
        return np.concatenate([natural_values(self._of_effects, covariances, np.zeros(1))[0], residual])

    def surface(self, parameter: VarianceParameter) -> Callable[[Floats], tuple[float, Floats, Floats]]:
        """Return the function of a point that is the free value of a parameter, with derivatives, (K,) and (K, K)."""
        covariance, scale = self.state.problem.covariance, self.state.problem.model.scale
        if isinstance(parameter, StructureParameter):
            unit = scale if parameter.is_sd else 1.0
            return lambda point: unbounded(covariance.parameter(point, parameter.which), parameter, unit)
        block = self._block(parameter)
        own, n = covariance.effects_places[block], self.state.n_covariance

        def free(point: Floats) -> tuple[float, Floats, Floats]:
            gradient, hessian = np.zeros(n), np.zeros((n, n))
            jet = self._of_effect(covariance.effect(point, block), block, parameter)
            value, gradient[own], hessian[own, own] = unbounded(
                jet, parameter, scale if parameter.kind == "sd" else 1.0
            )
            return value, gradient, hessian

        return free

    def _block(self, parameter: VarianceParameter) -> int:
        """Return the block of random effects that a parameter is of."""
        blocks = enumerate(self.state.problem.effects)
        return next(
            i for i, e in blocks if e.factor == parameter.factor and e.first <= parameter.column < e.first + e.size
        )

    def _element(self, S: Jet, block: int, row: int, column: int) -> Jet:
        """Return an element of the covariance of effects, in units of the scaled problem, of S in the block's basis."""
        e = self.state.problem.effects[block]
        a, b = e.basis[row - e.first], e.basis[column - e.first]
        return Jet(np.asarray(a @ S.value @ b), S.first @ b @ a, S.second @ b @ a)

    def _of_effect(self, S: Jet, block: int, parameter: VarianceParameter) -> Jet:
        row, column = parameter.row, parameter.column
        if parameter.kind == "sd":
            return self._element(S, block, row, row).sqrt()
        squares = self._element(S, block, row, row) * self._element(S, block, column, column)
        return self._element(S, block, row, column) / squares.sqrt()

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Return an element of the covariance of random effects with its gradient."""
        if factor < 0:
            return super().covariance(psi, factor, row, column)
        parameter = next(p for p in self._of_effects if (p.factor, p.column) == (factor, column))
        block, covariance = self._block(parameter), self.state.problem.covariance
        jet = self._element(covariance.effect(self.point(psi), block), block, row, column)
        slope = np.zeros(self.state.n_covariance)
        slope[covariance.effects_places[block]] = jet.first
        square = self.state.problem.model.scale**2
        return square * float(jet.value), square * slope

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a parameter is at an end of its range, or not defined."""
        if parameter.kind == "exponent":
            return False
        if isinstance(parameter, StructureParameter):
            return super().on_boundary(psi, parameter)
        value = self.value(psi, parameter)
        if parameter.kind == "cor":
            return not abs(value) < 1 - BOUNDARY_SD
        return value <= BOUNDARY_SD * self.natural_sd(psi, parameter)

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return the standard deviation of an effect that adds as much as the response varies; of others the value."""
        if isinstance(parameter, StructureParameter):
            return self.value(psi, parameter)
        e = self.state.problem.effects[self._block(parameter)]
        return float(self.state.problem.model.scale * np.linalg.norm(e.basis[parameter.row - e.first]))


@dataclass(frozen=True)
class CorrelatedParameters(MarginalParameters):
    """A fit with something on its residuals as far as the parameters of its covariance go.

    Parameters
    ----------
    state
        The fit.
    """

    state: CorrelatedState

    @cached_property
    def map(self) -> CorrelatedMap:
        """From psi to the parameters."""
        return CorrelatedMap(self.state)

    @cached_property
    def psi(self) -> Floats:
        """The estimate, (n_psi,)."""
        return self.map.estimate

    def is_undetermined(self, parameter: VarianceParameter) -> bool:
        """Return whether the criterion is flat along a direction that moves the parameter."""
        flat = self.state.flat_directions
        if not len(flat) or self.map.on_boundary(self.psi, parameter):
            return False
        return bool(np.abs(flat @ self.map.unbounded(self.psi, parameter)[1]).max() > MOVED)
