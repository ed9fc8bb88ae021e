"""The points of a profile: constrained minima on both sides of an estimate.

What is walked on is a ``Profiled`` fit, which solves one point: the lowest criterion with a parameter held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.inference.measure import Measure, Parameters
from mixedmodels.inference.selection import unknown_parameter
from mixedmodels.inference.variance_parameter import VarianceParameter
from mixedmodels.inference.variance_parameters import Parametrized

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.without_effect import Without

TARGETS = (0.5, 1.0, 1.645, 1.96, 2.576, 3.32)
"""Absolute values of zeta at which the profile is computed, as nearly as its slope tells."""
USUAL = 1.96
NUDGE = 0.05
"""What a standard deviation of zero starts from: the criterion has no slope there, whether or not it is lowest."""
NEAR_BOUNDARY = 1e-3
"""Diagonal of Lambda~ that counts as zero for that."""
NEAR_TARGET = 0.01
"""How near to a target zeta must be computed, or the nearest point is improved once."""
NEAR_ZERO = 0.02
"""Where the slope of zeta at a standard deviation of zero is taken, relative to the lowest point."""
NEAR_CEILING = 0.98
"""Share of the largest zeta that a profile has on a side beyond which no target lies."""
AT_CEILING = 0.995
"""Share of it where the profile of a correlation is computed last."""
FLAT = 1e-4
"""Slope of a function, relative to that at the estimate, that counts as none: the end of its range."""
INCONSISTENT = 1.3
"""How far the mean slope of zeta between two points may lie outside the slopes at them, as a factor."""
MAX_SWEEPS = 5
MAX_BRANCHES = 3
MAX_POINTS = 20
MAX_TURNS = 4
"""Points where zeta falls that a walk goes on from."""
LONGEST_JUMP = 4.0
"""Between two points, in standard errors, or as far as from the estimate."""
LONGEST_FREE_JUMP = 1.5
"""Between two points of log sd or Fisher's z, whose standard errors know no limit near a boundary."""
EDGE = 7.0
"""Fisher's z of a correlation that counts as one."""
NEAR_ONE = 0.9995
"""Share of its range from which on the profile of a correlation is taken to be level where it cannot be computed."""
FLAT_SE = 1.0
"""Standard error of log sd, at least, with which a profile is walked again that stayed where the criterion is flat."""
FAR = 0.5
"""What a zero theta~ is moved to, to see how a function changes from there."""
BELOW_TOL = 1e-5
"""How far below the estimate's criterion a profile may come by rounding."""

_Row = tuple[float, float, float, "Floats"]
"""value, zeta, slope of zeta in the value, psi."""


@dataclass(frozen=True)
class Path:
    name: str
    estimate: float
    bounds: tuple[float, float]
    frame: pd.DataFrame


@dataclass(frozen=True)
class Point:
    """One constrained minimum: the free coordinate c, the criterion, its slope in c, psi; at the estimate dpsi/dc."""

    c: float
    deviance: float
    slope: float
    psi: Floats
    direction: Floats | None = None


@dataclass(frozen=True)
class FixedEffect:
    """A fixed effect as it is profiled: estimate, standard error, dpsi by it at the minimum, what solves a point."""

    value: float
    se: float
    direction: Floats
    solve: Callable[[float, Floats], Point | None]


class Profiled(Parametrized, Protocol):
    """A fit whose criterion can be minimised with a parameter held, in its psi, which has no units."""

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        ...

    @property
    def lowest(self) -> float:
        """The criterion at the fit."""
        ...

    @property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """Which elements of psi are diagonal ones of Lambda~, or others in which the criterion is even, (n_psi,)."""
        ...

    def fixed(self, j: int) -> FixedEffect:
        """Return one of the fixed effects."""
        ...

    def solve(self, held: VarianceParameter | Measure, c: float, psi: Floats) -> Point | None:
        """Return the lowest criterion with a parameter's free value, or a function's value, held at c, from psi on."""
        ...

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return the lowest criterion where the parameter is zero; None where it never is."""
        ...

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Return psi of a model without an effect, with the effect put back uncorrelated and small."""
        ...

    def elsewhere(self, psi: Floats) -> Iterable[Floats]:
        """Yield psi at which other branches of the profile may be found."""
        ...


