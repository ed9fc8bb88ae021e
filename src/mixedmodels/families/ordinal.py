"""Categories in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.families.family import LARGEST_LOG, Family, Floats

NO_MEAN = "Ordered categories have no mean. fit.predict() returns the chance of each category."


N_NODES = 40
"""Of Gauss and Hermite's quadrature of averages over effects."""


@dataclass(frozen=True)
class Ordinal(Family):
    """Ordered categories: P(Y <= k) = F(threshold_k - x'beta - z'b), the cumulative link model (McCullagh 1980).

    F is the distribution function that the link is the inverse of. The thresholds stand in the place of an intercept:
    the engine's linear predictor has one, which is minus the first threshold, and phi are the others' distances to it.

    Parameters
    ----------
    link
        ``"logit"`` (proportional odds), ``"probit"`` or ``"cloglog"`` (proportional hazards).
    """

    link: str = "logit"

    name: ClassVar[str] = "ordinal"
    links: ClassVar[tuple[str, ...]] = ("logit", "probit", "cloglog")
    variance_text: ClassVar[str] = ""
    rule: ClassVar[str] = "an ordinal response has ordered categories"
    responses: ClassVar[str] = "categories"
    is_counted: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("probability", "surrogate", "quantile")

    def cuts(self, phi: Floats) -> Floats:
        """Return the thresholds less the first, which the engine's linear predictor is compared with, (n_thresholds,).

        Parameters
        ----------
        phi
            The engine's extra parameters, (n_categories - 2,).
        """
        return np.concatenate([[0.0], phi])

    def below(self, distance: Floats) -> Floats:
        """Return F at distances from the linear predictor to thresholds.

        Parameters
        ----------
        distance
            Of any shape.
        """
        return super()._mean(distance)

    def below_slope(self, distance: Floats) -> Floats:
        """Return the derivative of ``below``.

        Parameters
        ----------
        distance
            Of any shape.
        """
        return super()._slope(distance)

    def chances(self, eta: Floats, phi: Floats) -> Floats:
        """Return the chances of the categories, (n, n_categories).

        Parameters
        ----------
        eta
            The engine's linear predictor, (n,).
        phi
            The engine's extra parameters.
        """
        distance = self.cuts(phi) - eta[:, None]
        ends = np.zeros((len(eta), 1))
        below = np.hstack([ends, self.below(distance), ends + 1])
        above = np.hstack([ends + 1, self._above(distance), ends])
        # from the smaller tails, which have the digits
        return np.where(below[:, 1:] < above[:, :-1], np.diff(below), -np.diff(above))

    def averaged_chances(self, eta: Floats, phi: Floats, variance: Floats) -> Floats:
        """Return chances of the categories averaged over normal effects, (n, n_categories).

        Parameters
        ----------
        eta
            The engine's linear predictor without the effects, (n,).
        phi
            The engine's extra parameters.
        variance
            Of the effects, (n,).
        """
        if self.link == "probit":  # in closed form
            distance = (self.cuts(phi) - eta[:, None]) / np.sqrt(1 + variance)[:, None]
            ends = np.zeros((len(eta), 1))
            return np.diff(np.hstack([ends, self.below(distance), ends + 1]))
        nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        parts = [
            w * self.chances(eta + np.sqrt(variance) * z, phi)
            for z, w in zip(nodes, weights / weights.sum(), strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))

    def _above(self, distance: Floats) -> Floats:
        """Return 1 - F."""
        if self.link == "cloglog":
            return np.asarray(np.exp(-np.exp(np.minimum(distance, LARGEST_LOG))))
        return self.below(-distance)

    def _mean(self, eta: Floats) -> Floats:
        raise InferenceError(NO_MEAN)

    def _slope(self, eta: Floats) -> Floats:
        raise InferenceError(NO_MEAN)

    def _cumulative(self, y: Floats, eta: Floats, trials: Floats, phi: Floats) -> tuple[Floats, Floats]:
        ends = np.zeros((len(eta), 1))
        below = np.hstack([ends, self.below(self.cuts(phi) - eta[:, None]), ends + 1])
        code, rows = y.astype(np.intp), np.arange(len(y))
        return below[rows, code], below[rows, code + 1]

    def _draw(self, eta: Floats, trials: Floats, phi: Floats, rng: np.random.Generator) -> Floats:
        share = rng.uniform(size=len(eta))
        above = share[:, None] > self.below(self.cuts(phi) - eta[:, None])
        return np.asarray(above.sum(axis=1), dtype=np.float64)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        raise InferenceError(NO_MEAN)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        raise InferenceError(NO_MEAN)
