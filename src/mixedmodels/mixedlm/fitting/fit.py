"""Fits: our Newton where nothing stands in its way, else an optimiser in the roots of the covariances."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FitError, nearest
from mixedmodels.fit.control import Control
from mixedmodels.fit.findings import fit_findings
from mixedmodels.fit.fit import check_reml, fit_problem, minimize_deviance
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import TRACE_COLUMNS, FitState, Optimum
from mixedmodels.mixedlm import alerts
from mixedmodels.mixedlm.description.design import at_fixed_effects, check_identified
from mixedmodels.mixedlm.description.layout import Layout
from mixedmodels.mixedlm.fitting.constrained import minimize_held
from mixedmodels.mixedlm.fitting.holds import Holds, packed_values, read_holds, structure_of
from mixedmodels.mixedlm.fitting.likelihood import Likelihood, collinear, em_steps, steepest_ascent
from mixedmodels.mixedlm.fitting.objective import Objective
from mixedmodels.mixedlm.fitting.optimizers import METHODS, Minimum, minimize, minimize_certified
from mixedmodels.mixedlm.fitting.penalized import FixedPenalty
from mixedmodels.mixedlm.reading.arguments import check_flag, check_penalty, read_count, read_numbers
from mixedmodels.mixedlm.reading.params import MixedLMParams

if TYPE_CHECKING:
    from mixedmodels.mixedlm.fitting.holds import Hold
    from mixedmodels.mixedlm.model import MixedLM
    from mixedmodels.mixedlm.results import MixedLMResults

OPTIONS = ("gtol", "maxiter", "eps", "maxcor", "ftol", "tol", "disp", "maxls", "min_method")
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
class Task:
    """A model with its holds applied, ready to be fitted.

    Attributes
    ----------
    problem, layout
        The engine's view: held fixed effects are an offset, effects without variance are gone.
    reml
        Restricted likelihood.
    rest
        Holds that the structure does not carry.
    fixed
        All fixed effects, the held ones at their values, (k_fe,).
    free
        Positions of those that are estimated.
    """

    problem: Problem
    layout: Layout
    reml: bool
    rest: tuple[Hold, ...]
    fixed: Floats
    free: tuple[int, ...]

    @property
    def likelihood(self) -> Likelihood:
        """Of the free parameters."""
        return Likelihood(self.problem, self.layout, self.reml)

    @property
    def has_no_variance(self) -> bool:
        """Whether every variance is held at zero; the structure keeps them then."""
        held = {hold.index for hold in self.rest if hold.value == 0}
        return held >= set(np.flatnonzero(self.layout.pack(np.eye(self.layout.k_re), np.ones(self.layout.k_vc))))

    def all_fixed(self, estimated: Floats) -> Floats:
        """Return all fixed effects, (k_fe,), from those estimated."""
        fixed = self.fixed.copy()
        fixed[list(self.free)] = estimated
        return fixed


@dataclass
class _Report:
    """How the optimiser went."""

    status: str = "converged"
    n_iterations: int = 0
    n_evaluations: int = 0
    gradient_norm: float = 0.0
    hist: list[dict[str, Any]] = field(default_factory=list)
    method: tuple[str, ...] = (OURS,)
    seconds: float = 0.0
    estimated: Floats | None = None
    """Penalised fixed effects, which are not those of least squares."""


def fit_model(
    model: MixedLM,
    *,
    start_params: Any,
    reml: bool,
    niter_sa: int,
    niter_em: int,
    do_cg: bool,
    fe_pen: Any,
    cov_pen: Any,
    free: MixedLMParams | None,
    full_output: bool,
    method: str | Sequence[str] | None,
    fixed: Mapping[str | int, float] | None,
    options: dict[str, Any],
) -> MixedLMResults:
    """Return the fit of a model; the arguments are those of ``MixedLM.fit``."""
    from mixedmodels.mixedlm.results import MixedLMResults

    options = known_options(options)
    methods = read_methods(method)
    niter_em, niter_sa = read_count("niter_em", niter_em, 0), read_count("niter_sa", niter_sa, 0)
    check_reml(reml)
    for name, flag in (("do_cg", do_cg), ("full_output", full_output)):
        check_flag(name, flag)
    for name, penalty in (("fe_pen", fe_pen), ("cov_pen", cov_pen)):
        check_penalty(name, penalty)
    start = read_start(model, start_params)
    holds = read_holds(model, free, start, fixed)
    task = make_task(model, holds, reml)
    if niter_em or niter_sa:
        start = improved_start(task, start, niter_em, niter_sa)
    has_start = start_params is not None or bool(niter_em or niter_sa)
    if not do_cg:
        theta = held_theta(task, start)
        state, report = state_at(task, theta, _Report(status="iteration limit")), _Report(status="iteration limit")
    elif task.has_no_variance:
        state, report = without_variance(task, fe_pen)
    elif fe_pen is None and cov_pen is None and not task.rest and methods[0] == OURS:
        state, report = by_newton(task, held_theta(task, start) if has_start else None, options)
    elif task.rest and cov_pen is None and methods == (OURS,):
        state, report = by_constraints(task, start if has_start else None, fe_pen)
    else:
        state, report = by_optimizer(task, start, methods, options, fe_pen, cov_pen)
    record = make_record(model, task, state, holds, report if full_output else replace_hist(report))
    record = replace(record, free=None if free is None else free.copy(), fe_pen=fe_pen, cov_pen=cov_pen)
    if not state.optimum.converged:
        state = alerts.advised(state, alerts.why_not_converged(state.optimum, not do_cg, methods == (OURS,)))
    alerts.tell(state, stacklevel=3)
    return MixedLMResults(state, model, record)


def replace_hist(report: _Report) -> _Report:
    """Return the report without its history."""
    return replace(report, hist=[])


def known_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of optimisers; others, as in statsmodels, are named in a warning."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        warnings.warn(
            f"Argument{'s' if len(unknown) > 1 else ''} {', '.join(unknown)} not used by MixedLM.fit. "
            f"It takes {', '.join(OPTIONS)}.",
            FutureWarning,
            stacklevel=4,
        )
    return {name: value for name, value in options.items() if name in OPTIONS}


def read_methods(method: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the optimisers to try, in order.

    Raises
    ------
    DataError
        If one is unknown.
    """
    chosen = (OURS,) if method is None else tuple(method) if isinstance(method, list | tuple) else (method,)
    known = (OURS, *METHODS)
    if not chosen:
        raise DataError(f"method is empty; leave it out, or name some of {', '.join(known)}.")
    for name in chosen:
        if str(name).lower() not in known:
            raise DataError(f"method {name!r} is not available for MixedLM; there are {', '.join(known)}."
                            f"{nearest(name, known)}")  # fmt: skip
    return tuple(name.lower() for name in chosen)


