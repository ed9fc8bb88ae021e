"""Models whose random effects have structured covariances: the criterion as a function of a structure's coordinates.

S_k, relative to the residual variance, is a function of the coordinates x of the terms of factor k. The engine knows
blocks of S~ = T^-1 S T^-T = Lambda~ Lambda~' and nothing of the structure, which meets it here by the chain rule. With
G the criterion's derivative in S~ and J = dtheta~ / dx, dLambda~ = Lambda~ Phi(Lambda~^-1 dS~ Lambda~^-T),
Phi taking the lower triangle with half of the diagonal,

    d/dx_i = <G, dS~_i>,    d2/dx_i dx_j = J_i' A J_j + <G, d2S~_ij>,

A being the engine's average information (Gilmour, Thompson and Cullis 1995). Near the optimum the Hessian is taken from
differences of the gradient instead. S~ is lifted where it is singular, as in the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.effect_kinds import ONE_VARIANCE, UNSTRUCTURED
from mixedmodels.covariance.effects import make_effects
from mixedmodels.covariance.jets import Jet
from mixedmodels.covariance.packed import cholesky_root, upper_places
from mixedmodels.design.records import EffectTerm

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.covariance.effects import EffectStructure
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.problem import Problem

LIFT = 1.5e-8
"""Eigenvalue of S~ up to which it is lifted for derivatives; above the engine's own."""

FAR = 2.0
"""Predicted decrease above which average information is used, which needs no further evaluation."""

STEP = 1e-6
"""Of one-sided differences of the gradient, in a walk."""

CENTRAL_STEP = 1e-4
"""Of differences on both sides, at the optimum."""


