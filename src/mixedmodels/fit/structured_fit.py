"""The fit of a model whose random effects have structured covariances, from its criterion to a state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels._engine import minimize_called
from mixedmodels.covariance.effect_kinds import is_restricted
from mixedmodels.design.records import Finding
from mixedmodels.design.related import refuse_related
from mixedmodels.errors import DesignError, FitError, InferenceError
from mixedmodels.fit.control import Control, check_starts
from mixedmodels.fit.findings import listing
from mixedmodels.fit.information import Information
from mixedmodels.fit.records import FitState
from mixedmodels.fit.structured import CENTRAL_STEP, Evaluation, StructuredCriterion
from mixedmodels.fit.undetermined import Undetermined

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.covariance.effects import EffectParameter
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.problem import Problem
    from mixedmodels.fit.structured import Term

SAME_OPTIMUM = 1e-5
"""Difference of criteria below which two walks ended at one optimum."""

MAX_ITERATIONS = 100
"""Steps of a walk; where more are needed the optimum is at no point."""

MANY_ROWS = 20_000
N_OF_MANY = 3
"""Rows from which on walks begin at the first starts only, and at how many."""

SNAP = 1e-9
"""Rise of the criterion that an exact zero may cost."""

PERFECT_FIT = 1e-13
"""Residual variance, as a share of that of least squares, that rounding cannot tell from none."""

FLAT = 1e-7
"""Singular value of the derivatives of V in the parameters, relative to the largest, that counts as zero."""

INVOLVED = 1e-3
"""Change of a parameter along a flat direction, of logarithms of standard deviations, from which it has part in it."""


@dataclass(frozen=True)
class StructuredMinimum:
    """Where the walks ended, as the engine tells of its own.

    Attributes
    ----------
    coordinates
        Of the structures.
    theta, deviance, status, gradient_norm, n_iterations, n_evaluations, trace, other_optima, singular
        As of the engine's.
    """

    coordinates: Floats
    theta: Floats
    deviance: float
    status: int
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    trace: Floats
    other_optima: list[float]
    singular: bool


@dataclass(frozen=True, kw_only=True)
class StructuredState(FitState):
    """A fitted linear mixed model with structured covariances of random effects.

    Attributes
    ----------
    coordinates
        Of the structures at the estimate; theta follows from them.
    """

    coordinates: Floats

    @cached_property
    def criterion(self) -> StructuredCriterion:
        """The criterion as a function of the coordinates."""
        return StructuredCriterion(self.problem, self.reml, self.bases)

    @property
    def n_params(self) -> int:
        """Parameters estimated: fixed effects, those of the structures, and sigma."""
        return self.n_fixed + len(self.coordinates) + 1

    @cached_property
    def n_determined(self) -> int:
        """The same: parameters that are not determined are refused."""
        return self.n_params

    @cached_property
    def undetermined(self) -> Undetermined:
        """Nothing."""
        return Undetermined(tuple(np.zeros((f.n_effects,) * 2, dtype=bool) for f in self.design.factors), False)

    @cached_property
    def open_directions(self) -> Floats:
        """None, (0, n_fixed, n_fixed)."""
        return np.zeros((0, self.n_fixed, self.n_fixed))

    @cached_property
    def information(self) -> Information:
        """Second derivatives in the coordinates, in the place of theta~, and log sigma; computed when asked for."""
        criterion, x, k = self.criterion, self.coordinates, len(self.coordinates)
        dof = self.design.n_obs - (self.fixed_rank if self.reml else 0)
        across = -2.0 * dof * criterion.slopes(x).log_scale
        hessian = np.empty((k + 1, k + 1))
        hessian[:k, :k] = criterion.hessian(x) + np.outer(across, across) / (4.0 * dof)
        hessian[k, :k] = hessian[:k, k] = across
        hessian[k, k] = 4.0 * dof
        return Information(np.zeros((0, 3), dtype=np.int64), x, hessian, self._sensitivity())

    def _sensitivity(self) -> Floats:
        """Return s with d (X'V0^-1X)^-1 / dx_i = K s_i K', (k, n_fixed, n_fixed), by differences."""
        x, root = self.coordinates, self.fixed_root.root
        out = np.empty((len(x), self.n_fixed, self.n_fixed))

        def whitened(at: Floats) -> Floats:
            K = np.linalg.solve(root, self.problem.fixed_root(self.criterion.theta(at)).root)
            return np.asarray(K @ K.T)

        for i, unit in enumerate(np.eye(len(x))):
            h = CENTRAL_STEP * (1 + abs(x[i]))
            out[i] = (whitened(x + h * unit) - whitened(x - h * unit)) / (2 * h)
        return out

    @cached_property
    def structure_correlations(self) -> dict[str, tuple[tuple[str, float], ...]]:
        """Name and value of the correlations of structures, by grouping factor."""
        found: dict[str, tuple[tuple[str, float], ...]] = {}
        for name, parameter, term in named_parameters(self.criterion, self.coordinates):
            if parameter.kind == "cor" and term.structure.is_restricted:
                group = self.design.factors[term.factor].name
                short = name.removesuffix(f"|{group}").removeprefix("cor_")
                found[group] = (*found.get(group, ()), (short, parameter.value))
        return found


def refuse_structures(design: Design, what: str) -> None:
    """Refuse what is not there for models with structured covariances.

    Raises
    ------
    InferenceError
        The model has one.
    """
    refuse_related(design, what)
    if design.is_structured:
        term = next(term for term in design.formula.random if is_restricted(term.kind))
        raise InferenceError(
            f"{what} is not there for models with structured covariances of random effects, and {term.text} is one. "
            "Use (... | g) for a covariance without restrictions, or (... || g)."
        )


def named_parameters(criterion: StructuredCriterion, x: Floats) -> Iterator[tuple[str, EffectParameter, Term]]:
    """Yield the full name of each parameter with its value and its term.

    Names that two terms of a grouping factor share get a number from the second on: ``cor_ar1.2|g``.
    """
    seen: dict[str, int] = {}
    for term in criterion.terms:
        group = criterion.problem.design.factors[term.factor].name
        for parameter in term.structure.parameters(x[term.coordinates]):
            name = f"{parameter.name}|{group}"
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name = f"{parameter.name}.{seen[name]}|{group}"
            yield name, parameter, term


def minimize_structured(
    problem: Problem, reml: bool, start: npt.ArrayLike | None, control: Control
) -> StructuredMinimum:
    """Return the best minimum that walks from several starts end at.

    Raises
    ------
    FitError
        If theta is given, for the coordinates are others, if the criterion cannot be evaluated, or the fit is perfect.
    """
    if start is not None:
        raise FitError(
            "start= is theta, and a model with structured covariances is fitted in the parameters of its structures. "
            "Leave it out; walks begin at several correlations."
        )
    criterion = StructuredCriterion(problem, reml)
    starts = criterion.starts()
    check_starts(control, len(starts))
    number = control.n_starts or (len(starts) if problem.design.n_obs <= MANY_ROWS else N_OF_MANY)
    walks = [_walk(criterion, x, control.max_iterations) for x in starts[:number]]
    found = [walk for walk in walks if walk is not None]
    if not found:
        raise FitError(f"{problem.design.formula.text!r} cannot be fitted to these data: the likelihood overflows.")
    best = min(found, key=lambda walk: (round(walk.deviance, 7), walk.status != 0))
    others = {round(w.deviance, 4): w.deviance for w in found if w.status == 0}
    worse = [value for value in others.values() if value - best.deviance > SAME_OPTIMUM]
    _, s2, *_ = problem.model.evaluate(problem.model.to_engine(best.theta), reml)
    if s2 < PERFECT_FIT * problem.model.residual_scale**2:
        raise FitError(
            f"{problem.design.formula.text!r} cannot be fitted to these data: the random effects fit the response "
            "perfectly, so no residual variance is left to estimate."
        )
    return StructuredMinimum(
        **{**vars(best), "other_optima": worse, "n_evaluations": sum(w.n_evaluations for w in found)}
    )


def _walk(criterion: StructuredCriterion, start: Floats, max_iterations: int) -> StructuredMinimum | None:
    """Return the minimum that a walk ends at; where standard deviations of correlated effects have several signs there,
    that with the fewest held at zero."""
    free = np.arange(len(start))
    x, trace, n_evaluations = start, np.zeros((0, 6)), 0
    while True:
        ended = _walked(criterion, x, free, min(max_iterations, MAX_ITERATIONS))
        if ended is None:
            return None
        made, status, gradient_norm, rows, number = ended
        trace, n_evaluations = np.vstack([trace, rows]), n_evaluations + number
        x, wrong = with_one_sign(criterion, made.x)
        if not len(wrong):
            break
        free = np.setdiff1d(free, wrong)
    x, value, number = _snapped(criterion, x, made.value)
    at_boundary = any(term.structure.boundaries(x[term.coordinates]) for term in criterion.terms)
    return StructuredMinimum(
        coordinates=x,
        theta=criterion.theta(x),
        deviance=value,
        status=status,
        gradient_norm=gradient_norm,
        n_iterations=len(trace),
        n_evaluations=n_evaluations + number,
        trace=trace,
        other_optima=[],
        singular=at_boundary,
    )


def _walked(
    criterion: StructuredCriterion, x: Floats, free: npt.NDArray[np.intp], max_iterations: int
) -> tuple[Evaluation, int, float, Floats, int] | None:
    value = criterion.value(x)
    if value is None:
        return None
    first = Evaluation(criterion, x, free, value)

    def evaluate(point: Floats, near: Evaluation | None) -> Evaluation | None:
        return (first if near is None else near).moved(point)

    if not len(free):
        return first, 0, 0.0, np.zeros((0, 6)), 1
    found: tuple[Evaluation, int, float, Floats, int] | None
    found = minimize_called(evaluate, np.ascontiguousarray(x[free]), max_iterations, criterion.problem.design.n_obs)
    return found


def with_one_sign(criterion: StructuredCriterion, x: Floats) -> tuple[Floats, list[int]]:
    """Return the point with standard deviations of correlated effects positive, and those set to zero for that."""
    out, wrong = x.copy(), []
    for term in criterion.terms:
        places = [term.coordinates.start + i for i in term.structure.signs]
        if not places:
            continue
        if np.sum(np.maximum(-out[places], 0) ** 2) > np.sum(np.maximum(out[places], 0) ** 2):
            out[places] *= -1.0
        negative = [i for i in places if out[i] < 0]
        out[negative] = 0.0
        wrong += negative
    return out, wrong


def _snapped(criterion: StructuredCriterion, x: Floats, value: float) -> tuple[Floats, float, int]:
    """Return the point with what is nearly at an end of its range there, where that does not raise the criterion."""
    number = 0
    for term in criterion.terms:
        for i in range(term.structure.n_coordinates):
            moved = term.structure.snapped(x[term.coordinates], i)
            if moved is None:
                continue
            new = x.copy()
            new[term.coordinates] = moved
            found = criterion.value(new)
            number += 1
            if found is not None and found <= value + SNAP:
                x, value = new, min(found, value)
    return x, value, number


def structured_findings(problem: Problem, reml: bool, minimum: object) -> Iterator[Finding]:
    """Yield the finding that names the parameters of structures that are at an end of their range.

    Parameters
    ----------
    problem, reml
        The model.
    minimum
        Of a model with structures; another has no such finding.
    """
    if not (isinstance(minimum, StructuredMinimum) and minimum.singular):
        return
    names = []
    for term in StructuredCriterion(problem, reml).terms:
        group = problem.design.factors[term.factor].name
        names += [f"{name}|{group}" for name in term.structure.boundaries(minimum.coordinates[term.coordinates])]
    message = (
        f"Singular fit: {listing(names)} {'is' if len(names) == 1 else 'are'} at an end of the range. The estimates "
        "stand, but the data support a simpler covariance of the random effects."
    )
    yield Finding("singular", message, {"boundaries": names})


def check_structures_identified(problem: Problem, reml: bool) -> None:
    """Every parameter of the structures, and the residual variance, must change what the criterion sees.

    Raises
    ------
    DesignError
        Some cannot be told apart.
    """
    found = problem.identification.flat(reml)
    if not len(found):
        return
    criterion = StructuredCriterion(problem, reml)
    x = np.concatenate([term.structure.generic for term in criterion.terms])
    J = _derivatives_of_covariance(criterion, x)
    size = np.linalg.norm(J, axis=0)
    Q = np.linalg.qr(found.T)[0]
    left = J / np.where(size > 0, size, 1.0)
    left = left - Q @ (Q.T @ left)
    _, values, rows = np.linalg.svd(left, full_matrices=True)
    flat = rows[np.count_nonzero(values > FLAT * values.max(initial=0.0)) :]
    if not len(flat):
        return
    flat = flat / np.where(size > 0, size, 1.0)
    names = []
    for name, parameter, term in named_parameters(criterion, x):
        moved = flat[:, :-1][:, term.coordinates] @ parameter.slope
        if parameter.kind == "sd":  # relative to sigma's, half of the last
            moved = moved / parameter.value + 0.5 * flat[:, -1]
        if np.abs(moved).max() > INVOLVED:
            names.append(name)
    if np.abs(flat[:, -1]).max() > INVOLVED:
        names.append("sigma")
    raise DesignError(
        f"The data cannot tell {listing(names)}{' apart' if len(names) > 1 else ''}: other values give the same "
        "covariance of the response. Use fewer random effects, or a structure with fewer parameters."
    )


def _derivatives_of_covariance(criterion: StructuredCriterion, x: Floats) -> Floats:
    """Return the derivatives of (1, S~) and of it as a whole, (n_theta + 1, k + 1), elements in theta's places."""
    J = np.zeros((criterion.terms[-1].theta.stop + 1, len(x) + 1))
    J[0, -1] = 1.0
    for term, S in zip(criterion.terms, criterion.engine_covariances(x), strict=True):
        row, column = term.places
        J[1:][term.theta, term.coordinates] = S.first[:, row, column].T
        J[1:][term.theta, -1] = S.value[row, column]
    return J


def second_derivatives(criterion: StructuredCriterion, x: Floats) -> tuple[Floats, Floats]:
    """Return the derivatives of S~ in the coordinates, elements in theta's places, (n_theta, k) and (n_theta, k, k)."""
    n, k = criterion.terms[-1].theta.stop, len(x)
    first, second = np.zeros((n, k)), np.zeros((n, k, k))
    for term, S in zip(criterion.terms, criterion.engine_covariances(x), strict=True):
        row, column = term.places
        first[term.theta, term.coordinates] = S.first[:, row, column].T
        second[term.theta, term.coordinates, term.coordinates] = np.moveaxis(S.second[:, :, row, column], 2, 0)
    return first, second
