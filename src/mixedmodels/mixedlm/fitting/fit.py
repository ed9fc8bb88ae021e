"""Fits: our Newton where nothing stands in its way, else an optimiser in the roots of the covariances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from mixedmodels.design.known_effects import with_known_effects
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FitError
from mixedmodels.fit.ascent import em_steps, steepest_ascent
from mixedmodels.fit.constrained import MAX_ITERATIONS, minimize_held
from mixedmodels.fit.control import Control
from mixedmodels.fit.fit import fit_problem, minimize_deviance
from mixedmodels.fit.given import Search, penalized_state, state_at, with_open_covariances, with_scale
from mixedmodels.fit.held import HeldModel, Holds, with_held_values
from mixedmodels.fit.identification import check_identified
from mixedmodels.fit.likelihood import collinear
from mixedmodels.fit.objective import Objective
from mixedmodels.fit.penalized import BetaPenalty
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import TRACE_COLUMNS, FitState
from mixedmodels.mixedlm.description.design import check_factors
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.convergence import advised, why_not_converged
from mixedmodels.mixedlm.fitting.holds import structure_of
from mixedmodels.mixedlm.fitting.optimizers import Minimum, minimize, minimize_certified
from mixedmodels.mixedlm.fitting.penalties import PenaltyOnCoefficients
from mixedmodels.mixedlm.fitting.record import OURS, Fit, FitRecord
from mixedmodels.mixedlm.fitting.request import FitRequest
from mixedmodels.mixedlm.reading.params import MixedLMParams

CONSTRAINED = "slsqp"
"""scipy's name of what holds covariances."""


@dataclass(frozen=True)
class _Report:
    """How the optimisers went: their names, what each reported, and penalised fixed effects where there are some."""

    method: tuple[str, ...] = (OURS,)
    hist: list[dict[str, Any]] = field(default_factory=list)
    estimated: Floats | None = None


def fit_model(model: ModelDescription, asked: FitRequest) -> Fit:
    """Return the fit of a model."""
    held = hold(model, asked.holds, asked.reml)
    S = asked.start.get_packed(use_sqrt=False)
    if asked.niter_em or asked.niter_sa:
        S = improved_start(held, S, asked.niter_em, asked.niter_sa)
    start = S if asked.has_start or asked.niter_em or asked.niter_sa else None
    is_default, is_penalized = asked.methods == (OURS,), asked.fe_pen is not None or asked.cov_pen is not None
    if not asked.do_cg:
        state, report = state_at(held, held_theta(held, S), Search("iteration limit")), _Report()
    elif held.has_no_variance:
        state, report = without_variance(held, asked.fe_pen)
    elif not is_penalized and not held.rest and asked.methods[0] == OURS:
        state, report = by_newton(held, None if start is None else held_theta(held, S), asked.options)
    elif held.rest and asked.cov_pen is None and is_default:
        state, report = by_constraints(held, start, asked.fe_pen, asked.options)
    else:
        state, report = by_optimizer(held, S, asked, PenaltyOnCoefficients.of(model, asked.cov_pen))
    record = make_record(held, state, asked, report)
    if not state.optimum.converged:
        state = advised(state, why_not_converged(state.optimum, not asked.do_cg, is_default))
    return Fit(state, record)


def hold(model: ModelDescription, holds: Holds, reml: bool) -> HeldModel:
    """Return the model with its holds applied, checked.

    Raises
    ------
    DesignError
        If the variances cannot be told apart.
    CollinearColumnsError
        If the fixed effects are collinear.
    """
    structure, rest = structure_of(model, holds)
    problem, layout = model.build(structure)
    check_factors(problem.design.factors, model.nobs)
    beta = np.zeros(model.k_fe)
    beta[list(holds.beta)] = list(holds.beta.values())
    if holds.beta:
        problem = Problem(with_known_effects(problem.design, beta, sorted(holds.beta)))
    if len(problem.model.kept) < len(holds.estimated):
        raise collinear(problem)
    if not rest and problem.design.n_obs > len(holds.estimated):
        check_identified(problem, reml)
    return HeldModel(problem, layout.covariances, reml, rest, beta, tuple(holds.estimated))


def improved_start(held: HeldModel, S: Floats, niter_em: int, niter_sa: int) -> Floats:
    """Return the start after steps of EM and then of steepest ascent."""
    if held.rest:
        raise DataError("niter_em and niter_sa move every covariance; they cannot hold some of them.")
    if niter_em:
        S = em_steps(held.likelihood, S, niter_em)
    return steepest_ascent(held.likelihood, S, niter_sa) if niter_sa else S


def held_theta(held: HeldModel, S: Floats) -> Floats:
    """Return theta at the starting values, held ones in place.

    Raises
    ------
    DataError
        If they are not positive semidefinite.
    """
    theta = held.covariances.theta(with_held_values(held.rest, S, 1.0))
    if theta is None:
        raise DataError("start_params must have a positive semidefinite cov_re and non-negative vcomp.")
    return theta


def without_variance(held: HeldModel, fe_pen: Any) -> tuple[FitState, _Report]:
    """Return least squares, perhaps penalised: every variance is held at zero."""
    theta, estimated = np.zeros(held.covariances.n_theta), None
    if fe_pen is None:
        state = state_at(held, theta, Search())
    else:
        estimated = BetaPenalty(held, fe_pen).best(held.covariances.packed(theta))
        state = penalized_state(held, theta, estimated, Search())
    # Nothing was found to be singular: it was asked for.
    state = replace(state, is_singular=False, findings=held.problem.design.findings)
    return state, _Report(estimated=estimated)


