"""What a variance parameter is called, where it stands, and what it lies between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VarianceParameter:
    """One standard deviation, correlation, the residual's sigma or a family's dispersion.

    Attributes
    ----------
    name
        ``sd_Days|Subject``, ``cor_Days.Intercept|Subject``, ``sigma``, ``dispersion``.
    kind
        ``"sd"``, ``"cor"``, ``"sigma"``, ``"dispersion"``, or ``"exponent"`` of a variance function, of either sign.
    factor, row, column
        Place in the covariance of that factor; row > column for a correlation. -1 for what is of no factor;
        of a structure the factor is -2, row and column are its place among the parameters.
    """

    name: str
    kind: str
    factor: int
    row: int
    column: int

    @property
    def limits(self) -> tuple[float, float]:
        """What it lies between."""
        return (-1.0, 1.0) if self.kind == "cor" else (0.0, np.inf)

    def free(self, value: float) -> float:
        """Return the logarithm of a value, Fisher's z between the limits, or the value itself where there are none."""
        low, high = self.limits
        if np.isinf(low):
            return value
        return float(np.log(value) if np.isinf(high) else np.arctanh(2 * (value - low) / (high - low) - 1))

    def natural(self, c: float) -> tuple[float, float]:
        """Return the parameter where its free value is c, and its slope in c."""
        low, high = self.limits
        if np.isinf(low):
            return c, 1.0
        if np.isinf(high):
            return float(np.exp(c)), float(np.exp(c))
        u, half = np.tanh(c), 0.5 * (high - low)
        return float(low + half * (1 + u)), float(half * (1 - u * u))
