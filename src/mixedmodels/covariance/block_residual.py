"""Covariances of residuals in blocks of rows: a structure over common visits, or over times of each subject's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.correlation import Correlation, OwnPlaces
from mixedmodels.covariance.jets import Floats, Jet, variables
from mixedmodels.covariance.residual import Parameter, ResidualStructure

Codes = npt.NDArray[np.intp]

MAX_REMEMBERED = 256
"""Sizes of blocks, times groups, whose derivatives are kept until the point moves."""


@dataclass(frozen=True)
class BlockRows:
    """The rows of n blocks with m rows each; what they are differs from block to block, or they would be one.

    Attributes
    ----------
    group, visit
        Codes, (n, m).
    shared
        What the structure's covariance of two rows is times, (n, m, m): one where they are of the same subject, else
        zero; or their known covariance, where the structure is no more than sigma^2.
    positions
        Times or coordinates, (n, m, n_coordinates); None where visits are common ones.
    variance
        What each variance function is of, (n, m).
    effects
        Columns of each block of random effects, times roots of weights, (n, m, q).
    same_level
        One where two rows are of the same level of it, else zero, (n, m, m).
    roots
        Roots of the weights, (n, m).
    """

    group: Codes
    visit: Codes
    shared: Floats
    positions: Floats | None
    variance: tuple[Floats, ...]
    effects: tuple[Floats, ...]
    same_level: tuple[Floats, ...]
    roots: Floats

    def __len__(self) -> int:
        return len(self.group)

    @property
    def size(self) -> int:
        """Rows of a block."""
        return int(self.group.shape[1])


class BlockResidual(Protocol):
    """What blocks need of a residual structure; ``where`` is some of the rows, a point is flat."""

    @property
    def title(self) -> str:
        """The structure in words."""

    @property
    def has_several_optima(self) -> bool:
        """Whether the likelihood may have several optima where nothing else is random."""

    @property
    def n_coordinates(self) -> int:
        """Coordinates of all groups, K."""

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return points to begin at, the best guess first."""

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step (K,) away."""

    def covariance(self, point: Floats, where: BlockRows) -> Floats:
        """Return the covariances, (n, m, m)."""

    def slopes(self, point: Floats, where: BlockRows) -> Floats:
        """Return their derivatives, (n, K, m, m)."""

    def bend(self, point: Floats, where: Sequence[BlockRows], weights: Sequence[Floats]) -> Floats:
        """Return the second derivatives of the sum of <weights, covariance>, (K, K)."""

    def mean_bend(self, point: Floats, where: BlockRows, W: Floats) -> Floats:
        """Return the sum of W_ij d2_ij, (n, m, m)."""

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return the parameters of each group, with slopes (k,)."""

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return one parameter of one group with its derivatives in the group's coordinates."""

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the step (K,) that leads from one point to another."""


@dataclass(frozen=True)
class OnVisits:
    """A structure over visits that subjects have in common.

    Attributes
    ----------
    structure
        Coordinates to Sigma.
    n_groups, n_visits
        Sizes.
    """

    structure: ResidualStructure
    n_groups: int
    n_visits: int

    @property
    def title(self) -> str:
        """The structure in words."""
        return self.structure.title

    @property
    def has_several_optima(self) -> bool:
        """Whether the likelihood may have several optima where nothing else is random."""
        return self.structure.has_several_optima

    @property
    def n_coordinates(self) -> int:
        """Coordinates of all groups."""
        return self.n_groups * self.structure.n_coordinates

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return the structure's."""
        return [start.ravel() for start in self.structure.starts(moments, counts)]

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step away."""
        return self.structure.moved(self._shaped(point), step.reshape(self.n_groups, -1)).ravel()

    def covariance(self, point: Floats, where: BlockRows) -> Floats:
        """Return Sigma at the visits."""
        Sigma = self.structure.sigma(self._shaped(point))
        return self._taken(Sigma, where) * where.shared

    def slopes(self, point: Floats, where: BlockRows) -> Floats:
        """Return the derivatives of Sigma at the visits, those of other groups zero."""
        found = self.structure.slopes(self._shaped(point))
        n, m, k = len(where), where.size, self.structure.n_coordinates
        out = np.zeros((n, self.n_groups, k, m, m))
        for g in range(self.n_groups):
            own = where.shared * (where.group == g)[:, :, None]
            at = found[g][:, where.visit[:, :, None], where.visit[:, None, :]]
            out[:, g] = at.swapaxes(0, 1) * own[:, None]
        return out.reshape(n, self.n_groups * k, m, m)

    def bend(self, point: Floats, where: Sequence[BlockRows], weights: Sequence[Floats]) -> Floats:
        """Return the second derivatives, weights summed by visits."""
        total = np.zeros((self.n_groups, self.n_visits, self.n_visits))
        for rows, by in zip(where, weights, strict=True):
            place = (rows.group[:, :, None], rows.visit[:, :, None], rows.visit[:, None, :])
            np.add.at(total, place, by * rows.shared)
        total = 0.5 * (total + total.swapaxes(1, 2))
        blocks = self.structure.bend(self._shaped(point), total)
        out = np.zeros((self.n_groups, blocks.shape[1]) * 2)
        which = np.arange(self.n_groups)
        out[which, :, which] = blocks
        return out.reshape(self.n_coordinates, self.n_coordinates)

    def mean_bend(self, point: Floats, where: BlockRows, W: Floats) -> Floats:
        """Return the sum at the visits."""
        k = self.structure.n_coordinates
        which = np.arange(self.n_groups)
        own = np.ascontiguousarray(W.reshape(self.n_groups, k, self.n_groups, k)[which, :, which])
        return self._taken(self.structure.mean_bend(self._shaped(point), own), where) * where.shared

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return the structure's."""
        return self.structure.parameters(self._shaped(point))

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return the structure's."""
        return self.structure.parameter(self._shaped(point), group, which)

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the step from one point to another."""
        return self.structure.steps(self._shaped(base), self._shaped(point)).ravel()

    def of_visits(self, point: Floats) -> Floats:
        """Return Sigma, (G, V, V)."""
        return self.structure.sigma(self._shaped(point))

    def _shaped(self, point: Floats) -> Floats:
        return point.reshape(self.structure.shape_of_point(self.n_groups))

    @staticmethod
    def _taken(Sigma: Floats, where: BlockRows) -> Floats:
        return np.asarray(Sigma[where.group[:, :, None], where.visit[:, :, None], where.visit[:, None, :]])


@dataclass(frozen=True)
class OnOwnTimes:
    """One standard deviation and correlations that depend on times of each subject's own.

    A point is (G, k), flat: the logarithm of the standard deviation, and the coordinates of the correlations.

    Attributes
    ----------
    correlation
        The structure.
    n_groups
        Groups of subjects with parameters of their own.
    unit
        Median distance of neighbours, in all subjects.
    """

    correlation: Correlation
    n_groups: int
    unit: float

    @property
    def title(self) -> str:
        """The structure in words."""
        return self.correlation.title

    @property
    def has_several_optima(self) -> bool:
        """Whether the likelihood may have several optima where nothing else is random."""
        return self.correlation.has_several_optima

    @property
    def n_coordinates(self) -> int:
        """Coordinates of all groups."""
        return self.n_groups * (1 + self.correlation.n_coordinates(self._one_place))

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return points with standard deviations from the diagonal of moments by group and each start of the rest."""
        variances = moments[:, 0, 0] / np.maximum(counts[:, 0, 0], 1.0)
        sds = 0.5 * np.log(np.where(variances > 0, variances, 1.0))
        return [
            np.hstack([sds[:, None], np.tile(rest, (self.n_groups, 1))]).ravel()
            for rest in self.correlation.starts(self._one_place)
        ]

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step away."""
        return point + step

    def covariance(self, point: Floats, where: BlockRows) -> Floats:
        """Return the covariances."""
        return self._jets(point, where, lambda jet, _: jet.value)

    def slopes(self, point: Floats, where: BlockRows) -> Floats:
        """Return their derivatives, those of other groups zero."""
        K = self.n_coordinates
        out = np.zeros((K, len(where), where.size, where.size))
        k = K // self.n_groups
        for g in range(self.n_groups):
            own = where.shared * (where.group == g)[:, :, None]
            out[g * k : (g + 1) * k] = self._jet(point, where, g).first * own
        return out.swapaxes(0, 1)

    def bend(self, point: Floats, where: Sequence[BlockRows], weights: Sequence[Floats]) -> Floats:
        """Return the second derivatives."""
        K = self.n_coordinates
        out, k = np.zeros((K, K)), K // self.n_groups
        for rows, by in zip(where, weights, strict=True):
            for g in range(self.n_groups):
                own = by * rows.shared * (rows.group == g)[:, :, None]
                one = slice(g * k, (g + 1) * k)
                out[one, one] += np.tensordot(self._jet(point, rows, g).second, own, 3)
        return out

    def mean_bend(self, point: Floats, where: BlockRows, W: Floats) -> Floats:
        """Return the sum."""
        k = self.n_coordinates // self.n_groups

        def summed(jet: Jet, g: int) -> Floats:
            return np.asarray(np.tensordot(W[g * k : (g + 1) * k, g * k : (g + 1) * k], jet.second, 2))

        return self._jets(point, where, summed)

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return standard deviation and the correlation structure's own parameters."""
        places, out = self._one_place, []
        names, limits = self.correlation.names(places), self.correlation.limits(places)
        for x in point.reshape(self.n_groups, -1):
            sd, *others = self._own(x)
            found = [Parameter("sd", float(sd.value), sd.first, (0.0, np.inf), True)]
            for name, jet, limit in zip(names, others, limits, strict=True):
                found.append(Parameter(name, float(jet.value), jet.first, limit, False))
            out.append(found)
        return out

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return one of them with its derivatives."""
        return self._own(point.reshape(self.n_groups, -1)[group])[which]

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the difference."""
        return point - base

    def _own(self, x: Floats) -> list[Jet]:
        log, *rest = variables(x)
        return [log.exp(), *self.correlation.parameters(rest, self._one_place)]

    @cached_property
    def _one_place(self) -> OwnPlaces:
        return OwnPlaces(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), self.unit)

    def _jets(self, point: Floats, where: BlockRows, of: Callable[[Jet, int], Floats]) -> Floats:
        out = np.zeros((len(where), where.size, where.size))
        for g in range(self.n_groups):
            own = where.shared * (where.group == g)[:, :, None]
            out += of(self._jet(point, where, g), g) * own
        return out

    @cached_property
    def _remembered(self) -> dict[tuple[int, int], tuple[bytes, BlockRows, Jet]]:
        """The last jets of rows that were asked for, by rows and group."""
        return {}

    def _jet(self, point: Floats, where: BlockRows, g: int) -> Jet:
        at, key = point.tobytes(), (id(where), g)
        known = self._remembered.get(key)
        if known is not None and known[0] == at and known[1] is where:
            return known[2]
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        jet = self._made(point.reshape(self.n_groups, -1)[g], where)
        self._remembered[key] = (at, where, jet)
        return jet

    def _made(self, x: Floats, where: BlockRows) -> Jet:
        assert where.positions is not None
        log, *rest = variables(x)
        lags = np.abs(where.positions[:, :, None, 0] - where.positions[:, None, :, 0])
        distances = lags
        if where.positions.shape[2] > 1:
            distances = np.linalg.norm(where.positions[:, :, None] - where.positions[:, None], axis=3)
        # rows of different subjects may be any distance apart, which masks hide
        lags = np.where(where.shared > 0, lags, 0.0)
        places = OwnPlaces(lags, distances, self.unit)
        variance = (log + log).exp()
        return variance * self.correlation.matrix(rest, places)