def read_start(model: MixedLM, start_params: Any) -> MixedLMParams:
    """Return the starting values: ratios to the residual variance; by default the identity.

    Raises
    ------
    DataError
        If a packed vector has another length, or holds anything but finite numbers.
    """
    if start_params is None:
        return MixedLMParams.from_components(np.zeros(model.k_fe), np.eye(model.k_re), vcomp=np.ones(model.k_vc))
    if isinstance(start_params, MixedLMParams):
        return start_params.copy()
    packed = read_numbers("start_params", start_params).ravel()
    n_cov = model.k_re2 + model.k_vc
    if len(packed) not in (n_cov, n_cov + model.k_fe):
        raise DataError(
            f"invalid start_params: {len(packed)} values; this model takes {n_cov} covariance parameters, "
            f"or {n_cov + model.k_fe} with the fixed effects before them."
        )
    if not np.isfinite(packed).all():
        raise DataError(f"start_params must be finite numbers; element {np.isfinite(packed).argmin()} is not.")
    return MixedLMParams.from_packed(packed, model.k_fe, model.k_re, model.use_sqrt, has_fe=len(packed) > n_cov)


def make_task(model: MixedLM, holds: Holds, reml: bool) -> Task:
    """Return the model with its holds applied, checked.

    Raises
    ------
    DesignError
        If the variances cannot be told apart.
    FitError
        If the fixed effects are collinear.
    """
    structure, rest = structure_of(model, holds)
    problem, layout = model._unstructured if structure == model._full_structure else model._build(structure)
    check_identified(problem.design.factors, model.nobs)
    fixed = np.zeros(model.k_fe)
    fixed[list(holds.fixed)] = list(holds.fixed.values())
    free = tuple(j for j in range(model.k_fe) if j not in holds.fixed)
    if holds.fixed:
        problem = Problem(at_fixed_effects(problem.design, fixed, sorted(holds.fixed)))
    if len(problem.model.kept) < len(free):
        raise FitError(collinear(problem))
    return Task(problem, layout, reml, rest, fixed, free)


