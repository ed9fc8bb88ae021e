"""Newton's method for a smooth function with at most one constraint: sequential quadratic programming.

Each step solves the quadratic model on the tangent space of the constraint and goes to the constraint along its
gradient (Nocedal and Wright 2006, chapter 18); the merit function is f + mu |g - target|.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

MAX_STEPS = 60
DECREASE_TOL = 1e-8
"""Predicted decrease at which the minimum is reached."""
CONSTRAINT_TOL = 1e-9
LONGEST_STEP = 1.0
"""Length of a step, in parameters whose natural size is one."""

Function = Callable[["Floats"], "tuple[float, Floats, Floats]"]
"""Value, gradient and (approximate) Hessian at a point; raises ValueError where it is not defined."""


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
        False if the steps ran out.
    """

    point: Floats
    value: float
    slope: float
    converged: bool


def minimize(function: Function, start: Floats, constraint: Function | None = None, target: float = 0.0) -> Minimum:
    """Return the minimum of a function, on the surface constraint = target if there is one.

    Parameters
    ----------
    function
        To minimise.
    start
        First point, (k,).
    constraint, target
        The surface.
    """
    point, at = start, function(start)
    penalty = 0.0
    for _ in range(MAX_STEPS):
        step = _Step(at, None if constraint is None else constraint(point), target)
        if step.predicted <= DECREASE_TOL and step.violation <= CONSTRAINT_TOL:
            return Minimum(point, at[0], step.slope, True)
        penalty = max(penalty, step.penalty)
        merit = at[0] + penalty * step.violation
        length = min(1.0, LONGEST_STEP / max(float(np.linalg.norm(step.direction)), 1e-300))
        while True:
            trial = point + length * step.direction
            try:
                new = function(trial)
            except ValueError:
                new = None
            if new is not None:
                violation = 0.0 if constraint is None else abs(constraint(trial)[0] - target)
                noise = 1e-13 * (abs(at[0]) + 1)
                if new[0] + penalty * violation <= merit + noise:
                    break
            length /= 4
            if length < 1e-8:
                return Minimum(point, at[0], step.slope, step.predicted < 1e-6 and step.violation < 1e-6)
        point, at = trial, new
    return Minimum(point, at[0], step.slope, False)


class _Step:
    """The step of one quadratic model."""

    def __init__(
        self,
        at: tuple[float, Floats, Floats],
        surface: tuple[float, Floats, Floats] | None,
        target: float,
    ) -> None:
        _, gradient, hessian = at
        tangent = np.eye(len(gradient))
        normal = np.zeros(len(gradient))
        self.violation, self.slope = 0.0, np.nan
        if surface is not None:
            value, direction, bend = surface
            square = float(direction @ direction)
            self.violation = abs(value - target)
            self.slope = float(direction @ gradient) / square
            normal = (target - value) * direction / square
            hessian = hessian - self.slope * bend
            tangent = np.linalg.svd(direction[None, :])[2][1:].T
        reduced = tangent.T @ hessian @ tangent
        values, vectors = np.linalg.eigh((reduced + reduced.T) / 2)
        floor = 1e-8 * max(float(np.abs(values).max(initial=0.0)), 1e-300)
        values = np.maximum(np.abs(values), floor)
        along = vectors.T @ (tangent.T @ (gradient + hessian @ normal))
        self.predicted = 0.5 * float(np.sum(along**2 / values))
        self.direction = normal - tangent @ (vectors @ (along / values))
        rise = float(gradient @ self.direction + 0.5 * self.direction @ hessian @ self.direction)
        enough = 2 * rise / self.violation if self.violation > CONSTRAINT_TOL else 0.0
        self.penalty = 0.0 if surface is None else max(2 * abs(self.slope), enough)
