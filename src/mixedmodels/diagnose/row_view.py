"""What pictures ask of the rows of a fit: responses, fitted values and residuals, whatever the responses are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mixedmodels.diagnose.generalized_residuals import generalized_residuals
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.predict.marginal import marginal_residuals

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit

SEED = 0
"""Of residuals that are drawn: the same in every picture."""

FEW_TRIALS = 3.0
"""Mean number of trials below which rows are drawn by averages of many."""


class RowView(Protocol):
    """What pictures ask of the rows of a fit."""

    shown: str
    """Kind of residuals that is drawn against fitted values where none is named."""

    standard: str
    """Kind of residuals that is normal with variance one if the model is right."""

    @property
    def response(self) -> Floats:
        """Responses on the scale of means, a proportion where there are trials, (n_obs,)."""
        ...

    @property
    def fitted(self) -> Floats:
        """What residuals are drawn against, (n_obs,)."""
        ...

    @property
    def is_binary(self) -> bool:
        """Whether single rows tell so little that averages of many are drawn."""
        ...

    def mean(self, predictor: Floats) -> Floats:
        """Return means of linear predictors, of any shape."""
        ...

    def residuals(self, kind: str | None = None) -> Floats:
        """Return residuals, (n_obs,); None: response less its mean."""
        ...


def row_view(state: FixedFit) -> RowView:
    """Return what pictures ask of the rows of a fit.

    Parameters
    ----------
    state
        The fit.
    """
    view: RowView = next(view for kind, view in _KINDS if isinstance(state, kind))(state)
    return view


@dataclass(frozen=True)
class _Normal:
    """What fits with normal residuals have in common."""

    state: FixedFit
    is_binary = False

    @property
    def response(self) -> Floats:
        return self.state.design.y

    def mean(self, predictor: Floats) -> Floats:
        return predictor


@dataclass(frozen=True)
class _Linear(_Normal):
    state: FitState
    shown = "pearson"
    standard = "standardized"

    @property
    def fitted(self) -> Floats:
        return conditional_fitted(self.state)

    def residuals(self, kind: str | None = None) -> Floats:
        return residuals(self.state, "conditional" if kind is None else kind)


@dataclass(frozen=True)
class _Marginal(_Normal):
    state: MarginalState
    shown = "normalized"
    standard = "normalized"

    @property
    def fitted(self) -> Floats:
        return (
            conditional_fitted(self.state) if isinstance(self.state, CorrelatedState) else marginal_fitted(self.state)
        )

    def residuals(self, kind: str | None = None) -> Floats:
        return marginal_residuals(self.state, "response" if kind is None else kind)


@dataclass(frozen=True)
class _Generalized:
    state: GlmmState
    shown = "quantile"
    standard = "quantile"

    @property
    def response(self) -> Floats:
        self._refuse_categories()
        observed = self.state.problem.observed
        if self.state.family.responses != "successes":
            return observed.y
        return np.asarray(observed.y / np.where(self.state.trials > 0, self.state.trials, np.nan))

    @property
    def fitted(self) -> Floats:
        if isinstance(self.state.family, Ordinal):
            return np.asarray(self.state.eta - self.state.beta[0])
        return self.state.fitted_family.mean(self.state.eta)

    @property
    def is_binary(self) -> bool:
        return self.state.family.responses == "successes" and float(self.state.trials.mean()) < FEW_TRIALS

    def mean(self, predictor: Floats) -> Floats:
        self._refuse_categories()
        if self.state.problem.zeros is not None:
            raise InferenceError(
                f"Means of the family {self.state.family.name!r} depend on the chance of a zero too, and are not drawn "
                "as lines. mixedmodels.plot.panel draws the residuals."
            )
        return self.state.fitted_family.mean(predictor)

    def residuals(self, kind: str | None = None) -> Floats:
        return generalized_residuals(self.state, "response" if kind is None else kind, SEED)

    def _refuse_categories(self) -> None:
        if isinstance(self.state.family, Ordinal):
            raise InferenceError(
                "Ordered categories have no mean to draw. fit.predict() returns the chance of each category."
            )


_KINDS: tuple[tuple[type, type[Any]], ...] = (
    (GlmmState, _Generalized),
    (MarginalState, _Marginal),
    (object, _Linear),
)
"""What is asked for each kind of fit, the first that it is one of."""
