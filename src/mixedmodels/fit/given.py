"""The fitted state at covariances that something else than the engine's optimiser found, or that were given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixedmodels.design.known_effects import with_known_effects
from mixedmodels.design.records import Floats
from mixedmodels.fit.control import Control
from mixedmodels.fit.findings import fit_findings
from mixedmodels.fit.held import HeldModel
from mixedmodels.fit.identification import unidentified
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState, Optimum


@dataclass(frozen=True)
class Search:
    """How covariances were looked for.

    Attributes
    ----------
    status
        As in ``Optimum``.
    gradient_norm, n_iterations, n_evaluations, seconds
        Of the search.
    """

    status: str = "converged"
    gradient_norm: float = 0.0
    n_iterations: int = 0
    n_evaluations: int = 0
    seconds: float = 0.0


def state_at(held: HeldModel, theta: Floats, search: Search) -> FitState:
    """Return the fitted state at some theta, fixed effects by generalised least squares."""
    problem, model = held.problem, held.problem.model
    beta, unscaled_cov, sigma, b = problem.solve(theta, held.reml)
    design, kept = problem.design, tuple(model.kept)
    optimum = Optimum(
        theta=theta,
        deviance=problem.deviance(theta, held.reml),
        status=search.status,
        gradient_norm=search.gradient_norm,
        n_iterations=search.n_iterations,
        n_evaluations=search.n_evaluations,
        steps=np.zeros((0, 6)),
        other_optima=(),
        seconds={**problem.seconds, "optimizer": search.seconds, "solution": 0.0},
    )
    singular = held.likelihood.is_singular(held.covariances.packed(theta))
    return FitState(
        problem=problem,
        design=design,
        reml=held.reml,
        control=Control(),
        optimum=optimum,
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=beta,
        cov_beta=sigma**2 * unscaled_cov,
        sigma=sigma,
        theta=theta,
        b=tuple(b),
        is_singular=singular,
        findings=(*design.findings, *fit_findings(design, kept, model.nearly_dependent, optimum, singular)),
    )


def with_open_covariances(state: FitState, held: HeldModel) -> FitState:
    """Return the state with the finding that covariances cannot be told apart, where none is held."""
    if held.rest:
        return state
    return replace(state, findings=(*state.findings, *unidentified(held.problem, held.reml)))


def with_scale(state: FitState, scale: float, deviance: float) -> FitState:
    """Return the state with another residual variance than the most likely one at its ratios."""
    ratio = scale / state.sigma**2
    optimum = replace(state.optimum, deviance=deviance)
    return replace(state, sigma=float(np.sqrt(scale)), cov_beta=state.cov_beta * ratio, optimum=optimum)


def penalized_state(
    held: HeldModel, theta: Floats, estimated: Floats, search: Search, scale: float | None = None
) -> FitState:
    """Return the state at fixed effects that are not those of least squares: they are its offset.

    Parameters
    ----------
    held, theta, estimated, search
        The model, its covariances as theta, the fixed effects that are not held, and how they were found.
    scale
        Residual variance; None for that of the largest likelihood.
    """
    S, likelihood = held.covariances.packed(theta), held.likelihood
    largest = likelihood.scale(S, estimated)
    llf = likelihood.value(S, estimated)
    scale = largest if scale is None else scale
    away = np.log(scale / largest)
    llf -= 0.5 * likelihood.dof * float(np.exp(-away) - 1 + away)
    known = replace(held, problem=Problem(with_known_effects(held.problem.design, estimated)), reml=False)
    state = state_at(known, theta, search)
    optimum = replace(state.optimum, deviance=-2 * llf)
    return replace(state, sigma=float(np.sqrt(scale)), reml=held.reml, optimum=optimum)
