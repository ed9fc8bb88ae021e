"""Newton's method for a smooth function, free or on the surface of one constraint.

Each step minimises the quadratic model of the Lagrangian on the tangent space and returns to the surface along the
constraint's gradient, which costs little beside the function (sequential quadratic programming with every point
feasible: Nocedal and Wright 2006, chapter 18). The Hessian given may be a model of the true one; what gradients show
it to lack is added by secants (Dennis, Gay and Welsch 1981; symmetric rank one).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

MAX_STEPS = 60
MAX_RETURNS = 20
DECREASE_TOL = 1e-6
"""Predicted decrease from which on the last step is taken without looking: what it leaves is far smaller."""
NEARLY_TOL = 1e-5
"""Predicted decrease that is good enough where no better point is found, or only slowly along a valley."""
CONSTRAINT_TOL = 1e-9
SHORTEST_STEP = 1e-8
"""Relative to Newton's."""
WRONG_CURVATURE = 0.1
"""Relative error of the curvature along a step from which on it is corrected."""
LONGEST_STEP = 1.0
"""Length of a step, in parameters whose natural size is one."""
FLATTEST = 1e-8
"""Curvature, absolute and relative to the largest, that is taken for the smallest."""
FARTHEST = 1e6
"""Length of a step that leads nowhere."""

Evaluation = tuple[float, "Floats", "Floats"]
"""Value, gradient and (approximate) Hessian."""
Function = Callable[["Floats"], Evaluation]
"""Evaluation at a point; raises ValueError where it is not defined."""


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Attributes
    ----------
    point
        (k,).
    value
        Of the function.
    slope
        Derivative of the minimum in the constraint's target; nan without a constraint.
    converged
        False if the steps ran out, or the surface could not be reached.
    """

    point: Floats
    value: float
    slope: float
    converged: bool


@dataclass(frozen=True)
class _Step:
    """Newton's step, the decrease it predicts, and the multiplier: the slope of the minimum in the target."""

    direction: Floats
    predicted: float
    multiplier: float


def minimize(function: Function, start: Floats, constraint: Function | None = None, target: float = 0.0) -> Minimum:
    """Return the minimum of a function, on the surface constraint = target if there is one.

    Parameters
    ----------
    function
        To minimise.
    start
        First point, (k,); it need not be on the surface.
    constraint, target
        The surface.
    """

    def reached(point: Floats) -> tuple[Floats, Evaluation | None] | None:
        return (point, None) if constraint is None else _on_surface(constraint, point, target)

    first = reached(start)
    if first is None:
        return Minimum(start, np.nan, np.nan, False)
    point, surface = first
    at = function(point)
    correction = np.zeros_like(at[2])
    for _ in range(MAX_STEPS):
        step = _newton((at[0], at[1], at[2] + correction), surface)
        if step.predicted <= DECREASE_TOL:
            last = reached(point + step.direction)
            return Minimum(point if last is None else last[0], at[0] - step.predicted, step.multiplier, True)
        noise = 1e-13 * (abs(at[0]) + 1)
        length = min(1.0, LONGEST_STEP / max(float(np.linalg.norm(step.direction)), 1e-300))
        while True:
            trial = reached(point + length * step.direction)
            new = None if trial is None else _defined(function, trial[0])
            if trial is not None and new is not None and new[0] <= at[0] + noise:
                break
            length /= 4
            if length < SHORTEST_STEP:
                return Minimum(point, at[0], step.multiplier, step.predicted < NEARLY_TOL)
        correction = correction + _missing_curvature(trial[0] - point, (at, surface), (new, trial[1]), correction)
        at, (point, surface) = new, trial
    return Minimum(point, at[0], step.multiplier, step.predicted < NEARLY_TOL)


def _defined(function: Function, point: Floats) -> Evaluation | None:
    try:
        return function(point)
    except ValueError:
        return None


def _on_surface(constraint: Function, point: Floats, target: float) -> tuple[Floats, Evaluation] | None:
    """Return the point moved to the surface along the constraint's gradient, or None if that does not lead there.

    With the constraint's evaluation at it.
    """
    at = _defined(constraint, point)
    for _ in range(MAX_RETURNS):
        if at is None or not np.isfinite(at[0]):
            return None
        missing, steepness = target - at[0], float(np.linalg.norm(at[1]))
        if abs(missing) <= CONSTRAINT_TOL:
            return point, at
        if not abs(missing) / FARTHEST < steepness < np.inf:
            return None
        length = float(np.clip(missing / steepness, -LONGEST_STEP, LONGEST_STEP))
        while True:
            moved = point + length / steepness * at[1]
            new = _defined(constraint, moved)
            if new is not None and abs(target - new[0]) < abs(missing):
                break
            length /= 4
            if abs(length) < SHORTEST_STEP:
                return None
        point, at = moved, new
    return None


def _newton(at: Evaluation, surface: Evaluation | None) -> _Step:
    """Return the step on the tangent space; directions of negative curvature are followed downhill."""
    _, gradient, hessian = at
    tangent, multiplier = np.eye(len(gradient)), np.nan
    if surface is not None:
        _, normal, bend = surface
        multiplier = float(normal @ gradient) / float(normal @ normal)
        hessian = hessian - multiplier * bend
        tangent = _tangent(normal)
    reduced = tangent.T @ hessian @ tangent
    values, vectors = np.linalg.eigh((reduced + reduced.T) / 2)
    floor = max(FLATTEST * float(np.abs(values).max(initial=0.0)), FLATTEST)
    values = np.maximum(np.abs(values), floor)
    along = vectors.T @ (tangent.T @ gradient)
    return _Step(-tangent @ (vectors @ (along / values)), 0.5 * float(np.sum(along**2 / values)), multiplier)


def _tangent(normal: Floats) -> Floats:
    """Return an orthonormal basis of the plane across a vector, (k, k - 1): Householder's reflection but its first."""
    v = normal / math.sqrt(float(normal @ normal))
    v[0] += math.copysign(1.0, v[0])
    reflection = np.eye(len(v)) - v[:, None] * (v / abs(v[0]))
    return np.asarray(reflection[:, 1:])


def _missing_curvature(
    moved: Floats,
    before: tuple[Evaluation, Evaluation | None],
    after: tuple[Evaluation, Evaluation | None],
    correction: Floats,
) -> Floats:
    """Return what the Lagrangian's gradients at two points add to its Hessian, (k, k).

    Parameters
    ----------
    moved
        From one point to the other, (k,).
    before, after
        Function and constraint at the two.
    correction
        Added to the Hessian so far.
    """
    (_, old_gradient, _), old_surface = before
    (_, gradient, hessian), surface = after
    change, hessian = gradient - old_gradient, hessian + correction
    if surface is not None and old_surface is not None:
        _, normal, bend = surface
        multiplier = float(normal @ gradient) / float(normal @ normal)
        change = change - multiplier * (normal - old_surface[1])
        hessian = hessian - multiplier * bend
    lacking = change - hessian @ moved
    along = float(lacking @ moved)
    if abs(along) <= WRONG_CURVATURE * abs(float(change @ moved)):
        return np.zeros_like(hessian)
    return np.asarray(np.outer(lacking, lacking) / along)
