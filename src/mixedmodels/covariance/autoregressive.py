"""First-order autoregression: correlations fall by one factor from visit to visit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet


class Autoregressive(Correlation):
    """rho to the power of the lag, rho = sin x."""

    title = "first-order autoregressive"
    needs = "whole numbers"
    is_chain = True

    def n_coordinates(self, visits: Places) -> int:
        """Return 1."""
        del visits
        return 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinate of no correlation."""
        del visits
        return np.zeros(1)

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the powers of rho."""
        return x[0].sin().power(visits.lags)

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return rho."""
        del visits
        return [x[0].sin()]

    def names(self, visits: Places) -> list[str]:
        """Return its name."""
        del visits
        return ["correlation"]
