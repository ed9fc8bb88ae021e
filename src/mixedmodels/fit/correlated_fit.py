"""From a problem with correlated residuals and random effects to its fitted state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels._engine import minimize_called
from mixedmodels.covariance.packed import cholesky_root
from mixedmodels.covariance.packed_lower import lower_triangle
from mixedmodels.design.records import Finding
from mixedmodels.errors import FitError
from mixedmodels.fit.control import Control, check_starts
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.coupled import CoupledProblem
from mixedmodels.fit.findings import aliased_columns, nearly_aliased_columns, not_converged, unlike_columns
from mixedmodels.fit.fit import STATUS, check_control, check_reml
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.marginal_fit import MarginalState, fit_marginal
from mixedmodels.fit.records import MixedFit, Optimum
from mixedmodels.fit.subjects import by_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixedmodels.covariance.residual import Parameter
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal import Evaluation, MarginalProblem

SINGULAR = 1e-8
"""Variance of a combination of effects, relative to the largest or to that of the response, that counts as none."""

ROUNDING = 1e-9
"""Change of the criterion that counts as none."""

SAME_OPTIMUM = 1e-4
"""Difference of criteria from which two ends of walks are two optima."""

FLAT = 1e-7
"""Eigenvalue of the expected information, scaled to a unit diagonal, that counts as none."""

NOT_IDENTIFIED = "not identified"


@dataclass(frozen=True)
class CorrelatedState(MarginalState, MixedFit):
    """A fitted model whose residuals have a structure, with random effects beside them or none.

    Attributes
    ----------
    problem
        The criterion; what the engine holds of it is formed again after unpickling.
    """

    problem: CorrelatedProblem

    @property
    def n_covariance(self) -> int:
        """Parameters of the covariance, those of random effects among them."""
        return self.problem.covariance.n_coordinates

    @cached_property
    def flat_directions(self) -> Floats:
        """Directions of the coordinates in which the likelihood is flat, (n, K)."""
        return _flat_directions(self.slopes.expected)

    @property
    def n_determined(self) -> int:
        """Parameters that the data determine."""
        return self.n_params - len(self.flat_directions)

    @property
    def residual_covariance(self) -> Floats:
        """Sigma of each group, (G, V, V), of rows of weight one where variance functions are one, user's units.

        Raises
        ------
        InferenceError
            If subjects have no visits in common.
        """
        return np.asarray(self.problem.model.scale**2 * self.problem.of_visits(self.point))

    @property
    def parameter_groups(self) -> pd.Index:
        """One without a name: parameters say their group themselves."""
        return pd.Index([""])

    @cached_property
    def parameters(self) -> list[list[Parameter]]:
        """Parameters of the residuals, all in one list; standard deviations in units of the scaled problem."""
        return self.problem.covariance.parameters(self.point)

    @cached_property
    def effects_covariance(self) -> list[Floats]:
        """Covariance of the random effects of each factor, (n_effects, n_effects), user's units."""
        return effects_covariance(self.problem, self.point)

    def conditional_covariance(self) -> list[Floats]:
        """Return Var(b | y) of each level, (n_levels, n_effects, n_effects) a factor, given the fixed effects."""
        return _conditional_covariance(self)

    def __repr__(self) -> str:
        method = "REML" if self.reml else "ML"
        return f"<CorrelatedState: {self.design.formula.text}; {method}, {self.design.n_obs} observations>"


def fit_correlated(problem: CorrelatedProblem, *, reml: bool, control: Control | None = None) -> CorrelatedState:
    """Return the fitted state at the minimum of the deviance.

    Parameters
    ----------
    problem
        The criterion to minimise.
    reml
        Restricted maximum likelihood; False for maximum likelihood.
    control
        Limits of the optimiser.

    Raises
    ------
    DesignError
        If the data do not suit the model.
    FitError
        If the likelihood cannot be evaluated, or an argument is not what it should be.
    """
    control = check_control(control)
    check_reml(reml)
    model = problem.model
    began = perf_counter()
    last, optimum = _minimum(problem, reml, control)
    optimized = perf_counter()
    known = problem.known_sigma
    sigma = model.scale * problem.covariance.sigma(last.point) if known is None else known
    root = problem.fixed_root(last.point, reml, sigma)
    rows = root.whiten(np.eye(len(model.kept)))
    if len(_flat_directions(last.slopes.expected)):
        optimum = replace(optimum, status=NOT_IDENTIFIED)
    seconds = {**problem.seconds, "optimizer": optimized - began, "solution": perf_counter() - optimized}
    optimum = replace(optimum, seconds=seconds)
    design, kept = problem.design, tuple(model.kept)
    covariances = effects_covariance(problem, last.point)
    beta = root.coordinates(np.eye(len(kept))) @ root.beta
    state = CorrelatedState(
        design=design,
        reml=reml,
        control=control,
        optimum=optimum,
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=beta,
        cov_beta=sigma**2 * rows @ rows.T,
        sigma=sigma,
        findings=(*design.findings, *_findings(problem, optimum, last)),
        problem=problem,
        point=last.point,
        is_singular=any(_is_singular(S) for S in problem.covariance.lambdas(last.point)),
        theta=_theta(problem, covariances, sigma),
        b=(),
    )
    state = replace(state, b=tuple(_modes(state, covariances)))
    vars(state).update(fixed_root=root, slopes=last.slopes, effects_covariance=covariances)
    return state


