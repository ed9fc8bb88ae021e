"""Parameters held at values, and a model with its holds applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.packed import PackedCovariances
from mixedmodels.design.records import Floats
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.fit.problem import Problem


@dataclass(frozen=True)
class Hold:
    """One covariance held at a value.

    Attributes
    ----------
    index
        Its position among the packed covariances.
    value
        What it is held at.
    is_ratio
        The value is a ratio to the residual variance, not in natural units.
    """

    index: int
    value: float
    is_ratio: bool


@dataclass(frozen=True)
class Holds:
    """What a fit holds fixed.

    Attributes
    ----------
    beta
        Fixed effects held: position -> value.
    covariances
        Covariances held.
    n_fixed, n_params
        Numbers of fixed effects, and of them and the packed covariances together.
    """

    beta: Mapping[int, float]
    covariances: tuple[Hold, ...]
    n_fixed: int
    n_params: int

    @property
    def is_free(self) -> npt.NDArray[np.bool_]:
        """Which of all parameters, fixed effects first, are estimated."""
        free = np.ones(self.n_params, dtype=bool)
        free[list(self.beta)] = False
        free[[self.n_fixed + hold.index for hold in self.covariances]] = False
        return free

    @property
    def estimated(self) -> list[int]:
        """Positions of the fixed effects that are not held."""
        return [j for j in range(self.n_fixed) if j not in self.beta]


def with_held_values(holds: tuple[Hold, ...], S: Floats, scale: float) -> Floats:
    """Return packed ratios with the held ones in place, (n_packed,)."""
    out = S.copy()
    for hold in holds:
        out[hold.index] = hold.value if hold.is_ratio else hold.value / scale
    return out


@dataclass(frozen=True)
class HeldModel:
    """A model with its holds applied, ready to be fitted.

    Attributes
    ----------
    problem, covariances
        The engine's view: held fixed effects are an offset, effects without variance are gone.
    reml
        Restricted likelihood.
    rest
        Holds of covariances that the structure does not carry.
    beta
        All fixed effects, the held ones at their values, (n_fixed,).
    free
        Positions of those that are estimated.
    """

    problem: Problem
    covariances: PackedCovariances
    reml: bool
    rest: tuple[Hold, ...]
    beta: Floats
    free: tuple[int, ...]

    @cached_property
    def likelihood(self) -> Likelihood:
        """Of the free parameters."""
        return Likelihood(self.problem, self.covariances, self.reml)

    @property
    def has_no_variance(self) -> bool:
        """Whether every variance is held at zero; the structure keeps them then."""
        held = {hold.index for hold in self.rest if hold.value == 0}
        return held.issuperset(self.covariances.variances())

    def all_beta(self, estimated: Floats) -> Floats:
        """Return all fixed effects, (n_fixed,), from those estimated."""
        beta = self.beta.copy()
        beta[list(self.free)] = estimated
        return beta
