"""Spherical decay with distance: none is left from a range on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Places
from mixedmodels.covariance.exponential import Exponential
from mixedmodels.covariance.jets import Floats, Jet


class Spherical(Exponential):
    """1 - 3/2 d/range + 1/2 (d/range)^3 up to the range; its coordinate and start are those of exponential decay."""

    title = "spherical"
    has_several_optima = True
    is_chain = False

    def start(self, visits: Places) -> Floats:
        """Return the coordinate of a range of four gaps: up to one there is no correlation to move."""
        del visits
        return np.array([np.log(4.0)])

    def starts(self, visits: Places) -> list[Floats]:
        """Return ranges of four gaps, of two and of twelve."""
        first = self.start(visits)
        return [first, first - np.log(2.0), first + np.log(3.0)]

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the decay of each distance."""
        share = (-x[0]).exp() * (visits.distances / visits.unit)
        within = np.where(share.value < 1, 1.0, 0.0)
        return (1 - 1.5 * share + 0.5 * (share * share * share)) * within