@dataclass(frozen=True)
class _Side:
    """What is walked on one side of the estimate: from where, with what solves one point from a psi, and how far."""

    zero: Point
    sign: float
    se: float
    solve: Callable[[float, Floats], Point | None]
    targets: tuple[float, ...] = TARGETS
    longest: float = np.inf
    """Between two points."""
    largest: float = np.inf
    """What |zeta| stays below."""
    in_rows: bool = True
    """False where the walk starts beside an estimate on its boundary."""


class Profiler:
    """Profiles of one fit."""

    def __init__(self, fit: Profiled) -> None:
        self.fit = fit
        self.map, self.psi, self.lowest, self.diagonal = fit.map, fit.psi, fit.lowest, fit.diagonal
        self.parameters = {p.name: p for p in fit.map.parameters}
        self.reduced: dict[str, Without | None] = {}

    def profilable(self) -> Iterable[str]:
        yield from self.fit.fixed_names
        for name, parameter in self.parameters.items():
            if parameter.kind != "cor" or not self.map.on_boundary(self.psi, parameter):
                yield name

    def check_name(self, name: str) -> None:
        """There must be such a parameter.

        Raises
        ------
        InferenceError
            There is none.
        """
        known = [*self.fit.fixed_names, *self.parameters]
        if name not in known:
            raise unknown_parameter(name, known, " to profile")

    def path(self, name: str) -> Path:
        if name in self.parameters:
            return self._variance(self.parameters[name])
        return self._fixed(self.fit.fixed_names.index(name))

    # Variance parameters

    def _variance(self, parameter: VarianceParameter) -> Path:
        value = self.map.value(self.psi, parameter)
        at_bound = self.map.on_boundary(self.psi, parameter)
        if parameter.kind == "cor" and at_bound:
            raise InferenceError(
                f"{parameter.name} has no profile: its estimate is on the boundary (an end of its range, or of an "
                "effect without variance). Profile the standard deviations, or simplify the model."
            )

        start = self._lifted(self.psi, NUDGE)
        if at_bound:
            c_hat, se, direction = np.log(NUDGE * self.map.natural_sd(self.psi, parameter)), 0.5, None
        else:
            c_hat, slope = self.map.unbounded(self.psi, parameter)
            se, direction = self._standard_error(slope)
        edge = EDGE if parameter.kind == "cor" else np.inf

        def solve(c: float, psi: Floats) -> Point | None:
            return self._solve(parameter, c, psi) if abs(c) < edge else None

        def near_zero(points: list[Point]) -> list[Point]:
            lowest = min(points, key=lambda q: q.c, default=side.zero)
            return [*points, *self._near_zero(parameter, lowest)]

        side = _Side(
            Point(float(c_hat), self.lowest, 0.0, start, direction),
            1.0,
            se,
            solve,
            longest=LONGEST_FREE_JUMP,
            in_rows=not at_bound,
        )
        rows: list[_Row] = [] if at_bound else [(value, 0.0, 1 / (se * parameter.natural(c_hat)[1]), self.psi)]

        def append(points: list[Point], sign: float, largest: float) -> None:
            for point in points:
                v, dv = parameter.natural(point.c)
                zeta = self._zeta(point, sign)
                if abs(zeta) < largest:
                    rows.append((v, zeta, point.slope / (2 * zeta) / dv, point.psi))

        if parameter.kind == "cor":
            ceiling = min(map(self._largest_zeta, self._sds_of(parameter)), default=np.inf)
            below = tuple(t for t in TARGETS if t < NEAR_CEILING * ceiling)
            targets = (*below, AT_CEILING * ceiling) if _is_reached(ceiling) else TARGETS
            for sign in (1.0, -1.0):
                append(self._side(replace(side, sign=sign, targets=targets, largest=ceiling)), sign, ceiling)
                rows += self._correlation_end(parameter, sign, ceiling, max(rows, key=lambda r: sign * r[0]))
            return self._finish(parameter.name, value, parameter.limits, rows)
        upper = self._side(side, near_zero if at_bound else None)
        if self.fit.is_undetermined(parameter) and self._reached(upper) < TARGETS[0]:
            wider = self._side(replace(side, se=max(se, FLAT_SE)), near_zero if at_bound else None)
            upper = max(upper, wider, key=self._reached)
        append(upper, 1.0, np.inf)
        floor = self._largest_zeta(parameter)
        if not at_bound:
            targets = tuple(t for t in TARGETS if t < NEAR_CEILING * floor)
            ended = _is_reached(floor)
            lower = replace(side, sign=-1.0, targets=targets, largest=floor)
            append(self._side(lower, near_zero if ended else None), -1.0, floor)
        if _is_reached(floor):
            end = 0.0 if at_bound else -floor
            v, zeta, _, _ = min(rows, key=lambda r: r[0])
            rows.append((0.0, end, (zeta - end) / v if v > 0 else 0.0, self.psi))
        return self._finish(parameter.name, value, parameter.limits, rows)

    def _reached(self, points: list[Point]) -> float:
        """Return the largest zeta of some points."""
        return max((self._zeta(point, 1.0) for point in points), default=0.0)

    def _near_zero(self, parameter: VarianceParameter, lowest: Point) -> list[Point]:
        """Return the better of two minima near a standard deviation of zero: from the lowest point, and from zero."""
        c = lowest.c + float(np.log(NEAR_ZERO))
        starts = [lowest.psi]
        without = self._without(parameter)
        if without is not None and not without.is_empty:
            starts.append(self.fit.put_back(without, parameter, float(np.exp(c))))
        found = [point for start in starts if (point := self._solve(parameter, c, start)) is not None]
        return [min(found, key=lambda q: q.deviance)] if found else []

    def _correlation_end(self, parameter: VarianceParameter, sign: float, ceiling: float, last: _Row) -> list[_Row]:
        """Return the end of a correlation's profile, unless it lies beyond what is profiled.

        Zeta never exceeds the ceiling: any correlation is had at the price of one effect without variance.
        """
        v, zeta, _, psi = last
        bound = parameter.limits[sign > 0]
        if abs(zeta) >= TARGETS[-2] and not _is_reached(ceiling):
            return []
        point = self._solve(parameter, sign * EDGE, psi)
        if point is not None and abs(self._zeta(point, sign)) < ceiling:
            end = self._zeta(point, sign)
            return [(bound, end, (end - zeta) / (bound - v), point.psi)]
        if (bound - v) / (parameter.limits[1] - parameter.limits[0]) * sign < 1 - NEAR_ONE:
            return [(bound, zeta, 0.0, psi)]
        return [(bound, sign * ceiling, 0.0, psi)] if _is_reached(ceiling) else []

    def _solve(self, held: VarianceParameter | Measure, c: float, start: Floats) -> Point | None:
        return self.fit.solve(held, c, self._lifted(start, NUDGE))

    def _largest_zeta(self, parameter: VarianceParameter) -> float:
        """Return what |zeta| tends to when the parameter goes to zero."""
        without = self._without(parameter)
        return np.inf if without is None else float(np.sqrt(max(without.deviance - self.lowest, 0.0)))

    def _without(self, parameter: VarianceParameter) -> Without | None:
        if parameter.name not in self.reduced:
            self.reduced[parameter.name] = self.fit.without(parameter)
        return self.reduced[parameter.name]

    def _sds_of(self, correlation: VarianceParameter) -> list[VarianceParameter]:
        """Return the standard deviations of the two effects of a correlation."""
        rows = (correlation.row, correlation.column)
        of_factor = [p for p in self.map.parameters if p.kind == "sd" and p.factor == correlation.factor]
        return [p for p in of_factor if p.row in rows]

    def function(self, name: str, function: Callable[[Parameters], float]) -> Path:
        """Profile a function of the variance parameters."""
        measure = Measure(name, function, self.map)
        estimated = measure.value(self.psi)
        if not np.isfinite(estimated):
            raise InferenceError(f"The function {name!r} is {estimated} at the estimates; it must be finite there.")
        slope = measure.slope(self.psi)
        se, direction = self._standard_error(slope)
        far = measure.value(self._lifted(self.psi, FAR)) - estimated
        at_bound = not se > 0
        if at_bound and far == 0:
            raise InferenceError(
                f"The function {name!r} does not change with the variance parameters near the estimates."
            )
        start = self._lifted(self.psi, NUDGE)
        c_hat, signs = (measure.value(start), (float(np.sign(far)),)) if at_bound else (estimated, (1.0, -1.0))
        size = abs(far) if at_bound else se

        def solve(c: float, psi: Floats) -> Point | None:
            return self._solve(measure, c, psi)

        zero = Point(c_hat, self.lowest, 0.0, start, None if at_bound else direction)
        bounds = {1.0: np.inf, -1.0: -np.inf}
        rows: list[_Row] = [] if at_bound else [(estimated, 0.0, 1 / se, self.psi)]
        for sign in signs:
            points = self._side(_Side(zero, sign, size, solve, in_rows=not at_bound))
            rows += [self._row(point, sign) for point in points]
            if not points or abs(self._zeta(points[-1], sign)) < TARGETS[-1] - NEAR_TARGET:
                v, zeta = (points[-1].c, self._zeta(points[-1], sign)) if points else (c_hat, 0.0)
                for end, end_zeta, psi in self._ends(measure, np.abs(slope).max(), sign, v, zeta):
                    rows.append((end, end_zeta, (end_zeta - zeta) / (end - v), psi))
                    bounds[sign] = end
        if at_bound:
            bounds[-signs[0]] = estimated
            v, zeta, _, _ = min(rows, key=lambda r: abs(r[1]), default=(c_hat, 0.0, 0.0, start))
            rows.append((estimated, 0.0, zeta / (v - estimated), self.psi))
        return self._finish(name, estimated, (bounds[-1.0], bounds[1.0]), rows)

    def _ends(
        self, measure: Measure, steepest: float, sign: float, value: float, zeta: float
    ) -> list[tuple[float, float, Floats]]:
        """Return the end of a function's range with zeta there, if an effect's standard deviation of zero makes it.

        There the function has no slope, as an intraclass correlation at zero.
        """
        ends = []
        for parameter in self.map.parameters:
            if parameter.kind != "sd":
                continue
            without = self._without(parameter)
            assert without is not None  # a standard deviation may be zero
            psi = without.psi
            end, rise = measure.value(psi), without.deviance - self.lowest
            end_zeta = sign * float(np.sqrt(max(rise, 0.0)))
            flat = np.abs(measure.slope(psi)).max() <= FLAT * steepest
            if flat and sign * (end - value) > 0 and abs(end_zeta) >= abs(zeta):
                ends.append((end, end_zeta, psi))
        return sorted(ends, key=lambda e: abs(e[1]))[:1]

    # Fixed effects

    def _fixed(self, j: int) -> Path:
        effect = self.fit.fixed(j)
        value, se = effect.value, effect.se

        def solve(c: float, psi: Floats) -> Point | None:
            return effect.solve(c, self._lifted(psi, NUDGE))

        zero = Point(value, self.lowest, 0.0, self._lifted(self.psi, NUDGE), effect.direction)
        rows = [(value, 0.0, 1 / se, self.psi)]
        for sign in (1.0, -1.0):
            rows += [self._row(point, sign) for point in self._side(_Side(zero, sign, se, solve))]
        return self._finish(self.fit.fixed_names[j], value, (-np.inf, np.inf), rows)

    # Common

    def _zeta(self, point: Point, sign: float) -> float:
        rise = point.deviance - self.lowest
        if rise < -BELOW_TOL:
            raise InferenceError(
                f"The profile found a criterion {-rise:.3g} below the fit's, so the fit is not at its optimum. "
                "Refit with more starts: control=Control(n_starts=10)."
            )
        return sign * float(np.sqrt(max(rise, 1e-16)))

    def _standard_error(self, slope: Floats) -> tuple[float, Floats]:
        """Return the standard error of a parameter with some slope in psi, and dpsi by the parameter at the minimum."""
        root = self.fit.root
        along = slope @ root
        se = float(np.linalg.norm(along))
        return se, root @ along / se**2 if se > 0 else np.zeros_like(self.psi)

    def _lifted(self, psi: Floats, by: float) -> Floats:
        """Return psi with standard deviations of zero raised."""
        return np.where(self.diagonal & (np.abs(psi) < NEAR_BOUNDARY), by, psi)

    def _row(self, point: Point, sign: float) -> _Row:
        zeta = self._zeta(point, sign)
        return point.c, zeta, point.slope / (2 * zeta), point.psi

    def _side(self, side: _Side, extend: Callable[[list[Point]], list[Point]] | None = None) -> list[Point]:
        """Return the points of one side, from the estimate on."""
        points = list(self._walk(side, side.zero))
        for _ in range(MAX_BRANCHES):
            if not (points and self._try_elsewhere(side, points)):
                break
            points = self._settled(side, points)
            points += self._walk(side, points[-1])  # the better branch is lower, and must be followed further
        points += self._missed(side, points)
        return self._settled(side, points if extend is None else extend(points))

    def _missed(self, side: _Side, points: list[Point]) -> list[Point]:
        """Return a point near each target that has none, as after a change of branch."""
        chain = [side.zero] * side.in_rows + sorted(points, key=lambda q: side.sign * q.c)
        zetas = [0.0 if q is side.zero else abs(self._zeta(q, side.sign)) for q in chain]
        found = []
        for target in side.targets:
            above = next((i for i, zeta in enumerate(zetas) if zeta > target), 0)
            if above == 0 or min(abs(zeta - target) for zeta in zetas) < NEAR_TARGET:
                continue
            left, right = chain[above - 1], chain[above]
            share = (target - zetas[above - 1]) / (zetas[above] - zetas[above - 1])
            c = left.c + share * (right.c - left.c)
            both = [point for q in (left, right) if (point := side.solve(c, q.psi)) is not None]
            if both:
                found.append(min(both, key=lambda q: q.deviance))
        return found

    def _try_elsewhere(self, side: _Side, points: list[Point]) -> bool:
        """Replace the last point, and the one at the usual level, where other correlations do better.

        Return whether there was one.
        """
        replaced = False
        usual = min(range(len(points)), key=lambda i: abs(abs(self._zeta(points[i], side.sign)) - USUAL))
        for i in {usual, len(points) - 1}:
            for psi in self.fit.elsewhere(points[i].psi):
                point = side.solve(points[i].c, psi)
                if point is not None and point.deviance < points[i].deviance - BELOW_TOL:
                    points[i] = point
                    replaced = True
        return replaced

    def _walk(self, side: _Side, start: Point) -> Iterable[Point]:
        """Points of one side beyond a first one, zeta near each target until what cannot be reached."""
        sign = side.sign
        path = [start]
        zeta, step, bend, turns = 0.0, 1 / side.se, 0.0, 0
        if start is not side.zero:
            zeta = self._zeta(start, sign)
            step = start.slope / (2 * zeta)
        for _ in range(MAX_POINTS):
            target = next((t for t in side.targets if t > abs(zeta) + NEAR_TARGET), None)
            if target is None:
                return
            missing = target - abs(zeta)
            straight = missing / step
            curved = straight + 0.5 * bend * missing**2
            share = min(max(curved, 0.5 * straight), 2 * straight)
            far = max(LONGEST_JUMP * side.se, abs(path[-1].c - side.zero.c))
            jump = sign * min(share, far, side.longest)
            for length in (1.0, 0.5, 0.25, 0.1):
                c = path[-1].c + length * jump
                point = side.solve(c, _extrapolated(path, c))
                if point is not None and abs(self._zeta(point, sign)) < side.largest:
                    break
            else:
                return
            yield point
            new = self._zeta(point, sign)
            if abs(new) - target > NEAR_TARGET and point.slope * sign > 0:  # back to the target, and on from there
                ends = [path[-1].c, point.c]
                curve = hermite([abs(zeta), abs(new)], ends, [sign / step, 2 * new / point.slope])
                between = side.solve(float(curve(target)), point.psi)
                if between is not None and abs(zeta) < abs(self._zeta(between, sign)) < abs(new):
                    yield between
                    point = between
            old_zeta, old_step = zeta, step
            path = [*path[-2:], point]
            zeta = self._zeta(point, sign)
            step = point.slope / (2 * zeta)
            if not (step > 1e-6 / side.se and abs(zeta) > abs(old_zeta)):  # across a second optimum, and up again
                turns += 1
                if turns > MAX_TURNS:
                    return
                step, bend = 1 / side.se, 0.0
                continue
            bend = (1 / step - 1 / old_step) / (abs(zeta) - abs(old_zeta))  # second derivative of c in zeta

    def _settled(self, side: _Side, points: list[Point]) -> list[Point]:
        """Return the points in order, those in a worse local optimum replaced by what their neighbours lead to."""
        chain = [side.zero] * side.in_rows + sorted(points, key=lambda q: side.sign * q.c)
        for _ in range(MAX_SWEEPS):
            changed = False
            for i in range(len(chain) - 1):
                if self._consistent(chain[i], chain[i + 1], side):
                    continue
                for here, other in ((i + 1, i), (i, i + 1)):
                    known = chain[here] is side.zero
                    better = None if known else side.solve(chain[here].c, chain[other].psi)
                    if better is not None and better.deviance < chain[here].deviance - BELOW_TOL:
                        chain[here] = better
                        changed = True
            if not changed:
                break
        return chain[1:] if side.in_rows else chain

    def _consistent(self, left: Point, right: Point, side: _Side) -> bool:
        """Return whether zeta rises between two neighbours about as steeply as it does at them."""
        zetas, slopes = [], []
        for point in (left, right):
            zetas.append(0.0 if point is side.zero else self._zeta(point, side.sign))
            slopes.append(1 / side.se if point is side.zero else point.slope / (2 * zetas[-1]))
        mean = (zetas[1] - zetas[0]) / (right.c - left.c)
        return min(slopes) > 0 and min(slopes) / INCONSISTENT <= mean <= max(slopes) * INCONSISTENT

    def _finish(self, name: str, value: float, bounds: tuple[float, float], rows: list[_Row]) -> Path:
        rows = sorted(rows, key=lambda row: row[0])
        frame = pd.DataFrame([row[:3] for row in rows], columns=["value", "zeta", "slope"])
        frame.insert(0, "parameter", name)
        frame[[p.name for p in self.map.parameters]] = self.map.values(np.array([row[3] for row in rows]))
        return Path(name, value, bounds, frame)


