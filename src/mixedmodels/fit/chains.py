"""Models whose residuals alone are correlated, through neighbours in time: first-order autoregressions.

The inverse of such correlations is tridiagonal. With a the correlation of two neighbours y and z of a subject,
w = (1 - a) / (1 + a), s = (y + z) / 2 and d = (z - y) / 2,

    [X y]'Q [X y] = (first first' + last last') / 2 + sum over neighbours of w ss' + dd' / w,
    log|C|        = sum over neighbours of log(1 - a^2),

for each group of subjects, so that derivatives in what a depends on are those of w and 1 / w. The engine sums
(``rust/src/chains.rs``); what a is, a structure says of the distances of neighbours. V = exp(2 l) C, with l the
logarithm of the standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from mixedmodels._engine import ChainModel
from mixedmodels.covariance.correlation import OwnPlaces
from mixedmodels.covariance.jets import variables
from mixedmodels.covariance.kinds import correlation_of
from mixedmodels.design.block_rows import MAX_ROWS, Blocks, find_blocks
from mixedmodels.design.chains import Chains, find_chains
from mixedmodels.errors import FitError, InferenceError, MixedModelsError, memory_told
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.fixed_root import FixedRoot, root_at
from mixedmodels.fit.marginal import Evaluation, SecondOrder, Slopes

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.covariance.block_residual import BlockRows
    from mixedmodels.design.records import Floats

SINGULAR = 1e-12
"""1 - a^2 of neighbours from which their correlation cannot be told from plus or minus one."""

N_PARAMETERS = 2
"""Of a group: the logarithm of its standard deviation, and one for its correlations."""


@dataclass(frozen=True)
class Told:
    """The criterion at a point with its derivatives; coordinates are those of all groups one after the other.

    Attributes
    ----------
    value
        Without its constant.
    gradient, hessian
        (K,) and (K, K).
    sensitivity, pull
        As in ``Slopes``.
    products
        [X y]'V^-1 [X y] in the engine's columns, (p + 1, p + 1).
    frame
        What turns these columns into X U^-T and the residual, (p + 1, p + 1).
    of_columns
        [X y]'Q [X y] of each group in these, and its derivatives, over exp(2 l), (3, G, p + 1, p + 1).
    logs
        log|C| of each group, its derivatives, and tr(Q C' Q C'), (4, G).
    correlations
        Of the classes of neighbours, (3, C).
    """

    value: float
    gradient: Floats
    hessian: Floats
    sensitivity: Floats
    pull: Floats
    products: Floats
    frame: Floats
    of_columns: Floats
    logs: Floats
    correlations: Floats


class ChainProblem(CorrelatedProblem):
    """The criterion of ``CorrelatedProblem`` by neighbours in time; parameters as there."""

    @cached_property
    def chains(self) -> Chains:
        """Rows by subject and time."""
        return find_chains(self.rows)

    @property
    def n_subjects(self) -> int:
        """Subjects."""
        return self.rows.n_subjects

    @property
    def cluster_name(self) -> str:
        """What independent rows differ in."""
        return self.rows.term.subject

    @property
    def cluster(self) -> npt.NDArray[np.intp]:
        """Subject of each row, (n_obs,)."""
        return self.rows.subject.astype(np.intp)

    @property
    def covariance_rows(self) -> tuple[BlockRows, ...]:
        """None: covariances are formed where they are asked for."""
        return ()

    @cached_property
    def blocks(self) -> Blocks:
        """Rows by subject, for what needs covariances of whole subjects."""
        if (largest := int(self.chains.lengths.max())) > MAX_ROWS:
            raise InferenceError(
                f"Covariances of whole subjects cannot be formed for this fit: a level of {self.cluster_name} has "
                f"{largest} rows, more than {MAX_ROWS}."
            )
        return find_blocks(self.design, ())

    @property
    def sums(self) -> ChainModel:
        """What the engine keeps of the rows."""
        return cast("ChainModel", self.model)

    def _form(self) -> ChainModel:  # type: ignore[override]  # it has what is asked for of a model
        design, found = self.design, self.chains
        y = design.y if design.offset is None else design.y - design.offset
        try:
            with memory_told("A fit"):
                return ChainModel(
                    y,
                    design.X,
                    design.weights,
                    found.order,
                    found.lengths,
                    found.groups,
                    found.links,
                    found.class_groups,
                    len(self.rows.groups),
                    self.n_threads,
                )
        except MixedModelsError:
            raise
        except ValueError as error:
            raise FitError(
                f"{design.formula.text!r} cannot be fitted to these data: {error}. Remove the columns that determine "
                f"{design.response_name}."
            ) from error

    def with_response(self, y: npt.ArrayLike) -> ChainProblem:
        """Return the problem of the same model for another response; see ``MarginalProblem.with_response``."""
        out = cast("ChainProblem", super().with_response(y))
        for name in ("by_blocks", "_remembered"):
            vars(out).pop(name, None)
        return out

    @cached_property
    def by_blocks(self) -> CorrelatedProblem:
        """The same criterion by covariances of subjects, which second derivatives of these need."""
        return CorrelatedProblem(self.design, sigma=self.known_sigma, n_threads=self.n_threads)

    @cached_property
    def unit(self) -> float:
        """Median distance of neighbours: of visits in common, or over all subjects."""
        found = self.chains
        return float(np.median(found.gaps[found.links])) if self.rows.has_own_times else super().unit

    def correlations(self, point: Floats) -> Floats:
        """Return the correlations of the classes of neighbours, and two derivatives, (3, C)."""
        found, correlation = self.chains, correlation_of(self.kind)
        assert correlation is not None
        out = np.empty((3, len(found.gaps)))
        ends = np.searchsorted(found.class_groups, np.arange(len(self.rows.groups) + 1))
        for g, x in enumerate(point.reshape(-1, N_PARAMETERS)):
            own = slice(ends[g], ends[g + 1])
            gaps = found.gaps[own]
            a = correlation.matrix(variables(x[1:]), OwnPlaces(gaps, gaps, self.unit))
            out[:, own] = a.value, a.first[0], a.second[0, 0]
        return out

    def told(self, point: Floats, reml: bool) -> Told | None:
        """Return the criterion with its derivatives; None where a correlation is one or minus one."""
        key = point.tobytes(), reml
        if key not in self._remembered:
            self._remembered.clear()
            self._remembered[key] = self._tell(point, reml)
        return self._remembered[key]

    @cached_property
    def _remembered(self) -> dict[tuple[bytes, bool], Told | None]:
        """The derivatives at the point that was asked for last."""
        return {}

    def _tell(self, point: Floats, reml: bool) -> Told | None:
        a, found = self.correlations(point), self.chains
        log_sds = point.reshape(-1, N_PARAMETERS)[:, 0]
        precision = np.exp(-2 * log_sds)
        if not (np.all(1 - a[0] ** 2 > SINGULAR) and np.isfinite(precision).all() and precision.all()):
            return None
        of_groups, logs = self.sums.products(a)
        n_rows = found.group_sizes
        total = np.tensordot(precision, of_groups[0], 1)
        p = len(total) - 1
        try:
            root = np.linalg.inv(np.linalg.cholesky(total[:p, :p])).T
        except np.linalg.LinAlgError:
            return None
        frame = np.eye(p + 1)
        frame[:p, :p], frame[:p, p] = root, -root @ (root.T @ total[:p, p])
        of_columns = frame.T @ of_groups @ frame
        value = logs[0].sum() + 2 * n_rows @ log_sds + precision @ of_columns[0, :, p, p]
        value -= 2 * np.log(np.diag(root)).sum() if reml else 0.0
        if not np.isfinite(value):
            return None
        by_fit = precision * _explained(of_columns, reml)
        first = np.stack([2 * n_rows - 2 * by_fit[0], logs[1] + by_fit[1]], axis=1)
        second = _by_pairs(4 * by_fit[0], -2 * by_fit[1], logs[2] + by_fit[2])
        along = np.stack([2 * of_columns[0], -of_columns[1]], axis=1) * precision[:, None, None, None]
        along = along.reshape(-1, p + 1, p + 1)[self._free]
        P, q = along[:, :p, :p], along[:, :p, p]
        flat = P.reshape(len(P), p * p)
        return Told(
            value=float(value),
            gradient=first.ravel()[self._free],
            hessian=second[self._free, self._free] - 2 * q @ q.T - (flat @ flat.T if reml else 0.0),
            sensitivity=P,
            pull=q,
            products=total,
            frame=frame,
            of_columns=of_columns,
            logs=logs,
            correlations=a,
        )

    @property
    def _free(self) -> slice:
        """Coordinates that are not given."""
        return slice(int(self.known_sigma is not None), None)

    def evaluation(self, point: Floats, reml: bool) -> Evaluation | None:
        """Return the criterion at a point, with coordinates of a walk that begins there; None if it is not defined."""
        value = self.value(point, reml)
        x = np.zeros(self.covariance.n_coordinates)
        return None if value is None else ChainEvaluation(self, reml, point, x, value)

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion without its constant, None where a correlation is one or minus one."""
        told = self.told(point, reml)
        return None if told is None else told.value

    def slopes(self, point: Floats, reml: bool) -> Slopes:
        """Return the derivatives of the criterion in the coordinates at a point."""
        told = self.told(point, reml)
        if told is None:
            raise InferenceError("The likelihood has no derivatives at this estimate: a covariance is singular there.")
        found = self.chains
        precision = np.exp(-2 * point.reshape(-1, N_PARAMETERS)[:, 0])
        p = len(told.frame) - 1
        # [X y]'K V_x K V_x K [X y] of each group
        squares = told.frame.T @ self.sums.squares(told.correlations) @ told.frame
        of_columns = np.stack([told.of_columns[0], told.of_columns[1], squares]) * (2 * precision[:, None, None])
        free = (self._free, self._free)
        determinant = _by_pairs(4 * found.group_sizes, 2 * told.logs[1], told.logs[3])[free]
        of_rest = of_columns[..., p, p]
        rest = _by_pairs(4 * of_rest[0], -2 * of_rest[1], of_rest[2])[free]
        fixed = crossed = np.zeros_like(rest)
        if reml:
            of_fixed = np.asarray(np.trace(of_columns[..., :p, :p], axis1=2, axis2=3), dtype=np.float64)
            fixed = _by_pairs(4 * of_fixed[0], -2 * of_fixed[1], of_fixed[2])[free]
            flat = told.sensitivity.reshape(len(rest), p * p)
            crossed = flat @ flat.T
        bend = told.hessian - rest - fixed + determinant + 2 * told.pull @ told.pull.T + crossed
        return Slopes(
            gradient=told.gradient,
            hessian=told.hessian,
            average=0.5 * rest - told.pull @ told.pull.T + bend,
            expected=determinant - fixed + crossed,
            sensitivity=told.sensitivity,
            pull=told.pull,
        )

    def second_order(self, point: Floats, W: Floats) -> SecondOrder:
        """Return what Kenward and Roger's method needs beside the slopes."""
        self.by_blocks.blocks = self.blocks
        return self.by_blocks.second_order(point, W)

    def fixed_root(self, point: Floats, reml: bool, sigma: float) -> FixedRoot:
        """Return the fixed effects at a point and a root of their covariance over sigma^2, in a basis."""
        told = self.told(point, reml)
        found = None if told is None else self.sums.fixed_root(np.ascontiguousarray(told.products))
        return root_at(found, self.model.scale / sigma)

    def solve(self, point: Floats, right: Floats) -> Floats:
        """Return V^-1 B, (n_obs, c), for B (n_obs, c), rows times roots of weights, in units of the scaled problem."""
        found, a = self.chains, self.correlations(point)
        w = (1 - a[0]) / (1 + a[0])
        of_link = w[found.links][:, None]
        last = np.cumsum(found.lengths) - 1
        first = last - found.lengths + 1
        ahead = np.delete(np.arange(len(right)), last)
        B = right[found.order]
        by_sum, by_difference = of_link * (B[ahead + 1] + B[ahead]) / 4, (B[ahead + 1] - B[ahead]) / of_link / 4
        out = np.zeros_like(B)
        out[first] += B[first] / 2
        out[last] += B[last] / 2
        out[ahead] += by_sum - by_difference
        out[ahead + 1] += by_sum + by_difference
        precision = np.exp(-2 * point.reshape(-1, N_PARAMETERS)[:, 0])
        solved = np.empty_like(right)
        solved[found.order] = out * np.repeat(precision[found.groups], found.lengths)[:, None]
        return solved

    def __getstate__(self) -> dict[str, object]:
        kept = super().__getstate__()
        return {name: value for name, value in kept.items() if name != "_remembered"}


