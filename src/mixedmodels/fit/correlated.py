"""Models whose residuals have a structure, variance functions or a known variance, with random effects beside them.

The criterion of ``fit/marginal.py`` with blocks of independent rows in the place of subjects, and V of each block in
the place of Sigma at its visits. Rows are times the roots of their weights.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels._engine import PatternModel
from mixedmodels.covariance.block_covariance import BlockCovariance
from mixedmodels.covariance.block_residual import BlockResidual, BlockRows, OnOwnTimes, OnVisits
from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.kinds import correlation_of, make_structure
from mixedmodels.covariance.residual import ResidualStructure
from mixedmodels.covariance.variance_kinds import VARIANCES
from mixedmodels.design.block_rows import Blocks, EffectBlock, each_block, effect_blocks, find_blocks
from mixedmodels.design.labels import level_text
from mixedmodels.errors import DesignError, FitError, InferenceError, MixedModelsError, memory_told
from mixedmodels.fit.fixed_root import FixedRoot, root_at
from mixedmodels.fit.marginal import Evaluation, MarginalProblem, SecondOrder, Slopes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.design.residual_rows import ResidualRows

INDEPENDENT = "id"

FEW_VISITS = 20
"""Visits up to which derivatives in all of Sigma are cheaper than those along parameters, block by block."""

FEW_PATTERNS = 32
"""Covariances of one size below which their blocks are solved for one covariance at a time."""


class CorrelatedProblem(MarginalProblem):
    """The criterion of one design as a function of a point of its blocks' covariance.

    Parameters
    ----------
    design
        The model's arrays.
    sigma
        Residual standard deviation of weight one, if it is known.
    n_threads
        Threads of the engine; 0 takes what the machine has.
    design_seconds
        What building the design took, for the record.
    """

    def __init__(
        self, design: Design, *, sigma: float | None = None, n_threads: int = 0, design_seconds: float = 0.0
    ) -> None:
        super().__init__(design, n_threads=n_threads, design_seconds=design_seconds)
        self.known_sigma = sigma

    @property
    def rows(self) -> ResidualRows:
        """Rows by subject and visit.

        Raises
        ------
        InferenceError
            If there are no subjects.
        """
        if self.design.residual is None:
            raise InferenceError("Residuals of this fit have no structure, so no subjects and visits to ask for.")
        return self.design.residual

    @property
    def kind(self) -> str:
        """Kind of the residual structure."""
        return INDEPENDENT if self.design.residual is None else self.design.residual.term.kind

    @property
    def n_subjects(self) -> int:
        """Blocks of independent rows."""
        return self.blocks.n_blocks

    def with_design(self, design: Design) -> CorrelatedProblem:
        """Return the same criterion of another design.

        Parameters
        ----------
        design
            The other model's arrays.
        """
        return type(self)(design, sigma=self.known_sigma, n_threads=self.n_threads)

    @property
    def cluster_name(self) -> str:
        """What independent rows differ in."""
        own, factors = self.design.residual, self.design.factors
        if self.design.known_residual is not None:
            named = factors[-1:] if factors and factors[-1].n_levels == self.n_subjects else ()
            return named[0].name if named else "block"
        if factors and (own is None or self.n_subjects < own.n_subjects):
            return factors[-1].name
        return "row" if own is None else own.term.subject

    @cached_property
    def cluster(self) -> npt.NDArray[np.intp]:
        """Block of each row, (n_obs,), in the order of the patterns."""
        out, first = np.empty(self.design.n_obs, dtype=np.intp), 0
        for _, _, members in each_block(self.blocks):
            out[members] = first + np.arange(len(members))[:, None]
            first += len(members)
        return out

    def each(self, point: Floats, *, of_residuals: bool = False) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Yield rows, (n_blocks, m), and covariance (m, m) of blocks that share it, rows times roots of weights."""
        covariance = self.covariance
        for where, some in zip(self.blocks.rows, self.blocks.members, strict=True):
            V = covariance.residual_covariance(point, where)
            if not of_residuals:
                V = V + covariance.effects_covariance(point, where)
            yield from zip(some, V, strict=True)

    @cached_property
    def effects(self) -> tuple[EffectBlock, ...]:
        """Blocks of random effects."""
        return effect_blocks(self.design.factors, self.design.n_obs)

    @cached_property
    def blocks(self) -> Blocks:
        """Rows by block."""
        return find_blocks(self.design, self.effects)

    @property
    def covariance_rows(self) -> tuple[BlockRows, ...]:
        """Rows whose covariances are formed."""
        return self.blocks.rows

    @cached_property
    def residual(self) -> BlockResidual:
        """The residual structure."""
        own = self.design.residual
        if own is None:
            return OnVisits(_independence(), 1, 1)
        if own.has_own_times:
            correlation = correlation_of(self.kind)
            assert correlation is not None
            return OnOwnTimes(correlation, len(own.groups), self.unit)
        return OnVisits(make_structure(self.kind, own.visits), len(own.groups), len(own.visits))

    @cached_property
    def unit(self) -> float:
        """Median distance of neighbours: of visits in common, or over all subjects."""
        own = self.design.residual
        positions = None if own is None else own.visits.positions
        if own is None or positions is None:
            return 1.0
        if not own.has_own_times:
            return own.visits.unit
        order = np.lexsort((own.visit, own.subject))
        at, same = positions[own.visit[order]], np.diff(own.subject[order]) == 0
        gaps = np.linalg.norm(np.diff(at, axis=0)[same], axis=1)
        return float(np.median(gaps)) if len(gaps) else 1.0

    @cached_property
    def covariance(self) -> BlockCovariance:
        """V of the blocks."""
        own = self.design.residual
        is_held = self.known_sigma is not None
        functions = tuple(
            VARIANCES[column.term.kind](
                column.term.column,
                column.values,
                () if column.levels is None else tuple(map(level_text, column.levels)),
                is_centred=not is_held,
            )
            for column in self.design.variance
        )
        return BlockCovariance(
            rows=self.covariance_rows,
            residual=self.residual,
            functions=functions,
            sizes=tuple(e.size for e in self.effects),
            is_tied=tuple(e.is_tied for e in self.effects),
            is_held=is_held,
            group_names=("",) if own is None else tuple(map(level_text, own.groups)),
        )

    @property
    def structure(self) -> ResidualStructure:
        """What inference asks of the structure: names, and parameters of SAS, which there are none of."""
        return self.covariance  # type: ignore[return-value]  # it has what is asked for

    def of_visits(self, point: Floats) -> Floats:
        """Return Sigma of the residuals by visits where variance functions are one, (G, V, V).

        Raises
        ------
        InferenceError
            If there are no visits that subjects have in common.
        """
        if self.design.residual is None or not isinstance(self.residual, OnVisits):
            raise InferenceError(
                "These residuals have no covariance by visits: they have no structure, or subjects have times of their "
                "own. residual_parameters() has the parameters."
            )
        covariance = self.covariance
        ratio = covariance.sigma(point) / float(self.residual.parameters(covariance.residual_point(point))[0][0].value)
        return ratio**2 * self.residual.of_visits(covariance.residual_point(point))

    def _form(self) -> PatternModel:
        design, blocks = self.design, self.blocks
        y = design.y if design.offset is None else design.y - design.offset
        sizes = blocks.sizes
        try:
            with memory_told("A fit"):
                return PatternModel(
                    y,
                    design.X,
                    design.weights,
                    blocks.order,
                    list(range(len(sizes))),
                    [list(range(m)) for m in sizes],
                    blocks.counts,
                    max(sizes),
                    len(sizes),
                    self.n_threads,
                )
        except MixedModelsError:
            raise
        except ValueError as error:
            raise FitError(
                f"{design.formula.text!r} cannot be fitted to these data: {error}. Remove the columns that determine "
                f"{design.response_name}."
            ) from error

    def starts(self) -> list[Floats]:
        """Return the points to begin at."""
        starts = self.covariance.starts(*self._moments())
        if self.known_sigma is not None:
            for start in starts:
                start[0] = np.log(self.known_sigma / self.model.scale)
        return starts

    def start(self) -> Floats:
        """Return the first of the points to begin at."""
        return self.starts()[0]

    def _moments(self) -> tuple[Floats, Floats]:
        """Return sums and counts of products of least-squares residuals by pairs of visits, (G, V, V) each."""
        own = self.design.residual
        if own is None or own.has_own_times:
            n_groups = 1 if own is None else len(own.groups)
            return np.ones((n_groups, 1, 1)), np.ones((n_groups, 1, 1))
        n_visits, n_groups = len(own.visits), len(own.groups)
        if not (own.term.kind == "us" or own.term.kind.endswith("h")):  # one variance, that of the scaled residuals
            return np.tile(np.eye(n_visits), (n_groups, 1, 1)), np.ones((n_groups, n_visits, n_visits))
        residual = self._least_squares()
        size = own.n_subjects * n_visits
        place = own.subject.astype(np.intp) * n_visits + own.visit
        wide = np.bincount(place, residual, size).reshape(-1, n_visits)
        seen = np.bincount(place, minlength=size).reshape(-1, n_visits).astype(np.float64)
        group = np.zeros(own.n_subjects, dtype=np.intp)
        group[own.subject] = own.group
        sums = [wide[group == g].T @ wide[group == g] for g in range(n_groups)]
        return np.array(sums), np.array([seen[group == g].T @ seen[group == g] for g in range(n_groups)])

    def _least_squares(self) -> Floats:
        """Return residuals of least squares over their root mean square, times roots of weights, (n_obs,)."""
        design = self.design
        y = design.y if design.offset is None else design.y - design.offset
        X = design.X[:, self.model.kept]
        if design.weights is not None:
            root = np.sqrt(design.weights)
            y, X = y * root, X * root[:, None]
        length = np.linalg.norm(X, axis=0)
        X = X / np.where(length > 0, length, 1.0)
        residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        return np.asarray(residual / self.model.scale)

    def evaluation(self, point: Floats, reml: bool) -> Evaluation | None:
        """Return the criterion at a point, with coordinates of a walk that begins there; None if it is not defined."""
        value = self.value(point, reml)
        return None if value is None else Evaluation(self, reml, point, np.zeros(self.covariance.n_coordinates), value)

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step away."""
        return self.covariance.moved(point, step)

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion without its constant, None where a V is not positive definite."""
        V = flat(self.covariance.covariances(point))
        return None if not np.isfinite(V).all() else self.model.block_value(V, reml)

    def slopes(self, point: Floats, reml: bool) -> Slopes:
        """Return the derivatives of the criterion in the coordinates at a point."""
        covariance, k = self.covariance, self.covariance.n_coordinates
        V, dV = covariance.covariances(point), covariance.slopes(point)
        with memory_told("An evaluation of the likelihood"):
            found = self.model.block_derivatives(flat(V), flat(dV), k, reml)
        if found is None:
            raise InferenceError("The likelihood has no derivatives at this estimate: a covariance is singular there.")
        _, by_V, (determinant, rest, fixed), products = found
        weights = shaped(by_V, V)
        gradient = np.zeros(k)
        for by, slopes in zip(weights, dV, strict=True):
            gradient += np.tensordot(by, slopes, ([0, 1, 2], [0, 2, 3]))
        p = products.shape[1] - 1
        P, q = products[:, :p, :p], products[:, :p, p]
        P = 0.5 * (P + P.swapaxes(1, 2))
        bend = covariance.bend(point, weights)
        squares, crossed = q @ q.T, np.zeros((k, k))
        if reml:
            by_pair = P.reshape(k, p * p)
            crossed = by_pair @ by_pair.T
        return Slopes(
            gradient=gradient,
            hessian=rest + fixed - determinant + bend - 2 * squares - crossed,
            average=0.5 * rest - squares + bend,
            expected=determinant - fixed + crossed,
            sensitivity=P,
            pull=q,
        )

    def second_order(self, point: Floats, W: Floats) -> SecondOrder:
        """Return what Kenward and Roger's method needs beside the slopes."""
        covariance = self.covariance
        found = self.model.block_kenward_roger(
            flat(covariance.covariances(point)),
            flat(covariance.slopes(point)),
            np.ascontiguousarray(W),
            flat(covariance.mean_bend(point, W)),
        )
        if found is None:
            raise InferenceError("Kenward-Roger has no answer at this estimate: a covariance is singular there.")
        return SecondOrder(*found)

    def fixed_root(self, point: Floats, reml: bool, sigma: float) -> FixedRoot:
        """Return the fixed effects at a point and a root of their covariance over sigma^2, in a basis."""
        found = self.model.block_root(flat(self.covariance.covariances(point)), reml)
        return root_at(found, self.model.scale / sigma)

    def solve(self, point: Floats, right: Floats) -> Floats:
        """Return V^-1 B, (n_obs, c), for B (n_obs, c), rows times roots of weights, in units of the scaled problem."""
        out = np.empty_like(right)
        for V, some in zip(self.covariance.covariances(point), self.blocks.members, strict=True):
            if len(some) < FEW_PATTERNS:
                for one, rows in zip(V, some, strict=True):
                    size, m = rows.shape
                    wide = right[rows].transpose(1, 0, 2).reshape(m, -1)
                    out[rows] = np.linalg.solve(one, wide).reshape(m, size, -1).transpose(1, 0, 2)
                continue
            rows = np.concatenate(some)
            each = np.repeat(V, [len(members) for members in some], axis=0)
            out[rows] = np.linalg.solve(each, right[rows])
        return out


