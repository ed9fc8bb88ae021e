"""Covariances of residuals by visits, Sigma, one for each group of subjects, as functions of unbounded coordinates.

A point is whatever a structure takes for its coordinates; a walk moves it by steps, in which Sigma and its derivatives
are told. Sigma is in units of the scaled problem throughout. There are k coordinates for each of G groups of subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mixedmodels.covariance.correlation import Correlation, Visits
from mixedmodels.covariance.jets import Floats, Jet, constant, variables

SINGULAR = 1e-6
"""Eigenvalue of correlations from the rows at hand below which they are drawn towards none."""

LEAST_EIGENVALUE = 0.02
"""Of what they are drawn to."""

LEAST_SHARE = 1e-6
"""Variance of a visit at a start, as a share of the largest."""


@dataclass(frozen=True)
class Parameter:
    """One of a structure's own parameters, as users know them.

    Attributes
    ----------
    name
        ``"sd(VIS1)"``, ``"correlation(VIS1, VIS2)"``, ``"range"``.
    value
        In the units of the point.
    slope
        Its derivative in the coordinates of its group, (k,).
    limits
        What it lies between.
    is_sd
        In units of the response.
    """

    name: str
    value: float
    slope: Floats
    limits: tuple[float, float]
    is_sd: bool


class ResidualStructure(Protocol):
    """What the fit needs of a structure."""

    @property
    def title(self) -> str:
        """The structure in words."""

    @property
    def n_coordinates(self) -> int:
        """Coordinates of one group, k."""

    @property
    def has_several_optima(self) -> bool:
        """Whether the likelihood may have several optima where nothing else is random."""

    def start(self, moments: Floats, counts: Floats) -> Floats:
        """Return the point of a start, from sums and counts of products of residuals, (G, V, V) each."""

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return points to begin at where random effects, too, explain correlations; ``start`` is the first."""

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step (G, k) away."""

    def shape_of_point(self, n_groups: int) -> tuple[int, ...]:
        """Return the shape of a point."""

    def sigma(self, point: Floats) -> Floats:
        """Return Sigma, (G, V, V)."""

    def slopes(self, point: Floats) -> Floats:
        """Return the derivatives of Sigma in the coordinates, (G, k, V, V)."""

    def bend(self, point: Floats, weights: Floats) -> Floats:
        """Return the second derivatives of <weights, Sigma>, (G, k, k), for weights (G, V, V)."""

    def mean_bend(self, point: Floats, weights: Floats) -> Floats:
        """Return the sum of W_ij d2Sigma_ij, (G, V, V), for W (G, k, k)."""

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return the parameters of each group."""

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return one parameter of one group with its derivatives in the group's coordinates."""

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the step (G, k) that leads from one point to another."""

    def curved(self, point: Floats) -> list[list[Jet]] | None:
        """Return what SAS takes for parameters of each group, or None where Sigma is linear in them."""


@dataclass(frozen=True)
class SdsAndCorrelations:
    """D C D with standard deviations D, one or one a visit, and a correlation structure C.

    A point is (G, k): logarithms of the standard deviations, and the coordinates of C behind them.
    """

    correlation: Correlation
    is_heterogeneous: bool
    visits: Visits

    @property
    def title(self) -> str:
        """The structure in words."""
        return f"{'heterogeneous ' if self.is_heterogeneous else ''}{self.correlation.title}"

    @property
    def has_several_optima(self) -> bool:
        """Whether the likelihood may have several optima where nothing else is random."""
        return self.correlation.has_several_optima

    @property
    def n_sds(self) -> int:
        """Standard deviations of one group."""
        return len(self.visits) if self.is_heterogeneous else 1

    @property
    def n_coordinates(self) -> int:
        """Coordinates of one group."""
        return self.n_sds + self.correlation.n_coordinates(self.visits)

    def start(self, moments: Floats, counts: Floats) -> Floats:
        """Return the point with the standard deviations of the residuals and hardly any correlation."""
        return self.starts(moments, counts)[0]

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return the points with these standard deviations and each start of the correlations."""
        diagonal = np.diagonal(moments, axis1=1, axis2=2)
        number = np.diagonal(counts, axis1=1, axis2=2)
        if not self.is_heterogeneous:
            diagonal, number = diagonal.sum(axis=1, keepdims=True), number.sum(axis=1, keepdims=True)
        sds = 0.5 * np.log(_variances(diagonal, number))
        rest = self.correlation.starts(self.visits)
        return [np.hstack([sds, np.tile(one, (len(moments), 1))]) for one in rest]

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step away."""
        return point + step

    def shape_of_point(self, n_groups: int) -> tuple[int, ...]:
        """Return the shape of a point."""
        return n_groups, self.n_coordinates

    def sigma(self, point: Floats) -> Floats:
        """Return Sigma, (G, V, V)."""
        return np.array([jet.value for jet in self._jets(point)])

    def slopes(self, point: Floats) -> Floats:
        """Return the derivatives of Sigma, (G, k, V, V)."""
        return np.array([jet.first for jet in self._jets(point)])

    def bend(self, point: Floats, weights: Floats) -> Floats:
        """Return the second derivatives of <weights, Sigma>, (G, k, k)."""
        return np.array([np.tensordot(j.second, w, 2) for j, w in zip(self._jets(point), weights, strict=True)])

    def mean_bend(self, point: Floats, weights: Floats) -> Floats:
        """Return the sum of W_ij d2Sigma_ij, (G, V, V)."""
        return np.array([np.tensordot(w, j.second, 2) for j, w in zip(self._jets(point), weights, strict=True)])

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return standard deviations and the correlation structure's own parameters."""
        names = [f"sd({label})" for label in self.visits.labels] if self.is_heterogeneous else ["sd"]
        limits = self.correlation.limits(self.visits)
        out = []
        for x in point:
            sds, rest = self._own(x)
            found = [
                Parameter(n, float(s.value), s.first, (0.0, np.inf), True) for n, s in zip(names, sds, strict=True)
            ]
            others = zip(self.correlation.names(self.visits), rest, limits, strict=True)
            out.append([*found, *(Parameter(n, float(r.value), r.first, limit, False) for n, r, limit in others)])
        return out

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return one parameter of one group with its derivatives."""
        sds, rest = self._own(point[group])
        return [*sds, *rest][which]

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the difference."""
        return point - base

    def curved(self, point: Floats) -> list[list[Jet]] | None:
        """Return variances and the correlation structure's own parameters; None where Sigma is linear."""
        if self.correlation.has_linear_covariances and not self.is_heterogeneous:
            return None
        owns = [self._own(x) for x in point]
        return [[*(s * s for s in sds), *rest] for sds, rest in owns]

    def _own(self, x: Floats) -> tuple[list[Jet], list[Jet]]:
        coordinates = variables(x)
        sds = [log.exp() for log in coordinates[: self.n_sds]]
        return sds, self.correlation.parameters(coordinates[self.n_sds :], self.visits)

    @cached_property
    def _remembered(self) -> dict[bytes, list[Jet]]:
        """The jets of the point that was asked for last."""
        return {}

    def _jets(self, point: Floats) -> list[Jet]:
        key = point.tobytes()
        if key not in self._remembered:
            self._remembered.clear()
            self._remembered[key] = [self._jet(x) for x in point]
        return self._remembered[key]

    def _jet(self, x: Floats) -> Jet:
        k, v, n = self.n_coordinates, len(self.visits), self.n_sds
        coordinates = variables(x)[n:]
        matrix = self.correlation.matrix(coordinates, self.visits) if coordinates else constant(np.eye(v), k)
        sds = constant(np.broadcast_to(np.exp(x[:n]), v), k)
        unit = np.eye(v) if self.is_heterogeneous else np.ones((1, v))
        sds.first[:n] = sds.value * unit
        sds.second[:n, :n] = sds.value * unit[:, None] * unit[None]
        return matrix * sds.at(slice(None), None) * sds.at(None, slice(None))


