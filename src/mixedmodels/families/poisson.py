"""Counts whose variance is their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mixedmodels.families.family import COUNTS, Family, Floats, laws, log_term, no_counts


@dataclass(frozen=True)
class Poisson(Family):
    """Counts whose variance is their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "poisson"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m"
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return mean

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().poisson(mean)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * (log_term(y, expected) - (y - expected)))
