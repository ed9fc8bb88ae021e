"""Shares between zero and one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mixedmodels.families.family import Family, Floats, laws


@dataclass(frozen=True)
class Beta(Family):
    """Shares strictly between 0 and 1 that are no counts.

    Parameters
    ----------
    link
        ``"logit"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "beta"
    links: ClassVar[tuple[str, ...]] = ("logit",)
    variance_text: ClassVar[str] = "m (1 - m) / (1 + d)"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = (
        "a beta response lies between 0 and 1 and is neither. Proportions of counts are binomial: "
        "cbind(successes, failures)"
    )
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return math.exp(phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean * (1 - mean) / (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().beta(mean * d, (1 - mean) * d)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray((y <= 0) | (y >= 1))