@dataclass(frozen=True)
class Unstructured:
    """Any positive definite Sigma.

    A point is Sigma itself, (G, V, V). A step E, symmetric, leads along a geodesic to L exp(E) L', Sigma = L L', so
    that neither the order of the visits nor any unit matters.
    """

    visits: Visits

    title = "unstructured"
    has_several_optima = False

    @property
    def n_coordinates(self) -> int:
        """Coordinates of one group."""
        return len(self.visits) * (len(self.visits) + 1) // 2

    @cached_property
    def _unit(self) -> Floats:
        """Orthonormal symmetric matrices, (k, V, V)."""
        i, j = np.tril_indices(len(self.visits))
        unit = np.zeros((len(i), len(self.visits), len(self.visits)))
        which = np.arange(len(i))
        unit[which, i, j] = unit[which, j, i] = np.where(i == j, 1.0, np.sqrt(0.5))
        return unit

    def start(self, moments: Floats, counts: Floats) -> Floats:
        """Return the covariances of the residuals from the rows at hand, drawn towards none until positive definite."""
        out = np.empty_like(moments)
        for g, (sums, number) in enumerate(zip(moments, counts, strict=True)):
            variances = _variances(np.diag(sums), np.diag(number))
            sds = np.sqrt(variances)
            R = sums / np.maximum(number, 1.0) / np.outer(sds, sds)
            np.fill_diagonal(R, 1.0)
            share, identity = 1.0, np.eye(len(R))
            if np.linalg.eigvalsh(R)[0] < SINGULAR:
                while np.linalg.eigvalsh(share * R + (1 - share) * identity)[0] < LEAST_EIGENVALUE:
                    share *= 0.9
            out[g] = (share * R + (1 - share) * identity) * np.outer(sds, sds)
        return out

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return the one start."""
        return [self.start(moments, counts)]

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return L exp(E) L'."""
        values, vectors = np.linalg.eigh(np.tensordot(step, self._unit, 1))
        root = np.linalg.cholesky(point) @ vectors * np.exp(0.5 * values)[:, None, :]
        return np.asarray(root @ root.swapaxes(1, 2))

    def shape_of_point(self, n_groups: int) -> tuple[int, ...]:
        """Return the shape of a point."""
        return n_groups, len(self.visits), len(self.visits)

    def sigma(self, point: Floats) -> Floats:
        """Return Sigma."""
        return point

    def slopes(self, point: Floats) -> Floats:
        """Return L E_i L', (G, k, V, V)."""
        L = np.linalg.cholesky(point)[:, None]
        return np.asarray(L @ self._unit @ L.swapaxes(2, 3))

    def bend(self, point: Floats, weights: Floats) -> Floats:
        """Return <weights, L (E_i E_j + E_j E_i) L' / 2>, (G, k, k)."""
        L = np.linalg.cholesky(point)
        inner = L.swapaxes(1, 2) @ weights @ L
        k = self.n_coordinates
        left = (inner[:, None] @ self._unit).reshape(len(point), k, -1)
        both = left @ self._unit.reshape(k, -1).T
        return np.asarray(0.5 * (both + both.swapaxes(1, 2)))

    def mean_bend(self, point: Floats, weights: Floats) -> Floats:
        """Return the sum of W_ij L E_i E_j L', (G, V, V)."""
        L = np.linalg.cholesky(point)
        mixed = np.tensordot(weights, self._unit, 1)
        inner = np.einsum("iab,gibc->gac", self._unit, mixed)
        return np.asarray(L @ (0.5 * (inner + inner.swapaxes(1, 2))) @ L.swapaxes(1, 2))

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return standard deviations and correlations."""
        return [self._of_one(S, slopes) for S, slopes in zip(point, self.slopes(point), strict=True)]

    def _of_one(self, S: Floats, slopes: Floats) -> list[Parameter]:
        labels, sds = self.visits.labels, np.sqrt(np.diag(S))
        relative = slopes / np.outer(sds, sds)
        R = S / np.outer(sds, sds)
        half = 0.5 * np.diagonal(relative, axis1=1, axis2=2)
        found = [
            Parameter(f"sd({label})", float(sd), sd * half[:, v], (0.0, np.inf), True)
            for v, (label, sd) in enumerate(zip(labels, sds, strict=True))
        ]
        for j in range(len(labels)):
            for i in range(j + 1, len(labels)):
                slope = relative[:, i, j] - R[i, j] * (half[:, i] + half[:, j])
                name = f"correlation({labels[j]}, {labels[i]})"
                found.append(Parameter(name, float(R[i, j]), slope, (-1.0, 1.0), False))
        return found

    def parameter(self, point: Floats, group: int, which: int) -> Jet:
        """Return a standard deviation or a correlation with its derivatives."""
        n = len(self.visits)
        if which < n:
            return self._element(point[group], which, which).sqrt()
        column, row = (int(place[which - n]) for place in np.triu_indices(n, 1))
        variances = [self._element(point[group], v, v) for v in (row, column)]
        return self._element(point[group], row, column) / (variances[0] * variances[1]).sqrt()

    def _element(self, S: Floats, row: int, column: int) -> Jet:
        """Return an element of Sigma = L exp(E) L' with its derivatives in E."""
        L = np.linalg.cholesky(S)
        left, right = L[row] @ self._unit, L[column] @ self._unit
        mixed = left @ right.T
        return Jet(np.asarray(S[row, column]), left @ L[column], 0.5 * (mixed + mixed.T))

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the logarithm of L^-1 Sigma L'^-1."""
        inverse = np.linalg.inv(np.linalg.cholesky(base))
        values, vectors = np.linalg.eigh(inverse @ point @ inverse.swapaxes(1, 2))
        logarithm = (vectors * np.log(values)[:, None, :]) @ vectors.swapaxes(1, 2)
        return np.asarray(np.tensordot(logarithm, self._unit, ([1, 2], [1, 2])))

    def curved(self, point: Floats) -> list[list[Jet]] | None:
        """Return None: Sigma is its own parameter."""
        del point
        return None


def _variances(sums: Floats, counts: Floats) -> Floats:
    """Return variances of residuals, none of them close to zero."""
    variances = sums / np.maximum(counts, 1.0)
    variances = np.where(counts > 0, variances, variances.max(initial=0.0))
    return np.maximum(variances, LEAST_SHARE * max(float(variances.max(initial=0.0)), 1e-300))


def correlations(sigma: Floats) -> Floats:
    """Return the correlations of covariances, (..., V, V)."""
    sds = np.sqrt(np.diagonal(sigma, axis1=-2, axis2=-1))
    return np.asarray(sigma / (sds[..., :, None] * sds[..., None, :]))


def names_of(labels: Sequence[object]) -> tuple[str, ...]:
    """Return the labels of levels as text."""
    return tuple(map(str, labels))
