"""Gaussian decay with distance in time or space: neighbours differ little."""

from __future__ import annotations

from collections.abc import Sequence

from mixedmodels.covariance.correlation import Places
from mixedmodels.covariance.exponential import Exponential
from mixedmodels.covariance.jets import Jet


class Gaussian(Exponential):
    """exp(-(d / range)^2); its coordinate, start and range are those of exponential decay."""

    title = "Gaussian"
    is_chain = False

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the decay of each distance."""
        return (-(-2 * x[0]).exp() * (visits.distances / visits.unit) ** 2).exp()
