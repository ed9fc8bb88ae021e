"""Compound symmetry: any two visits are correlated alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet


class CompoundSymmetry(Correlation):
    """One correlation, down to -1 / (m - 1) for m visits.

    The eigenvalues of the matrix are m sin^2 x, once, and m cos^2 x / (m - 1): both ends are ordinary stationary
    points.
    """

    title = "compound symmetry"
    has_linear_covariances = True
    ends = (0.0, 0.5 * np.pi)

    def n_coordinates(self, visits: Places) -> int:
        """Return 1."""
        del visits
        return 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinate of no correlation."""
        m = len(visits)
        return np.array([np.arccos(np.sqrt((m - 1) / m))])

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the matrix with rho outside of the diagonal."""
        identity = np.eye(len(visits))
        (rho,) = self.parameters(x, visits)
        return rho * (1 - identity) + identity

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return rho."""
        m, cosine = len(visits), x[0].cos()
        return [1 - cosine * cosine * (m / (m - 1))]

    def names(self, visits: Places) -> list[str]:
        """Return its name."""
        del visits
        return ["correlation"]

    def limits(self, visits: Places) -> list[tuple[float, float]]:
        """Return -1 / (m - 1) and 1."""
        return [(-1 / (len(visits) - 1), 1.0)]

    def starts(self, visits: Places) -> list[Floats]:
        """Return the one start there is: the coordinate has no two sides."""
        return [self.start(visits)]
