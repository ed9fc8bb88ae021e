"""What fits of each kind add to rows of data: fitted values, residuals, modes of the levels, intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.diagnose.generalized_residuals import generalized_residuals
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.predict.generalized import predict_generalized
from mixedmodels.predict.marginal import SATTERTHWAITE, marginal_residuals, predict_marginal
from mixedmodels.predict.predict import LEVEL, predict
from mixedmodels.predict.rows import check_new_levels, new_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit
    from mixedmodels.inference.approximation import Approximation

CONFIDENCE = "confidence"


@dataclass(frozen=True)
class LinearAdded:
    """``.fitted`` (conditional), ``.resid`` (response less that) and ``.fixed``, in units of the response.

    Attributes
    ----------
    state
        The fit.
    interval, level, ddf, new_levels, weights
        As for ``predict``.
    modes
        Whether modes of the levels are added.
    """

    state: FitState
    interval: str | None = None
    level: float = LEVEL
    ddf: str = SATTERTHWAITE
    new_levels: str = "raise"
    weights: object = None
    modes: bool = False

    def of_rows_used(self) -> dict[str, Floats]:
        """Return columns for the rows of the fit, by name."""
        check_new_levels(self.new_levels)
        state = self.state
        added = {".fitted": conditional_fitted(state), ".resid": residuals(state), ".fixed": marginal_fitted(state)}
        return added | _limits(predict(state, **self._options())) | self._modes(None)

    def of_new_rows(self, data: object) -> dict[str, Floats]:
        """Return columns for other rows, by name; ``.resid`` where they have the response."""
        predicted = predict(self.state, data, new_levels=self.new_levels, **self._options())
        fitted = np.asarray(predicted if isinstance(predicted, pd.Series) else predicted["mean"])
        fixed = np.asarray(predict(self.state, data, random_effects="population"))
        return _with_residuals(self.state, data, fitted) | {".fixed": fixed} | _limits(predicted) | self._modes(data)

    def _options(self) -> dict[str, Any]:
        return {"interval": self.interval, "level": self.level, "ddf": self.ddf, "weights": self.weights}

    def _modes(self, data: object) -> dict[str, Floats]:
        return mode_columns(self.state, data, self.new_levels) if self.modes else {}


@dataclass(frozen=True)
class GeneralizedAdded:
    """``.fitted`` (conditional means), ``.link``, ``.fixed`` (means of an average level), ``.resid`` and other kinds.

    Ordered categories have a chance each, ``.fitted_1``. Residuals are those of the rows of the fit: ``.resid`` is the
    family's first kind, the others are called by theirs.

    Attributes
    ----------
    state
        The fit.
    interval, level, new_levels
        As for ``predict_generalized``.
    modes
        Whether modes of the levels are added.
    seed
        Of residuals that are drawn.
    """

    state: GlmmState
    interval: str | None = None
    level: float = LEVEL
    new_levels: str = "raise"
    modes: bool = False
    seed: int | None = None

    def of_rows_used(self) -> dict[str, Floats]:
        """Return columns for the rows of the fit, by name."""
        check_new_levels(self.new_levels)
        first, *others = self.state.family.residual_kinds
        kinds = {".resid": first} | {f".{kind}": kind for kind in others}
        drawn = {name: generalized_residuals(self.state, kind, self.seed) for name, kind in kinds.items()}
        return self._predicted(None) | drawn | self._modes(None)

    def of_new_rows(self, data: object) -> dict[str, Floats]:
        """Return columns for other rows, by name."""
        return self._predicted(data) | self._modes(data)

    def _predicted(self, data: object) -> dict[str, Floats]:
        new_levels = self.new_levels
        limits: dict[str, Any] = {"interval": self.interval, "level": self.level}
        if self.interval is not None and isinstance(self.state.family, Ordinal):
            raise InferenceError(
                "augment has no intervals of the chances of ordered categories, which have a row each: see "
                "fit.predict(data, random_effects='population', interval='confidence')."
            )
        found = predict_generalized(self.state, data, new_levels=new_levels, **limits)
        link = predict_generalized(self.state, data, new_levels=new_levels, scale="link")
        fixed = predict_generalized(self.state, data, random_effects="population")
        added = {**_means(".fitted", found), ".link": np.asarray(link), **_means(".fixed", fixed)}
        return added | (_limits(found) if self.interval is not None else {})

    def _modes(self, data: object) -> dict[str, Floats]:
        return mode_columns(self.state, data, self.new_levels) if self.modes else {}


@dataclass(frozen=True)
class MarginalAdded:
    """``.fitted``, ``.resid``, ``.pearson`` and ``.normalized``; beside random effects ``.fixed`` too.

    Of new rows ``.fitted`` has, beside random effects, what the rows of the fit tell of levels and residuals. Limits
    are those of the fixed part.

    Attributes
    ----------
    state
        The fit.
    interval, level, ddf
        As for ``predict_marginal``.
    modes
        Whether modes of the levels are added.
    """

    state: MarginalState
    interval: str | None = None
    level: float = LEVEL
    ddf: str | Approximation = SATTERTHWAITE
    modes: bool = False

    def of_rows_used(self) -> dict[str, Floats]:
        """Return columns for the rows of the fit, by name."""
        state, fixed = self.state, marginal_fitted(self.state)
        fitted = conditional_fitted(state) if isinstance(state, CorrelatedState) else fixed
        added = {".fitted": fitted, ".resid": marginal_residuals(state)}
        added |= {f".{kind}": marginal_residuals(state, kind) for kind in ("pearson", "normalized")}
        added |= {} if fitted is fixed else {".fixed": fixed}
        return added | self._limits(None) | self._modes(None)

    def of_new_rows(self, data: object) -> dict[str, Floats]:
        """Return columns for other rows, by name; ``.resid`` where they have the response."""
        fixed = np.asarray(predict_marginal(self.state, data))
        if not isinstance(self.state, CorrelatedState):
            return _with_residuals(self.state, data, fixed) | self._limits(data)
        fitted = np.asarray(predict_marginal(self.state, data, conditional=True))
        added = _with_residuals(self.state, data, fitted) | {".fixed": fixed}
        return added | self._limits(data) | self._modes(data)

    def _limits(self, data: object) -> dict[str, Floats]:
        ddf = self.ddf if self.interval == CONFIDENCE else SATTERTHWAITE
        return _limits(predict_marginal(self.state, data, interval=self.interval, level=self.level, ddf=ddf))

    def _modes(self, data: object) -> dict[str, Floats]:
        if not self.modes or not isinstance(self.state, CorrelatedState):
            return {}
        return mode_columns(self.state, data, "population")


def mode_columns(state: MixedFit, data: object, new_levels: str) -> dict[str, Floats]:
    """Return the conditional mode of each random effect of each row's level, called ``.b_Days|Subject``.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.
    new_levels
        As for ``predict``; levels that the fit did not have get zero.
    """
    factors = state.design.factors
    codes: Sequence[Codes]
    if data is None:
        codes = [factor.codes for factor in factors]
    else:
        codes = new_rows(state, data, (True,) * len(factors), new_levels).codes
    return {
        f".b_{effect}|{factor.name}": np.where(code >= 0, b[code, j], 0.0)
        for factor, code, b in zip(factors, codes, state.b, strict=True)
        for j, effect in enumerate(factor.columns)
    }


def _with_residuals(state: FixedFit, data: object, fitted: Floats) -> dict[str, Floats]:
    recipe = state.design.recipe
    response = recipe.response(data, state.design.response_name) if isinstance(recipe, DesignRecipe) else None
    return {".fitted": fitted} | ({} if response is None else {".resid": response - fitted})


def _means(name: str, predicted: pd.Series | pd.DataFrame) -> dict[str, Floats]:
    """Return means by name: those of a table with limits, or the chances of each category."""
    if isinstance(predicted, pd.Series):
        return {name: predicted.to_numpy()}
    if "mean" in predicted:
        return {name: predicted["mean"].to_numpy()}
    return {f"{name}_{level_text(label)}": predicted[label].to_numpy() for label in predicted.columns}


def _limits(predicted: pd.Series | pd.DataFrame) -> dict[str, Floats]:
    if isinstance(predicted, pd.Series):
        return {}
    return {f".{name}": predicted[name].to_numpy() for name in ("se", "lower", "upper")}