def by_newton(held: HeldModel, start: Floats | None, options: Mapping[str, Any]) -> tuple[FitState, _Report]:
    """Return the fit by the engine, from some theta where one is given, and from its own starts."""
    control = Control(max_iterations=options["maxiter"]) if "maxiter" in options else Control()
    state = fit_problem(held.problem, reml=held.reml, start=start, control=control)
    optimum = state.optimum
    hist = {
        "method": OURS,
        "fopt": 0.5 * optimum.deviance / held.problem.design.n_obs,
        "iterations": optimum.n_iterations,
        "fcalls": optimum.n_evaluations,
        "converged": optimum.converged,
        "message": optimum.status,
        "trace": optimum.steps,
    }
    return state, _Report(hist=[hist])


def by_constraints(
    held: HeldModel, start: Floats | None, fe_pen: Any, options: Mapping[str, Any]
) -> tuple[FitState, _Report]:
    """Return the fit with covariances held at values other than zero."""
    began = perf_counter()
    penalty = None if fe_pen is None else BetaPenalty(held, fe_pen)
    found = minimize_held(held.likelihood, held.rest, start, penalty, options.get("maxiter", MAX_ITERATIONS))
    is_short = found.n_iterations >= options.get("maxiter", MAX_ITERATIONS)
    search = Search(
        "converged" if found.converged else "iteration limit" if is_short else "no further decrease",
        found.gradient_norm,
        found.n_iterations,
        found.n_evaluations,
        perf_counter() - began,
    )
    hist = {
        "method": CONSTRAINED,
        "fopt": 0.5 * found.deviance / held.problem.design.n_obs,
        "iterations": found.n_iterations,
        "fcalls": found.n_evaluations,
        "converged": found.converged,
    }
    # With variances held in natural units the residual variance is not at its maximum for these ratios.
    is_natural = any(not hold.is_ratio for hold in held.rest)
    if penalty is not None:
        scale = found.scale if is_natural else None
        estimated = penalty.best(held.covariances.packed(found.theta), scale)
        state = penalized_state(held, found.theta, estimated, search, scale)
        return state, _Report((CONSTRAINED,), [hist], estimated)
    state = state_at(held, found.theta, search)
    return with_scale(state, found.scale, found.deviance) if is_natural else state, _Report((CONSTRAINED,), [hist])


def by_optimizer(
    held: HeldModel, S: Floats, asked: FitRequest, cov_pen: PenaltyOnCoefficients | None
) -> tuple[FitState, _Report]:
    """Return the fit by scipy's optimisers, penalties subtracted from the log-likelihood.

    Without a name, BFGS; each method starts from the same values and the best end is kept. Where nothing is penalised
    or held, our Newton goes on from there.
    """
    began = perf_counter()
    objective, options = Objective(held, asked.fe_pen, cov_pen), dict(asked.options)
    x0, named = objective.start(S), tuple(name for name in asked.methods if name != OURS)
    if asked.fe_pen is None and asked.cov_pen is None and not held.rest:
        best = minimize(objective, x0, named, options, lambda x: engine_gain(held, objective.theta(x)))
        return newton_from(held, best, objective.theta(best.x), options)
    defaults = {} if named else {"gtol": 1e-8, "maxiter": 500}
    best = minimize_certified(objective, x0, named or ("bfgs",), {**defaults, **options})
    search = Search(best.status, best.gradient_norm, best.n_iterations, best.n_evaluations, perf_counter() - began)
    theta = objective.theta(best.x)
    if objective.penalty is None:
        return state_at(held, theta, search), _Report(best.tried, best.hist)
    estimated = objective.penalty.best(held.covariances.packed(theta))
    state = penalized_state(held, theta, estimated, search)
    report = _Report(best.tried, best.hist, estimated)
    return (with_open_covariances(state, held) if cov_pen is None else state), report


def engine_gain(held: HeldModel, theta: Floats) -> float:
    """Return what the engine's next step from some theta would gain in -2 log-likelihood."""
    try:
        step = minimize_deviance(held.problem, held.reml, theta, Control(max_iterations=1, n_starts=1)).trace
    except FitError:  # it overflows there
        return np.inf
    return float(step[0, TRACE_COLUMNS.index("predicted_decrease")])


def newton_from(held: HeldModel, best: Minimum, theta: Floats, options: Mapping[str, Any]) -> tuple[FitState, _Report]:
    """Return the fit by our Newton from where optimisers ended: one step at an optimum, else all the way there."""
    state, report = by_newton(held, theta, options)
    optimum = state.optimum
    total = replace(
        optimum,
        n_iterations=best.n_iterations + optimum.n_iterations,
        n_evaluations=best.n_evaluations + optimum.n_evaluations,
    )
    return replace(state, optimum=total), _Report((*best.tried, *report.method), [*best.hist, *report.hist])


def make_record(held: HeldModel, state: FitState, asked: FitRequest, report: _Report) -> FitRecord:
    """Return what the fit found, in the user's order of parameters."""
    estimated = state.beta if report.estimated is None else report.estimated
    packed = np.concatenate([held.all_beta(estimated), held.covariances.packed(state.theta)])
    params = MixedLMParams.from_packed(packed, asked.start.k_fe, asked.start.k_re, use_sqrt=False, has_fe=True)
    params.reml = held.reml
    return FitRecord(
        params,
        state.sigma**2,
        -0.5 * state.optimum.deviance,
        asked.holds,
        free=None if asked.free is None else asked.free.copy(),
        fe_pen=asked.fe_pen,
        cov_pen=asked.cov_pen,
        method=report.method,
        hist=report.hist if asked.full_output and report.hist else None,
    )
