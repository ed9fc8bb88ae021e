"""Toeplitz: one correlation for each lag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places, by_lag
from mixedmodels.covariance.jets import Floats, Jet, constant


class Toeplitz(Correlation):
    """Any correlations by lag that are those of a stationary series.

    The coordinates are partial autocorrelations, sin x each, from which Durbin's and Levinson's recursion gives
    correlations of a positive definite matrix, all of them (Barndorff-Nielsen and Schou 1973).
    """

    title = "Toeplitz"
    has_linear_covariances = True
    needs = "equal steps"

    def n_coordinates(self, visits: Places) -> int:
        """Return the number of lags."""
        return len(visits) - 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinates of no correlation."""
        return np.zeros(len(visits) - 1)

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the correlations by lag, 1 on the diagonal."""
        return by_lag([constant(1.0, x[0].n_coordinates), *self.parameters(x, visits)], len(visits))

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return the correlations of lag 1, 2, ..."""
        rest = constant(1.0, x[0].n_coordinates)  # variance that the visits in between leave
        found: list[Jet] = []
        weights: list[Jet] = []  # of the visits before, in the prediction of the next
        for lag in range(1, len(visits)):
            partial = x[lag - 1].sin()
            found.append(sum((w * found[lag - 2 - i] for i, w in enumerate(weights)), partial * rest))
            weights = [w - partial * weights[lag - 2 - i] for i, w in enumerate(weights)] + [partial]
            rest = rest * (1 - partial * partial)
        return found

    def names(self, visits: Places) -> list[str]:
        """Return the lags."""
        return [f"correlation, lag {lag}" for lag in range(1, len(visits))]
