"""The lowest criterion of a model with structured random effects where something is held: a parameter, or a mean.

With psi = (x, lambda), lambda the logarithm of sigma, D(x) the criterion with sigma profiled out, s2(x) the residual
variance there and m = log s2 - 2 lambda, the criterion is D + dof (exp m - m - 1). A fixed effect at c adds
dof log(1 + t^2 / dof) to D, t = (c - b_j) / s_j with the estimate and its standard error at x; by REML the determinant
of the whole X'V^-1X stays. An effect without variance leaves a linear space of coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mixedmodels._engine import minimize_called
from mixedmodels.fit.fit import STATUS
from mixedmodels.fit.marginal_held import Held, minimize_held
from mixedmodels.fit.structured import CENTRAL_STEP, STEP, Evaluation
from mixedmodels.fit.structured_fit import with_one_sign

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_held import Surface
    from mixedmodels.fit.structured import StructuredCriterion
    from mixedmodels.fit.structured_fit import StructuredState

MAX_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class ScaledCriterion:
    """The criterion of some elements of psi, sigma's the last, where the others are held.

    Attributes
    ----------
    criterion
        With sigma profiled out.
    dof
        Degrees of freedom of the residual variance.
    base
        Psi, (k + 1,).
    free
        Positions of the elements that are not held.
    """

    criterion: StructuredCriterion
    dof: int
    base: Floats
    free: npt.NDArray[np.intp]

    def whole(self, point: Floats) -> Floats:
        """Return psi, (k + 1,), of the free elements."""
        out = self.base.copy()
        out[self.free] = point
        return out

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step away."""
        return point + step

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion, None where it cannot be evaluated."""
        *x, log_sigma = self.whole(point)
        value = self.criterion.value(np.array(x))
        if value is None:
            return None
        model, theta = self.criterion.problem.model, self.criterion.theta(np.array(x))
        m = 2 * (np.log(model.solve(np.ascontiguousarray(theta), reml)[2]) - log_sigma)
        return value + self.dof * float(np.exp(m) - m - 1)

    def curved(self, point: Floats, reml: bool) -> tuple[Floats, Floats]:
        """Return the gradient, and the Hessian from its differences."""
        del reml  # the criterion's
        psi = self.whole(point)
        gradient = self._gradient(psi)
        rows = []
        for i in self.free:
            h = STEP * (1 + abs(psi[i]))
            ahead = psi.copy()
            ahead[i] += h
            rows.append((self._gradient(ahead) - gradient) / h)
        hessian = np.array(rows)
        return gradient, 0.5 * (hessian + hessian.T)

    def _gradient(self, psi: Floats) -> Floats:
        found = self.criterion.slopes(psi[:-1])
        surplus = self.dof * (np.exp(2 * (found.log_sigma - psi[-1])) - 1)
        return np.append(found.gradient + surplus * found.log_scale, -2 * surplus)[self.free]


def minimize_with(state: StructuredState, psi: Floats, surface: Surface, target: float) -> Held | None:
    """Return the lowest criterion, as psi, with something held; None if it is not found.

    Parameters
    ----------
    state
        Whose criterion.
    psi
        Where to begin.
    surface, target
        What is held, a function of psi, and its value.
    """
    criterion, free = state.criterion, np.arange(len(psi))
    dof = state.design.n_obs - (state.fixed_rank if state.reml else 0)
    while True:
        scaled = ScaledCriterion(criterion, dof, psi, free)

        def of_free(point: Floats, scaled: ScaledCriterion = scaled) -> tuple[float, Floats, Floats]:
            value, slope, bend = surface(scaled.whole(point))
            return value, slope[scaled.free], bend[np.ix_(scaled.free, scaled.free)]

        held = minimize_held(scaled, state.reml, psi[free], of_free, target)
        if held is None:
            return None
        found = scaled.whole(held.point)
        x, wrong = with_one_sign(criterion, found[:-1])
        psi, free = np.append(x, found[-1]), np.setdiff1d(free, wrong)
        if not wrong:
            return replace(held, point=psi)


@dataclass(frozen=True, eq=False)
class BesideStructured(Evaluation):
    """The criterion with a fixed effect at c, at a point of the structures; coordinates that are not free are held.

    Attributes
    ----------
    state
        Whose criterion.
    j, c
        The place of the fixed effect among those kept, and its value.
    """

    state: StructuredState
    j: int
    c: float

    def moved(self, free: Floats) -> BesideStructured | None:
        """Return the evaluation at other values of the free coordinates; None where it is not defined."""
        x = self.x.copy()
        x[self.free] = free
        return beside(self.state, self.j, self.c, x, self.free)

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and a model of the Hessian: that of a square of something linear beside the criterion."""
        slopes = self.criterion.slopes(self.x)
        t, dof = away(self.state, self.j, self.c, self.x)[0], _dof(self.state)
        dt = np.zeros(len(self.x))
        for i in self.free:
            step = CENTRAL_STEP * (1 + abs(self.x[i])) * np.eye(len(self.x))[i]
            ahead, behind = (away(self.state, self.j, self.c, x)[0] for x in (self.x + step, self.x - step))
            dt[i] = (ahead - behind) / (2 * step[i])
        share = 2 / (1 + t**2 / dof)
        gradient = slopes.gradient + share * t * dt
        hessian = self.criterion.hessian(self.x, slopes) + share * np.outer(dt, dt)
        return gradient[self.free], np.ascontiguousarray(hessian[np.ix_(self.free, self.free)])