@dataclass(frozen=True)
class Term:
    """A random term with its structure.

    Attributes
    ----------
    factor
        Position of its grouping factor.
    columns
        Its columns among those of the factor.
    structure
        The covariance of its effects as a function of coordinates.
    inverse
        T^-1 of its columns, (m, m).
    blocks
        Sizes of its blocks of Lambda, negative where tied.
    theta, coordinates
        Its places in theta and among all coordinates.
    """

    factor: int
    columns: slice
    structure: EffectStructure
    inverse: Floats
    blocks: tuple[int, ...]
    theta: slice
    coordinates: slice

    @cached_property
    def places(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Row and column of the element of S that each theta stands for; the first one of a tied block."""
        rows, columns = [], []
        for block, at in self.each_block():
            column, row = upper_places(block) if block > 0 else (np.zeros(1, dtype=np.intp),) * 2
            rows.append(at.start + row)
            columns.append(at.start + column)
        return np.concatenate(rows), np.concatenate(columns)

    def root(self, S: Floats) -> Floats:
        """Return the elements of Lambda in theta's order, of a covariance S with the blocks of the term."""
        values = []
        for block, at in self.each_block():
            if block == 1 or block < 0:
                values.append(np.sqrt(np.maximum(S[at, at][:1, :1].ravel(), 0.0)))
            else:
                L = cholesky_root(S[at, at])
                values.append(np.full(block * (block + 1) // 2, np.nan) if L is None else L.T[upper_places(block)])
        return np.concatenate(values)

    def lifted(self, S: Floats) -> Floats:
        """Return S~ off the boundary, where it is on it."""
        out = S.copy()
        for _, at in self.each_block():
            least = float(np.linalg.eigvalsh(S[at, at])[0])
            if least < LIFT:
                out[at, at] += (LIFT - min(least, 0.0)) * np.eye(at.stop - at.start)
        return out

    def slopes(self, theta: Floats, jet: Jet) -> Floats:
        """Return the derivatives of the term's theta~ in its coordinates, (n_theta, k), at regular blocks."""
        k, rows = jet.n_coordinates, []
        used = 0
        for block, at in self.each_block():
            if block == 1 or block < 0:
                rows.append(jet.first[:, at.start, at.start][None] / (2 * theta[used]))
                used += 1
                continue
            n = block * (block + 1) // 2
            L = np.zeros((block, block))
            column, row = upper_places(block)
            L[row, column] = theta[used : used + n]
            half = solve_triangular(L, jet.first[:, at, at].transpose(1, 0, 2).reshape(block, -1), lower=True)
            half = half.reshape(block, k, block).transpose(2, 1, 0).reshape(block, -1)
            inner = np.tril(solve_triangular(L, half, lower=True).reshape(block, k, block).transpose(1, 2, 0))
            inner[:, np.arange(block), np.arange(block)] *= 0.5
            moved = L @ inner
            rows.append(moved[:, row, column].T)
            used += n
        return np.vstack(rows)

    def gradient_in_covariance(self, theta: Floats, gradient: Floats) -> Floats:
        """Return G with <G, dS~> the change of the criterion, (m, m), from its gradient in the term's theta~."""
        G = np.zeros_like(self.inverse)
        used = 0
        for block, at in self.each_block():
            if block == 1 or block < 0:
                size = at.stop - at.start
                G[at, at] = np.eye(size) * gradient[used] / (2 * theta[used] * size)
                used += 1
                continue
            n = block * (block + 1) // 2
            L, slope = np.zeros((2, block, block))
            column, row = upper_places(block)
            L[row, column], slope[row, column] = theta[used : used + n], gradient[used : used + n]
            inner = np.tril(L.T @ slope)
            inner[np.arange(block), np.arange(block)] *= 0.5
            right = solve_triangular(L, inner.T, lower=True, trans="T").T  # inner L^-1
            half = solve_triangular(L, right, lower=True, trans="T")
            G[at, at] = 0.5 * (half + half.T)
            used += n
        return G

    def each_block(self) -> Iterator[tuple[int, slice]]:
        """Yield the size of each block of Lambda and its columns among those of the term."""
        start = 0
        for block in self.blocks:
            yield block, slice(start, start + abs(block))
            start += abs(block)


def make_terms(factors: tuple[RandomFactor, ...], bases: list[Floats]) -> tuple[Term, ...]:
    """Return the random terms of a model in theta's order.

    Parameters
    ----------
    factors
        The grouping factors.
    bases
        T of each.
    """
    found: list[Term] = []
    theta = coordinates = 0
    for k, (factor, basis) in enumerate(zip(factors, bases, strict=True)):
        blocks = list(factor.block_sizes)
        first = 0
        for term in factor.terms or _plain_terms(factor):
            columns = slice(first, first + term.n_effects)
            first += term.n_effects
            own: list[int] = []
            while sum(map(abs, own)) < term.n_effects:
                own.append(blocks.pop(0))
            T = basis[columns, columns]
            structure = make_effects(term.structure, factor.columns[columns], term.visits, T, term.rank)
            n_theta = sum(b * (b + 1) // 2 if b > 0 else 1 for b in own)
            n = structure.n_coordinates
            places = slice(theta, theta + n_theta), slice(coordinates, coordinates + n)
            inverse = np.asarray(np.linalg.inv(T), dtype=np.float64)
            found.append(Term(k, columns, structure, inverse, tuple(own), *places))
            theta, coordinates = theta + n_theta, coordinates + n
    return tuple(found)


def _plain_terms(factor: RandomFactor) -> Iterator[EffectTerm]:
    """Yield the blocks of a factor without structures as terms."""
    first = 0
    for size in factor.block_sizes:
        names = factor.columns[first : first + abs(size)]
        first += abs(size)
        yield EffectTerm(UNSTRUCTURED if size > 0 else ONE_VARIANCE, abs(size), 0, Visits(names))


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of the criterion and of log s2 at a point, with what a model of the Hessian is made of.

    Attributes
    ----------
    gradient, log_scale
        Of the criterion and of the logarithm of the residual variance, (k,).
    average
        Average information with the curvature of the structure, (k, k).
    log_sigma
        Logarithm of the residual standard deviation.
    """

    gradient: Floats
    log_scale: Floats
    average: Floats
    log_sigma: float


class StructuredCriterion:
    """The criterion of a model as a function of the coordinates of its structures, beta and sigma profiled out.

    Parameters
    ----------
    problem
        The engine's view of the model, in which every term has blocks of Lambda that it is a function for.
    reml
        Restricted likelihood.
    bases
        T of each factor, if they are known.
    """

    def __init__(self, problem: Problem, reml: bool, bases: list[Floats] | None = None) -> None:
        self.problem, self.reml, self._bases = problem, reml, bases

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The random terms in theta's order."""
        bases = self.problem.model.basis() if self._bases is None else self._bases
        return make_terms(self.problem.design.factors, bases)

    @property
    def n_coordinates(self) -> int:
        """All coordinates, k."""
        return int(self.terms[-1].coordinates.stop)

    def starts(self) -> list[Floats]:
        """Return coordinates to begin at, those of the terms in step."""
        own = [term.structure.starts for term in self.terms]
        return [np.concatenate([each[i % len(each)] for each in own]) for i in range(max(map(len, own)))]

    def covariances(self, x: Floats) -> list[Jet]:
        """Return S of each term, user's units, with its derivatives in the term's coordinates."""
        return [term.structure.covariance(x[term.coordinates]) for term in self.terms]

    def theta(self, x: Floats) -> Floats:
        """Return theta in the user's units, (n_theta,)."""
        return np.concatenate([t.root(S.value) for t, S in zip(self.terms, self.covariances(x), strict=True)])

    def engine_covariances(self, x: Floats) -> list[Jet]:
        """Return S~ of each term with its derivatives."""
        pairs = zip(self.terms, self.covariances(x), strict=True)
        return [Jet(*(t.inverse @ part @ t.inverse.T for part in (S.value, S.first, S.second))) for t, S in pairs]

    def value(self, x: Floats) -> float | None:
        """Return the criterion, None where it cannot be evaluated."""
        theta = np.concatenate([t.root(S.value) for t, S in zip(self.terms, self.engine_covariances(x), strict=True)])
        if not np.isfinite(theta).all():
            return None
        try:
            return self.problem.model.deviance(self.problem.model.to_user(theta), self.reml)
        except ValueError:
            return None

    def slopes(self, x: Floats) -> Slopes:
        """Return the derivatives at a point."""
        jets = self.engine_covariances(x)
        theta = np.concatenate([t.root(t.lifted(S.value)) for t, S in zip(self.terms, jets, strict=True)])
        _, s2, gradient, curvature, s2_gradient, _ = self.problem.model.evaluate(theta, self.reml)
        k = self.n_coordinates
        J = np.zeros((len(theta), k))
        bend = np.zeros((k, k))
        G_of = []
        for term, jet in zip(self.terms, jets, strict=True):
            J[term.theta, term.coordinates] = term.slopes(theta[term.theta], jet)
            G = term.gradient_in_covariance(theta[term.theta], gradient[term.theta])
            bend[term.coordinates, term.coordinates] = np.tensordot(jet.second, G, 2)
            G_of.append(G)
        average = J.T @ (curvature - self._second_order(G_of)) @ J + bend
        average = np.ascontiguousarray(0.5 * (average + average.T))
        return Slopes(J.T @ gradient, J.T @ s2_gradient / s2, average, 0.5 * float(np.log(s2)))

    def _second_order(self, G: list[Floats]) -> Floats:
        """Return 2 <G, dLambda~_i dLambda~_j'>, which the engine adds to average information, (n_theta, n_theta)."""
        n = self.terms[-1].theta.stop
        out = np.zeros((n, n))
        for term, own in zip(self.terms, G, strict=True):
            used = term.theta.start
            for block, at in term.each_block():
                if block < 0 or block == 1:
                    out[used, used] = 2 * np.trace(own[at, at])
                    used += 1
                    continue
                column, row = upper_places(block)
                places = slice(used, used + len(row))
                out[places, places] = 2 * own[at, at][np.ix_(row, row)] * (column[:, None] == column)
                used += len(row)
        return out

    def hessian(self, x: Floats, slopes: Slopes | None = None) -> Floats:
        """Return the Hessian from differences of the gradient: quick ones if slopes are given, else on both sides."""
        k = len(x)
        out = np.zeros((k, k))
        for i, unit in enumerate(np.eye(k)):
            if slopes is None:
                h = CENTRAL_STEP * (1 + abs(x[i]))
                out[i] = (self.slopes(x + h * unit).gradient - self.slopes(x - h * unit).gradient) / (2 * h)
            else:
                h = STEP * (1 + abs(x[i]))
                out[i] = (self.slopes(x + h * unit).gradient - slopes.gradient) / h
        return np.ascontiguousarray(0.5 * (out + out.T))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The criterion at a point; what a walk holds of it.

    Attributes
    ----------
    criterion
        Whose.
    x
        All coordinates.
    free
        Positions of those that the walk moves; the others are held.
    value
        The criterion.
    """

    criterion: StructuredCriterion
    x: Floats
    free: npt.NDArray[np.intp]
    value: float

    def moved(self, free: Floats) -> Evaluation | None:
        """Return the evaluation at other values of the free coordinates; None where it is not defined."""
        x = self.x.copy()
        x[self.free] = free
        value = self.criterion.value(x)
        return None if value is None else Evaluation(self.criterion, x, self.free, value)

    def walked(self) -> tuple[Floats, Floats]:
        """Return gradient and a model of the Hessian in the free coordinates, near the optimum the Hessian itself."""
        slopes = self.criterion.slopes(self.x)
        gradient, average = slopes.gradient[self.free], slopes.average[np.ix_(self.free, self.free)]
        predicted = 0.5 * float(gradient @ np.linalg.lstsq(average, gradient, rcond=None)[0])
        if abs(predicted) > FAR:
            return gradient, np.ascontiguousarray(average)
        hessian = self.criterion.hessian(self.x, slopes)
        return gradient, np.ascontiguousarray(hessian[np.ix_(self.free, self.free)])
