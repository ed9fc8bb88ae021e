"""What each kind of fit says in a table of several models: its heading, family, method, and what is random in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.inference.covariances import covariance_frame, factor_covariances
from mixedmodels.inference.thresholds import threshold_table
from mixedmodels.inference.zero_effects import zero_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mixedmodels.fit.records import FitState, FixedFit, MixedFit

RESIDUAL = "Residual"
KINDS = SD, CORRELATION, OTHER = "sd", "correlation", "other"
"""Kinds of parameters of what is random, in the order in which they are shown."""


@dataclass(frozen=True)
class Spread:
    """A parameter of what is random.

    Attributes
    ----------
    group
        The grouping factor, or ``Residual``.
    label
        What the row is called.
    value
        The estimate.
    kind
        ``SD``, ``CORRELATION`` or ``OTHER``.
    """

    group: str
    label: str
    value: float
    kind: str


class Column(Protocol):
    """What a table of several models asks of a fit beside its fixed effects and criteria."""

    heading: str
    """Kind of the model, in the plural."""

    @property
    def family(self) -> tuple[str, str]:
        """Distribution of the responses, and link."""
        ...

    @property
    def method(self) -> str:
        """How the likelihood was maximised, or approximated."""
        ...

    @property
    def levels(self) -> Mapping[str, int]:
        """Levels of each grouping factor, subjects among them."""
        ...

    def spreads(self) -> Iterator[Spread]:
        """Yield the parameters of what is random."""
        ...

    def thresholds(self, level: float) -> pd.DataFrame:
        """Return thresholds between ordered categories, with intervals; no rows where there are none."""
        ...

    def zeros(self, level: float) -> pd.DataFrame:
        """Return effects on the logit of chances of zeros, with tests and intervals; no rows where there are none."""
        ...

    def note(self) -> str | None:
        """Return what the reader must know of the parameters of this fit."""
        ...


def column_of(state: FixedFit) -> Column:
    """Return what a fit says in a table.

    Parameters
    ----------
    state
        The fit.
    """
    column: Column = next(column for kind, column in _KINDS if isinstance(state, kind))(state)
    return column


NO_THRESHOLDS = pd.DataFrame(columns=["estimate", "std_error", "ci_lower", "ci_upper"], dtype=float)
NO_ZEROS = NO_THRESHOLDS.assign(p_value=pd.Series(dtype=float))


@dataclass(frozen=True)
class _Normal:
    """What fits with normal residuals have in common."""

    state: FixedFit
    family = ("normal", "identity")

    @property
    def method(self) -> str:
        return "REML" if self.state.reml else "ML"

    @property
    def levels(self) -> dict[str, int]:
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    def thresholds(self, level: float) -> pd.DataFrame:
        return NO_THRESHOLDS

    def zeros(self, level: float) -> pd.DataFrame:
        return NO_ZEROS

    def note(self) -> str | None:
        return None


@dataclass(frozen=True)
class _Linear(_Normal):
    state: FitState
    heading = "Linear mixed models"

    def spreads(self) -> Iterator[Spread]:
        yield from _effects(self.state)
        yield Spread(RESIDUAL, RESIDUAL, self.state.sigma, SD)


@dataclass(frozen=True)
class _Marginal(_Normal):
    state: MarginalState
    heading = "Mixed models for repeated measures"

    @property
    def levels(self) -> dict[str, int]:
        own = self.state.problem.rows
        return {own.term.subject: own.n_subjects}

    def spreads(self) -> Iterator[Spread]:
        yield from _residuals(self.state)


@dataclass(frozen=True)
class _Correlated(_Normal):
    state: CorrelatedState
    heading = "Linear mixed models"

    @property
    def levels(self) -> dict[str, int]:
        own = self.state.design.residual
        return super().levels | ({} if own is None else {own.term.subject: own.n_subjects})

    def spreads(self) -> Iterator[Spread]:
        yield from _effects(self.state)
        yield from _residuals(self.state)
        if self.state.problem.known_sigma is not None:
            yield Spread(RESIDUAL, f"{RESIDUAL} (known)", self.state.problem.known_sigma, SD)


@dataclass(frozen=True)
class _Generalized:
    state: GlmmState
    heading = "Generalised linear mixed models"

    @property
    def family(self) -> tuple[str, str]:
        return self.state.family.name.replace("_", " "), self.state.family.link

    @property
    def method(self) -> str:
        return "Laplace" if self.state.n_agq == 1 else f"{self.state.n_agq} nodes"

    @property
    def levels(self) -> dict[str, int]:
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    def spreads(self) -> Iterator[Spread]:
        yield from _effects(self.state)
        if self.state.dispersion is not None:
            yield Spread(RESIDUAL, "Dispersion d", self.state.dispersion, OTHER)

    def thresholds(self, level: float) -> pd.DataFrame:
        return threshold_table(self.state, level) if isinstance(self.state.family, Ordinal) else NO_THRESHOLDS

    def zeros(self, level: float) -> pd.DataFrame:
        return NO_ZEROS if self.state.problem.zeros is None else zero_table(self.state, level)

    def note(self) -> str | None:
        zeros = self.state.problem.zeros
        parts = [] if self.state.dispersion is None else [self.state.family.variance_sentence]
        parts += [] if zeros is None else [f"the chance of a zero has {zeros.text}"]
        return f"{'; '.join(parts)}." if parts else None


_KINDS: tuple[tuple[type, type[Any]], ...] = (
    (GlmmState, _Generalized),
    (CorrelatedState, _Correlated),
    (MarginalState, _Marginal),
    (object, _Linear),
)
"""What is asked for each kind of fit, the first that it is one of."""


def _effects(state: MixedFit) -> Iterator[Spread]:
    """Yield standard deviations, then correlations, of the random effects of each grouping factor."""
    frame = covariance_frame(factor_covariances(state), None)
    for group, one, other, value in zip(
        frame["group"], frame["effect_1"], frame["effect_2"], frame["sd_or_corr"], strict=True
    ):
        is_sd = other is None or pd.isna(other)
        label = f"{one} by {group}" if is_sd else f"{one} with {other} by {group}"
        yield Spread(group, label, value, SD if is_sd else CORRELATION)


def _residuals(state: MarginalState) -> Iterator[Spread]:
    """Yield the parameters of the residuals' covariance; one standard deviation for all is called as in other fits."""
    scale = state.problem.model.scale
    for group, parameters in zip(state.parameter_groups, state.parameters, strict=True):
        of_group = "" if len(state.parameter_groups) == 1 else f", {group}"
        for parameter in parameters:
            name = "" if parameter.name == "sd" else f" {parameter.name}"
            kind = SD if parameter.is_sd else CORRELATION if max(map(abs, parameter.limits)) <= 1 else OTHER
            value = parameter.value * (scale if parameter.is_sd else 1.0)
            yield Spread(RESIDUAL, f"{RESIDUAL}{name}{of_group}", value, kind)