def _dof(state: StructuredState) -> int:
    return state.design.n_obs - (state.fixed_rank if state.reml else 0)


def away(state: StructuredState, j: int, c: float, x: Floats) -> tuple[float, float, float]:
    """Return (c - b_j) / s_j, s_j and sigma at a point of the structures.

    Parameters
    ----------
    state
        Whose criterion.
    j, c
        The place of the fixed effect among those kept, and its value.
    x
        The point.
    """
    theta = np.ascontiguousarray(state.criterion.theta(x))
    beta, cov, sigma, _ = state.problem.model.solve(theta, state.reml)
    s = float(sigma * np.sqrt(cov[j, j]))
    return (c - float(beta[j])) / s, s, float(sigma)


def beside(state: StructuredState, j: int, c: float, x: Floats, free: npt.NDArray[np.intp]) -> BesideStructured | None:
    """Return the evaluation with a fixed effect at c; None where it is not defined. Parameters are its attributes."""
    value, dof = state.criterion.value(x), _dof(state)
    if value is None:
        return None
    t = away(state, j, c, x)[0]
    return BesideStructured(state.criterion, x, free, value + dof * float(np.log1p(t**2 / dof)), state, j, c)


def minimize_beside_structured(state: StructuredState, x: Floats, j: int, c: float) -> Evaluation | None:
    """Return the lowest criterion with a fixed effect at c, from a point on; None if it is not found."""
    free = np.arange(len(x))
    while True:
        first = beside(state, j, c, x, free)
        end = None if first is None else _walked(state, first)
        if end is None:
            return None
        x, wrong = with_one_sign(state.criterion, end.x)
        free = np.setdiff1d(free, wrong)
        if not wrong:
            return end


@dataclass(frozen=True, eq=False)
class Projected:
    """The criterion on a linear space of coordinates.

    Attributes
    ----------
    criterion
        Of all coordinates.
    basis
        Of the space, (k, m).
    x, value
        The coordinates and the criterion there.
    """

    criterion: StructuredCriterion
    basis: Floats
    x: Floats
    value: float

    def moved(self, z: Floats) -> Projected | None:
        """Return the evaluation at other coordinates in the space."""
        x = self.basis @ z
        value = self.criterion.value(x)
        return None if value is None else Projected(self.criterion, self.basis, x, value)

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and the Hessian in the space."""
        slopes = self.criterion.slopes(self.x)
        hessian = self.basis.T @ self.criterion.hessian(self.x, slopes) @ self.basis
        return self.basis.T @ slopes.gradient, np.ascontiguousarray(hessian)


def minimize_without(state: StructuredState, basis: Floats) -> Projected | None:
    """Return the lowest criterion on a linear space of coordinates; None if it is not found.

    Parameters
    ----------
    state
        Whose criterion.
    basis
        Of the space, orthonormal, (k, m).
    """
    found = []
    for x in (state.coordinates, *state.criterion.starts()):
        inside = basis @ (basis.T @ x)
        value = state.criterion.value(inside)
        first = None if value is None else Projected(state.criterion, basis, inside, value)
        end = first if first is None or not basis.shape[1] else _walked(state, first)
        if end is not None:
            found.append(end)
    return min(found, key=lambda end: end.value, default=None)


E = TypeVar("E", BesideStructured, Projected)


def _walked(state: StructuredState, first: E) -> E | None:
    """Return where a walk ends; None if it ends at no minimum."""
    z = first.x[first.free] if isinstance(first, Evaluation) else first.basis.T @ first.x

    def evaluate(point: Floats, near: E | None) -> E | None:
        return (first if near is None else near).moved(point)

    walk = minimize_called(evaluate, np.ascontiguousarray(z), MAX_ITERATIONS, state.design.n_obs)
    return None if walk is None or STATUS[walk[1]] == "iteration limit" else walk[0]
