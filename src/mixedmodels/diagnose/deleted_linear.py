"""A linear mixed model without some of its rows: fitted again, or solved again at the same theta and sigma."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.subset import take_rows
from mixedmodels.diagnose.hat_values import hat_values, remaining
from mixedmodels.diagnose.influence import LOST, Estimates, Units
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import random_part
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.sampled_fit import refuse_sampled
from mixedmodels.inference.variance_parameters import covariance_map, estimate

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState


@dataclass(frozen=True)
class DeletedLinear:
    """A linear mixed model that can be fitted without some of its rows.

    Parameters
    ----------
    state
        The fit.

    Raises
    ------
    InferenceError
        If it has absorbed fixed effects, or was fitted by sampling.
    """

    state: FitState

    def __post_init__(self) -> None:
        refuse_absorbed(self.state.design.absorbed, "influence()")
        refuse_sampled(self.state, "influence()")

    @property
    def units(self) -> dict[str, Units]:
        """Levels of the grouping factors."""
        return units_of_factors(self.state.design)

    @property
    def parameters(self) -> list[str]:
        """Names of the variance parameters."""
        return [p.name for p in covariance_map(self.state).parameters]

    @property
    def n_at_once(self) -> int:
        """One: a refit from where the fit is takes the engine less time than what is around it."""
        return 1

    def refit(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the estimates from the rows that stay."""
        problem = self._problem(rest)
        alone = left_alone(self.state.design, problem.design)
        if alone is not None:
            raise InferenceError(alone)
        without = _refit(self.state, problem)
        own, psi = covariance_map(without), estimate(without)
        return Estimates(
            without.beta,
            np.sqrt(np.diag(without.cov_beta)),
            self.state.fixed_root.distance_to(without.fixed_root) / self.state.sigma,
            np.array([own.value(psi, p) for p in own.parameters]),
        )

    def step(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the fixed effects from the rows that stay at the same theta."""
        state, problem = self.state, self._problem(rest)
        away = state.fixed_root.distance_to(problem.fixed_root(state.theta)) / state.sigma
        beta = problem.solve(state.theta, state.reml)[0]
        return Estimates(beta, np.sqrt(np.diag(state.cov_beta)), away, np.zeros(0))

    def _problem(self, rest: npt.NDArray[np.intp]) -> Problem:
        problem = Problem(take_rows(self.state.design, rest), n_threads=self.state.problem.n_threads)
        if tuple(problem.model.kept) != self.state.kept:
            raise InferenceError(LOST)
        return problem

    def steps_of_rows(self) -> tuple[Floats, Floats]:
        """b - b_i = C X'V^-1 e_i (P y)_i / P_ii with P_ii = w (1 - h_i) and P y = w times the conditional residual.

        C = sigma^2 K K', so that K^-1 (b - b_i) comes from columns X K, in which a far origin costs no digits.
        """
        state, design = self.state, self.state.design
        w = np.ones(design.n_obs) if design.weights is None else design.weights
        X = np.ascontiguousarray(state.fixed_root.whiten(design.X[:, list(state.kept)]))
        bare = Problem(replace(design, X=np.empty((design.n_obs, 0)), x_names=(), offset=None))
        VX = np.empty_like(X)
        for j, column in enumerate(X.T):
            b = bare.with_response(np.ascontiguousarray(column)).solve(state.theta, False)[3]
            VX[:, j] = w * (column - sum(random_part(f, modes) for f, modes in zip(design.factors, b, strict=True)))
        delta = residuals(state) / remaining(hat_values(state))
        whitened = delta[:, None] * VX
        change = whitened @ state.fixed_root.whiten(np.eye(state.n_fixed)).T
        return state.beta - change, whitened / state.sigma


def units_of_factors(design: Design) -> dict[str, Units]:
    """Return the levels of the grouping factors of a design as what can be left out."""
    return {factor.name: Units(factor.levels, factor.codes) for factor in design.factors}


def left_alone(whole: Design, rest: Design) -> str | None:
    """Return why no variance can be estimated if a grouping factor has one level left; else None."""
    pairs = zip(whole.factors, rest.factors, strict=True)
    name = next((left.name for full, left in pairs if left.n_levels == 1 < full.n_levels), None)
    return None if name is None else f"{name} has one level only without it, and a variance needs at least two"


def _refit(state: FitState, problem: Problem) -> FitState:
    if state.design.is_structured:  # whose parameters are not theta
        return fit_problem(problem, reml=state.reml, control=state.control)
    # zeros are left, so that they can grow again
    start = np.where(state.theta == 0, 0.05, state.theta)
    warm = fit_problem(problem, reml=state.reml, control=state.control, start=start)
    if not warm.optimum.converged or warm.is_singular or state.is_singular:
        cold = fit_problem(problem, reml=state.reml, control=state.control)
        return cold if cold.optimum.deviance < warm.optimum.deviance else warm
    return warm
