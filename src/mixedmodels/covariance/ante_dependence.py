"""First-order ante-dependence: each visit depends on the one before, by a correlation of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet, constant, stack


class AnteDependence(Correlation):
    """Correlations of neighbours, sin x each; any two visits have the product of those between them (Gabriel 1962)."""

    title = "first-order ante-dependence"

    def n_coordinates(self, visits: Places) -> int:
        """Return the number of pairs of neighbours."""
        return len(visits) - 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinates of no correlation."""
        return np.zeros(len(visits) - 1)

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the products of neighbours' correlations."""
        neighbours = self.parameters(x, visits)
        m, one = len(visits), constant(1.0, x[0].n_coordinates)
        rows = [[one] * m for _ in range(m)]
        for i in range(m):
            for j in range(i + 1, m):
                rows[i][j] = rows[j][i] = rows[i][j - 1] * neighbours[j - 1]
        return stack([element for row in rows for element in row], (m, m))

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return the correlations of neighbours."""
        del visits
        return [element.sin() for element in x]

    def names(self, visits: Places) -> list[str]:
        """Return the neighbours."""
        return [f"correlation({one}, {two})" for one, two in pairwise(visits.labels)]
