"""A penalty on the covariance of the random coefficients, as statsmodels writes it, on packed covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedmodels.covariance.packed import from_lower
from mixedmodels.design.records import Floats
from mixedmodels.mixedlm.description.model import ModelDescription


@dataclass(frozen=True)
class PenaltyOnCoefficients:
    """``cov_pen`` as a function of packed ratios to the residual variance.

    Attributes
    ----------
    cov_pen
        With ``func(cov_re, inverse)`` and ``deriv(cov_re, inverse)``, the derivative in the lower triangle.
    k_re
        Random coefficients.
    """

    cov_pen: Any
    k_re: int

    @classmethod
    def of(cls, model: ModelDescription, cov_pen: Any) -> PenaltyOnCoefficients | None:
        """Return the penalty of a model, None where there is nothing to penalise."""
        return None if cov_pen is None or not model.k_re else cls(cov_pen, model.k_re)

    def value(self, S: Floats) -> float:
        """Return the penalty."""
        cov_re = self._cov_re(S)
        return float(self.cov_pen.func(cov_re, np.linalg.pinv(cov_re)))

    def slope(self, S: Floats) -> Floats:
        """Return its derivative, (n_packed,), zero in the variance components."""
        cov_re, slope = self._cov_re(S), np.zeros_like(S)
        slope[: self._n_lower] = self.cov_pen.deriv(cov_re, np.linalg.pinv(cov_re))
        return slope

    @property
    def _n_lower(self) -> int:
        return self.k_re * (self.k_re + 1) // 2

    def _cov_re(self, S: Floats) -> Floats:
        return from_lower(S[: self._n_lower], self.k_re)
