"""Counts that vary more than Poisson's, their variance quadratic or linear in the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mixedmodels.families.family import COUNTS, LEAST_DISPERSION, Family, Floats, laws, log_term, no_counts


@dataclass(frozen=True)
class NegativeBinomial(Family):
    """Counts that vary more than Poisson's.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "negative_binomial"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m + d m^2"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean + d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().poisson(mean) if d < LEAST_DISPERSION else laws().nbinom(1 / d, 1 / (1 + d * mean))

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        if not d:
            return np.asarray(2 * (log_term(y, expected) - (y - expected)))
        size = 1 / d
        return np.asarray(2 * (log_term(y, expected) - (y + size) * np.log((y + size) / (expected + size))))


@dataclass(frozen=True)
class NegativeBinomial1(Family):
    """Counts whose variance is a multiple of their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "negative_binomial_1"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m (1 + d)"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean * (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().poisson(mean) if d < LEAST_DISPERSION else laws().nbinom(mean / d, 1 / (1 + d))
