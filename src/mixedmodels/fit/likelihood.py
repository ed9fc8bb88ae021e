"""Log-likelihood, score and Hessian at any parameters.

Covariances S are ratios to the residual variance, packed: V = sigma^2 V0, V0 = I + Z S Z'. With q the quadratic form
(y - X b)' V0^-1 (y - X b) and m = n (ML) or n - p (REML),

-2 loglike = log|V0| + m (1 + log(2 pi q / m)) [+ log|X' V0^-1 X| under REML].

The engine gives the criterion and its gradient with the fixed effects at their generalised least squares estimate b^.
Elsewhere, q(b) = q(b^) + (b - b^)' A (b - b^), A = X' V0^-1 X, and derivatives in S come from the same model with the
fixed effects known, y - X b on no columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from mixedmodels.covariance.packed import PackedCovariances, from_lower, lower_places, lower_triangle, upper_places
from mixedmodels.design.known_effects import with_known_effects
from mixedmodels.design.records import Floats
from mixedmodels.errors import CollinearColumnsError, DataError, FitError
from mixedmodels.fit.curvature import Curvature
from mixedmodels.fit.problem import Problem

LIFT_SCALED = 1e-8
"""What a singular covariance is lifted by, in the engine's units, before a derivative is taken there."""

NOT_POSITIVE = (
    "A covariance of the random effects is not positive semidefinite. Give variances that are not negative, and "
    "covariances that they allow."
)
"""What is wrong with covariances that have no theta."""


@dataclass(frozen=True)
class Solution:
    """The fixed effects at some covariances.

    Attributes
    ----------
    beta
        Generalised least squares, (n_fixed,).
    unscaled_cov
        (X' V0^-1 X)^-1, (n_fixed, n_fixed).
    scale
        Residual variance, profiled.
    """

    beta: Floats
    unscaled_cov: Floats
    scale: float


@dataclass(frozen=True)
class _Slope:
    """The criterion in S at the generalised least squares estimate: derivatives of it and of log(scale), packed."""

    deviance: float
    gradient: Floats
    log_scale: Floats


