"""From a problem to a fitted state: minimise, solve, and say what was noticed."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.errors import FitError
from mixedmodels.fit.control import Control
from mixedmodels.fit.findings import fit_findings, small_residual
from mixedmodels.fit.identification import check_identified, unidentified
from mixedmodels.fit.records import FitState, Optimum
from mixedmodels.fit.sampled_fit import SampledProblem, fit_sampled
from mixedmodels.fit.structured_fit import (
    StructuredMinimum,
    StructuredState,
    check_structures_identified,
    minimize_structured,
    structured_findings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels._engine import Minimum
    from mixedmodels.fit.problem import Problem

DEFAULT = Control()
"""The limits where the user sets none."""

NO_MINIMUM = "no minimum"
"""Where a criterion that falls without bound was left."""

STATUS = ("converged", "iteration limit", "no further decrease", NO_MINIMUM)
"""What the engine's codes mean, the last one generalised models'; it raises where the user interrupts."""


def fit_problem(
    problem: Problem, *, reml: bool, start: npt.ArrayLike | None = None, control: Control | None = None
) -> FitState:
    """Return the fitted state at the minimum of the deviance.

    Parameters
    ----------
    problem
        The deviance to minimise.
    reml
        Restricted maximum likelihood; False for maximum likelihood.
    start
        First theta, (n_theta,) in the order of ``design.theta_names``; None lets the engine choose, from moments.
    control
        Limits of the optimiser.

    Raises
    ------
    FitError
        If the likelihood is unbounded, or an argument is not what it should be.
    """
    control = check_control(control)
    check_reml(reml)
    return _fitted(problem.with_threads(control.n_threads), reml, start, control)


def fit_identified(
    problem: Problem, *, reml: bool, start: npt.ArrayLike | None = None, control: Control | None = None
) -> FitState:
    """Return `fit_problem`'s state of a model that is new, and so may have a variance that REML cannot see.

    Parameters
    ----------
    problem, reml, start, control
        As for `fit_problem`.

    Raises
    ------
    DesignError
        If a random effect is zero in every row, or the fixed part leaves REML nothing to estimate its variance from.
    FitError
        As for `fit_problem`.
    """
    control = check_control(control)
    check_reml(reml)
    problem = problem.with_threads(control.n_threads)
    if problem.design.is_structured:
        check_structures_identified(problem, reml)
    elif not isinstance(problem, SampledProblem):
        check_identified(problem, reml)
    return _fitted(problem, reml, start, control)


def _fitted(problem: Problem, reml: bool, start: npt.ArrayLike | None, control: Control) -> FitState:
    if isinstance(problem, SampledProblem):
        return fit_sampled(problem, reml, start, control)
    model = problem.model
    began = perf_counter()
    structured = problem.design.is_structured
    minimum = (minimize_structured if structured else minimize_deviance)(problem, reml, start, control)
    optimized = perf_counter()
    theta = minimum.theta
    beta, unscaled_cov, sigma, b = problem.solve(theta, reml)
    seconds = {**problem.seconds, "optimizer": optimized - began, "solution": perf_counter() - optimized}
    optimum = Optimum(
        theta=theta,
        deviance=minimum.deviance,
        status=STATUS[minimum.status],
        gradient_norm=minimum.gradient_norm,
        n_iterations=minimum.n_iterations,
        n_evaluations=minimum.n_evaluations,
        steps=minimum.trace,
        other_optima=tuple(minimum.other_optima),
        seconds=seconds,
    )
    design, kept = problem.design, tuple(model.kept)
    fixed_names = tuple([design.x_names[j] for j in kept])
    make: Callable[..., FitState] = FitState
    if isinstance(minimum, StructuredMinimum):
        make = partial(StructuredState, coordinates=minimum.coordinates)
    return make(
        problem=problem,
        design=design,
        reml=reml,
        control=control,
        optimum=optimum,
        fixed_names=fixed_names,
        kept=kept,
        beta=beta,
        cov_beta=sigma**2 * unscaled_cov,
        sigma=sigma,
        theta=theta,
        b=tuple(b),
        absorbed_effects=problem.absorbed_effects(theta, reml),
        is_singular=minimum.singular,
        findings=(
            *design.findings,
            *fit_findings(design, kept, model.nearly_dependent, optimum, minimum.singular and not structured),
            *structured_findings(problem, reml, minimum),
            *small_residual(model.spread(beta), sigma),
            *(() if structured else unidentified(problem, reml)),
        ),
    )


def check_control(control: Control | None) -> Control:
    """Return the limits of the optimiser.

    Raises
    ------
    FitError
        They are no ``Control``.
    """
    if control is not None and not isinstance(control, Control):
        raise FitError(f"control is {control!r}; it must be a Control, such as Control(max_iterations=500).")
    return DEFAULT if control is None else control


def check_reml(reml: object) -> None:
    """``reml`` must be True or False.

    Raises
    ------
    FitError
        It is not.
    """
    if not isinstance(reml, bool | np.bool_):
        raise FitError(f"reml is {reml!r}; it must be True for REML or False for maximum likelihood.")


def minimize_deviance(problem: Problem, reml: bool, start: npt.ArrayLike | None, control: Control) -> Minimum:
    """Return the engine's minimum.

    Raises
    ------
    FitError
        If the engine finds the likelihood unbounded.
    """
    theta = None if start is None else problem.check_theta(start)
    try:
        return problem.model.minimize(reml, theta, control.max_iterations, control.n_starts)
    except ValueError as error:
        raise FitError(f"{problem.design.formula.text!r} cannot be fitted to these data: {error}.") from error