def improved_start(task: Task, start: MixedLMParams, niter_em: int, niter_sa: int) -> MixedLMParams:
    """Return the start after steps of EM and then of steepest ascent."""
    if task.rest:
        raise DataError("niter_em and niter_sa move every covariance; they cannot hold some of them.")
    if niter_em:
        start = em_steps(task.likelihood, start, niter_em)
    if niter_sa:
        start = steepest_ascent(task.likelihood, start, niter_sa)
    return start


def held_theta(task: Task, start: MixedLMParams) -> Floats:
    """Return theta at the starting values, held ones in place.

    Raises
    ------
    DataError
        If they are not positive semidefinite.
    """
    packed = packed_values(task.rest, task.layout.pack(start.cov_re, start.vcomp), 1.0)
    theta = task.layout.theta(*task.layout.unpack(packed))
    if theta is None:
        raise DataError("start_params must have a positive semidefinite cov_re and non-negative vcomp.")
    return theta


def without_variance(task: Task, fe_pen: Any) -> tuple[FitState, _Report]:
    """Return least squares, perhaps penalised: every variance is held at zero."""
    theta, report = np.zeros(task.layout.n_theta), _Report()
    if fe_pen is None:
        state = state_at(task, theta, report)
    else:
        report.estimated = FixedPenalty(task, fe_pen).fixed(*task.layout.covariances(theta))
        state = penalized_state(task, theta, report.estimated, report)
    # Nothing was found to be singular: it was asked for.
    return replace(state, is_singular=False, findings=task.problem.design.findings), report


def by_newton(task: Task, start: Floats | None, options: dict[str, Any]) -> tuple[FitState, _Report]:
    """Return the fit by the engine, from some theta where one is given, and from its own starts."""
    control = Control(max_iterations=options["maxiter"]) if "maxiter" in options else Control()
    state = fit_problem(task.problem, reml=task.reml, start=start, control=control)
    optimum = state.optimum
    hist = {
        "method": OURS,
        "fopt": 0.5 * optimum.deviance / task.problem.design.n_obs,
        "iterations": optimum.n_iterations,
        "fcalls": optimum.n_evaluations,
        "converged": optimum.converged,
        "message": optimum.status,
        "trace": optimum.steps,
    }
    return state, _Report(optimum.status, hist=[hist])


def by_constraints(task: Task, start: MixedLMParams | None, fe_pen: Any) -> tuple[FitState, _Report]:
    """Return the fit with covariances held at values other than zero."""
    began = perf_counter()
    penalty = None if fe_pen is None else FixedPenalty(task, fe_pen)
    found = minimize_held(task.likelihood, task.rest, start, penalty)
    report = _Report(
        "converged" if found.converged else "no further decrease",
        found.n_iterations,
        found.n_evaluations,
        found.gradient_norm,
        [
            {
                "fopt": 0.5 * found.deviance / task.problem.design.n_obs,
                "iterations": found.n_iterations,
                "fcalls": found.n_evaluations,
                "converged": found.converged,
            }
        ],
        seconds=perf_counter() - began,
    )
    # With variances held in natural units the residual variance is not at its maximum for these ratios.
    is_natural = any(not hold.is_ratio for hold in task.rest)
    if penalty is not None:
        scale = found.scale if is_natural else None
        report.estimated = penalty.fixed(*task.layout.covariances(found.theta), scale)
        return penalized_state(task, found.theta, report.estimated, report, scale), report
    state = state_at(task, found.theta, report)
    return _with_scale(state, found.scale, found.deviance) if is_natural else state, report


def _with_scale(state: FitState, scale: float, deviance: float) -> FitState:
    ratio = scale / state.sigma**2
    optimum = replace(state.optimum, deviance=deviance)
    return replace(state, sigma=float(np.sqrt(scale)), cov_beta=state.cov_beta * ratio, optimum=optimum)


