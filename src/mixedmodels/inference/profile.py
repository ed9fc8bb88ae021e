"""Profile likelihood: the criterion minimised over all other parameters, as a function of one.

zeta(v) = sign(v - estimate) sqrt(d(v) - d(estimate)), d the criterion of the fit (-2 log-likelihood of an ML fit, REML
criterion of a REML fit), is close to a standard normal pivot; an interval holds the values with |zeta| below its
quantile (Venzon and Moolgavkar 1988; Bates, Maechler, Bolker and Walker 2015, section 5.1).

Variance parameters are profiled in the engine's psi = (theta~, log sigma) under the constraint that holds the
parameter; a fixed effect by moving its column to the response. Under REML the determinant of the whole X'V^-1X stays in
the criterion, so that zeta is zero at the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq
from scipy.special import ndtri

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem
from mixedmodels.inference.constrained import minimize
from mixedmodels.inference.variance_parameters import (
    CovarianceMap,
    VarianceParameter,
    covariance_root,
    estimate,
    list_parameters,
)
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    from mixedmodels.design.records import Design, Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.inference.constrained import Function

TARGETS = (0.5, 1.0, 1.645, 1.96, 2.576, 3.3)
"""Absolute values of zeta at which the profile is computed, as nearly as its slope tells."""
NUDGE = 0.05
"""What a zero theta~ starts from, so that a profile can leave the boundary."""
NEAR_TARGET = 0.01
"""How near to a target zeta must be computed, or the nearest point is improved once."""
NEAR_ZERO = 0.02
"""Where the slope of zeta at a standard deviation of zero is taken, relative to the lowest point."""
MAX_POINTS = 20
LONGEST_JUMP = 4.0
"""Between two points, in standard errors."""
EDGE = 7.0
"""Fisher's z of a correlation that counts as one."""
SMALL_DIFFERENCE, BEND_DIFFERENCE = 1e-5, 1e-3
BELOW_TOL = 1e-5
"""How far below the estimate's criterion a profile may come by rounding."""

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Profile:
    """Profiles of some parameters.

    Attributes
    ----------
    zeta
        One row a point: ``parameter, value, zeta, slope`` (of zeta in the value) and the variance parameters there.
    bounds
        Lowest and highest possible value of each parameter.
    estimates
        Of each parameter.
    """

    zeta: pd.DataFrame
    bounds: Mapping[str, tuple[float, float]]
    estimates: Mapping[str, float]

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return intervals ``lower, upper`` by parameter; a bound of the parameter where zeta never reaches the level.

        Parameters
        ----------
        level
            Coverage.

        Raises
        ------
        InferenceError
            If the level is not between 0 and 1, or beyond what was profiled.
        """
        check_level(level)
        cut = float(ndtri(0.5 + level / 2))
        rows = {name: (self._limit(name, -cut, level), self._limit(name, cut, level)) for name in self.estimates}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"]).rename_axis("parameter")

    def plot(self, **arguments: Any) -> Any:
        """Draw zeta against the values, with intervals; see ``mixedmodels.plot.profile``."""
        plots = import_module("mixedmodels.plot")  # a room above this one, and matplotlib is optional
        return plots.profile(self, **arguments)

    def _limit(self, name: str, cut: float, level: float) -> float:
        points = self.zeta[self.zeta["parameter"] == name]
        value, zeta, slope = (points[c].to_numpy() for c in ("value", "zeta", "slope"))
        low, high = self.bounds[name]
        if cut < zeta[0]:
            return self._beyond(name, low, value[0], level)
        if cut > zeta[-1]:
            return self._beyond(name, high, value[-1], level)
        curve = CubicHermiteSpline(value, zeta, slope)
        at = int(np.clip(np.searchsorted(zeta, cut), 1, len(zeta) - 1))
        ends = curve(value[at - 1]) - cut, curve(value[at]) - cut
        if ends[0] * ends[1] >= 0:
            return float(value[at] if abs(ends[1]) < abs(ends[0]) else value[at - 1])
        return float(brentq(lambda v: float(curve(v)) - cut, value[at - 1], value[at], xtol=1e-14, rtol=1e-14))

    def _beyond(self, name: str, bound: float, reached: float, level: float) -> float:
        if np.isfinite(bound) and abs(reached - bound) <= 1e-5 * max(1.0, abs(bound)):
            return bound
        raise InferenceError(
            f"The profile of {name} ends before the level {level}; levels up to 0.999 are covered."
            if level > 0.999
            else f"The profile of {name} could not be followed to the level {level}; it ends at {reached:.6g}. "
            "Use method='bootstrap'."
        )


def profile(
    state: FitState, which: str | Iterable[str] | Mapping[str, Callable[[Parameters], float]] | None = None
) -> Profile:
    """Return the profile likelihood of some parameters.

    Parameters
    ----------
    state
        The fit; its own criterion is profiled, ML or REML.
    which
        Names of fixed effects and variance parameters (``sd_Days|Subject``, ``cor_Days.Intercept|Subject``,
        ``sigma``); a mapping from new names to functions of the variance parameters, which get a mapping from their
        names to values; or None for all but correlations on their boundary.

    Raises
    ------
    InferenceError
        If a name is unknown, or the parameter's estimate is on the boundary of a correlation, where it has no profile.
    """
    engine = _Profiler(state)
    if isinstance(which, Mapping):
        paths = [engine.function(name, function) for name, function in which.items()]
    else:
        names = [which] if isinstance(which, str) else list(engine.profilable()) if which is None else list(which)
        paths = [engine.path(name) for name in names]
    if not paths:
        raise InferenceError("There is nothing to profile: which is empty.")
    frame = pd.concat([path.frame for path in paths], ignore_index=True)
    return Profile(frame, {p.name: p.bounds for p in paths}, {p.name: p.estimate for p in paths})


_Row = tuple[float, float, float, "Floats"]
"""value, zeta, slope of zeta in the value, psi."""


@dataclass(frozen=True)
class _Path:
    name: str
    estimate: float
    bounds: tuple[float, float]
    frame: pd.DataFrame


@dataclass(frozen=True)
class _Point:
    """One constrained minimum: the free coordinate c, the criterion, its slope in c, and psi."""

    c: float
    deviance: float
    slope: float
    psi: Floats


class _Profiler:
    """Profiles of one fit."""

    def __init__(self, state: FitState) -> None:
        self.state = state
        self.map = CovarianceMap(state)
        self.psi = estimate(state)
        self.parameters = {p.name: p for p in list_parameters(state.design.factors)}
        self.dof = state.design.n_obs - (state.n_fixed if state.reml else 0)
        self.lowest = state.optimum.deviance

    def profilable(self) -> Iterable[str]:
        for name, parameter in self.parameters.items():
            if parameter.kind != "cor" or not self.map.on_boundary(self.psi, parameter):
                yield name
        yield from self.state.fixed_names

    def path(self, name: str) -> _Path:
        if name in self.parameters:
            return self._variance(self.parameters[name])
        if name in self.state.fixed_names:
            return self._fixed(self.state.fixed_names.index(name))
        known = [*self.state.fixed_names, *self.parameters]
        raise InferenceError(f"There is no parameter {name!r} to profile.{nearest(str(name), known)}")

    # Variance parameters

    def criterion(self, psi: Floats) -> tuple[float, Floats, Floats]:
        """Return d(theta~, log sigma) = deviance + dof (rho - 1 - log rho), rho = s2 / sigma^2, and derivatives."""
        deviance, s2, gradient, curvature, s2_gradient, s2_hessian = self._evaluate(psi[:-1])
        rho = s2 / np.exp(2 * psi[-1])
        relative = s2_gradient / s2
        value = deviance + self.dof * (rho - 1 - np.log(rho))
        slope = np.append(gradient + self.dof * (rho - 1) * relative, 2 * self.dof * (1 - rho))
        hessian = np.empty((len(psi), len(psi)))
        outer = np.outer(relative, relative)
        hessian[:-1, :-1] = curvature + self.dof * (outer + (rho - 1) * s2_hessian / s2)
        hessian[-1, :-1] = hessian[:-1, -1] = -2 * self.dof * rho * relative
        hessian[-1, -1] = 4 * self.dof * rho
        return float(value), slope, hessian

    def _variance(self, parameter: VarianceParameter) -> _Path:
        value = self.map.value(self.psi, parameter)
        at_bound = self.map.on_boundary(self.psi, parameter)
        if parameter.kind == "cor" and at_bound:
            raise InferenceError(
                f"{parameter.name} has no profile: its estimate is on the boundary (plus or minus one, or of an effect "
                "without variance). Profile the standard deviations, or simplify the random effects."
            )

        def constraint(psi: Floats) -> tuple[float, Floats, Floats]:
            return self.map.unbounded(psi, parameter)

        def natural(c: float) -> tuple[float, float]:
            """Return the value at c and its derivative."""
            if parameter.kind == "cor":
                return float(np.tanh(c)), float(1 - np.tanh(c) ** 2)
            return float(np.exp(c)), float(np.exp(c))

        start = _nudged(self.psi)
        if at_bound:
            c_hat, se = np.log(NUDGE * self.map.natural_sd(self.psi, parameter)), 0.5
        else:
            c_hat, slope, _ = self.map.unbounded(self.psi, parameter)
            se = float(np.linalg.norm(slope @ covariance_root(self.state)))
        zero = _Point(float(c_hat), self.lowest, 0.0, start)
        edge = EDGE if parameter.kind == "cor" else np.inf

        def solve(c: float, before: _Point) -> _Point | None:
            return self._solve(constraint, c, before.psi) if abs(c) < edge else None

        rows: list[_Row] = [] if at_bound else [(value, 0.0, 1 / (se * natural(c_hat)[1]), self.psi)]
        floor = -np.inf
        if parameter.kind == "sd":
            floor = 0.0 if at_bound else -np.sqrt(max(self._at_zero(parameter) - self.lowest, 0.0))
        for sign in (1.0,) if at_bound else (1.0, -1.0):
            for point in self._walk(zero, sign, se, solve, floor):
                v, dv = natural(point.c)
                zeta = self._zeta(point, sign)
                rows.append((v, zeta, point.slope / (2 * zeta) / dv, point.psi))
        if parameter.kind == "sd" and -floor < TARGETS[-1]:
            lowest = min(rows, key=lambda row: row[0])
            near = NEAR_ZERO * lowest[0]
            last = self._solve(constraint, float(np.log(near)), lowest[3])
            rise = 0.0 if last is None or at_bound else (self._zeta(last, -1.0) - floor) / near
            rows.append((0.0, floor, rise, self.psi))
        if parameter.kind != "cor":
            return self._finish(parameter.name, value, (0.0, np.inf), rows)
        for sign in (1.0, -1.0):
            v, zeta, _, psi = max(rows, key=lambda row: sign * row[0])
            edge_point = self._solve(constraint, sign * EDGE, psi) if abs(zeta) < TARGETS[-2] else None
            if edge_point is not None:
                end = self._zeta(edge_point, sign)
                rows.append((sign, end, (end - zeta) / (sign - v), edge_point.psi))
        return self._finish(parameter.name, value, (-1.0, 1.0), rows)

    def _solve(self, constraint: Function, c: float, start: Floats) -> _Point | None:
        try:
            found = minimize(self.criterion, start, constraint, c)
        except (ValueError, np.linalg.LinAlgError):
            return None
        return _Point(c, found.value, found.slope, found.point) if found.converged else None

    def _at_zero(self, parameter: VarianceParameter) -> float:
        """Return the criterion minimised with that effect left out."""
        design = _without_effect(self.state.design, parameter)
        if design is None:
            return _least_squares(self.state)
        return fit_problem(Problem(design), reml=self.state.reml, control=self.state.control).optimum.deviance

    def function(self, name: str, function: Callable[[Parameters], float]) -> _Path:
        """Profile a function of the variance parameters."""

        def value(psi: Floats) -> float:
            return float(function({p.name: self.map.value(psi, p) for p in self.map.parameters}))

        def constraint(psi: Floats) -> tuple[float, Floats, Floats]:
            steps = np.eye(len(psi)) * BEND_DIFFERENCE
            slopes = [
                (_difference(value, psi + h) - _difference(value, psi - h)) / (2 * BEND_DIFFERENCE) for h in steps
            ]
            bend = np.array(slopes)
            return value(psi), _difference(value, psi), (bend + bend.T) / 2

        estimated = value(self.psi)
        if not np.isfinite(estimated):
            raise InferenceError(f"The function {name!r} is {estimated} at the estimates; it must be finite there.")
        slope = _difference(value, self.psi)
        se = float(np.linalg.norm(slope @ covariance_root(self.state)))
        if not se > 0:
            raise InferenceError(
                f"The function {name!r} does not change with the variance parameters near the estimates."
            )
        rows = [(estimated, 0.0, 1 / se, self.psi)]
        zero = _Point(estimated, self.lowest, 0.0, _nudged(self.psi))
        for sign in (1.0, -1.0):
            for point in self._walk(zero, sign, se, lambda c, before: self._solve(constraint, c, before.psi), -np.inf):
                zeta = self._zeta(point, sign)
                rows.append((point.c, zeta, point.slope / (2 * zeta), point.psi))
        return self._finish(name, estimated, (-np.inf, np.inf), rows)

    # Fixed effects

    def _fixed(self, j: int) -> _Path:
        state = self.state
        others = [k for i, k in enumerate(state.kept) if i != j]
        names = tuple(state.design.x_names[k] for k in others)
        X = np.ascontiguousarray(state.design.X[:, others])
        reduced = Problem(replace(state.design, X=X, x_names=names), n_threads=state.problem.n_threads)
        column = state.design.X[:, state.kept[j]]
        n = state.design.n_obs

        def solve(c: float, before: _Point) -> _Point | None:
            moved = reduced.with_response(state.design.y - c * column).model

            def objective(theta: Floats) -> tuple[float, Floats, Floats]:
                deviance, s2, gradient, curvature, s2_gradient, s2_hessian = self._evaluate(theta)
                _, own, _, _, own_gradient, own_hessian = moved.evaluate(theta, False)
                value = deviance + self.dof * np.log(own * n / (s2 * self.dof))
                new, old = own_gradient / own, s2_gradient / s2
                bend = own_hessian / own - np.outer(new, new) - s2_hessian / s2 + np.outer(old, old)
                return float(value), gradient + self.dof * (new - old), curvature + self.dof * bend

            try:
                found = minimize(objective, before.psi[:-1])
            except (ValueError, np.linalg.LinAlgError):
                return None
            if not found.converged:
                return None
            r2 = moved.evaluate(found.point, False)[1] * n
            beta, cov, _, _ = state.problem.model.solve(state.problem.model.to_user(found.point), state.reml)
            slope = 2 * self.dof * (c - beta[j]) / (cov[j, j] * r2)
            psi = np.append(found.point, 0.5 * np.log(r2 / self.dof))
            return _Point(c, found.value, float(slope), psi)

        value, se = float(state.beta[j]), float(np.sqrt(state.cov_beta[j, j]))
        zero = _Point(value, self.lowest, 0.0, _nudged(self.psi))
        rows = [(value, 0.0, 1 / se, self.psi)]
        for sign in (1.0, -1.0):
            for point in self._walk(zero, sign, se, solve, -np.inf):
                zeta = self._zeta(point, sign)
                rows.append((point.c, zeta, point.slope / (2 * zeta), point.psi))
        return self._finish(state.fixed_names[j], value, (-np.inf, np.inf), rows)

    # Common

    def _evaluate(self, theta: Floats) -> tuple[float, float, Floats, Floats, Floats, Floats]:
        return self.state.problem.model.evaluate(np.ascontiguousarray(theta), self.state.reml)

    def _zeta(self, point: _Point, sign: float) -> float:
        rise = point.deviance - self.lowest
        if rise < -BELOW_TOL:
            raise InferenceError(
                f"The profile found a criterion {-rise:.3g} below the fit's, so the fit is not at its optimum. "
                "Refit with more starts: control=Control(n_starts=10)."
            )
        return sign * float(np.sqrt(max(rise, 1e-16)))

    def _walk(
        self, zero: _Point, sign: float, se: float, solve: Callable[[float, _Point], _Point | None], floor: float
    ) -> Iterable[_Point]:
        """Points of one side, zeta near each target until the floor or what cannot be reached."""
        before, at, zeta, step = zero, zero, 0.0, 1 / se
        for _ in range(MAX_POINTS):
            target = next((t for t in TARGETS if t > abs(zeta) + NEAR_TARGET), None)
            if target is None or (sign < 0 and -target <= 0.98 * floor):
                return
            jump = sign * min((target - abs(zeta)) / step, LONGEST_JUMP * se)
            for length in (1.0, 0.5, 0.25, 0.1):
                c = at.c + length * jump
                point = solve(c, replace(at, psi=_extrapolated(before, at, c)))
                if point is not None:
                    break
            else:
                return
            new = self._zeta(point, sign)
            passed = abs(new) - target
            if passed > NEAR_TARGET:  # back to the target first
                curve = CubicHermiteSpline([abs(zeta), abs(new)], [at.c, point.c], [sign / step, 2 * new / point.slope])
                between = solve(float(curve(target)), point)
                if between is not None:
                    yield between
            before, at, zeta = at, point, new
            step = point.slope / (2 * zeta)
            yield point
            if not step > 1e-6 / se:
                return

    def _finish(self, name: str, value: float, bounds: tuple[float, float], rows: list[_Row]) -> _Path:
        rows = sorted(rows, key=lambda row: row[0])
        frame = pd.DataFrame([row[:3] for row in rows], columns=["value", "zeta", "slope"])
        frame.insert(0, "parameter", name)
        for parameter in self.map.parameters:
            frame[parameter.name] = [self.map.value(row[3], parameter) for row in rows]
        return _Path(name, value, bounds, frame)


def _extrapolated(before: _Point, at: _Point, c: float) -> Floats:
    """Return psi at c on the line through two points, or that of the second where the first is the estimate."""
    if before.c == at.c or before.slope == 0.0:
        return at.psi
    return np.asarray(at.psi + (c - at.c) / (at.c - before.c) * (at.psi - before.psi))


def _nudged(psi: Floats) -> Floats:
    out = psi.copy()
    out[:-1][out[:-1] == 0] = NUDGE
    return out


def _difference(function: Callable[[Floats], float], at: Floats) -> Floats:
    steps = np.eye(len(at)) * SMALL_DIFFERENCE
    return np.array([(function(at + h) - function(at - h)) / (2 * SMALL_DIFFERENCE) for h in steps])


def _without_effect(design: Design, parameter: VarianceParameter) -> Design | None:
    """Return the design without one random effect (all of a tied block), or None if no random effect is left."""
    factor = design.factors[parameter.factor]
    sizes, start, drop = [], 0, {parameter.column}
    for size in factor.block_sizes:
        if start <= parameter.column < start + abs(size):
            if size < 0:
                drop = set(range(start, start - size))
            elif size > 1:
                sizes.append(size - 1)
        else:
            sizes.append(size)
        start += abs(size)
    keep = [c for c in range(factor.n_effects) if c not in drop]
    factors = list(design.factors)
    if keep:
        Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
        columns = tuple(factor.columns[c] for c in keep)
        factors[parameter.factor] = replace(
            factor, columns=columns, Z=np.ascontiguousarray(Z[:, keep]), block_sizes=tuple(sizes)
        )
    else:
        del factors[parameter.factor]
    return replace(design, factors=tuple(factors)) if factors else None


def _least_squares(state: FitState) -> float:
    """Return the criterion without any random effect."""
    design = state.design
    X = design.X[:, list(state.kept)]
    y = design.y if design.offset is None else design.y - design.offset
    w = np.ones(design.n_obs) if design.weights is None else design.weights
    root = np.sqrt(w)[:, None]
    residual = root[:, 0] * y
    dof = design.n_obs
    value = -float(np.log(w).sum())
    if X.shape[1]:
        Q, R = np.linalg.qr(root * X)
        residual = residual - Q @ (Q.T @ residual)
        if state.reml:
            dof -= X.shape[1]
            value += 2 * float(np.log(np.abs(np.diag(R))).sum())
    return value + dof * (1 + float(np.log(2 * np.pi * (residual @ residual) / dof)))