def has_visits_alone(design: Design) -> bool:
    """Return whether Sigma over visits in common is all that a model's covariance is, and not too large a one."""
    own = design.residual
    if own is None or design.factors:
        return False
    if own.term.kind == "us":
        return True
    correlation = correlation_of(own.term.kind)
    return len(own.visits) <= FEW_VISITS and correlation is not None and not correlation.has_several_optima


def flat(matrices: list[Floats]) -> Floats:
    """Return the matrices of all blocks one after the other."""
    return np.concatenate([one.ravel() for one in matrices])


def shaped(values: Floats, like: list[Floats]) -> list[Floats]:
    """Return numbers one after the other as matrices like others."""
    ends = np.cumsum([one.size for one in like])[:-1]
    return [part.reshape(one.shape) for part, one in zip(np.split(values, ends), like, strict=True)]


def _independence() -> ResidualStructure:
    return make_structure(INDEPENDENT, Visits(("",)))


def check_sigma(sigma: object, design: Design) -> float | None:
    """Return a known residual standard deviation.

    Raises
    ------
    FitError
        It is no positive number.
    DesignError
        The residual structure has several standard deviations.
    """
    if sigma is None:
        return None
    if isinstance(sigma, bool) or not isinstance(sigma, int | float | np.number) or not 0 < float(sigma) < np.inf:
        raise FitError(f"sigma is {sigma!r}; it must be a positive number, the known residual standard deviation.")
    own = design.residual
    if own is not None and (own.term.kind == "us" or own.term.kind.endswith("h") or len(own.groups) > 1):
        raise DesignError(
            f"sigma={sigma!r} is one standard deviation, and {own.term.text} has several. Leave sigma out, or take a "
            "structure with one, such as ar1, cs or exp."
        )
    return float(sigma)
