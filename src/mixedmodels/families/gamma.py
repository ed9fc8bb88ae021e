"""Positive numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mixedmodels.families.family import Family, Floats, laws


@dataclass(frozen=True)
class Gamma(Family):
    """Positive responses whose standard deviation is a share of their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "gamma"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "d m^2"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = "a gamma response is positive"

    def _dispersion(self, phi: float) -> float:
        return math.exp(-phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().gamma(1 / d, scale=mean * d)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray(y <= 0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * ((y - expected) / expected - np.log(y / expected)))