class Likelihood:
    """The log-likelihood of a model, the residual variance profiled out.

    Parameters
    ----------
    problem
        The engine's view of the model.
    covariances
        Where its covariances stand in the packed vector S.
    reml
        Restricted likelihood.
    """

    def __init__(self, problem: Problem, covariances: PackedCovariances, reml: bool) -> None:
        self.problem, self.covariances, self.reml = problem, covariances, reml

    @property
    def n_obs(self) -> int:
        """Rows."""
        return self.problem.design.n_obs

    @property
    def n_fixed(self) -> int:
        """Fixed effects."""
        return int(self.problem.design.X.shape[1])

    @property
    def dof(self) -> int:
        """n, or n - p under REML."""
        return self.n_obs - self.n_fixed if self.reml else self.n_obs

    def value(self, S: Floats, beta: Floats | None = None) -> float:
        """Return the log-likelihood; -inf where a covariance is not positive semidefinite.

        Parameters
        ----------
        S
            Ratios to the residual variance, (n_packed,).
        beta
            Fixed effects; None for their generalised least squares estimate.
        """
        theta = self.covariances.theta(S)
        if theta is None:
            return -math.inf
        deviance = self.problem.deviance(theta, self.reml)
        if beta is not None and self.n_fixed:
            solution = self._solve(theta)
            deviance += self.dof * math.log(self._scale_at(theta, solution, beta) / solution.scale)
        return -0.5 * deviance

    def solve(self, S: Floats) -> Solution:
        """Return the fixed effects and the residual variance at some covariances.

        Raises
        ------
        DataError
            If a covariance is not positive semidefinite.
        """
        return self._solve(self.theta(S))

    def theta(self, S: Floats) -> Floats:
        """Return theta of some covariances, user's units.

        Raises
        ------
        DataError
            If one is not positive semidefinite.
        """
        theta = self.covariances.theta(S)
        if theta is None:
            raise DataError(NOT_POSITIVE)
        return theta

    def scale(self, S: Floats, beta: Floats) -> float:
        """Return the residual variance that maximises the likelihood."""
        theta = self.theta(S)
        return self._scale_at(theta, self._solve(theta), beta)

    def _solve(self, theta: Floats) -> Solution:
        model = self.problem.model
        if len(model.kept) < self.n_fixed:
            raise collinear(self.problem)
        beta, unscaled_cov, sigma, _ = model.solve(theta, self.reml)
        return Solution(beta, unscaled_cov, sigma**2)

    def _scale_at(self, theta: Floats, solution: Solution, beta: Floats) -> float:
        if not (beta - solution.beta).any():
            return solution.scale
        whitened = self.problem.fixed_root(theta).from_estimate(beta)
        return solution.scale + float(whitened @ whitened) / self.dof

    # Derivatives

    def score(self, S: Floats, beta: Floats) -> tuple[Floats, Floats]:
        """Return the derivatives in the fixed effects (n_fixed,) and in the packed covariances (n_packed,).

        Parameters
        ----------
        S
            Ratios to the residual variance.
        beta
            Fixed effects.
        """
        return self._score(S, beta, self._known(beta))

    def slopes_at(self, S: Floats, beta: Floats) -> tuple[Floats, Floats]:
        """Return the derivatives of the log-likelihood and of log(scale) at fixed effects, both (n_packed,)."""
        known = self._known(beta)
        return self._score(S, beta, known)[1], self._slope(known, S, False).log_scale

    def profile_score(self, S: Floats) -> Floats:
        """Return the derivative in the packed covariances, the fixed effects profiled out, (n_packed,)."""
        return -0.5 * self._slope(self.problem, S, self.reml).gradient

    def _known(self, beta: Floats) -> Problem:
        """Return the model with the fixed effects known: y - X b on no columns."""
        if not self.n_fixed:
            return self.problem
        return Problem(with_known_effects(self.problem.design, beta), n_threads=self.problem.n_threads)

    def _score(self, S: Floats, beta: Floats, known: Problem) -> tuple[Floats, Floats]:
        slope = self._slope(known, S, False)
        deviance = slope.gradient + (self.dof - self.n_obs) * slope.log_scale
        if not self.n_fixed:
            return np.zeros(0), -0.5 * deviance
        if self.reml:
            restricted, plain = (self._slope(self.problem, S, reml) for reml in (True, False))
            # log|A| is what the two criteria differ by, beside their multiples of log q.
            deviance = deviance + restricted.gradient - plain.gradient + self.n_fixed * plain.log_scale
        theta = self.theta(S)
        root = self.problem.fixed_root(theta)
        away = root.from_estimate(beta)
        scale = self._solve(theta).scale + float(away @ away) / self.dof
        return root.pull(beta) / scale, -0.5 * deviance

    def _slope(self, problem: Problem, S: Floats, reml: bool) -> _Slope:
        theta = self.covariances.theta(self._lifted(S))
        if theta is None:
            raise DataError(NOT_POSITIVE)
        model = problem.model
        inner = model.to_engine(theta)
        deviance, s2, gradient, _, s2_gradient, _ = model.evaluate(inner, reml)
        both = self._in_covariances(inner, np.stack([gradient, s2_gradient / s2]))
        return _Slope(deviance, both[0], both[1])

    @cached_property
    def bases(self) -> list[Floats]:
        """The engine's basis T of each block, (size, size): S = T S~ T'."""
        bases = self.problem.model.basis()
        return [
            bases[block.factor][np.ix_(block.columns[: block.size], block.columns[: block.size])]
            for block in self.covariances.blocks
        ]

    def unit_covariances(self) -> Floats:
        """Return the packed covariances of effects as large as the residual: one in the engine's units."""
        theta = self.covariances.theta(self.covariances.unit())
        assert theta is not None
        return self.covariances.packed(self.problem.model.to_user(theta))

    def _lifted(self, S: Floats) -> Floats:
        """Return the covariances with singular blocks lifted off the boundary."""
        lifted = S.copy()
        for block, basis in zip(self.covariances.blocks, self.bases, strict=True):
            covariance = block.covariance(S)
            inverse = np.linalg.inv(basis)
            eigenvalues = np.linalg.eigvalsh(inverse @ covariance @ inverse.T)
            lift = LIFT_SCALED * max(1.0, float(eigenvalues[-1]))
            if -1e-6 * lift <= eigenvalues[0] < lift:
                covariance = covariance + lift * basis @ basis.T
                lifted[list(block.places)] = covariance[lower_places(block.size)]
        return lifted

    def _in_covariances(self, theta: Floats, gradients: Floats) -> Floats:
        """Return derivatives in packed covariances, (m, n_packed), from those in the engine's theta, (m, n_theta)."""
        out = np.zeros((len(gradients), self.covariances.n_packed))
        for block, basis in zip(self.covariances.blocks, self.bases, strict=True):
            Lambda = lower_triangle(theta[list(block.theta)], block.size)
            inverse = np.linalg.inv(basis)
            row, column = lower_places(block.size)
            for k, gradient in enumerate(gradients[:, list(block.theta)]):
                symmetric = inverse.T @ _gradient_in_product(Lambda, gradient) @ inverse
                out[k, list(block.places)] = np.where(row == column, 1.0, 2.0) * symmetric[row, column]
        return out

    def covariance_slope(self, theta: Floats, index: int) -> Floats:
        """Return the derivative of one packed covariance in the engine's theta, (n_theta,)."""
        out = np.zeros_like(theta)
        for block, basis in zip(self.covariances.blocks, self.bases, strict=True):
            if index in block.places:
                place = block.places.index(index)
                i, j = (int(side[place]) for side in lower_places(block.size))
                TL = basis @ lower_triangle(theta[list(block.theta)], block.size)
                slope = np.outer(basis[i], TL[j]) + np.outer(basis[j], TL[i])
                out[list(block.theta)] = slope.T[upper_places(block.size)]
        return out

    # Second derivatives

    def hessian(self, S: Floats, beta: Floats) -> tuple[Floats, bool]:
        """Return the second derivative in fixed effects and packed covariances, and whether these are singular.

        Parameters
        ----------
        S, beta
            As for ``score``.
        """
        theta = self.theta(S)
        found = self.curvature(theta, self.residual(beta), self._scale_at(theta, self._solve(theta), beta))
        return found.profiled(), self.is_singular(S)

    def residual(self, beta: Floats) -> Floats:
        """Return y - X b, the offset taken off, (n_obs,)."""
        design = self.problem.design
        return np.asarray(design.y - (0.0 if design.offset is None else design.offset) - design.X @ beta)

    def curvature(self, theta: Floats, residual: Floats, scale: float) -> Curvature:
        """Return gradient and Hessian in fixed effects g, covariances S~ and t = log residual variance s, in bases.

        With X~ = X C the orthonormal columns, X b = X~ g, r the residual, q = r'V0^-1 r and G_i = dV0 / dS~_i the
        blocks of the Hessian are

            gg -A / s,  gS -c_i / s,  gt -X~'V0^-1 r / s,  SS T_ij / 2 - N_ij / s,  St -l_i / (2 s),  tt -q / (2 s),

        A = X~'V0^-1 X~, c_i = X~'V0^-1 G_i V0^-1 r, l_i = r'V0^-1 G_i V0^-1 r, N_ij = r'V0^-1 G_i V0^-1 G_j V0^-1 r and
        T_ij = tr(P0 G_i P0 G_j) with P0 = V0^-1 for ML. V0 is linear in S~: a singular one is a point like any other.

        Parameters
        ----------
        theta
            Of the covariances, in the user's units.
        residual
            y - X b, (n_obs,).
        scale
            The residual variance, at its maximum or not.
        """
        p = self.n_fixed
        beside = self._beside(residual)
        covariances, first, second, *_ = beside.model.kenward_roger(theta)
        alone = self.problem if self.reml else self._of_residual(residual)
        _, _, _, trace, traces = alone.model.kenward_roger(theta)
        whole = beside.fixed_root(theta)
        # first and second are in the columns [X, r] K; what follows is in [X~, r].
        of_residual = whole.basis.coefficients(np.eye(p + 1)[:, p])
        back = solve_triangular(whole.root, np.column_stack([np.eye(p + 1, p), of_residual]))
        products, first, second = back.T @ back, back.T @ first @ back, back.T @ second @ back
        pull, q = products[:p, p], products[p, p]
        c, along, bend = first[:, :p, p], first[:, p, p], second[:, :, p, p]
        gradient = np.concatenate([pull / scale, 0.5 * (along / scale - trace), [0.5 * (q / scale - self.dof)]])
        hessian = np.empty((len(gradient),) * 2)
        hessian[:p, :p] = -products[:p, :p] / scale
        hessian[p:-1, :p] = -c / scale
        hessian[p:-1, p:-1] = 0.5 * traces - (bend + bend.T) / (2 * scale)
        hessian[-1] = np.concatenate([-pull / scale, -0.5 * along / scale, [-0.5 * q / scale]])
        hessian[:p, p:-1] = hessian[p:-1, :p].T
        hessian[:, -1] = hessian[-1]
        return Curvature(whole.basis.of_first(p), self._to_packed, self._from_packed, covariances, gradient, hessian)

    def _beside(self, residual: Floats) -> Problem:
        """Return the model with the columns [X, r]: its Kenward-Roger products are those of the Hessian.

        The response plays no part in them.
        """
        design = self.problem.design
        any_response = np.cos(np.arange(float(design.n_obs)) ** 2)
        columns, names = np.column_stack([design.X, residual]), (*design.x_names, "residual")
        beside = self._with_columns(any_response, columns, names)
        if len(beside.model.kept) < len(names):
            raise FitError("The fixed effects fit the response perfectly, so the likelihood has no second derivative.")
        return beside

    def _of_residual(self, residual: Floats) -> Problem:
        """Return the model without fixed effects."""
        return self._with_columns(residual, np.empty((self.n_obs, 0)), ()) if self.n_fixed else self.problem

    def _with_columns(self, y: Floats, X: Floats, names: tuple[str, ...]) -> Problem:
        design = replace(self.problem.design, y=y, offset=None, X=X, x_names=names, columns={})
        return Problem(design, n_threads=self.problem.n_threads)

    def is_singular(self, S: Floats) -> bool:
        """Return True if a covariance block has less than full rank, in the engine's units."""
        return bool((self._lifted(S) != S).any())

    def at_boundary(self, S: Floats) -> list[int]:
        """Return the packed covariances of effects without variance and of other blocks of less than full rank."""
        out: list[int] = []
        lifted = self._lifted(S)
        for block in self.covariances.blocks:
            places = list(block.places)
            if block.size == 1:
                out += [place for place in places if lifted[place] != S[place]]
                continue
            covariance = block.covariance(S)
            sd = np.sqrt(np.diag(covariance))
            vary = np.flatnonzero(sd > 0)
            correlation = covariance[np.ix_(vary, vary)] / np.outer(sd[vary], sd[vary])
            is_regular = np.linalg.eigvalsh(correlation).min(initial=1.0) > LIFT_SCALED
            is_out = (sd == 0) | (not is_regular)
            row, column = lower_places(block.size)
            out += [place for place, lost in zip(places, is_out[row] | is_out[column], strict=True) if lost]
        return out

    @cached_property
    def _to_packed(self) -> Floats:
        """The linear map from the elements of the engine's S~ to packed covariances, (n_packed, n_theta)."""
        out = np.zeros((self.covariances.n_packed, self.covariances.n_theta))
        for block, basis in zip(self.covariances.blocks, self.bases, strict=True):
            lower = lower_places(block.size)
            for place, unit in zip(block.theta, _units(block.size), strict=True):
                out[list(block.places), place] = (basis @ unit @ basis.T)[lower]
        return out

    @cached_property
    def _from_packed(self) -> Floats:
        """Its inverse, (n_theta, n_packed)."""
        out = np.zeros((self.covariances.n_theta, self.covariances.n_packed))
        for block, basis in zip(self.covariances.blocks, self.bases, strict=True):
            inverse = np.linalg.inv(basis)
            for place, unit in zip(block.places, np.eye(len(block.places)), strict=True):
                inner = inverse @ from_lower(unit, block.size) @ inverse.T
                out[list(block.theta), place] = inner[upper_places(block.size)]
        return out