def _extrapolated(path: list[Point], c: float) -> Floats:
    """Return psi at c on the parabola or line through up to three points, or along the direction of the first."""
    *_, at = path
    path = [point for point in path if point.slope != 0 or point.direction is not None]  # not a start at a bound
    if len(path) <= 1:
        return at.psi if at.direction is None else np.asarray(at.psi + (c - at.c) * at.direction)
    if len(path) == 3 and abs(c - at.c) > 2 * abs(at.c - path[0].c):
        path = path[1:]
    weights = [np.prod([(c - q.c) / (p.c - q.c) for q in path if q is not p]) for p in path]
    return np.asarray(sum(w * p.psi for w, p in zip(weights, path, strict=True)))


def _is_reached(largest: float) -> bool:
    """Return whether the largest zeta of a side keeps targets from being reached."""
    return NEAR_CEILING * largest <= TARGETS[-1]


def hermite(x: Any, y: Any, slope: Any) -> Callable[[Any], Any]:
    """Return the piecewise cubic curve through points with given slopes; the cubes are of shares of its range."""
    from scipy.interpolate import CubicHermiteSpline  # noqa: PLC0415  # takes longer to import than most fits take

    places = np.asarray(x, dtype=np.float64)
    start, span = places[0], places[-1] - places[0]
    curve = CubicHermiteSpline((places - start) / span, y, np.asarray(slope) * span)
    return lambda at: curve((np.asarray(at) - start) / span)
