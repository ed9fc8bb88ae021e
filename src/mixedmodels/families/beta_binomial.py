"""Successes among trials whose chance varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixedmodels.families.family import LEAST_DISPERSION, Family, Floats, laws


@dataclass(frozen=True)
class BetaBinomial(Family):
    """Successes among trials that vary more than the binomial's: the chance of a row is drawn from a beta distribution.

    Its parameters are m / d and (1 - m) / d, so that two trials of a row have the correlation d / (1 + d).

    Parameters
    ----------
    link
        ``"logit"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "betabinomial"
    links: ClassVar[tuple[str, ...]] = ("logit",)
    variance_text: ClassVar[str] = "n m (1 - m) (1 + n d) / (1 + d) among n trials"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = (
        "a beta-binomial response is cbind(successes, failures), or a proportion with weights= its trials"
    )
    responses: ClassVar[str] = "successes"
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(trials == 0, np.nan, np.where(y == trials, 1.0, np.where(y == 0, -1.0, 0.0)))

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(trials * mean * (1 - mean) * (1 + trials * d) / (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        n = trials.astype(np.int64)
        return laws().binom(n, mean) if d < LEAST_DISPERSION else laws().betabinom(n, mean / d, (1 - mean) / d)