@dataclass(frozen=True, eq=False)
class ChainEvaluation(Evaluation):
    """The criterion at a point, whose average information is formed where the Hessian leads astray."""

    problem: ChainProblem

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and the Hessian, or what takes its place."""
        told = self.problem.told(self.point, self.reml)
        assert told is not None
        try:
            np.linalg.cholesky(told.hessian)
        except np.linalg.LinAlgError:
            return super().walked()
        return told.gradient, told.hessian


def _explained(of_columns: Floats, reml: bool) -> Floats:
    """Return the residual's product and by REML the trace of the fixed part's, (3, G), for (3, G, p + 1, p + 1)."""
    p = of_columns.shape[-1] - 1
    rest = of_columns[..., p, p]
    return rest + np.trace(of_columns[..., :p, :p], axis1=2, axis2=3) if reml else rest


def _by_pairs(of_sd: Floats, crossed: Floats, of_x: Floats) -> Floats:
    """Return second derivatives of all coordinates, (2 G, 2 G), from those of each group, (G,)."""
    n = len(of_sd)
    out, at = np.zeros((n, 2, n, 2)), np.arange(n)
    out[at, 0, at, 0], out[at, 1, at, 1] = of_sd, of_x
    out[at, 0, at, 1] = out[at, 1, at, 0] = crossed
    return out.reshape(2 * n, 2 * n)
