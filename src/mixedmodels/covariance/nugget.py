"""A share of the variance that no distance, however short, is correlated through: noise of measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Places
from mixedmodels.covariance.jets import Floats, Jet

START = 0.2
"""The share at a start."""


class Nugget(Correlation):
    """(1 - c) C for different rows and 1 for the same, c = sin^2 x: both ends are ordinary stationary points.

    Parameters
    ----------
    of
        The correlations C that fall with distance.
    """

    needs = "numbers"
    has_several_optima = True

    def __init__(self, of: Correlation) -> None:
        self.of = of

    @property
    def title(self) -> str:  # type: ignore[override]  # a class variable of the others
        """The structure in words."""
        return f"{self.of.title} with nugget"

    def n_coordinates(self, visits: Places) -> int:
        """Return one more."""
        return self.of.n_coordinates(visits) + 1

    def start(self, visits: Places) -> Floats:
        """Return the coordinates of C and of a small share."""
        return np.append(self.of.start(visits), np.arcsin(np.sqrt(START)))

    def starts(self, visits: Places) -> list[Floats]:
        """Return the starts of C, each with a small share."""
        return [np.append(start, np.arcsin(np.sqrt(START))) for start in self.of.starts(visits)]

    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return C shrunk outside of the diagonal."""
        identity = np.eye(len(visits))
        cosine = x[-1].cos()
        return cosine * cosine * self.of.matrix(x[:-1], visits) * (1 - identity) + identity

    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return those of C and the share."""
        sine = x[-1].sin()
        return [*self.of.parameters(x[:-1], visits), sine * sine]

    def names(self, visits: Places) -> list[str]:
        """Return the names."""
        return [*self.of.names(visits), "nugget"]

    def limits(self, visits: Places) -> list[tuple[float, float]]:
        """Return those of C, and that the share is between 0 and 1."""
        return [*self.of.limits(visits), (0.0, 1.0)]
