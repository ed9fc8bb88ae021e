"""Independence: visits that are not correlated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet, constant


class Independence(Correlation):
    """No correlation and no coordinates."""

    title = "independence"
    has_linear_covariances = True

    def n_coordinates(self, visits: Places) -> int:
        """Return 0."""
        del visits
        return 0

    def start(self, visits: Places) -> Floats:
        """Return nothing."""
        del visits
        return np.zeros(0)

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the identity."""
        return constant(np.eye(len(visits)), x[0].n_coordinates if x else 0)

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return nothing."""
        del x, visits
        return []

    def names(self, visits: Places) -> list[str]:
        """Return nothing."""
        del visits
        return []
