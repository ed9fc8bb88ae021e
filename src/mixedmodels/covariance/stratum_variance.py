"""A standard deviation for each level of a category."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.jets import Floats, Jet
from mixedmodels.covariance.variance_function import Parameters, VarianceFunction


class StratumVariance(VarianceFunction):
    """Logarithms of ratios to the standard deviation of the first level, which is sigma: nlme's varIdent."""

    takes_levels = True

    @property
    def n_coordinates(self) -> int:
        """Levels but the first."""
        return len(self.levels) - 1

    def log_sds(self, x: Sequence[Jet], values: Floats) -> Jet:
        """Return the coordinate of each row's level."""
        none = np.zeros(values.shape)
        total = x[0] * none
        for level, ratio in enumerate(x, start=1):
            total = total + ratio * np.where(values == level, 1.0, none)
        return total

    def log_reference(self, x: Sequence[Jet]) -> Jet:
        """Return zero."""
        return x[0] * 0.0

    def parameters(self, x: Sequence[Jet]) -> Parameters:
        """Return the ratios."""
        names = [f"sd ratio({self.column} {level})" for level in self.levels[1:]]
        return Parameters(names, [log.exp() for log in x], [(0.0, np.inf)] * len(x))
