"""What every correlation structure of visits says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from mixedmodels.covariance.jets import Floats, Jet, stack

OTHER_START = float(np.arcsin(0.5))
"""How far from no correlation the other starts are, rho = 1/2 and -1/2 of an autoregression, where there may be several
optima."""


@dataclass(frozen=True)
class Visits:
    """Where subjects may be seen: the levels of a category, or points in time or space.

    Attributes
    ----------
    labels
        Of the levels, in their order.
    positions
        (n_visits, n_coordinates) where the levels are numbers, else None.
    """

    labels: Sequence[str]
    positions: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lags(self) -> Floats:
        """How far any two are apart: places in the order of a category, or differences of whole numbers."""
        places = np.arange(len(self.labels)) if self.positions is None else self.positions[:, 0]
        return np.abs(np.subtract.outer(places, places)).astype(np.float64)

    @property
    def distances(self) -> Floats:
        """Euclidean distances of the positions, (n_visits, n_visits)."""
        assert self.positions is not None
        return np.asarray(np.linalg.norm(self.positions[:, None] - self.positions[None], axis=2))

    @property
    def unit(self) -> float:
        """Median distance of neighbours."""
        assert self.positions is not None
        if self.positions.shape[1] == 1:
            return float(np.median(np.diff(np.sort(self.positions[:, 0]))))
        return float(np.median(self.distances[np.triu_indices(len(self), 1)]))


class Places(Protocol):
    """What correlations depend on: ``Visits``, or the rows of many subjects at times of their own."""

    @property
    def labels(self) -> Sequence[str]:
        """Of the places, in their order."""

    def __len__(self) -> int: ...

    @property
    def lags(self) -> Floats:
        """How many steps any two are apart, (..., n, n)."""

    @property
    def distances(self) -> Floats:
        """Euclidean distances, (..., n, n)."""

    @property
    def unit(self) -> float:
        """Median distance of neighbours."""


@dataclass(frozen=True)
class OwnPlaces:
    """Rows of subjects of the same number of rows, each subject at places of its own.

    Attributes
    ----------
    lags, distances
        Between any two rows of a subject, (n_subjects, n, n).
    unit
        Median distance of neighbours, in all subjects.
    """

    lags: Floats
    distances: Floats
    unit: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Places in the order of time."""
        return tuple(str(place + 1) for place in range(len(self)))

    def __len__(self) -> int:
        return int(self.lags.shape[-1])


class Correlation(ABC):
    """Correlations of visits from coordinates without bounds.

    A structure is one function from its coordinates to the matrix, over jets, from which all derivatives follow; the
    coordinates are such that every value of them is a correlation matrix, and that nothing runs to infinity.

    Attributes
    ----------
    title
        The structure in words.
    has_linear_covariances
        With one variance, Sigma is linear in it and the covariances.
    has_several_optima
        The likelihood may have several optima where nothing else is random.
    is_chain
        In one dimension two places are correlated through all between them: the correlation of any two is the product
        of those of neighbours.
    needs
        ``"order"``: any levels; ``"whole numbers"``: levels in their order, or numbers whose differences are whole;
        ``"equal steps"``: levels, or numbers at equal steps; ``"numbers"``.
    ends
        Where a coordinate is at an end of its range, the matrix being singular there: the first, and how far they are
        apart.
    """

    title: ClassVar[str]
    ends: ClassVar[tuple[float, float]] = (0.5 * np.pi, np.pi)
    has_linear_covariances: ClassVar[bool] = False
    has_several_optima: ClassVar[bool] = False
    is_chain: ClassVar[bool] = False
    needs: ClassVar[str] = "order"

    @abstractmethod
    def n_coordinates(self, visits: Places) -> int:
        """Return how many coordinates there are."""

    @abstractmethod
    def start(self, visits: Places) -> Floats:
        """Return coordinates of a matrix with hardly any correlation, (n_coordinates,)."""

    @abstractmethod
    def matrix(self, x: Sequence[Jet], visits: Places) -> Jet:
        """Return the correlation matrix, (n_visits, n_visits)."""

    @abstractmethod
    def parameters(self, x: Sequence[Jet], visits: Places) -> list[Jet]:
        """Return the structure's own parameters, as users know them."""

    @abstractmethod
    def names(self, visits: Places) -> list[str]:
        """Return the names of the parameters."""

    def limits(self, visits: Places) -> list[tuple[float, float]]:
        """Return the limits of each parameter."""
        return [(-1.0, 1.0)] * len(self.names(visits))

    def starts(self, visits: Places) -> list[Floats]:
        """Return coordinates to begin at where random effects, too, explain correlations; ``start`` is the first."""
        first = self.start(visits)
        return [first] if not len(first) else [first, first + OTHER_START, first - OTHER_START]


def by_lag(values: Sequence[Jet], n_visits: int) -> Jet:
    """Return the matrix whose elements depend on the lag alone; ``values`` begin with lag zero."""
    return stack([values[abs(i - j)] for i in range(n_visits) for j in range(n_visits)], (n_visits, n_visits))
