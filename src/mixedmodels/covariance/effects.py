"""Covariances of the random effects of a level, S in Var(b) = sigma^2 S, as functions of unbounded coordinates.

A structure is one function, coordinates -> S, over jets, from which the chain rule makes all derivatives of the
criterion. S is in the units of the columns, relative to the residual variance. Standard deviations are coordinates as
they are, in units of columns as large as the residual: a variance of zero is an ordinary stationary point where nothing
is correlated with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.correlation import Correlation, Visits
from mixedmodels.covariance.effect_kinds import CORRELATIONS, DIAGONAL, ONE_VARIANCE, REDUCED_RANK, UNSTRUCTURED
from mixedmodels.covariance.independence import Independence
from mixedmodels.covariance.jets import Floats, Jet, constant, variables

STARTS = ((1.0, 0.0), (1.0, 0.5), (1.0, -0.5), (0.3, 0.3), (3.0, 0.5), (0.3, -0.9))
"""Standard deviations, in residual ones, and shares of the way to the limits of correlations at which walks begin."""


@dataclass(frozen=True)
class EffectParameter:
    """A standard deviation or a correlation, as users know it.

    Attributes
    ----------
    name
        Beside the name of the grouping factor: ``"sd_Days"``, ``"cor_ar1"``.
    kind
        ``"sd"``, relative to the residual's, or ``"cor"``.
    value, slope
        The value and its derivative in the structure's coordinates, (k,).
    limits
        What it lies between.
    effect
        Of a standard deviation: its place among those of the structure.
    """

    name: str
    kind: str
    value: float
    slope: Floats
    limits: tuple[float, float]
    effect: int = -1


class EffectStructure(Protocol):
    """What a fit needs of a structure of m effects with k coordinates."""

    @property
    def n_coordinates(self) -> int:
        """Coordinates, k."""

    @property
    def starts(self) -> list[Floats]:
        """Points to begin at, (k,) each."""

    @property
    def generic(self) -> Floats:
        """A point without symmetries, (k,), at which it is seen what the data can tell."""

    @property
    def signs(self) -> tuple[int, ...]:
        """Coordinates that are standard deviations of correlated effects, which must not differ in sign."""

    @property
    def has_pairs(self) -> bool:
        """Whether effects are correlated."""

    @property
    def is_restricted(self) -> bool:
        """Whether there are few correlations, from which those of the effects follow."""

    @property
    def even(self) -> npt.NDArray[np.bool_]:
        """Coordinates in which S does not change where they are zero but for the second order, (k,)."""

    def without(self, effect: int) -> Floats:
        """Return an orthonormal basis of the coordinates where a standard deviation is zero, (k, n)."""

    def covariance(self, x: Floats) -> Jet:
        """Return S, (m, m)."""

    def parameters(self, x: Floats) -> list[EffectParameter]:
        """Return the parameters as users know them."""

    def boundaries(self, x: Floats) -> list[str]:
        """Return the names of the parameters that are at an end of their range, where S is singular."""

    def snapped(self, x: Floats, i: int) -> Floats | None:
        """Return the point with a coordinate at the nearest end of its range; None if none is near."""


NEAR_ZERO = 1e-2
"""Of a standard deviation, in residual ones, below which zero is tried; of a coordinate, from an end of its range."""

AT_END = 1e-9
"""Distance from an end of its range at which a correlation is there."""


@dataclass(frozen=True)
class SdsAndCorrelations:
    """D C D with standard deviations D, one or one an effect, and a correlation structure C.

    Parameters
    ----------
    kind
        Name of the structure, for names of parameters.
    correlation
        The structure of C.
    is_heterogeneous
        Each effect has a standard deviation of its own.
    visits
        What the effects belong to.
    columns
        Their names.
    units
        Of the standard deviations, (m,): of an effect that adds as much to the response as the residual.
    """

    kind: str
    correlation: Correlation
    is_heterogeneous: bool
    visits: Visits
    columns: tuple[str, ...]
    units: Floats

    @property
    def n_sds(self) -> int:
        """Standard deviations."""
        return len(self.columns) if self.is_heterogeneous else 1

    @property
    def n_coordinates(self) -> int:
        """Standard deviations, and the coordinates of C behind them."""
        return self.n_sds + self.correlation.n_coordinates(self.visits)

    @cached_property
    def _sd_units(self) -> Floats:
        return self.units if self.is_heterogeneous else np.array([np.sqrt(np.mean(self.units**2))])

    @property
    def starts(self) -> list[Floats]:
        """Return standard deviations as large as the residual's with correlations of several signs."""
        if not self.has_pairs:
            return [np.full(self.n_coordinates, sd) for sd, _ in STARTS]
        none = self.correlation.start(self.visits)
        return [np.append(np.full(self.n_sds, sd), self._towards(none, share)) for sd, share in STARTS]

    def _towards(self, none: Floats, share: float) -> Floats:
        """Return the coordinates with the first correlation a share of the way from none to its limit."""
        low, high = self.correlation.limits(self.visits)[0]
        wanted = share * (high if share > 0 else -low)
        out = none.copy()
        for _ in range(20):  # Newton's method on the first parameter
            rho = self.correlation.parameters(variables(out), self.visits)[0]
            if rho.first[0] == 0:
                break
            out[0] += np.clip((wanted - float(rho.value)) / rho.first[0], -0.3, 0.3)
        return out

    @property
    def generic(self) -> Floats:
        """Return unequal standard deviations with a correlation."""
        out = self.starts[1].copy()
        return out * (1 + 0.1 * np.arange(len(out)) / max(len(out), 1))

    @property
    def signs(self) -> tuple[int, ...]:
        """Return the standard deviations."""
        return tuple(range(self.n_sds)) if self.has_pairs and self.is_heterogeneous else ()

    @property
    def has_pairs(self) -> bool:
        """Return whether C is more than the identity."""
        return self.correlation.n_coordinates(self.visits) > 0

    @property
    def is_restricted(self) -> bool:
        """Return whether effects are correlated."""
        return self.has_pairs

    def covariance(self, x: Floats) -> Jet:
        """Return D C D."""
        k, m, n = self.n_coordinates, len(self.columns), self.n_sds
        C = self.correlation.matrix(variables(x)[n:], self.visits) if self.has_pairs else constant(np.eye(m), k)
        sds = constant(np.broadcast_to(x[:n] * self._sd_units, m).copy(), k)
        sds.first[:n] = np.diag(self._sd_units) if self.is_heterogeneous else self._sd_units[0]
        return C * sds.at(slice(None), None) * sds.at(None, slice(None))

    def parameters(self, x: Floats) -> list[EffectParameter]:
        """Return standard deviations and the parameters of C."""
        k = self.n_coordinates
        names = self.columns if self.is_heterogeneous else (self.kind,)
        found = []
        for i, (name, unit) in enumerate(zip(names, self._sd_units, strict=True)):
            sign = -1.0 if x[i] < 0 else 1.0
            slope = sign * unit * np.eye(k)[i]
            found.append(EffectParameter(f"sd_{name}", "sd", abs(x[i]) * unit, slope, (0, np.inf), i))
        if self.has_pairs:
            own = self.correlation.parameters(variables(x)[self.n_sds :], self.visits)
            limits = self.correlation.limits(self.visits)
            found += [
                EffectParameter(f"cor_{self.kind}{after}", "cor", float(rho.value), rho.first, between)
                for after, rho, between in zip(self._suffixes, own, limits, strict=True)
            ]
        return found

    @property
    def even(self) -> npt.NDArray[np.bool_]:
        """Return the standard deviations."""
        return np.arange(self.n_coordinates) < self.n_sds

    def without(self, effect: int) -> Floats:
        """Return the other coordinates; none where all effects have one standard deviation."""
        kept = np.arange(self.n_coordinates) != effect
        return np.eye(self.n_coordinates)[:, kept & self.is_heterogeneous]

    @property
    def _suffixes(self) -> list[str]:
        n = self.correlation.n_coordinates(self.visits)
        return [""] if n == 1 else [f".lag{i + 1}" for i in range(n)]

    def boundaries(self, x: Floats) -> list[str]:
        """Return which standard deviations are zero, and which correlations at a limit."""
        coordinates = zip(self.parameters(x), x, strict=True)
        return [p.name for p, at in coordinates if (at == 0 if p.kind == "sd" else abs(at - self._end(at)) < AT_END)]

    def _end(self, x: float) -> float:
        """Return the end of its range that a coordinate of C is nearest to."""
        first, spacing = self.correlation.ends
        return float(first + spacing * np.round((x - first) / spacing))

    def snapped(self, x: Floats, i: int) -> Floats | None:
        """Return the point with a standard deviation at zero or a correlation at its limit."""
        out = x.copy()
        out[i] = 0.0 if i < self.n_sds else self._end(x[i])
        return out if 0 < abs(x[i] - out[i]) < NEAR_ZERO else None


