"""Autoregression and moving average of first order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet


class AutoregressiveMovingAverage(Correlation):
    """gamma rho^(lag - 1), gamma = sin x_1, rho = sin x_2: an autoregression seen through noise is one."""

    title = "ARMA(1, 1)"
    needs = "whole numbers"

    def n_coordinates(self, visits: Places) -> int:
        """Return 2."""
        del visits
        return 2

    def start(self, visits: Places) -> Floats:
        """Return coordinates of little correlation that falls slowly."""
        del visits
        return np.arcsin([0.2, 0.5])

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return 1 on the diagonal and the products elsewhere."""
        gamma, rho = self.parameters(x, visits)
        lags = visits.lags
        apart, own = np.where(lags > 0, 1.0, 0.0), np.where(lags == 0, 1.0, 0.0)
        return gamma * rho.power(np.maximum(lags - 1, 0)) * apart + own

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return gamma and rho."""
        del visits
        return [x[0].sin(), x[1].sin()]

    def names(self, visits: Places) -> list[str]:
        """Return their names."""
        del visits
        return ["correlation, lag 1", "decay"]