def _units(size: int) -> list[Floats]:
    """Return the symmetric matrices with one element, or two that mirror each other, in the order of theta."""
    units = []
    for i, j in zip(*upper_places(size), strict=True):
        unit = np.zeros((size, size))
        unit[i, j] = unit[j, i] = 1.0
        units.append(unit)
    return units


def _gradient_in_product(Lambda: Floats, gradient: Floats) -> Floats:
    """Return the symmetric G with tr(G d(Lambda Lambda')) = gradient . d theta, from a gradient stacked by column."""
    size = len(Lambda)
    column, row = upper_places(size)
    first, second = lower_places(size)
    # Element (a, b) of 2 G Lambda, a >= b, is the derivative in Lambda_ab.
    system = np.zeros((len(gradient), len(first)))
    for k, (i, j) in enumerate(zip(first, second, strict=True)):
        unit = np.zeros((size, size))
        unit[i, j] = unit[j, i] = 1.0
        system[:, k] = (2 * unit @ Lambda)[row, column]
    return from_lower(np.asarray(np.linalg.solve(system, gradient), dtype=np.float64), size)


def collinear(problem: Problem) -> CollinearColumnsError:
    """Return the complaint that names the columns of X that are combinations of others."""
    kept = set(problem.model.kept)
    design = problem.design
    dropped = [name for j, name in enumerate(design.x_names) if j not in kept]
    zero = [name for j, name in enumerate(design.x_names) if not design.X[:, j].any()]
    if zero:
        return CollinearColumnsError(
            f"The fixed-effect columns {', '.join(zero)} are zero in every row, as those of categories without rows "
            "are. Leave them out, or the categories (data['name'].cat.remove_unused_categories())."
        )
    return CollinearColumnsError(
        f"The fixed-effect columns are collinear: {', '.join(dropped)} can be computed from the others, so the fixed "
        "effects are not determined. Leave them out."
    )
