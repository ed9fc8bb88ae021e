"""A generalised mixed model without some of its rows: fitted again, or in one step of the linear model that it is near.

At the estimates, with s_i and -W_i the first two derivatives of a row's log density in eta, the model is close to a
linear one with responses z = eta + s / W, weights W and the same random effects (Breslow and Clayton 1993, equations 9
to 12). What a deletion does to that model's fixed effects at the same variances and weights is the step; for models
without random effects it is Pregibon's (1981). Dispersions, the distances between
thresholds and chances of zeros are held too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from os import cpu_count
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.subset import take_rows
from mixedmodels.diagnose.deleted_linear import DeletedLinear, left_alone, units_of_factors
from mixedmodels.diagnose.influence import LOST, STOPPED_EARLY, Estimates, Units
from mixedmodels.errors import InferenceError
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.generalized import fit_generalized, off_zero
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState
from mixedmodels.inference.generalized_parameters import GeneralizedMap
from mixedmodels.inference.thresholds import threshold_names, thresholds

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GeneralizedProblem, GlmmState

LEAST_WEIGHT = 1e-8
"""Of a row, relative to the mean; density that is not concave there is taken as nearly flat."""


@dataclass(frozen=True)
class DeletedGeneralized:
    """A generalised mixed model that can be fitted without some of its rows.

    Parameters
    ----------
    state
        The fit.
    """

    state: GlmmState

    @property
    def units(self) -> dict[str, Units]:
        """Levels of the grouping factors."""
        return units_of_factors(self.state.design)

    @property
    def parameters(self) -> list[str]:
        """Names of the variance parameters, thresholds and effects on the chance of a zero."""
        names = [p.name for p in GeneralizedMap(self.state).parameters]
        names += threshold_names(self.state) if isinstance(self.state.family, Ordinal) else ()
        zeros = self.state.problem.zeros
        return names if zeros is None else [*names, *(f"zero_inflation: {name}" for name in zeros.names)]

    @property
    def n_at_once(self) -> int:
        """As many as the engine has threads."""
        return self.state.problem.n_threads or cpu_count() or 1

    def refit(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the estimates from the rows that stay."""
        state, design = self.state, take_rows(self.state.design, rest)
        alone = left_alone(state.design, design)
        if alone is not None:
            raise InferenceError(alone)
        if isinstance(state.family, Ordinal) and len(np.unique(design.y)) < len(np.unique(state.design.y)):
            raise InferenceError("a category of the response has no rows without it")
        problem = state.problem.with_design(design, rest)
        if tuple(problem.model.kept) != state.kept:
            raise InferenceError(LOST)
        start = problem.psi(off_zero(state.theta), state.beta, off_zero(_phi_in(problem, state)))
        without = fit_generalized(problem, start=start, control=state.control)
        if not without.optimum.converged:
            raise InferenceError(STOPPED_EARLY)
        values = GeneralizedMap(without).values(without.psi[None])[0]
        if isinstance(state.family, Ordinal):
            values = np.concatenate([values, thresholds(without)])
        if problem.zeros is not None:
            values = np.concatenate([values, without.zero_effects])
        return Estimates(without.beta, np.sqrt(np.diag(without.cov_beta)), self._away(without.beta), values)

    def step(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the fixed effects from the rows that stay, variances and weights held."""
        near = self._near
        beta = self.state.beta + near.step(rest).beta - near.state.beta
        return Estimates(beta, np.sqrt(np.diag(self.state.cov_beta)), self._away(beta), np.zeros(0))

    def steps_of_rows(self) -> tuple[Floats, Floats]:
        """Return fixed effects and their distance without each row, variances and weights held."""
        near = self._near
        beta = self.state.beta + near.steps_of_rows()[0] - near.state.beta
        return beta, np.array([self._away(each) for each in beta])

    def _away(self, beta: Floats) -> Floats:
        return -self.state.fixed_root.from_estimate(beta)

    @cached_property
    def _near(self) -> DeletedLinear:
        """The linear model that the fit is near, at its variances."""
        state = self.state
        _, slope, curvature = state.problem.model.log_density(np.ascontiguousarray(state.eta), state.phi)
        weights = np.maximum(-curvature, LEAST_WEIGHT * np.abs(curvature).mean())
        y = state.eta + slope / weights
        problem = Problem(replace(state.design, y=y, weights=weights, trials=None), n_threads=state.problem.n_threads)
        beta, covariance, _, b = problem.solve(state.theta, False)
        linear = FitState(
            design=problem.design,
            reml=False,
            control=state.control,
            optimum=state.optimum,
            fixed_names=state.fixed_names,
            kept=state.kept,
            beta=beta,
            cov_beta=covariance,
            sigma=1.0,
            findings=(),
            is_singular=state.is_singular,
            theta=state.theta,
            b=tuple(b),
            problem=problem,
        )
        return DeletedLinear(linear)


def _phi_in(problem: GeneralizedProblem, state: GlmmState) -> Floats:
    """Return the family's parameters of a fit in the columns that another problem has for chances of zeros."""
    if problem.zeros is None:
        return state.phi
    effects = np.linalg.solve(problem.zeros.map, state.zero_effects)
    return np.concatenate([state.phi[: state.family.n_extra], effects])
