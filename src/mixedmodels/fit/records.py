"""What a fit leaves behind: plain records, nothing later changes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from mixedmodels.errors import MixedModelsError
from mixedmodels.fit.undetermined import undetermined

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.fixed_root import FixedRoot
    from mixedmodels.fit.information import CovarianceDerivatives, Information
    from mixedmodels.fit.problem import Problem
    from mixedmodels.fit.undetermined import Undetermined

ROUNDING = 1e-8
"""Relative change of a variance that counts as none."""

TRACE_COLUMNS = ("deviance", "gradient_norm", "predicted_decrease", "step_norm", "radius", "ratio")


@dataclass(frozen=True)
class Optimum:
    """Where the optimiser stopped and how it got there.

    Attributes
    ----------
    theta
        (n_theta,), user's units, diagonals >= 0.
    deviance
        -2 log-likelihood (REML criterion under REML).
    status
        One of ``"converged"``, ``"iteration limit"``, ``"no further decrease"`` and, of generalised models,
        ``"no minimum"``.
    gradient_norm
        Largest element of the gradient in the engine's scaled parameters.
    n_iterations, n_evaluations
        Of the best start, and of all starts.
    steps
        (n_iterations, 6), the columns of ``trace``.
    other_optima
        Criteria of worse stationary points that other starts ended at.
    seconds
        ``{"design": , "products": , "optimizer": , "solution": }``.
    """

    theta: Floats
    deviance: float
    status: str
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    steps: Floats
    other_optima: tuple[float, ...]
    seconds: dict[str, float]

    @property
    def converged(self) -> bool:
        """True if the gradient and the predicted decrease show a stationary point."""
        return self.status == "converged"

    @property
    def trace(self) -> pd.DataFrame:
        """One row an iteration, ``deviance, gradient_norm, predicted_decrease, step_norm, radius, ratio``."""
        iterations = pd.RangeIndex(len(self.steps), name="iteration")
        return pd.DataFrame(self.steps, index=iterations, columns=list(TRACE_COLUMNS), copy=True)

    def __repr__(self) -> str:
        others = f"; {len(self.other_optima)} other optima" if self.other_optima else ""
        return (
            f"<Optimum: {self.status} after {self.n_iterations} iterations ({self.n_evaluations} evaluations), "
            f"deviance {self.deviance:.3f}, gradient norm {self.gradient_norm:.2g}{others}>"
        )


class HoldsFixed(Protocol):
    """Anything that holds a fit of any kind as numbers: what tables, tests and pictures take."""

    @property
    def state(self) -> FixedFit:
        """The fit."""
        ...

    @property
    def ddf(self) -> str:
        """Degrees of freedom that its tests have where none are named."""
        ...

    def check_estimated(self, what: str) -> None:
        """Refuse where parameters are not estimates by likelihood."""


class HoldsMixed(HoldsFixed, Protocol):
    """Anything that holds a fit with random effects as numbers."""

    @property
    def state(self) -> MixedFit:
        """The fit."""
        ...


class Fitted(HoldsMixed, Protocol):
    """Anything that holds a linear mixed model as numbers, such as an ``LmmResult``."""

    @property
    def state(self) -> FitState:
        """The fit."""
        ...


@dataclass(frozen=True)
class FixedFit(ABC):
    """A fitted model as far as its fixed effects go: what tests of them need, whatever is random.

    Attributes
    ----------
    design, reml, control, optimum
        What was fitted, how, and where it ended.
    fixed_names
        Names of the columns kept, length n_fixed.
    kept
        Their positions among the design's columns.
    beta, cov_beta
        (n_fixed,) and (n_fixed, n_fixed), user's units.
    sigma
        Residual standard deviation (of an observation with weight one; of the first visit where visits differ).
    findings
        Those of the design and those of the fit.
    is_singular
        A variance is zero, a correlation plus or minus one, or a covariance singular.
    """

    design: Design
    reml: bool
    control: Control
    optimum: Optimum
    fixed_names: tuple[str, ...]
    kept: tuple[int, ...]
    beta: Floats
    cov_beta: Floats
    sigma: float
    findings: tuple[Finding, ...]
    is_singular: bool

    @property
    @abstractmethod
    def identity(self) -> tuple[Floats | float, ...]:
        """The estimates, which tell this fit from others of its model and data."""

    @property
    def has_residual(self) -> bool:
        """Whether rows have a residual of their own, of standard deviation sigma."""
        return True

    @property
    def link(self) -> str | None:
        """What the mean is transformed by to the linear predictor; None where that is the mean."""
        return None

    @property
    def own_fixed(self) -> slice:
        """Fixed effects that are shown as such: all, unless the model has others in the place of its intercept."""
        return slice(None)

    @property
    def kind(self) -> tuple[str, ...]:
        """What fits whose likelihoods may be nested have in common."""
        return ("linear",)

    @property
    def n_agq(self) -> int:
        """Nodes of the quadrature that the likelihood is approximated by; 1 where it is exact or Laplace's."""
        return 1

    @property
    def n_fixed(self) -> int:
        """Fixed effects estimated that have columns."""
        return len(self.beta)

    @property
    def absorbed_effects(self) -> tuple[Floats, ...]:
        """Fixed effects of absorbed levels, (n_levels,) a factor of ``design.absorbed``, zero for reference levels."""
        return ()

    @property
    def fixed_rank(self) -> int:
        """Fixed effects estimated, absorbed ones among them."""
        return self.n_fixed + self.design.n_absorbed

    @property
    @abstractmethod
    def n_params(self) -> int:
        """Parameters estimated."""

    @property
    @abstractmethod
    def n_determined(self) -> int:
        """Parameters that the data determine."""

    @property
    @abstractmethod
    def fixed_root(self) -> FixedRoot:
        """The root of the covariance of beta from which its combinations have their variances."""

    @abstractmethod
    def undetermined_rows(self, L: Floats) -> npt.NDArray[np.bool_]:
        """Return which combinations of the fixed effects, the rows of L, have no determined standard error."""


