"""Random effects of any kind beside residuals with a structure, where rows do not fall into small independent blocks.

Residuals are taken subject by subject: Q, the inverse of their covariance R, is told to the engine on the pairs of rows
of each subject, and what remains are Henderson's equations, which are sparse where few levels meet in a subject.
With G the derivative of the criterion in V,

    dd/dR_s = Q_s - Q_s g_s Q_s,    g the engine's derivative in Q at the pairs of subject s,

and the chain rule of ``covariance/block_covariance.py`` does the rest. Second derivatives are
differences of first ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from mixedmodels._engine import CoupledModel
from mixedmodels.covariance.packed_lower import lower_slopes, lower_triangle
from mixedmodels.design.block_rows import MAX_ROWS, Blocks, find_blocks
from mixedmodels.errors import FitError, InferenceError, MixedModelsError, memory_told
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.fixed_root import FixedRoot, root_at
from mixedmodels.fit.marginal import FAR, Evaluation, Slopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from mixedmodels.covariance.block_covariance import BlockCovariance
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal import SecondOrder

STEP = 1e-5
"""Step of the differences of a walk, on one side: coordinates are of the order of one."""

LONG_STEP = 3e-4
"""Step of those that inference takes, of fourth order."""

LIFT = 1e-3
"""Singular value of Lambda, over the spread of the response, below which its second derivatives are taken beside it."""


class CoupledProblem(CorrelatedProblem):
    """The criterion of ``CorrelatedProblem`` by Henderson's equations; parameters as there."""

    @cached_property
    def blocks(self) -> Blocks:
        """Rows by subject, whatever random effects join them to."""
        alone = replace(self.design, factors=())
        return find_blocks(alone, ())

    @cached_property
    def own(self) -> BlockCovariance:
        """R of the subjects: the covariance without random effects."""
        return replace(self.covariance, sizes=(), is_tied=())

    @property
    def cluster_name(self) -> str:
        """What independent rows would differ in."""
        self._refuse("Independent groups of rows")

    @property
    def cluster(self) -> npt.NDArray[np.intp]:
        """Blocks of independent rows, of which there is one."""
        self._refuse("Independent groups of rows")

    def each(self, point: Floats, *, of_residuals: bool = False) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Yield rows and covariances of subjects, of residuals alone."""
        if not of_residuals:
            self._refuse("The covariance of all rows")
        for some, R in zip(self.blocks.members, self.own.covariances(self._parted(point)[0]), strict=True):
            yield from zip(some, R, strict=True)

    def draw_effects(self, point: Floats, n: int, random: np.random.Generator) -> Floats:
        """Return n draws of what random effects add, (n_obs, n), a level after the other."""
        n_obs = self.design.n_obs
        out = np.zeros((n_obs, n))
        for e, Lambda in zip(self.effects, self.covariance.lambdas(point), strict=True):
            factor = self.design.factors[e.factor]
            root = self.model.scale * e.columns(factor.Z, n_obs) @ Lambda
            white = random.standard_normal((factor.n_levels, e.size, n))
            for column in range(e.size):
                out += root[:, column, None] * white[factor.codes, column]
        return out

    def _refuse(self, what: str) -> NoReturn:
        names = ", ".join(factor.name for factor in self.design.factors)
        raise InferenceError(
            f"{what} cannot be formed for this fit: levels of {names} join more than {MAX_ROWS} rows, whose "
            "residuals have a structure."
        )

    def _parted(self, point: Floats) -> tuple[Floats, Floats]:
        """Return the point of the residuals, and that of the random effects."""
        n = len(point) - sum(self._n_effects)
        return point[:n], point[n:]

    @property
    def _n_effects(self) -> list[int]:
        covariance = self.covariance
        return [1 if tied else q * (q + 1) // 2 for q, tied in zip(covariance.sizes, covariance.is_tied, strict=True)]

    @cached_property
    def _places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        """Return pairs of rows, (n_pairs, 2), and the place of each among the elements of all patterns."""
        pairs, places, first = [], [], 0
        for where, some in zip(self.blocks.rows, self.blocks.members, strict=True):
            m = where.size
            i, j = np.tril_indices(m)
            rows = np.concatenate(some)
            pattern = np.repeat(np.arange(len(some)), [len(one) for one in some])
            both = np.stack([rows[:, i], rows[:, j]], axis=2)
            pairs.append(np.sort(both, axis=2)[:, :, ::-1].reshape(-1, 2))
            places.append((first + pattern[:, None] * m * m + (i * m + j)[None]).ravel())
            first += len(where) * m * m
        order = np.concatenate(places)
        return np.ascontiguousarray(np.concatenate(pairs), dtype=np.int64), order

    @cached_property
    def _columns(self) -> list[Floats]:
        """Columns of each block of effects, times roots of weights, (n_obs, q)."""
        design = self.design
        root = 1.0 if design.weights is None else np.sqrt(design.weights)[:, None]
        return [np.ascontiguousarray(e.columns(design.factors[e.factor].Z, design.n_obs) * root) for e in self.effects]

    @property
    def equations(self) -> CoupledModel:
        """What the engine keeps of the rows."""
        return cast("CoupledModel", self.model)

    def _form(self) -> CoupledModel:  # type: ignore[override]  # it has what is asked for of a model
        design, weights = self.design, self.design.weights
        y = design.y if design.offset is None else design.y - design.offset
        factors = [design.factors[e.factor] for e in self.effects]
        try:
            with memory_told("A fit"):
                return CoupledModel(
                    y,
                    design.X,
                    weights,
                    [np.ascontiguousarray(factor.codes, dtype=np.int32) for factor in factors],
                    [factor.n_levels for factor in factors],
                    self._columns,
                    self._places[0],
                    self.n_threads,
                )
        except MixedModelsError:
            raise
        except ValueError as error:
            raise FitError(
                f"{design.formula.text!r} cannot be fitted to these data: {error}. Remove the columns that determine "
                f"{design.response_name}."
            ) from error

    def _precision(self, point: Floats) -> tuple[list[Floats], float] | None:
        """Return Q of the patterns by their number of rows, and log|R|; None where an R is not positive definite."""
        out, log_det = [], 0.0
        for R, some in zip(self.own.covariances(self._parted(point)[0]), self.blocks.members, strict=True):
            if not np.isfinite(R).all():
                return None
            try:
                L = np.linalg.cholesky(R)
            except np.linalg.LinAlgError:
                return None
            counts = np.array([len(one) for one in some])
            log_det += 2.0 * float(counts @ np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1))
            half = np.linalg.solve(L, np.broadcast_to(np.eye(L.shape[1]), L.shape))
            out.append(half.swapaxes(1, 2) @ half)
        return out, log_det

    def _asked(self, point: Floats, Q: list[Floats]) -> tuple[Floats, Floats]:
        """Return Q at the pairs, and Lambda of all blocks by columns."""
        at_pairs = np.concatenate([one.ravel() for one in Q])[self._places[1]]
        return at_pairs, np.concatenate([Lambda.T.ravel() for Lambda in self.covariance.lambdas(point)])

    def value(self, point: Floats, reml: bool) -> float | None:
        """Return the criterion without its constant, None where an R is not positive definite."""
        found = self._precision(point)
        if found is None:
            return None
        Q, log_det = found
        value = self.equations.value(*self._asked(point, Q), reml)
        return None if value is None else value + log_det

    def derivatives(
        self, point: Floats, reml: bool, *, of_determinant: bool = False, along: Floats | None = None
    ) -> Told:
        """Return the derivatives of the criterion, or those of log|V| alone.

        Parameters
        ----------
        point, reml
            Where, and of which criterion.
        of_determinant
            Of log|V| alone.
        along
            Take dR, but not dLambda, from this point in the place of the first.
        """
        found = self._precision(point)
        with memory_told("An evaluation of the likelihood"):
            told = (
                None
                if found is None
                else self.equations.derivatives(*self._asked(point, found[0]), reml, of_determinant)
            )
        if found is None or told is None:
            raise InferenceError("The likelihood has no derivatives at this estimate: a covariance is singular there.")
        Q, (_, at_pairs, by_lambda, rows) = found[0], told
        residual, effects = self._parted(point)
        weights = self._by_residual(Q, at_pairs)
        own = np.zeros(self.own.n_coordinates)
        at_base = residual if along is None else self._parted(along)[0]
        for by, slopes in zip(weights, self.own.slopes(at_base), strict=True):
            own += np.tensordot(by, slopes, ([0, 1, 2], [0, 2, 3]))
        gradient, by_effects, first, at = [own], [], 0, 0
        for q, tied, size in zip(self.covariance.sizes, self.covariance.is_tied, self._n_effects, strict=True):
            by_effects.append(by_lambda[first : first + q * q].reshape(q, q).T)
            _, slopes = lower_slopes(effects[at : at + size], q, tied=tied)
            gradient.append(np.tensordot(slopes, by_effects[-1], 2))
            first, at = first + q * q, at + size
        return Told(np.concatenate(gradient), weights, by_effects, rows)

    def _by_residual(self, Q: list[Floats], at_pairs: Floats) -> list[Floats]:
        """Return the derivatives in R of the patterns, shaped like it, from those in Q at the pairs."""
        summed = np.bincount(self._places[1], at_pairs, sum(one.size for one in Q))
        out, first = [], 0
        for one, some in zip(Q, self.blocks.members, strict=True):
            lower = summed[first : first + one.size].reshape(one.shape)
            first += one.size
            g = lower + np.tril(lower, -1).swapaxes(1, 2)
            counts = np.array([len(members) for members in some])[:, None, None]
            out.append(counts * one - one @ g @ one)
        return out

    def _along(self, point: Floats, u: Floats) -> Iterator[Floats]:
        """Yield dV_i U along each coordinate, (n_obs, c) each, for U (n_obs, c), rows times roots of weights."""
        residual, effects = self._parted(point)
        slopes = self.own.slopes(residual)
        for i in range(self.own.n_coordinates):
            out = np.empty_like(u)
            for dR, some in zip(slopes, self.blocks.members, strict=True):
                each = np.repeat(dR[:, i], [len(one) for one in some], axis=0) if len(some) > 1 else dR[:, i]
                rows = np.concatenate(some)
                out[rows] = each @ u[rows]
            yield out
        at = 0
        for e, Z, size in zip(self.effects, self._columns, self._n_effects, strict=True):
            factor = self.design.factors[e.factor]
            Lambda, first = lower_slopes(effects[at : at + size], e.size, tied=e.is_tied)
            at += size
            by_level = np.zeros((factor.n_levels, e.size, u.shape[1]))
            np.add.at(by_level, factor.codes, Z[:, :, None] * u[:, None, :])
            for dLambda in first:
                half = dLambda @ Lambda.T
                yield np.einsum("nq,nqc->nc", Z, ((half + half.T) @ by_level)[factor.codes])

    def evaluation(self, point: Floats, reml: bool) -> Evaluation | None:
        """Return the criterion at a point, with coordinates of a walk that begins there; None if it is not defined."""
        value = self.value(point, reml)
        x = np.zeros(self.covariance.n_coordinates)
        return None if value is None else CoupledEvaluation(self, reml, point, x, value)

    def average(self, point: Floats, told: Told) -> Floats:
        """Return the average information, (k, k), where the derivatives are known."""
        h = np.concatenate(list(self._along(point, told.rows[:, -1:])), axis=1)
        pull = h.T @ told.rows[:, :-1]
        return np.asarray(_symmetric(h.T @ self.solve(point, h)) - pull @ pull.T)

    def curvature(self, point: Floats, reml: bool, told: Told, *, is_precise: bool = False) -> Floats:
        """Return the Hessian: differences of G along each coordinate, and what the curvature of R adds."""
        k = self.own.n_coordinates

        def of_criterion(at: Floats) -> Floats:
            return self.derivatives(at, reml, along=point).gradient

        if is_precise:
            out = self._difference(point, of_criterion)
        else:
            steps = STEP * np.eye(len(told.gradient))
            out = _symmetric(np.array([of_criterion(self.moved(point, step)) - told.gradient for step in steps]) / STEP)
        out[:k, :k] += self.own.bend(self._parted(point)[0], told.weights)
        return out

    def _difference(self, point: Floats, of: Callable[[Floats], Floats]) -> Floats:
        """Return the differences along each coordinate, (k, k).

        They are to be of <G, dR_i> with dR_i of the point, since coordinates of some structures are new at every point.
        """
        rows = []
        for unit in np.eye(self.covariance.n_coordinates):

            def apart(h: float, unit: Floats = unit) -> Floats:
                return of(self.moved(point, h * unit)) - of(self.moved(point, -h * unit))

            rows.append((8 * apart(LONG_STEP) - apart(2 * LONG_STEP)) / (12 * LONG_STEP))
        return _symmetric(np.array(rows))

    def slopes(self, point: Floats, reml: bool) -> Slopes:
        """Return the derivatives of the criterion in the coordinates at a point."""
        told = self.derivatives(point, reml)
        products = np.array([told.rows.T @ along for along in self._along(point, told.rows)])
        p = products.shape[1] - 1
        P, hessian = _symmetric(products[:, :p, :p]), self.curvature(point, reml, told, is_precise=True)
        return Slopes(told.gradient, hessian, hessian, self._expected(point, reml), P, products[:, :p, p])

    def curved(self, point: Floats, reml: bool) -> tuple[Floats, Floats]:
        """Return the gradient, and the Hessian by differences on one side."""
        told = self.derivatives(point, reml)
        return told.gradient, self.curvature(point, reml, told)

    def _expected(self, point: Floats, reml: bool) -> Floats:
        """Return tr(P dV_i P dV_j), from tr(K dV_i K dV_j), what differences of K are.

        Where a covariance of effects is singular it is that of a point beside it, for there their second derivatives
        are not told apart.
        """
        point = self._lifted(point)

        def of_log_determinant(at: Floats) -> Floats:
            return self.derivatives(at, False, of_determinant=True, along=point).gradient

        determinant = self._bend_of_effects(point) - self._difference(point, of_log_determinant)
        if not reml:
            return determinant
        X = np.ascontiguousarray(self.derivatives(point, reml).rows[:, :-1])  # V^-1 X K
        moved = np.stack(list(self._along(point, X)), axis=1)
        n, k, p = moved.shape
        half = self.solve(point, np.ascontiguousarray(moved.reshape(n, k * p))).reshape(n, k, p)
        fixed = _symmetric(np.einsum("nip,njp->ij", moved, half, optimize=True))
        by_pair = np.einsum("na,nib->iab", X, moved, optimize=True).reshape(k, -1)
        return np.asarray(determinant - 2 * fixed + by_pair @ by_pair.T)

    def _bend_of_effects(self, point: Floats) -> Floats:
        """Return <V^-1, d2V_ij> of random effects, (k, k), zero elsewhere."""
        effects, told = self._parted(point)[1], self.derivatives(point, False, of_determinant=True)
        k, at = self.own.n_coordinates, 0
        out = np.zeros((len(told.gradient),) * 2)
        for e, by, size in zip(self.effects, told.by_effects, self._n_effects, strict=True):
            Lambda, first = lower_slopes(effects[at : at + size], e.size, tied=e.is_tied)
            C = _symmetric(0.5 * by @ np.linalg.inv(Lambda))  # by = 2 C Lambda
            own = slice(k + at, k + at + size)
            crossed = np.einsum("iab,jcb,ac->ij", first, first, C, optimize=True)
            out[own, own] = crossed + crossed.T
            at += size
        return out

    def _lifted(self, point: Floats) -> Floats:
        """Return a point where no covariance of random effects is singular, the same where none is."""
        residual, effects = self._parted(point)
        out, at = effects.copy(), 0
        for e, size in zip(self.effects, self._n_effects, strict=True):
            Lambda, _ = lower_slopes(effects[at : at + size], e.size, tied=e.is_tied)
            if np.linalg.svd(Lambda, compute_uv=False)[-1] < LIFT:
                lifted = Lambda + LIFT * np.diag(np.where(np.diag(Lambda) < 0, -2.0, 2.0))
                out[at : at + size] = lifted[0, 0] if e.is_tied else lower_triangle(lifted)
            at += size
        return np.concatenate([residual, out])

    def second_order(self, point: Floats, W: Floats) -> SecondOrder:
        """Refuse: Kenward and Roger's method is not there for these fits."""
        del point, W
        self._refuse("Kenward and Roger's covariance")

    def fixed_root(self, point: Floats, reml: bool, sigma: float) -> FixedRoot:
        """Return the fixed effects at a point and a root of their covariance over sigma^2, in a basis."""
        found = self._precision(point)
        told = None if found is None else self.equations.fixed_root(*self._asked(point, found[0]), reml)
        return root_at(told, self.model.scale / sigma)

    def solve(self, point: Floats, right: Floats) -> Floats:
        """Return V^-1 B, (n_obs, c), for B (n_obs, c), rows times roots of weights."""
        found = self._precision(point)
        told = (
            None if found is None else self.equations.solve(*self._asked(point, found[0]), np.ascontiguousarray(right))
        )
        if told is None:
            raise InferenceError("There are no estimates where a covariance is singular.")
        return np.asarray(told)

    def conditional_covariance(self, point: Floats) -> list[Floats]:
        """Return Var(b | y) of each level given the fixed effects, (n_levels, n_effects, n_effects) a factor."""
        found = self._precision(point)
        told = None if found is None else self.equations.conditional(*self._asked(point, found[0]))
        if told is None:
            raise InferenceError("There are no estimates where a covariance is singular.")
        factors = self.design.factors
        out = [np.zeros((factor.n_levels, factor.n_effects, factor.n_effects)) for factor in factors]
        first = 0
        for e in self.effects:
            size, own = factors[e.factor].n_levels * e.size**2, slice(e.first, e.first + e.size)
            blocks = told[first : first + size].reshape(-1, e.size, e.size)
            first += size
            out[e.factor][:, own, own] = self.model.scale**2 * e.basis @ blocks @ e.basis.T
        return out


@dataclass(frozen=True)
class Told:
    """Derivatives at a point: in the coordinates, in R of the patterns, in Lambda, and V^-1 [X K, r]."""

    gradient: Floats
    weights: list[Floats]
    by_effects: list[Floats]
    rows: Floats


@dataclass(frozen=True, eq=False)
class CoupledEvaluation(Evaluation):
    """The criterion at a point, whose Hessian is formed where a walk is near its end."""

    problem: CoupledProblem

    def walked(self) -> tuple[Floats, Floats]:
        """Return the gradient and the average information, or near the optimum the Hessian in its place."""
        told = self.problem.derivatives(self.point, self.reml)
        average = self.problem.average(self.point, told)
        predicted = 0.5 * float(told.gradient @ np.linalg.lstsq(average, told.gradient, rcond=None)[0])
        if abs(predicted) > FAR:
            return told.gradient, average
        return told.gradient, self.problem.curvature(self.point, self.reml, told)


def _symmetric(matrix: Floats) -> Floats:
    return np.asarray(0.5 * (matrix + matrix.swapaxes(-1, -2)))
