"""The lowest criterion of a model with correlated residuals where one parameter of its covariance is held, or a mean.

Newton's method on the surface of the parameter: each step minimises the quadratic model of the Lagrangian across the
parameter's gradient and returns along it, so that every point has the value that is held (Nocedal and Wright 2006,
chapter 18). A point moves beneath its coordinates, in which criterion and parameter have exact second derivatives.

A fixed effect at c adds (c - b_j)^2 / s_j^2 to the criterion, b_j its estimate by generalised least squares at the
structure's point and s_j^2 its variance there; by REML the determinant of the whole X'V^-1X stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mixedmodels._engine import minimize_called
from mixedmodels.fit.fit import STATUS

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal import Evaluation, MarginalProblem

MAX_STEPS = 60
DECREASE_TOL = 1e-9
"""Predicted decrease from which on a point is the lowest."""

NEARLY_TOL = 1e-5
"""Predicted decrease that is good enough where no lower point is found."""

HELD_TOL = 1e-10
"""How near the parameter is to what it is held at."""

LONGEST_STEP = 1.0
"""In coordinates, whose natural size is one."""

SHORTEST_STEP = 1e-8
"""Relative to Newton's."""

FLATTEST = 1e-8
"""Curvature, absolute and relative to the largest, that is taken for the smallest."""


Surface = Callable[["Floats"], tuple[float, "Floats", "Floats"]]
"""What is held: of a point, its value and derivatives in the coordinates there, (k,) and (k, k)."""


class Criterion(Protocol):
    """What is minimised: a function of a point, which coordinates move."""

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion; None where it is not defined."""
        ...

    def curved(self, point: Floats, reml: bool) -> tuple[Floats, Floats]:
        """Return its gradient and Hessian in the coordinates."""
        ...

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step of the coordinates away."""
        ...


@dataclass(frozen=True)
class Held:
    """The lowest point: the criterion without its constant there, and its slope in what is held."""

    point: Floats
    value: float
    slope: float


def minimize_held(problem: Criterion, reml: bool, start: Floats, surface: Surface, target: float) -> Held | None:
    """Return the lowest criterion with something held; None if it is not found.

    Parameters
    ----------
    problem, reml
        Whose criterion.
    start
        A point of the structure, on the surface or beside it.
    surface, target
        What is held, and its value.
    """
    found = _reached(problem, start, surface, target)
    value = None if found is None else problem.value(found, reml)
    if found is None or value is None:
        return None
    point = found
    for _ in range(MAX_STEPS):
        gradient, hessian = problem.curved(point, reml)
        _, across, bend = surface(point)
        multiplier = float(across @ gradient / (across @ across))
        direction, predicted = _newton(gradient, hessian - multiplier * bend, across)
        if predicted <= DECREASE_TOL:
            return Held(point, value, multiplier)
        noise = 1e-13 * (abs(value) + 1.0)
        length = min(1.0, LONGEST_STEP / max(float(np.abs(direction).max()), 1e-300))
        while True:
            trial = _reached(problem, problem.moved(point, length * direction), surface, target)
            new = None if trial is None else problem.value(trial, reml)
            if trial is not None and new is not None and new <= value + noise:
                break
            length /= 4
            if length < SHORTEST_STEP:
                return Held(point, value, multiplier) if predicted <= NEARLY_TOL else None
        point, value = trial, new
    return None


def minimize_beside(
    problem: MarginalProblem, reml: bool, start: Floats, held: tuple[int, float], max_iterations: int
) -> Held | None:
    """Return the lowest criterion with a fixed effect held; None if it is not found.

    Parameters
    ----------
    problem, reml
        Whose criterion.
    start
        A point of the structure.
    held
        The place of the fixed effect among those kept, and its value.
    max_iterations
        Of the walk.
    """
    inner = problem.evaluation(start, reml)
    if inner is None:
        return None
    first = Beside(inner, *held)

    def evaluate(x: Floats, near: Beside | None) -> Beside | None:
        return first if near is None else near.moved(x)

    walk = minimize_called(evaluate, inner.x, max_iterations, problem.design.n_obs)
    if walk is None or STATUS[walk[1]] == "iteration limit":
        return None
    last = walk[0]
    return Held(last.inner.point, last.value, last.slope)


@dataclass(frozen=True, eq=False)
class Beside:
    """The criterion with a fixed effect at c, at a point of the structure; what a walk holds of it."""

    inner: Evaluation
    j: int
    c: float

    @cached_property
    def _away(self) -> tuple[float, Floats, float]:
        """Return (c - b_j) / s_j, the row of K that belongs to j, and s_j."""
        problem = self.inner.problem
        model = problem.model
        root = problem.fixed_root(self.inner.point, self.inner.reml, model.scale)
        row = np.eye(len(model.kept))[[self.j]]
        w = root.whiten(row)[0]
        s = float(np.linalg.norm(w)) * model.scale
        b = float((root.coordinates(row) @ root.beta)[0])
        return (self.c - b) / s, w, s

    @property
    def value(self) -> float:
        """The criterion without its constant."""
        return self.inner.value + self._away[0] ** 2

    @property
    def slope(self) -> float:
        """Its derivative in c."""
        z, _, s = self._away
        return 2 * z / s

    def moved(self, x: Floats) -> Beside | None:
        """Return the evaluation at other coordinates of the structure."""
        inner = self.inner.moved(x)
        return None if inner is None else replace(self, inner=inner)

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and a model of the Hessian: that of a square of something linear beside the inner one."""
        gradient, hessian = self.inner.walked()
        z, w, s = self._away
        found = self.inner.slopes
        scale = self.inner.problem.model.scale
        # db/dx_i = -w'q_i, ds^2/dx_i = w'P_i w, both in units of the scaled problem
        db = -found.pull @ w
        ds = 0.5 * np.einsum("a,iab,b->i", w, found.sensitivity, w) / (s / scale)
        dz = -(db + z * ds) / (s / scale)
        return gradient + 2 * z * dz, hessian + 2 * np.outer(dz, dz)


def _newton(gradient: Floats, hessian: Floats, across: Floats) -> tuple[Floats, float]:
    """Return the step across a gradient to the minimum of the quadratic model, and the decrease that it predicts."""
    tangent = np.linalg.svd(across[None], full_matrices=True)[2][1:].T
    values, vectors = np.linalg.eigh(tangent.T @ hessian @ tangent)
    curvature = np.abs(values)
    curvature = np.maximum(curvature, max(FLATTEST, FLATTEST * curvature.max(initial=0.0)))
    along = vectors.T @ (tangent.T @ gradient)
    return -tangent @ (vectors @ (along / curvature)), float(0.5 * np.sum(along**2 / curvature))


def _reached(problem: Criterion, point: Floats, surface: Surface, target: float) -> Floats | None:
    """Return the point moved along the parameter's gradient to where it is held; None if that does not lead there."""
    for _ in range(MAX_STEPS):
        at, across, _ = surface(point)
        missing = target - at
        if abs(missing) <= HELD_TOL:
            return point
        steepness = float(across @ across)
        if not np.isfinite(at) or not steepness > 0:
            return None
        step = missing / steepness * across
        length = min(1.0, LONGEST_STEP / float(np.abs(step).max()))
        while True:
            trial = problem.moved(point, length * step)
            new = surface(trial)[0]
            if abs(target - new) < abs(missing):
                break
            length /= 4
            if length < SHORTEST_STEP:
                return None
        point = trial
    return None
