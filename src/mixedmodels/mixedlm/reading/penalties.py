"""What a penalty is."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError


class Penalty:
    """Base of penalties on the fixed effects, which ``MixedLM.fit(fe_pen=...)`` subtracts from the log-likelihood.

    Objects of other classes with the same methods will do.

    Parameters
    ----------
    weights
        For the penalty's own use: one for each fixed effect, or for all.

    Attributes
    ----------
    alpha
        What ``fit_regularized`` multiplies it by; for the penalty's own use too.
    """

    def __init__(self, weights: npt.ArrayLike = 1.0) -> None:
        self.weights = weights
        self.alpha: Any = 1.0

    def func(self, params: Floats) -> float:
        """Return the penalty.

        Parameters
        ----------
        params
            Fixed effects, (k_fe,).
        """
        raise DataError(_missing(self, "func"))

    def deriv(self, params: Floats) -> Floats:
        """Return the derivative of the penalty, (k_fe,).

        Parameters
        ----------
        params
            Fixed effects, (k_fe,).
        """
        raise DataError(_missing(self, "deriv"))


def _missing(penalty: Penalty, name: str) -> str:
    return (
        f"The penalty {type(penalty).__name__} has no {name}(params). Write it in the class, beside the other methods."
    )
