"""Covariances of blocks of rows: residuals with a structure and variance functions, and random effects.

V = W^(1/2) Z S Z' W^(1/2) + D R D, with R a residual structure, D the standard deviations of variance functions
relative to sigma, S the covariance of the random effects of each level and W the weights; rows are times the roots of
their weights throughout. A point is flat: that of the residual structure, the coordinates of the variance functions,
and the lower triangles of Lambda, S = Lambda Lambda', block by block. These are even: a variance of zero is stationary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from mixedmodels.covariance.block_residual import BlockResidual, BlockRows
from mixedmodels.covariance.jets import Floats, Jet, variables
from mixedmodels.covariance.packed_lower import lower_slopes, lower_triangle
from mixedmodels.covariance.residual import Parameter
from mixedmodels.covariance.variance_function import VarianceFunction


@dataclass(frozen=True)
class BlockCovariance:
    """V of each block as a function of unbounded coordinates.

    Attributes
    ----------
    rows
        Blocks by their number of rows.
    residual
        Structure of the residuals.
    functions
        Variance functions, whose product the standard deviations are.
    sizes
        Columns of each block of random effects.
    is_tied
        Whether the effects of a block share one variance and nothing else.
    is_held
        The first coordinate of the residual structure, the logarithm of its one standard deviation, is given.
    group_names
        Of groups of subjects with residual parameters of their own; one empty name where there is one.
    """

    rows: tuple[BlockRows, ...]
    residual: BlockResidual
    functions: tuple[VarianceFunction, ...]
    sizes: tuple[int, ...]
    is_tied: tuple[bool, ...]
    is_held: bool
    group_names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The structure in words."""
        return self.residual.title

    @property
    def n_coordinates(self) -> int:
        """Coordinates that are free, K."""
        return self._n_all - self.is_held

    @property
    def _n_variance(self) -> int:
        return sum(function.n_coordinates for function in self.functions)

    @property
    def _n_effects(self) -> list[int]:
        return [1 if tied else q * (q + 1) // 2 for q, tied in zip(self.sizes, self.is_tied, strict=True)]

    @property
    def _n_all(self) -> int:
        return self.residual.n_coordinates + self._n_variance + sum(self._n_effects)

    def starts(self, moments: Floats, counts: Floats) -> list[Floats]:
        """Return points to begin at: residuals take half of the variance where there are random effects.

        Parameters
        ----------
        moments, counts
            Sums and numbers of products of least-squares residuals by pairs of visits, (G, V, V).
        """
        share = 1.0 if not self.sizes else 0.5
        Lambda = [
            np.sqrt((1 - share) / len(self.sizes)) * (np.ones(1) if tied else lower_triangle(np.eye(q)))
            for q, tied in zip(self.sizes, self.is_tied, strict=True)
        ]
        first = self.residual.starts(share * moments, counts)
        if not self.sizes and not self.residual.has_several_optima:
            first = first[:1]
        return [np.concatenate([start, np.zeros(self._n_variance), *Lambda]) for start in first]

    def moved(self, point: Floats, step: Floats) -> Floats:
        """Return the point a step (K,) away."""
        full = np.concatenate([np.zeros(int(self.is_held)), step.ravel()])
        k = self.residual.n_coordinates
        n = len(point) - (self._n_all - k)
        return np.concatenate([self.residual.moved(point[:n], full[:k]), point[n:] + full[k:]])

    def covariances(self, point: Floats) -> list[Floats]:
        """Return V of the blocks by their number of rows, (n, m, m) each."""
        residual, variance, _ = self._parts(point)
        Ss = [S.value for S in self._effects(point)]
        out = []
        for where in self.rows:
            V = self.residual.covariance(residual, where)
            if self.functions:
                V = V * self._outer(variance, where).value
            for S, Z, same in zip(Ss, where.effects, where.same_level, strict=True):
                V = V + (Z @ S @ Z.swapaxes(1, 2)) * same
            out.append(V)
        return out

    def residual_covariance(self, point: Floats, where: BlockRows) -> Floats:
        """Return the residuals' part of V of some rows, (n, m, m)."""
        residual, variance, _ = self._parts(point)
        V = self.residual.covariance(residual, where)
        return V * self._outer(variance, where).value if self.functions else V

    def effects_covariance(self, point: Floats, where: BlockRows) -> Floats:
        """Return the random effects' part of V of some rows, (n, m, m)."""
        V = np.zeros((len(where), where.size, where.size))
        for S, Z, same in zip(self._effects(point), where.effects, where.same_level, strict=True):
            V = V + (Z @ S.value @ Z.swapaxes(1, 2)) * same
        return V

    def slopes(self, point: Floats) -> list[Floats]:
        """Return the derivatives of V by the number of rows, (n, K, m, m) each."""
        residual, variance, _ = self._parts(point)
        Ss, out = self._effects(point), []
        for where in self.rows:
            R = self.residual.slopes(residual, where)
            parts = [R]
            if self.functions:
                D = self._outer(variance, where)
                of_variance = D.first.swapaxes(0, 1) * self.residual.covariance(residual, where)[:, None]
                parts = [R * D.value[:, None], of_variance]
            for S, Z, same in zip(Ss, where.effects, where.same_level, strict=True):
                parts.append((Z[:, None] @ S.first @ Z[:, None].swapaxes(2, 3)) * same[:, None])
            out.append(np.concatenate(parts, axis=1)[:, int(self.is_held) :])
        return out

    def bend(self, point: Floats, weights: Sequence[Floats]) -> Floats:
        """Return the second derivatives of the sum of <weights, V>, (K, K), for weights shaped like V."""
        residual, variance, _ = self._parts(point)
        k, v = self.residual.n_coordinates, self._n_variance
        out = np.zeros((self._n_all, self._n_all))
        own = weights
        if self.functions:
            outer = [self._outer(variance, where) for where in self.rows]
            own = [by * D.value for by, D in zip(weights, outer, strict=True)]
            for where, by, D in zip(self.rows, weights, outer, strict=True):
                R = self.residual.covariance(residual, where)
                out[k : k + v, k : k + v] += np.tensordot(D.second, by * R, 3)
                crossed = np.einsum("inab,nkab->ki", D.first * by, self.residual.slopes(residual, where), optimize=True)
                out[:k, k : k + v] += crossed
                out[k : k + v, :k] += crossed.T
        out[:k, :k] = self.residual.bend(residual, self.rows, own)
        at = k + v
        for f, (S, size) in enumerate(zip(self._effects(point), self._n_effects, strict=True)):
            total = np.zeros(S.shape)
            for where, by in zip(self.rows, weights, strict=True):
                Z = where.effects[f]
                total += np.sum(Z.swapaxes(1, 2) @ (by * where.same_level[f]) @ Z, axis=0)
            out[at : at + size, at : at + size] = np.tensordot(S.second, total, 2)
            at += size
        return out[int(self.is_held) :, int(self.is_held) :]

    def mean_bend(self, point: Floats, W: Floats) -> list[Floats]:
        """Return the sum of W_ij d2V_ij by the number of rows, (n, m, m) each, for W (K, K)."""
        residual, variance, _ = self._parts(point)
        full = np.zeros((self._n_all, self._n_all))
        full[int(self.is_held) :, int(self.is_held) :] = W
        k, v = self.residual.n_coordinates, self._n_variance
        Ss, out = self._effects(point), []
        for where in self.rows:
            V = self.residual.mean_bend(residual, where, full[:k, :k])
            if self.functions:
                D = self._outer(variance, where)
                R, slopes = self.residual.covariance(residual, where), self.residual.slopes(residual, where)
                of_variance = np.tensordot(full[k : k + v, k : k + v], D.second, 2) * R
                crossed = np.einsum("ki,nkab,inab->nab", full[:k, k : k + v], slopes, D.first, optimize=True)
                V = V * D.value + of_variance + 2 * crossed
            at = k + v
            for S, size, Z, same in zip(Ss, self._n_effects, where.effects, where.same_level, strict=True):
                mean = np.tensordot(full[at : at + size, at : at + size], S.second, 2)
                V = V + (Z @ mean @ Z.swapaxes(1, 2)) * same
                at += size
            out.append(V)
        return out

    def lambdas(self, point: Floats) -> list[Floats]:
        """Return Lambda of each block of random effects, (q, q)."""
        return [jet.value for jet in self._lambdas(point)]

    def without_effect(self, point: Floats, block: int) -> Floats:
        """Return the point with the effects of one block left out."""
        out = point.copy()
        ends = np.cumsum([len(point) - sum(self._n_effects), *self._n_effects])
        out[ends[block] : ends[block + 1]] = 0.0
        return out

    def sigma(self, point: Floats) -> float:
        """Return the standard deviation of the first visit of the first group where variance functions are one."""
        return float(self._residual_parameters(point)[0][0].value)

    def parameters(self, point: Floats) -> list[list[Parameter]]:
        """Return those of the residuals, all in one list, by group, where variance functions are one."""
        found, named = [], len(self.group_names) > 1
        for group, parameters in zip(self.group_names, self._residual_parameters(point), strict=True):
            found += [replace(p, name=f"{p.name} [{group}]") if named else p for p in parameters]
        x, k = self._variance_jets(point), self.residual.n_coordinates
        for function, own in x:
            of = function.parameters(own)
            for name, value, limits in zip(of.names, of.values, of.limits, strict=True):
                slope = np.zeros(self._n_all)
                slope[k : k + self._n_variance] = value.first
                found.append(Parameter(name, float(value.value), slope, limits, False))
        return [[replace(p, slope=p.slope[int(self.is_held) :]) for p in found if not self._is_given(p)]]

    def parameter(self, point: Floats, which: int) -> Jet:
        """Return the parameter at a place of the list of ``parameters`` with its derivatives, in the K coordinates."""
        groups, k = self._residual_parameters(point), self.residual.n_coordinates
        places = [(g, i) for g, own in enumerate(groups) for i, p in enumerate(own) if not self._is_given(p)]
        functions = self._variance_jets(point)
        if which < len(places):
            g, i = places[which]
            jet = self._placed(self.residual.parameter(self.residual_point(point), g, i), g * (k // len(groups)))
            if groups[g][i].is_sd:
                for function, own in functions:
                    jet = jet * self._placed(function.log_reference(own), k).exp()
        else:
            values = [value for function, own in functions for value in function.parameters(own).values]
            jet = self._placed(values[which - len(places)], k)
        free = slice(int(self.is_held), None)
        return Jet(jet.value, jet.first[free], jet.second[free, free])

    def _placed(self, jet: Jet, start: int) -> Jet:
        """Return a number with derivatives in some coordinates, as one with derivatives in all."""
        own, n = slice(start, start + jet.n_coordinates), self._n_all
        first, second = np.zeros(n), np.zeros((n, n))
        first[own], second[own, own] = jet.first, jet.second
        return Jet(jet.value, first, second)

    def steps(self, base: Floats, point: Floats) -> Floats:
        """Return the step (K,) that leads from one point to another."""
        (one, *before), (two, *after) = self._parts(base), self._parts(point)
        step = np.concatenate([self.residual.steps(one, two), *(b - a for a, b in zip(before, after, strict=True))])
        return step[int(self.is_held) :]

    @property
    def effects_places(self) -> list[slice]:
        """Places of the blocks of random effects among the K coordinates."""
        ends = self.n_coordinates - sum(self._n_effects) + np.cumsum([0, *self._n_effects])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def effect(self, point: Floats, block: int) -> Jet:
        """Return S of one block of random effects with its derivatives in the block's coordinates."""
        return self._effects(point)[block]

    def with_effects(self, point: Floats, coordinates: Floats) -> Floats:
        """Return the point with other coordinates of the random effects."""
        return np.concatenate([point[: len(point) - sum(self._n_effects)], coordinates])

    def curved(self, point: Floats) -> list[list[Jet]] | None:
        """Return None: SAS has no parameters for all of these."""
        del point
        return None

    def residual_point(self, point: Floats) -> Floats:
        """Return the point of the residual structure."""
        return self._parts(point)[0]

    def _is_given(self, parameter: Parameter) -> bool:
        return self.is_held and parameter.is_sd

    def _residual_parameters(self, point: Floats) -> list[list[Parameter]]:
        residual = self._parts(point)[0]
        groups = self.residual.parameters(residual)
        k, size = self.residual.n_coordinates, self.residual.n_coordinates // len(self.group_names)
        log = 0.0
        slope = np.zeros(self._n_all)
        for function, own in self._variance_jets(point):
            reference = function.log_reference(own)
            log += float(reference.value)
            slope[k : k + self._n_variance] += reference.first
        factor, out = np.exp(log), []
        for g, parameters in enumerate(groups):
            placed = []
            for p in parameters:
                value, full = p.value, np.zeros(self._n_all)
                full[g * size : (g + 1) * size] = p.slope
                if p.is_sd:
                    value = p.value * factor
                    full = factor * full + value * slope
                placed.append(replace(p, value=value, slope=full))
            out.append(placed)
        return out

    def _parts(self, point: Floats) -> tuple[Floats, Floats, Floats]:
        effects, variance = sum(self._n_effects), self._n_variance
        n = len(point) - effects - variance
        return point[:n], point[n : n + variance], point[n + variance :]

    def _variance_jets(self, point: Floats) -> list[tuple[VarianceFunction, list[Jet]]]:
        jets, at, out = variables(self._parts(point)[1]), 0, []
        for function in self.functions:
            out.append((function, jets[at : at + function.n_coordinates]))
            at += function.n_coordinates
        return out

    def _outer(self, variance: Floats, where: BlockRows) -> Jet:
        """Return products of the standard deviations of any two rows, (n, m, m), with derivatives in the functions'."""
        jets, at = variables(variance), 0
        total: Jet | None = None
        for function, values in zip(self.functions, where.variance, strict=True):
            one = function.log_sds(jets[at : at + function.n_coordinates], values)
            total = one if total is None else total + one
            at += function.n_coordinates
        assert total is not None
        every = slice(None)
        return (total.at(every, every, None) + total.at(every, None, every)).exp()

    def _lambdas(self, point: Floats) -> list[Jet]:
        x, at, out = self._parts(point)[2], 0, []
        for q, tied, size in zip(self.sizes, self.is_tied, self._n_effects, strict=True):
            value, first = lower_slopes(x[at : at + size], q, tied=tied)
            out.append(Jet(value, first, np.zeros((size, size, q, q))))
            at += size
        return out

    @cached_property
    def _remembered(self) -> dict[bytes, list[Jet]]:
        return {}

    def _effects(self, point: Floats) -> list[Jet]:
        """Return S of each block with its derivatives."""
        key = point.tobytes()
        if key not in self._remembered:
            self._remembered.clear()
            self._remembered[key] = [_squared(Lambda) for Lambda in self._lambdas(point)]
        return self._remembered[key]


def _squared(Lambda: Jet) -> Jet:
    """Return Lambda Lambda' of a Lambda that is linear in its coordinates."""
    value, first = Lambda.value, Lambda.first
    half = first @ value.T
    crossed = np.einsum("iab,jcb->ijac", first, first)
    return Jet(value @ value.T, half + half.swapaxes(1, 2), crossed + crossed.swapaxes(2, 3))
