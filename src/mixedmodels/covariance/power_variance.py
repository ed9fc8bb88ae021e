"""Standard deviations proportional to a power of a number."""

from __future__ import annotations

import numpy as np

from mixedmodels.covariance.exponential_variance import ExponentialVariance
from mixedmodels.covariance.jets import Floats


class PowerVariance(ExponentialVariance):
    """|v| to the power of delta: nlme's varPower; sigma is the standard deviation where |v| is one."""

    name = "power"

    @staticmethod
    def unsuited(values: Floats) -> str | None:
        """Zero has no logarithm."""
        return "zero" if np.any(values == 0) else None

    @staticmethod
    def scale(values: Floats) -> Floats:
        """Return logarithms."""
        return np.asarray(np.log(np.abs(values)))
