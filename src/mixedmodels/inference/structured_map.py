"""Parameters of structured covariances of random effects as functions of psi = (x, log sigma)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.structured import CENTRAL_STEP
from mixedmodels.fit.structured_fit import named_parameters
from mixedmodels.inference.variance_parameter import VarianceParameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels.covariance.effects import EffectParameter
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.structured import Term
    from mixedmodels.fit.structured_fit import StructuredState

STRUCTURE = -2
"""What stands for the factor of a parameter of a structure."""

BOUNDARY = 1e-6
"""Distance of a correlation from a limit, or a standard deviation over the residual's, that counts as none."""


@dataclass(frozen=True)
class EffectsParameter(VarianceParameter):
    """A parameter of a structure.

    Attributes
    ----------
    between
        What it lies between.
    """

    between: tuple[float, float]

    @property
    def limits(self) -> tuple[float, float]:
        """What it lies between."""
        return self.between


class StructuredMap:
    """The map from psi to standard deviations and correlations of the structures, with its derivative.

    Parameters
    ----------
    state
        A fit.
    """

    def __init__(self, state: StructuredState) -> None:
        self.criterion = state.criterion
        self._known = state.coordinates

    @cached_property
    def parameters(self) -> tuple[VarianceParameter, ...]:
        """All variance parameters, sigma last."""
        named = enumerate(named_parameters(self.criterion, self._known))
        own = [EffectsParameter(name, p.kind, STRUCTURE, i, i, p.limits) for i, (name, p, _) in named]
        return (*own, VarianceParameter("sigma", "sigma", -1, -1, -1))

    def values(self, psi: Floats) -> Floats:
        """Return all parameters at m points psi (m, k + 1), (m, n_parameters)."""
        return np.array([[self.value(each, parameter) for parameter in self.parameters] for each in psi])

    def value(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return a parameter."""
        if parameter.kind == "sigma":
            return math.exp(psi[-1])
        own, _ = self._own(psi, parameter)
        return own.value * (math.exp(psi[-1]) if parameter.kind == "sd" else 1.0)

    def unbounded(self, psi: Floats, parameter: VarianceParameter) -> tuple[float, Floats]:
        """Return log sd or Fisher's z of a correlation and its gradient; on a bound infinity, and zeros."""
        slope = np.zeros(len(psi))
        if parameter.kind == "sigma":
            slope[-1] = 1.0
            return float(psi[-1]), slope
        own, places = self._own(psi, parameter)
        low, high = own.limits
        if not low < own.value < high:
            return math.inf if own.value >= high else -math.inf, slope
        if parameter.kind == "sd":
            slope[places], slope[-1] = own.slope / own.value, 1.0
            return math.log(own.value) + float(psi[-1]), slope
        slope[places] = own.slope * 0.5 * (high - low) / ((own.value - low) * (high - own.value))
        return parameter.free(own.value), slope

    def surface(self, parameter: VarianceParameter) -> Callable[[Floats], tuple[float, Floats, Floats]]:
        """Return the function of psi that is the free value of a parameter, with derivatives, (k + 1,) and its square.

        Second derivatives are differences of the first.
        """

        def free(psi: Floats) -> tuple[float, Floats, Floats]:
            value, slope = self.unbounded(psi, parameter)
            bend = np.zeros((len(psi), len(psi)))
            everywhere = np.arange(len(psi))
            places = everywhere[:0] if parameter.kind == "sigma" else everywhere[self._own(psi, parameter)[1]]
            for i in places:
                step = CENTRAL_STEP * (1 + abs(psi[i])) * np.eye(len(psi))[i]
                ahead, behind = (self.unbounded(at, parameter)[1] for at in (psi + step, psi - step))
                bend[i] = (ahead - behind) / (2 * step[i])
            return value, slope, 0.5 * (bend + bend.T)

        return free

    def effect(self, parameter: VarianceParameter) -> tuple[int, Term]:
        """Return the place of a standard deviation in its structure, and the term."""
        _, own, term = list(named_parameters(self.criterion, self._known))[parameter.row]
        return own.effect, term

    def on_boundary(self, psi: Floats, parameter: VarianceParameter) -> bool:
        """Return whether a standard deviation is zero or a correlation at a limit, or not defined."""
        if parameter.kind == "sigma":
            return False
        own, _ = self._own(psi, parameter)
        low, high = own.limits
        return not own.value - low > BOUNDARY or (parameter.kind == "cor" and not high - own.value > BOUNDARY)

    def covariance(self, psi: Floats, factor: int, row: int, column: int) -> tuple[float, Floats]:
        """Return the square of a standard deviation with its gradient in psi."""
        del factor
        assert row == column
        parameter = self.parameters[row]
        square = self.value(psi, parameter) ** 2
        if square == 0:
            return 0.0, np.zeros(len(psi))
        return square, 2 * square * self.unbounded(psi, parameter)[1]

    def natural_sd(self, psi: Floats, parameter: VarianceParameter) -> float:
        """Return the residual standard deviation."""
        del parameter
        return math.exp(psi[-1])

    def _own(self, psi: Floats, parameter: VarianceParameter) -> tuple[EffectParameter, slice]:
        _, own, term = list(named_parameters(self.criterion, psi[:-1]))[parameter.row]
        return own, term.coordinates