@dataclass(frozen=True)
class Factors:
    """T L L'T' with L lower trapezoidal, (m, d): any covariance of rank d, any at all for d = m.

    Parameters
    ----------
    rank
        d.
    basis
        T, (m, m), in which columns are orthonormal, so that neither units nor origins matter.
    columns
        Names of the effects.
    """

    rank: int
    basis: Floats
    columns: tuple[str, ...]

    has_pairs = True
    is_restricted = False
    signs: tuple[int, ...] = ()

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        m = len(self.columns)
        pairs = [(i, j) for j in range(self.rank) for i in range(j, m)]
        row, column = np.array(pairs).T
        return row, column

    @property
    def n_coordinates(self) -> int:
        """Elements of L."""
        return len(self._places[0])

    @property
    def starts(self) -> list[Floats]:
        """Return the identity; of a lower rank its first columns with something below."""
        row, column = self._places
        on = np.where(row == column, 1.0, 0.0)
        if self.rank == len(self.columns):
            return [on]
        alternating = np.where((row + column) % 2, -1.0, 1.0)
        return [on + 0.3 * (row != column), on - 0.3 * (row != column), on + 0.3 * alternating * (row != column)]

    @property
    def generic(self) -> Floats:
        """Return unequal elements."""
        row, column = self._places
        return np.asarray(np.where(row == column, 1.0, 0.3) * (1 + 0.1 * np.sin(1.0 + np.arange(len(row)))))

    def _root(self, x: Floats) -> Floats:
        L = np.zeros((len(self.columns), self.rank))
        L[self._places] = x
        return np.asarray(self.basis @ L)

    def covariance(self, x: Floats) -> Jet:
        """Return T L L'T'."""
        TL, (row, column), T = self._root(x), self._places, self.basis
        half = T.T[row][:, :, None] * TL.T[column][:, None, :]
        pairs = T.T[row][:, None, :, None] * T.T[row][None, :, None, :] * (column[:, None] == column)[:, :, None, None]
        return Jet(TL @ TL.T, half + half.swapaxes(1, 2), pairs + pairs.swapaxes(2, 3))

    def parameters(self, x: Floats) -> list[EffectParameter]:
        """Return standard deviations and correlations."""
        S, found = self.covariance(x), []
        sds = np.sqrt(np.diag(S.value))
        safe = np.where(sds > 0, sds, 1.0)
        slopes = 0.5 * np.diagonal(S.first, axis1=1, axis2=2) / safe
        for j, name in enumerate(self.columns):
            found.append(EffectParameter(f"sd_{name}", "sd", float(sds[j]), slopes[:, j], (0, np.inf), j))
            for i in range(j + 1, len(self.columns)):
                rho = S.value[i, j] / (safe[i] * safe[j]) if sds[i] * sds[j] > 0 else np.nan
                slope = S.first[:, i, j] / (safe[i] * safe[j]) - rho * (slopes[:, i] / safe[i] + slopes[:, j] / safe[j])
                found.append(EffectParameter(f"cor_{self.columns[i]}.{name}", "cor", float(rho), slope, (-1.0, 1.0)))
        return found

    @property
    def even(self) -> npt.NDArray[np.bool_]:
        """Return the diagonal of L."""
        row, column = self._places
        return np.asarray(row == column)

    def without(self, effect: int) -> Floats:
        """Return a basis of the L for which a row of T L is zero."""
        _, column = self._places
        row_of = self.basis[effect, self._places[0]] * (column[:, None] == np.arange(self.rank)).T
        _, values, rows = np.linalg.svd(row_of, full_matrices=True)
        return np.asarray(rows[np.count_nonzero(values > AT_END * values.max(initial=0.0)) :].T)

    def boundaries(self, x: Floats) -> list[str]:
        """Return the effects without variance, or all of them where the rank is lower than asked for."""
        L = np.zeros((len(self.columns), self.rank))
        L[self._places] = x
        values = np.linalg.svd(L, compute_uv=False)
        if values[-1] > AT_END**0.5:
            return []
        zero = np.linalg.norm(L, axis=1) <= AT_END**0.5
        return [f"sd_{name}" for name, is_zero in zip(self.columns, zero, strict=True) if is_zero] or [
            f"rank of {', '.join(self.columns)}"
        ]

    def snapped(self, x: Floats, i: int) -> Floats | None:
        """Return the point without a small element."""
        out = x.copy()
        out[i] = 0.0
        return out if 0 < abs(x[i]) < NEAR_ZERO and self._places[0][i] == self._places[1][i] else None


def make_effects(
    kind: str, columns: Sequence[str], visits: Visits, basis: Floats, rank: int = 0
) -> SdsAndCorrelations | Factors:
    """Return the structure of a kind over the effects of a term.

    Parameters
    ----------
    kind
        One of ``effect_kinds.KINDS``.
    columns
        Names of the effects, length m.
    visits
        What they belong to.
    basis
        T, (m, m): columns that are Z T have the size of the residual's, and are orthogonal if T is no diagonal matrix.
    rank
        Of a reduced rank.
    """
    names = tuple(columns)
    if kind in (UNSTRUCTURED, REDUCED_RANK):
        return Factors(rank or len(names), basis, names)
    units = 1.0 / np.linalg.norm(np.linalg.inv(basis), axis=0)
    if kind in (DIAGONAL, ONE_VARIANCE):
        return SdsAndCorrelations(kind, Independence(), kind == DIAGONAL, visits, names, units)
    correlation, is_heterogeneous = CORRELATIONS[kind]
    return SdsAndCorrelations(kind, correlation(), is_heterogeneous, visits, names, units)