def fit_on_residuals(problem: MarginalProblem, *, reml: bool, control: Control | None = None) -> MarginalState:
    """Return the fitted state of a problem with something on its residuals, whichever it is.

    Parameters
    ----------
    problem, reml, control
        As for ``fit_marginal``.

    Raises
    ------
    DesignError, FitError
        As there.
    """
    if isinstance(problem, CorrelatedProblem):
        return fit_correlated(problem, reml=reml, control=control)
    return fit_marginal(problem, reml=reml, control=control)


def _minimum(problem: CorrelatedProblem, reml: bool, control: Control) -> tuple[Evaluation, Optimum]:
    """Return the best of the ends of walks from several starts."""
    text = problem.design.formula.text
    starts = problem.starts()
    check_starts(control, len(starts))
    starts = starts[: control.n_starts or None]
    ends, n_evaluations = [], 0
    for start in starts:
        first = problem.evaluation(start, reml)
        if first is None:
            continue

        def evaluate(x: Floats, near: Evaluation | None, first: Evaluation = first) -> Evaluation | None:
            return first if near is None else near.moved(x)

        walk = minimize_called(evaluate, first.x, control.max_iterations, problem.design.n_obs)
        if walk is not None:
            ends.append(walk)
            n_evaluations += walk[4]
    if not ends:
        raise FitError(f"{text!r} cannot be fitted to these data: its likelihood cannot be evaluated at the start.")
    ends.sort(key=lambda walk: walk[0].value)
    last, status, gradient_norm, steps, _ = ends[0]
    last = _without_nothing(problem, last)
    constant = problem.model.constant(reml)
    steps[:, 0] += constant
    others = _apart([walk[0].value + constant for walk in ends])
    parameters = [p for group in problem.covariance.parameters(last.point) for p in group]
    return last, Optimum(
        theta=np.array([p.value * (problem.model.scale if p.is_sd else 1.0) for p in parameters]),
        deviance=last.value + constant,
        status=STATUS[status],
        gradient_norm=gradient_norm,
        n_iterations=len(steps),
        n_evaluations=n_evaluations,
        steps=steps,
        other_optima=others,
        seconds={},
    )


def _apart(values: list[float]) -> tuple[float, ...]:
    """Return criteria of other optima, ascending, for the criteria of all ends."""
    found = [values[0]]
    for value in values[1:]:
        if value > found[-1] + SAME_OPTIMUM:
            found.append(value)
    return tuple(found[1:])


def _without_nothing(problem: CorrelatedProblem, last: Evaluation) -> Evaluation:
    """Return the end of a walk with effects that are nearly zero made zero, where that does not raise the criterion."""
    for block in range(len(problem.effects)):
        if not problem.covariance.lambdas(last.point)[block].any():
            continue
        other = problem.evaluation(problem.covariance.without_effect(last.point, block), last.reml)
        if other is not None and other.value <= last.value + ROUNDING:
            last = other
    return last


def effects_covariance(problem: CorrelatedProblem, point: Floats) -> list[Floats]:
    """Return the covariance of the random effects of each factor in units of the response, (n_effects, n_effects)."""
    out = [np.zeros((factor.n_effects, factor.n_effects)) for factor in problem.design.factors]
    for e, Lambda in zip(problem.effects, problem.covariance.lambdas(point), strict=True):
        root = problem.model.scale * e.basis @ Lambda
        own = slice(e.first, e.first + e.size)
        out[e.factor][own, own] = root @ root.T
    return out


def effects_coordinates(problem: CorrelatedProblem, covariances: list[Floats]) -> Floats:
    """Return the coordinates at which random effects have given covariances, in units of the response."""
    out = [np.zeros(0)]
    for e in problem.effects:
        inverse = np.linalg.inv(e.basis) / problem.model.scale
        own = slice(e.first, e.first + e.size)
        root = cholesky_root(inverse @ covariances[e.factor][own, own] @ inverse.T)
        assert root is not None
        out.append(root[:1, 0] if e.is_tied else lower_triangle(root))
    return np.concatenate(out)


def _theta(problem: CorrelatedProblem, covariances: list[Floats], sigma: float) -> Floats:
    """Return Lambda over sigma in lme4's order."""
    theta = [np.zeros(0)]
    for e in problem.effects:
        S = covariances[e.factor][e.first : e.first + e.size, e.first : e.first + e.size] / sigma**2
        root = cholesky_root(S)
        assert root is not None
        theta.append(root[:1, 0] if e.is_tied else lower_triangle(root))
    return np.concatenate(theta)


