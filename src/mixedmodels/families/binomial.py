"""Successes among trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixedmodels.families.family import Family, Floats, laws, log_term


@dataclass(frozen=True)
class Binomial(Family):
    """Successes among trials; 0 and 1 are those of one trial.

    Parameters
    ----------
    link
        ``"logit"``, ``"probit"`` or ``"cloglog"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "binomial"
    links: ClassVar[tuple[str, ...]] = ("logit", "probit", "cloglog")
    variance_text: ClassVar[str] = "m (1 - m) a trial"
    rule: ClassVar[str] = (
        "a binomial response is 0 or 1, a proportion with weights= its trials, or cbind(successes, failures)"
    )
    responses: ClassVar[str] = "successes"
    is_counted: ClassVar[bool] = True

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(trials * mean * (1 - mean))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return laws().binom(trials.astype(np.int64), mean)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(trials == 0, np.nan, np.where(y == trials, 1.0, np.where(y == 0, -1.0, 0.0)))

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * (log_term(y, expected) + log_term(trials - y, trials - expected)))