@dataclass(frozen=True)
class MixedFit(FixedFit):
    """A fitted model with random effects, whatever its responses are.

    Attributes
    ----------
    theta
        (n_theta,), in the order of the design's factors.
    b
        Conditional modes: one (n_levels, n_effects) array a factor.
    """

    theta: Floats
    b: tuple[Floats, ...]

    @abstractmethod
    def conditional_covariance(self) -> list[Floats]:
        """Return Var(b | y) of each level, (n_levels, n_effects, n_effects) a factor."""


COMPUTED = ("information", "fixed_root", "engine_theta", "bases", "undetermined", "n_determined", "open_directions")
"""What a fit computes of the cross-products when it is first asked."""


@dataclass(frozen=True)
class FitState(MixedFit):
    """A fitted linear mixed model as numbers.

    Attributes
    ----------
    problem
        The engine's handle; rebuilt from the design after unpickling.
    absorbed_effects
        Fixed effects of absorbed levels, (n_levels,) a factor of ``design.absorbed``, zero for reference levels.
    """

    problem: Problem
    absorbed_effects: tuple[Floats, ...] = ()

    @property
    def identity(self) -> tuple[Floats | float, ...]:
        """The estimates, which tell this fit from others of its model and data."""
        return (self.beta, self.theta, self.sigma)

    def conditional_covariance(self) -> list[Floats]:
        """Return Var(b | y) of each level, (n_levels, n_effects, n_effects) a factor."""
        return [self.sigma**2 * block for block in self.problem.conditional_covariance(self.theta)]

    @property
    def n_params(self) -> int:
        """Parameters estimated: fixed effects, theta and sigma."""
        return self.fixed_rank + len(self.theta) + 1

    @cached_property
    def n_determined(self) -> int:
        """Parameters that the data determine: those estimated, less the directions in which the criterion is flat."""
        return self.n_params - len(self.problem.identification.flat(self.reml))

    def computed(self) -> dict[str, Any]:
        """Return what is computed of the cross-products, by name."""
        found = {}
        for name in COMPUTED:
            with suppress(MixedModelsError):  # who asks for it will be told
                found[name] = getattr(self, name)
        return found

    def __getstate__(self) -> dict[str, Any]:
        if self.design.stand_in is not None:  # there will be no rows to form the cross-products of again
            self.computed()
        return vars(self)

    def __repr__(self) -> str:
        method = "REML" if self.reml else "ML"
        return f"<FitState: {self.design.formula.text}; {method}, {self.design.n_obs} observations>"

    @cached_property
    def information(self) -> Information:
        """Second derivatives at the optimum; computed when first asked for."""
        return self.problem.information(self.theta, self.reml)

    @cached_property
    def engine_theta(self) -> Floats:
        """Theta in the engine's parameters, which have no units, (n_theta,)."""
        return self.problem.model.to_engine(np.ascontiguousarray(self.theta))

    @cached_property
    def bases(self) -> list[Floats]:
        """What the random effects are in the engine's units, (n_effects, n_effects) a factor."""
        return self.problem.model.basis()

    @cached_property
    def fixed_root(self) -> FixedRoot:
        """The root of the covariance of beta from which its combinations have their variances."""
        return self.problem.fixed_root(self.theta)

    @cached_property
    def undetermined(self) -> Undetermined:
        """The covariance parameters that the data cannot tell apart."""
        return undetermined(self.problem, self.reml)

    @cached_property
    def open_directions(self) -> Floats:
        """What the covariance of beta changes by along directions that REML does not see, (m, n_fixed, n_fixed).

        Over sigma^2, in the coordinates of ``fixed_root.whiten``; m is 0 where the standard errors are determined, as
        in every model that `lmer` accepts.
        """
        found = self.problem.identification
        p = self.n_fixed
        if not self.reml or len(found.contrasts) == len(found.covariance):
            return np.zeros((0, p, p))
        terms, d = self.covariance_derivatives, found.contrasts
        weights = d[:, 1:] - np.outer(d[:, 0], terms.covariance)
        moved = d[:, :1, None] * np.eye(p) + np.einsum("mi,iab->mab", weights, terms.p_hat)
        reach = 1.0 + np.abs(terms.covariance).max()  # how far a variance of this size may move
        return np.asarray(reach * moved)

    def undetermined_rows(self, L: Floats) -> npt.NDArray[np.bool_]:
        """Return which combinations of the fixed effects, the rows of L, have no determined standard error."""
        if not len(self.open_directions):
            return np.zeros(len(L), dtype=bool)
        rows = self.fixed_root.whiten(L)
        moved = np.abs(np.einsum("ra,mab,rb->mr", rows, self.open_directions, rows)).max(axis=0)
        return np.asarray(moved > ROUNDING * np.einsum("ra,ra->r", rows, rows))

    @cached_property
    def covariance_derivatives(self) -> CovarianceDerivatives:
        """What the Kenward-Roger method needs at the optimum of a REML fit; computed when first asked for."""
        return self.problem.covariance_derivatives(self.theta)
