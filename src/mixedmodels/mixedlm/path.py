"""Penalised fits over weights of the penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.mixedlm.fitting.record import Fit
from mixedmodels.mixedlm.fitting.regularized import at_fixed
from mixedmodels.mixedlm.reading.arguments import read_number
from mixedmodels.mixedlm.results import MixedLMResults


@dataclass(frozen=True)
class RegularizationPath:
    """Penalised fixed effects over weights of the penalty.

    Attributes
    ----------
    coefficients
        A row for each weight, a column for each fixed effect.
    plain
        The unpenalised fit whose covariances serve all.
    converged
        For each weight.
    asked
        Arguments of ``fit_regularized`` beside the weight.
    """

    coefficients: pd.DataFrame
    plain: MixedLMResults
    converged: tuple[bool, ...]
    asked: Mapping[str, Any]

    @property
    def n_nonzero(self) -> pd.Series[int]:
        """Fixed effects that are not zero, at each weight."""
        return (self.coefficients != 0).sum(axis=1)

    def result(self, alpha: float) -> MixedLMResults:
        """Return the result at one of the weights.

        Raises
        ------
        InferenceError
            If it is none of them.
        """
        weights = self.coefficients.index
        place = int(weights.get_indexer(pd.Index([read_number("alpha", alpha)]))[0])
        if place < 0:
            raise InferenceError(f"alpha is {alpha!r}; the path has the weights {', '.join(map(str, weights))}.")
        plain = Fit(self.plain.state, self.plain.record)
        b = self.coefficients.iloc[place].to_numpy()[plain.record.holds.estimated]
        asked = {**self.asked, "alpha": alpha}
        fit = at_fixed(self.plain.model.description, plain, b, self.converged[place], asked)
        return MixedLMResults(fit.state, self.plain.model, fit.record)
