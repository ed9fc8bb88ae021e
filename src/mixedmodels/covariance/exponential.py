"""Exponential decay with distance in time or space: a continuous-time autoregression, an Ornstein-Uhlenbeck process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet


class Exponential(Correlation):
    """exp(-d / range), range = exp x times the median gap of neighbours, so that no unit of time matters."""

    title = "exponential"
    needs = "numbers"
    is_chain = True

    def n_coordinates(self, visits: Places) -> int:
        """Return 1."""
        del visits
        return 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinate of a range of one gap."""
        del visits
        return np.zeros(1)

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the decay of each distance."""
        return (-(-x[0]).exp() * (visits.distances / visits.unit)).exp()

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return the range, in units of the distances."""
        return [x[0].exp() * visits.unit]

    def names(self, visits: Places) -> list[str]:
        """Return its name."""
        del visits
        return ["range"]

    def limits(self, visits: Places) -> list[tuple[float, float]]:
        """Return that the range is positive."""
        del visits
        return [(0.0, np.inf)]

    def starts(self, visits: Places) -> list[Floats]:
        """Return ranges of one gap, of four, and of a quarter."""
        first = self.start(visits)
        return [first, first + np.log(4.0), first - np.log(4.0)]