def by_optimizer(
    task: Task,
    start: MixedLMParams,
    methods: tuple[str, ...],
    options: dict[str, Any],
    fe_pen: Any,
    cov_pen: Any,
) -> tuple[FitState, _Report]:
    """Return the fit by scipy's optimisers, penalties subtracted from the log-likelihood.

    Without a name, BFGS; each method starts from the same values and the best end is kept. Where nothing is penalised
    or held, our Newton goes on from there.
    """
    began = perf_counter()
    objective = Objective(task, fe_pen, cov_pen)
    x0, named = objective.start(start), tuple(name for name in methods if name != OURS)
    if fe_pen is None and cov_pen is None and not task.rest:
        best = minimize(objective, x0, named, options, lambda x: engine_gain(task, objective.theta(x)))
        return newton_from(task, best, objective.theta(best.x), options)
    defaults = {} if named else {"gtol": 1e-8, "maxiter": 500}
    best = minimize_certified(objective, x0, named or ("bfgs",), {**defaults, **options})
    report = _Report(
        best.status,
        best.n_iterations,
        best.n_evaluations,
        best.gradient_norm,
        best.hist,
        best.tried,
        perf_counter() - began,
    )
    theta = objective.theta(best.x)
    if fe_pen is None:
        return state_at(task, theta, report), report
    estimated = FixedPenalty(task, fe_pen).fixed(*task.layout.covariances(theta))
    report.estimated = estimated
    return penalized_state(task, theta, estimated, report), report


def engine_gain(task: Task, theta: Floats) -> float:
    """Return what the engine's next step from some theta would gain in -2 log-likelihood."""
    step = minimize_deviance(task.problem, task.reml, theta, Control(max_iterations=1, n_starts=1)).trace
    return float(step[0, TRACE_COLUMNS.index("predicted_decrease")])


def newton_from(task: Task, best: Minimum, theta: Floats, options: dict[str, Any]) -> tuple[FitState, _Report]:
    """Return the fit by our Newton from where optimisers ended: one step at an optimum, else all the way there."""
    state, report = by_newton(task, theta, options)
    optimum = state.optimum
    total = replace(
        optimum,
        n_iterations=best.n_iterations + optimum.n_iterations,
        n_evaluations=best.n_evaluations + optimum.n_evaluations,
    )
    report.hist, report.method = [*best.hist, *report.hist], (*best.tried, *report.method)
    return replace(state, optimum=total), report


def state_at(task: Task, theta: Floats, report: _Report) -> FitState:
    """Return the fitted state at some theta, fixed effects by generalised least squares."""
    problem = task.problem
    model = problem.model
    beta, unscaled_cov, sigma, b = model.solve(theta, task.reml)
    design, kept = problem.design, tuple(model.kept)
    optimum = Optimum(
        theta=theta,
        deviance=model.deviance(theta, task.reml),
        status=report.status,
        gradient_norm=report.gradient_norm,
        n_iterations=report.n_iterations,
        n_evaluations=report.n_evaluations,
        steps=np.zeros((0, 6)),
        other_optima=(),
        seconds={**problem.seconds, "optimizer": report.seconds, "solution": 0.0},
    )
    cov_re, vcomp = task.layout.covariances(theta)
    singular = task.likelihood.is_singular(task.layout.pack(cov_re, vcomp))
    return FitState(
        problem=problem,
        design=design,
        reml=task.reml,
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
        findings=(*design.findings, *fit_findings(design, kept, optimum, singular)),
    )


def penalized_state(
    task: Task, theta: Floats, estimated: Floats, report: _Report, scale: float | None = None
) -> FitState:
    """Return the state at fixed effects that are not those of least squares: they are its offset.

    Parameters
    ----------
    task, theta, estimated, report
        The model, its covariances as theta, the fixed effects that are not held, and how they were found.
    scale
        Residual variance; None for that of the largest likelihood.
    """
    cov_re, vcomp = task.layout.covariances(theta)
    likelihood = task.likelihood
    largest = likelihood.scale(cov_re, vcomp, estimated)
    llf = likelihood.value(cov_re, vcomp, estimated)
    scale = largest if scale is None else scale
    away = np.log(scale / largest)
    llf -= 0.5 * likelihood.dof * float(np.exp(-away) - 1 + away)
    known = replace(task, problem=Problem(at_fixed_effects(task.problem.design, estimated)), reml=False)
    state = state_at(known, theta, report)
    optimum = replace(state.optimum, deviance=-2 * llf)
    return replace(state, sigma=float(np.sqrt(scale)), reml=task.reml, optimum=optimum)


def make_record(model: MixedLM, task: Task, state: FitState, holds: Holds, report: _Report) -> FitRecord:
    """Return what the fit found, in the user's order of parameters."""
    cov_re, vcomp = task.layout.covariances(state.theta)
    estimated = state.beta if report.estimated is None else report.estimated
    params = MixedLMParams.from_components(task.all_fixed(estimated), cov_re, vcomp=vcomp)
    params.reml = task.reml
    return FitRecord(
        params, state.sigma**2, -0.5 * state.optimum.deviance, holds, method=report.method, hist=report.hist or None
    )
