"""Compound symmetry: any two visits are correlated alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Visits
from mixedmodels.covariance.jets import Floats, Jet


class CompoundSymmetry(Correlation):
    """One correlation, down to -1 / (m - 1) for m visits.

    The eigenvalues of the matrix are m sin^2 x, once, and m cos^2 x / (m - 1): both ends are ordinary stationary
    points.
    """

    title = "compound symmetry"
    has_linear_covariances = True

    def n_coordinates(self, visits: Visits) -> int:
        """Return 1."""
        del visits
        return 1

    def start(self, visits: Visits) -> Floats:
        """Return the coordinate of no correlation."""
        m = len(visits)
        return np.array([np.arccos(np.sqrt((m - 1) / m))])

    def matrix(self, x: Sequence[Jet], visits: Visits) -> Jet:
        """Return the matrix with rho outside of the diagonal."""
        identity = np.eye(len(visits))
        (rho,) = self.parameters(x, visits)
        return rho * (1 - identity) + identity

    def parameters(self, x: Sequence[Jet], visits: Visits) -> list[Jet]:
        """Return rho."""
        m, cosine = len(visits), x[0].cos()
        return [1 - cosine * cosine * (m / (m - 1))]

    def names(self, visits: Visits) -> list[str]:
        """Return its name."""
        del visits
        return ["correlation"]

    def limits(self, visits: Visits) -> tuple[float, float]:
        """Return -1 / (m - 1) and 1."""
        return -1 / (len(visits) - 1), 1.0