def _modes(state: CorrelatedState, covariances: list[Floats]) -> Iterator[Floats]:
    """Yield S Z'V^-1 (y - X beta) by level of each factor, (n_levels, n_effects)."""
    design = state.design
    if not design.factors:
        return
    weighted = weighted_residual(state, design.y - marginal_fitted(state))
    for factor, S in zip(design.factors, covariances, strict=True):
        Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
        by_level = [np.bincount(factor.codes, z * weighted, factor.n_levels) for z in Z.T]
        yield np.stack(by_level, axis=1) @ S


def weighted_residual(state: CorrelatedState, residual: Floats) -> Floats:
    """Return V^-1 r, (n_obs,), for residuals r."""
    weights = state.design.weights
    root = np.ones(len(residual)) if weights is None else np.sqrt(weights)
    solved = state.problem.solve(state.point, (root * residual)[:, None])[:, 0]
    return np.asarray(root * solved / state.problem.model.scale**2)


def _conditional_covariance(state: CorrelatedState) -> list[Floats]:
    """Return S - S Z_l'V^-1 Z_l S of each level l, by factor."""
    if isinstance(state.problem, CoupledProblem):
        return state.problem.conditional_covariance(state.point)
    design = state.design
    out = [
        np.tile(S, (factor.n_levels, 1, 1)) for factor, S in zip(design.factors, state.effects_covariance, strict=True)
    ]
    for some in by_pattern(state):
        K = np.linalg.inv(some.covariance)
        for k, factor in enumerate(design.factors):
            Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
            codes, S = factor.codes[some.rows], state.effects_covariance[k]
            for local in np.unique(codes[0]):
                own = np.flatnonzero(codes[0] == local)
                Zl = some.roots[0, own, None] * Z[some.rows[0, own]] @ S
                out[k][codes[:, own[0]]] -= Zl.T @ K[np.ix_(own, own)] @ Zl
    return out


def _is_singular(Lambda: Floats) -> bool:
    """Return whether a covariance of effects is singular but for rounding."""
    values = np.linalg.svd(Lambda, compute_uv=False) ** 2
    return bool(values[-1] <= SINGULAR * max(float(values[0]), 1.0))


def _flat_directions(expected: Floats) -> Floats:
    """Return directions in which the expected information has nothing to say, (n, K); not those of zero variances."""
    scale = np.sqrt(np.clip(np.diag(expected), 0.0, None))
    seen = scale > SINGULAR * scale.max(initial=0.0)
    if not seen.any():
        return np.zeros((0, len(expected)))
    scaled = expected[np.ix_(seen, seen)] / np.outer(scale[seen], scale[seen])
    values, vectors = np.linalg.eigh(scaled)
    flat = vectors[:, values < FLAT].T
    out = np.zeros((len(flat), len(expected)))
    out[:, seen] = flat
    return out


def _findings(problem: CorrelatedProblem, optimum: Optimum, last: Evaluation) -> Iterator[Finding]:
    """Yield what the fit noticed."""
    design, kept = problem.design, problem.model.kept
    if len(kept) < len(design.x_names):
        yield aliased_columns(design, kept)
    if problem.model.nearly_dependent:
        yield nearly_aliased_columns([design.x_names[j] for j in problem.model.nearly_dependent])
    if optimum.status == NOT_IDENTIFIED:
        yield _unidentified(problem)
    elif not optimum.converged:
        yield not_converged(optimum, "simplify the covariance structure")
    yield from _zero_effects(problem, last.point)
    if optimum.other_optima:
        yield _several_optima(optimum)
    yield from unlike_columns(design, kept)


def _unidentified(problem: CorrelatedProblem) -> Finding:
    own, random = problem.design.residual, ", ".join(factor.name for factor in problem.design.factors)
    parts = [own.term.text] if own is not None else []
    parts += [column.term.text for column in problem.design.variance]
    parts += [f"the random effects of {random}"] if random else []
    message = (
        f"The data do not tell {' and '.join(parts)} apart: the information on their parameters is singular, so that "
        "other values fit as well. Leave one of them out or simplify it."
    )
    return Finding("unidentified", message, {"parts": parts})


def _zero_effects(problem: CorrelatedProblem, point: Floats) -> Iterator[Finding]:
    singular = [
        problem.design.factors[e.factor].name
        for e, Lambda in zip(problem.effects, problem.covariance.lambdas(point), strict=True)
        if _is_singular(Lambda)
    ]
    if singular:
        names = ", ".join(dict.fromkeys(singular))
        message = (
            f"The covariance of the random effects of {names} is singular: a variance is estimated as zero or a "
            "correlation as plus or minus one. Beside correlated residuals little may be left for them; compare the "
            "fit without them."
        )
        yield Finding("singular", message, {"factors": singular})


def _several_optima(optimum: Optimum) -> Finding:
    others = ", ".join(f"{value:.4f}" for value in optimum.other_optima)
    message = (
        f"The likelihood has several optima: {optimum.deviance:.4f} is the lowest criterion that the starts ended at, "
        f"and {others} another. Look whether the estimates make sense before they are used."
    )
    return Finding("other_optima", message, {"criteria": list(optimum.other_optima)})
