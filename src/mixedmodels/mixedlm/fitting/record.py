"""What a fit was asked for and where it ended, in the user's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixedmodels.fit.held import Holds
from mixedmodels.fit.records import FitState
from mixedmodels.mixedlm.reading.params import MixedLMParams

OURS = "newton"


@dataclass(frozen=True)
class FitRecord:
    """What a fit was asked for and where it ended.

    Attributes
    ----------
    params
        Fixed effects and ratios to the residual variance.
    scale
        Residual variance.
    llf
        Log-likelihood, penalties not counted.
    holds, free
        What was held, and the mask that said so.
    fe_pen, cov_pen
        Penalties.
    method
        Optimisers that ran.
    hist
        What they reported, if that was asked for.
    selected
        Positions of the fixed effects that a penalty did not make zero; None without one.
    regularized
        Arguments of ``fit_regularized``, which then made this fit.
    """

    params: MixedLMParams
    scale: float
    llf: float
    holds: Holds
    free: MixedLMParams | None = None
    fe_pen: Any = None
    cov_pen: Any = None
    method: tuple[str, ...] = (OURS,)
    hist: list[dict[str, Any]] | None = None
    selected: tuple[int, ...] | None = None
    regularized: Mapping[str, Any] | None = None

    @property
    def is_penalized(self) -> bool:
        """Whether a penalty moved the fixed effects or the covariances."""
        return self.fe_pen is not None or self.cov_pen is not None or self.regularized is not None


@dataclass(frozen=True)
class Fit:
    """A fit as numbers, and in the user's terms.

    Attributes
    ----------
    state
        The fitted state.
    record
        What was asked for and found.
    """

    state: FitState
    record: FitRecord

    @property
    def ended(self) -> dict[str, Any]:
        """How the optimiser ended, as statsmodels' ``mle_retvals`` has it."""
        optimum = self.state.optimum
        return {
            "converged": optimum.converged,
            "iterations": optimum.n_iterations,
            "fcalls": optimum.n_evaluations,
            "fopt": 0.5 * optimum.deviance / self.state.design.n_obs,
            "gradient_norm": optimum.gradient_norm,
            "optimizer": self.record.method,
        }
