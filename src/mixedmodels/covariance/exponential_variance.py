"""Standard deviations that grow exponentially with a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.jets import Floats, Jet
from mixedmodels.covariance.variance_function import Parameters, VarianceFunction


class ExponentialVariance(VarianceFunction):
    """exp(x v / spread) for values v: nlme's varExp; sigma is the standard deviation where v is zero."""

    name = "rate"

    @staticmethod
    def scale(values: Floats) -> Floats:
        """Return that in which logarithms of standard deviations are linear."""
        return values

    def settle(self, values: Floats, *, is_centred: bool) -> None:
        """Remember middle and spread."""
        v = self.scale(values)
        self.middle = float(v.mean()) if is_centred else 0.0
        self.spread = float(v.std()) or 1.0

    @property
    def n_coordinates(self) -> int:
        """Return 1."""
        return 1

    def log_sds(self, x: Sequence[Jet], values: Floats) -> Jet:
        """Return the line about the middle."""
        return x[0] * ((self.scale(values) - self.middle) / self.spread)

    def log_reference(self, x: Sequence[Jet]) -> Jet:
        """Return the line where the scale is zero."""
        return x[0] * (-self.middle / self.spread)

    def parameters(self, x: Sequence[Jet]) -> Parameters:
        """Return the slope."""
        return Parameters([f"{self.name}({self.column})"], [x[0] * (1.0 / self.spread)], [(-np.inf, np.inf)])
