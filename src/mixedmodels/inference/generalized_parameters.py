"""Variance parameters of a generalised mixed model: functions of psi = (theta~, beta~, phi), which has no units.

Lambda is absolute, so Sigma_k = T_k Lambda~_k Lambda~_k' T_k'; what the family has beside the mean is its dispersion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.generalized_findings import NO_DISPERSION
from mixedmodels.inference.variance_parameter import VarianceParameter
from mixedmodels.inference.variance_parameters import CovarianceMap, of_factors

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

DISPERSION = VarianceParameter("dispersion", "dispersion", -1, -1, -1)
STEP = 1e-6
"""Of phi, to difference the logarithm of the dispersion."""


@dataclass(frozen=True)
class _Scale:
    """A model, and the engine's units of its random effects."""

    design: Design
    bases: list[Floats]


@dataclass(frozen=True)
class GeneralizedMap:
    """The map from psi to standard deviations, correlations and the dispersion, with its derivative.

    Parameters
    ----------
    state
        The fit.
    """

    state: GlmmState

    @cached_property
    def _covariances(self) -> CovarianceMap:
        return CovarianceMap(_Scale(self.state.design, self.state.problem.model.basis()))

    @cached_property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """All variance parameters, the dispersion last if the family has one."""
        own = () if self.state.dispersion is None else (DISPERSION,)
        return (*of_factors(self.state.design.factors), *own)

    def _random(self, psi: Floats) -> Floats:
        """Return (theta~, log sigma) with sigma = 1, (..., n_theta + 1)."""
        theta = psi[..., : len(self.state.theta)]
        return np.concatenate([theta, np.zeros((*theta.shape[:-1], 1))], axis=-1)

    def _phi(self, psi: Floats) -> Floats:
        return np.asarray(psi[..., self.state.phi_in_psi])

    def _slope(self, slope: Floats) -> Floats:
        """Return the slope in psi of that in (theta~, log sigma)."""
        out = np.zeros(len(self.state.psi))
        out[: len(slope) - 1] = slope[:-1]
        return out

    def values(self, psi: Floats) -> Floats:
        """Return all parameters on their natural scale at m points psi (m, n_psi), (m, n_parameters)."""
        random = self._covariances.values(self._random(psi))[:, :-1]
        if self.state.dispersion is None:
            return random
        dispersion = [self.value(row, DISPERSION) for row in psi]
        return np.column_stack([random, dispersion])

    def value(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a parameter on its natural scale."""
        if parameter.kind != "dispersion":
            return self._covariances.value(self._random(psi), parameter)
        dispersion = self.state.family.dispersion(self._phi(psi))
        assert dispersion is not None
        return dispersion

    def unbounded(self, psi: Floats, parameter: VarianceParameter) -> tuple[float, Floats]:
        """Return the parameter's logarithm, or Fisher's z, with its gradient in psi; not for one on a bound."""
        if parameter.kind != "dispersion":
            value, slope = self._covariances.unbounded(self._random(psi), parameter)
            return value, self._slope(slope)
        slope = np.zeros(len(psi))
        own = self.state.phi_in_psi
        for j in range(own.start, own.stop):
            step = np.zeros(len(psi))
            step[j] = STEP * abs(psi[j]) if psi[j] else STEP
            up, down = (math.log(self.value(moved, parameter)) for moved in (psi + step, psi - step))
            slope[j] = (up - down) / (2 * step[j])
        return math.log(self.value(psi, parameter)), slope

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Return an element of Sigma_k with its gradient in psi."""
        value, slope = self._covariances.covariance(self._random(psi), factor, row, column)
        return value, self._slope(slope)

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a parameter is zero or a correlation plus or minus one, or not defined."""
        if parameter.kind == "dispersion":
            return self.value(psi, parameter) < NO_DISPERSION
        return self._covariances.on_boundary(self._random(psi), parameter)

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return the standard deviation that moves the linear predictor by about one; one for the dispersion."""
        return 1.0 if parameter.kind == "dispersion" else self._covariances.natural_sd(self._random(psi), parameter)


@dataclass(frozen=True)
class GeneralizedParameters:
    """The variance parameters of a generalised mixed model.

    Parameters
    ----------
    state
        The fit.
    """

    state: GlmmState

    @cached_property
    def map(self) -> GeneralizedMap:
        """From psi to the parameters."""
        return GeneralizedMap(self.state)

    @property
    def psi(self) -> Floats:
        """Where the criterion is lowest, (n_psi,)."""
        return self.state.psi

    @cached_property
    def root(self) -> Floats:
        """R with Var(psi) = R R', (n_psi, n_psi)."""
        covariance = self.state.cov_psi
        if not np.isfinite(covariance).all():
            return np.full(covariance.shape, np.nan)
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def is_undetermined(self, parameter: VarianceParameter) -> bool:
        """Return whether there are no standard errors at all: nothing tells which directions are flat."""
        return not np.isfinite(self.state.cov_psi).all()
