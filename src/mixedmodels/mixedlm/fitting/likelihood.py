"""Log-likelihood, score and Hessian at any parameters.

Covariances are ratios to the residual variance: V = sigma^2 V0, V0 = I + Z S Z'. With q the quadratic form
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

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FitError
from mixedmodels.fit.problem import Problem
from mixedmodels.mixedlm.description.design import at_fixed_effects
from mixedmodels.mixedlm.description.layout import Layout, cholesky_root, lower_triangle
from mixedmodels.mixedlm.reading.params import MixedLMParams

LIFT_SCALED = 1e-8
"""What a singular covariance is lifted by, in the engine's units, before a derivative is taken there."""


@dataclass(frozen=True)
class Solution:
    """The fixed effects at some covariances.

    Attributes
    ----------
    beta
        Generalised least squares, (k_fe,).
    unscaled_cov
        (X' V0^-1 X)^-1, (k_fe, k_fe).
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
    problem, layout
        The engine's view of the model, and where parameters stand in it.
    reml
        Restricted likelihood.
    """

    def __init__(self, problem: Problem, layout: Layout, reml: bool) -> None:
        self.problem, self.layout, self.reml = problem, layout, reml

    @property
    def n_obs(self) -> int:
        """Rows."""
        return self.problem.design.n_obs

    @property
    def k_fe(self) -> int:
        """Fixed effects."""
        return int(self.problem.design.X.shape[1])

    @property
    def dof(self) -> int:
        """n, or n - p under REML."""
        return self.n_obs - self.k_fe if self.reml else self.n_obs

    @property
    def size(self) -> int:
        """Covariance parameters."""
        return self.layout.k_re2 + self.layout.k_vc

    def value(self, cov_re: Floats, vcomp: Floats, fixed: Floats | None = None) -> float:
        """Return the log-likelihood; -inf where a covariance is not positive.

        Parameters
        ----------
        cov_re, vcomp
            Ratios to the residual variance.
        fixed
            Fixed effects; None for their generalised least squares estimate.
        """
        theta = self.layout.theta(cov_re, vcomp)
        if theta is None:
            return -math.inf
        deviance = self.problem.deviance(theta, self.reml)
        if fixed is not None and self.k_fe:
            solution = self._solve(theta)
            ratio = self._scale_at(solution, fixed) / solution.scale
            deviance += self.dof * math.log(ratio)
        return -0.5 * deviance

    def solve(self, cov_re: Floats, vcomp: Floats) -> Solution:
        """Return the fixed effects and the residual variance at some covariances.

        Raises
        ------
        DataError
            If a covariance is not positive.
        """
        theta = self.layout.theta(cov_re, vcomp)
        if theta is None:
            raise DataError("cov_re must be positive semidefinite and vcomp must not be negative.")
        return self._solve(theta)

    def scale(self, cov_re: Floats, vcomp: Floats, fixed: Floats) -> float:
        """Return the residual variance that maximises the likelihood."""
        return self._scale_at(self.solve(cov_re, vcomp), fixed)

    def _solve(self, theta: Floats) -> Solution:
        model = self.problem.model
        if len(model.kept) < self.k_fe:
            raise FitError(collinear(self.problem))
        beta, unscaled_cov, sigma, _ = model.solve(theta, self.reml)
        return Solution(beta, unscaled_cov, sigma**2)

    def _scale_at(self, solution: Solution, fixed: Floats) -> float:
        away = fixed - solution.beta
        if not away.any():
            return solution.scale
        return solution.scale + float(away @ np.linalg.solve(solution.unscaled_cov, away)) / self.dof

    # Derivatives

    def score(self, cov_re: Floats, vcomp: Floats, fixed: Floats) -> tuple[Floats, Floats]:
        """Return the derivatives in the fixed effects (k_fe,) and in the packed covariances (k_re2 + k_vc,).

        Parameters
        ----------
        cov_re, vcomp
            Ratios to the residual variance.
        fixed
            Fixed effects.
        """
        return self._score(self.layout.pack(cov_re, vcomp), fixed, self._known(fixed))

    def slopes_at(self, cov_re: Floats, vcomp: Floats, fixed: Floats) -> tuple[Floats, Floats]:
        """Return the derivatives of the log-likelihood and of log(scale) at fixed effects, both (k_re2 + k_vc,)."""
        packed, known = self.layout.pack(cov_re, vcomp), self._known(fixed)
        return self._score(packed, fixed, known)[1], self._slope(known, packed, False).log_scale

    def profile_score(self, cov_re: Floats, vcomp: Floats) -> Floats:
        """Return the derivative in the packed covariances, the fixed effects profiled out, (k_re2 + k_vc,)."""
        return -0.5 * self._slope(self.problem, self.layout.pack(cov_re, vcomp), self.reml).gradient

    def _known(self, fixed: Floats) -> Problem:
        """Return the model with the fixed effects known: y - X b on no columns."""
        if not self.k_fe:
            return self.problem
        return Problem(at_fixed_effects(self.problem.design, fixed), n_threads=self.problem.n_threads)

    def _score(self, packed: Floats, fixed: Floats, known: Problem) -> tuple[Floats, Floats]:
        slope = self._slope(known, packed, False)
        deviance = slope.gradient + (self.dof - self.n_obs) * slope.log_scale
        if not self.k_fe:
            return np.zeros(0), -0.5 * deviance
        if self.reml:
            restricted, plain = (self._slope(self.problem, packed, reml) for reml in (True, False))
            # log|A| is what the two criteria differ by, beside their multiples of log q.
            deviance = deviance + restricted.gradient - plain.gradient + self.k_fe * plain.log_scale
        solution = self.solve(*self.layout.unpack(packed))
        scale = self._scale_at(solution, fixed)
        pull = np.asarray(np.linalg.solve(solution.unscaled_cov, solution.beta - fixed), dtype=np.float64)
        return pull / scale, -0.5 * deviance

    def _slope(self, problem: Problem, packed: Floats, reml: bool) -> _Slope:
        theta = self.layout.theta(*self.layout.unpack(self._lifted(packed)))
        if theta is None:
            raise DataError("The score exists only where cov_re is positive semidefinite and vcomp is not negative.")
        model = problem.model
        inner = model.to_engine(theta)
        deviance, s2, gradient, _, s2_gradient, _ = model.evaluate(inner, reml)
        both = self._in_covariances(inner, np.stack([gradient, s2_gradient / s2]))
        return _Slope(deviance, both[0], both[1])

    @cached_property
    def _bases(self) -> list[Floats]:
        """The engine's basis T of each block: S = T S~ T'."""
        bases = self.problem.model.basis()
        return [bases[block.factor][np.ix_(block.columns, block.columns)] for block in self.layout.blocks]

    def _lifted(self, packed: Floats) -> Floats:
        """Return the covariances with singular blocks lifted off the boundary."""
        cov_re, vcomp = self.layout.unpack(packed)
        for block, basis in zip(self.layout.blocks, self._bases, strict=True):
            if block.component >= 0:
                lift = LIFT_SCALED * basis[0, 0] ** 2
                vcomp[block.component] = max(vcomp[block.component], lift)
                continue
            index = np.ix_(block.effects, block.effects)
            inverse = np.linalg.inv(basis)
            eigenvalues = np.linalg.eigvalsh(inverse @ cov_re[index] @ inverse.T)
            lift = LIFT_SCALED * max(1.0, float(eigenvalues[-1]))
            if -1e-6 * lift <= eigenvalues[0] < lift:
                cov_re[index] += lift * basis @ basis.T
        return self.layout.pack(cov_re, vcomp)

    def _in_covariances(self, theta: Floats, gradients: Floats) -> Floats:
        """Return derivatives in packed covariances, (m, k_re2 + k_vc), from those in the engine's theta, (m, k)."""
        k_re = self.layout.k_re
        out = np.zeros((len(gradients), self.size))
        matrices = np.zeros((len(gradients), k_re, k_re))
        for block, basis in zip(self.layout.blocks, self._bases, strict=True):
            part = list(block.theta)
            if block.component >= 0:
                root = theta[part[0]]
                out[:, self.layout.k_re2 + block.component] = gradients[:, part[0]] / (2 * root * basis[0, 0] ** 2)
                continue
            Lambda = lower_triangle(theta[part], len(block.effects))
            inverse = np.linalg.inv(basis)
            for k, gradient in enumerate(gradients[:, part]):
                symmetric = _gradient_in_product(Lambda, gradient)
                matrices[k][np.ix_(block.effects, block.effects)] = inverse.T @ symmetric @ inverse
        row, column = np.tril_indices(k_re)
        out[:, : self.layout.k_re2] = np.where(row == column, 1.0, 2.0) * matrices[:, row, column]
        return out

    # Second derivatives

    def hessian(self, cov_re: Floats, vcomp: Floats, fixed: Floats) -> tuple[Floats, bool]:
        """Return the second derivative in fixed effects and packed covariances, and whether these are singular.

        Parameters
        ----------
        cov_re, vcomp, fixed
            As for ``score``.
        """
        _, joint = self.joint(cov_re, vcomp, fixed, self.scale(cov_re, vcomp, fixed))
        across = joint[-1, :-1]
        singular = self.is_singular(self.layout.pack(cov_re, vcomp))
        return joint[:-1, :-1] - np.outer(across, across) / joint[-1, -1], singular

    def joint(self, cov_re: Floats, vcomp: Floats, fixed: Floats, scale: float) -> tuple[Floats, Floats]:
        """Return the gradient and Hessian in fixed effects b, packed ratios S and t = log residual variance s.

        With r = y - X b, q = r'V0^-1 r and G_i = dV0 / dS_i the blocks of the Hessian are

            bb -A / s,   bS -c_i / s,   bt -X'V0^-1 r / s,   SS T_ij / 2 - N_ij / s,   St -l_i / (2 s),   tt -q / (2 s),

        c_i = X'V0^-1 G_i V0^-1 r, l_i = r'V0^-1 G_i V0^-1 r, N_ij = r'V0^-1 G_i V0^-1 G_j V0^-1 r and
        T_ij = tr(P0 G_i P0 G_j) with P0 = V0^-1 for ML. V0 is linear in S, so a singular S is a point like any other.

        Parameters
        ----------
        cov_re, vcomp
            Ratios to the residual variance.
        fixed, scale
            Fixed effects, (k_fe,), and the residual variance, at its maximum or not.
        """
        p, k = self.k_fe, self.size
        solution = self.solve(cov_re, vcomp)
        q = self.dof * self._scale_at(solution, fixed)
        A = np.linalg.inv(solution.unscaled_cov) if p else np.zeros((0, 0))
        pull = A @ (solution.beta - fixed)
        first, second, trace, traces = self._products(cov_re, vcomp, fixed)
        c, along, bend = first[:, :p, p], first[:, p, p], second[:, :, p, p]
        gradient = np.concatenate([pull / scale, 0.5 * (along / scale - trace), [0.5 * (q / scale - self.dof)]])
        hessian = np.empty((p + k + 1, p + k + 1))
        hessian[:p, :p] = -A / scale
        hessian[p:-1, :p] = -c / scale
        hessian[p:-1, p:-1] = 0.5 * traces - (bend + bend.T) / (2 * scale)
        hessian[-1] = np.concatenate([-pull / scale, -0.5 * along / scale, [-0.5 * q / scale]])
        hessian[:p, p:-1] = hessian[p:-1, :p].T
        hessian[:, -1] = hessian[-1]
        return gradient, hessian

    def is_singular(self, packed: Floats) -> bool:
        """Return True if a covariance block has less than full rank, in the engine's units."""
        return bool((self._lifted(packed) != packed).any())

    def at_boundary(self, packed: Floats) -> list[int]:
        """Return the packed covariances of effects without variance and of other blocks of less than full rank."""
        cov_re, _ = self.layout.unpack(packed)
        sd = np.sqrt(np.diag(cov_re))
        singular: set[int] = set()
        for block in self.layout.blocks:
            vary = [i for i in block.effects if sd[i] > 0]
            correlation = cov_re[np.ix_(vary, vary)] / np.outer(sd[vary], sd[vary])
            is_regular = np.linalg.eigvalsh(correlation).min(initial=1.0) > LIFT_SCALED
            singular.update(set(block.effects) - set(vary if is_regular else []))
        pairs = zip(*np.tril_indices(self.layout.k_re), strict=True)
        of_effects = [k for k, pair in enumerate(pairs) if not singular.isdisjoint(pair)]
        lifted = np.flatnonzero(self._lifted(packed) != packed).tolist()
        return of_effects + [k for k in lifted if k >= self.layout.k_re2]

    def _products(self, cov_re: Floats, vcomp: Floats, fixed: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return R'V0^-1 G_i V0^-1 R, R'V0^-1 G_i V0^-1 G_j V0^-1 R, tr(P0 G_i) and tr(P0 G_i P0 G_j), R = [X, r].

        i and j are packed covariances. These are what Kenward and Roger's method needs of a model with the columns R,
        whose response plays no part.
        """
        theta = self.layout.theta(cov_re, vcomp)
        assert theta is not None  # solve has seen to it
        design = self.problem.design
        offset = 0.0 if design.offset is None else design.offset
        residual = design.y - offset - design.X @ fixed
        any_response = np.cos(np.arange(float(design.n_obs)) ** 2)
        columns = np.column_stack([design.X, residual])
        names = (*design.x_names, "residual")
        beside = Problem(
            replace(design, y=any_response, offset=None, X=columns, x_names=names, columns={}),
            n_threads=self.problem.n_threads,
        )
        if len(beside.model.kept) < len(names):
            raise FitError("The fixed effects fit the response perfectly, so the likelihood has no second derivative.")
        _, first, second, _, _, root = beside.model.kenward_roger(theta)
        _, _, _, trace, traces, _ = (self.problem if self.reml else self._known(fixed)).model.kenward_roger(theta)
        back, J = np.linalg.inv(root), self._engine_covariances
        return (
            _contracted(J, back.T @ first @ back),
            _contracted(J, _contracted(J, back.T @ second @ back).swapaxes(0, 1)).swapaxes(0, 1),
            trace @ J,
            J.T @ traces @ J,
        )

    @cached_property
    def _engine_covariances(self) -> Floats:
        """The linear map from packed covariances to the elements of the engine's S~, (n_theta, k_re2 + k_vc)."""
        out = np.zeros((self.layout.n_theta, self.size))
        for k, unit in enumerate(np.eye(self.size)):
            cov_re, vcomp = self.layout.unpack(unit)
            for block, basis in zip(self.layout.blocks, self._bases, strict=True):
                if block.component >= 0:
                    out[list(block.theta), k] = vcomp[block.component] / basis[0, 0] ** 2
                    continue
                inverse = np.linalg.inv(basis)
                inner = inverse @ cov_re[np.ix_(block.effects, block.effects)] @ inverse.T
                out[list(block.theta), k] = inner[np.triu_indices(len(block.effects))]
        return out


def _contracted(J: Floats, values: Floats) -> Floats:
    """Return sum_i J[i, t] values[i]."""
    return np.tensordot(J.T, values, axes=1)


def _gradient_in_product(Lambda: Floats, gradient: Floats) -> Floats:
    """Return the symmetric G with tr(G d(Lambda Lambda')) = gradient . d theta, from a gradient stacked by column."""
    size = len(Lambda)
    column, row = np.triu_indices(size)
    first, second = np.tril_indices(size)
    # Element (a, b) of 2 G Lambda, a >= b, is the derivative in Lambda_ab.
    system = np.zeros((len(gradient), len(first)))
    for k, (i, j) in enumerate(zip(first, second, strict=True)):
        unit = np.zeros((size, size))
        unit[i, j] = unit[j, i] = 1.0
        system[:, k] = (2 * unit @ Lambda)[row, column]
    solution = np.linalg.solve(system, gradient)
    G = np.zeros((size, size))
    G[first, second] = solution
    return np.asarray(G + np.tril(G, -1).T)


def collinear(problem: Problem) -> str:
    """Return the sentence that names the columns of X that are combinations of others."""
    kept = set(problem.model.kept)
    dropped = [name for j, name in enumerate(problem.design.x_names) if j not in kept]
    return (
        f"The columns of exog are collinear: {', '.join(dropped)} can be computed from the others, so the fixed "
        "effects are not determined. Leave them out."
    )


# Steps that improve a start


def em_steps(likelihood: Likelihood, params: MixedLMParams, n_iter: int) -> MixedLMParams:
    """Return the parameters after some steps of EM for the ratios, the residual variance at its maximum after each.

    Lindstrom and Bates (1988), section 3: the random effects are the missing data. S becomes the mean over the levels
    of E(b b' | y) / sigma^2, fixed effects integrated out under REML. With the residual variance maximised in between
    it is an ECME algorithm (Liu and Rubin 1994), and the likelihood never falls.
    """
    cov_re, vcomp = params.cov_re.copy(), params.vcomp.copy()
    for _ in range(n_iter):
        cov_re, vcomp = _em_step(likelihood, cov_re, vcomp)
    return _with_fixed(likelihood, params, cov_re, vcomp)


def _em_step(likelihood: Likelihood, cov_re: Floats, vcomp: Floats) -> tuple[Floats, Floats]:
    layout, model = likelihood.layout, likelihood.problem.model
    theta = layout.theta(cov_re, vcomp)
    if theta is None:
        raise DataError("EM starts from a positive semidefinite cov_re and non-negative vcomp.")
    _, _, sigma, modes = model.solve(theta, likelihood.reml)
    variances = model.conditional_covariance(theta)
    new_re, new_vc = np.zeros_like(cov_re), np.zeros_like(vcomp)
    for block in layout.blocks:
        columns = list(block.columns)
        b = modes[block.factor][:, columns] / sigma
        spread = variances[block.factor][:, columns][:, :, columns].sum(axis=0)
        if likelihood.reml and likelihood.k_fe:
            spread = spread + _spread_of_fixed(likelihood, theta, block.factor, columns)
        moment = (b.T @ b + spread) / len(b)
        if block.component >= 0:
            new_vc[block.component] = np.trace(moment) / len(columns)
        else:
            new_re[np.ix_(block.effects, block.effects)] = 0.5 * (moment + moment.T)
    return new_re, new_vc


def _spread_of_fixed(likelihood: Likelihood, theta: Floats, factor: int, columns: list[int]) -> Floats:
    """Return what the uncertainty of the fixed effects adds to the sum over levels of Var(b | y) / sigma^2."""
    problem = likelihood.problem
    design, model = problem.design, problem.model
    n_levels, n_effects = design.factors[factor].n_levels, design.factors[factor].n_effects
    known = model.conditional_covariance(theta)[factor]
    x = np.zeros((n_levels, likelihood.k_fe))
    codes = [np.full(n_levels, -1, dtype=np.int32) for _ in design.factors]
    codes[factor] = np.arange(n_levels, dtype=np.int32)

    def form(z: Floats) -> Floats:
        Z: list[Floats | None] = [np.zeros((n_levels, f.n_effects)) for f in design.factors]
        Z[factor] = np.tile(z, (n_levels, 1))
        return np.asarray(model.quadratic_forms(theta, x, codes, Z))

    unit = np.eye(n_effects)[columns]
    own = [form(z) for z in unit]
    extra = np.zeros((len(columns), len(columns)))
    for i in range(len(columns)):
        for j in range(i + 1):
            full = own[i] if i == j else 0.5 * (form(unit[i] + unit[j]) - own[i] - own[j])
            extra[i, j] = extra[j, i] = float((full - known[:, columns[i], columns[j]]).sum())
    return extra


def steepest_ascent(likelihood: Likelihood, params: MixedLMParams, n_iter: int) -> MixedLMParams:
    """Return the parameters after some steps along the gradient in the engine's theta, each halved until it rises."""
    layout, problem = likelihood.layout, likelihood.problem
    theta = layout.theta(params.cov_re, params.vcomp)
    if theta is None:
        raise DataError("steepest ascent starts from a positive semidefinite cov_re and non-negative vcomp.")
    model = problem.model
    inner, step = model.to_engine(theta), 1.0
    deviance, _, gradient, *_ = model.evaluate(inner, likelihood.reml)
    for _ in range(n_iter):
        downhill = -gradient / max(float(np.linalg.norm(gradient)), 1e-300)
        for _ in range(60):
            candidate = inner + step * downhill
            value = model.evaluate(candidate, likelihood.reml)
            if value[0] < deviance:
                break
            step *= 0.5
        else:
            break
        inner, deviance, gradient = candidate, value[0], value[2]
        step *= 2.0
    cov_re, vcomp = layout.covariances(model.to_user(inner))
    return _with_fixed(likelihood, params, cov_re, vcomp)


def _with_fixed(likelihood: Likelihood, params: MixedLMParams, cov_re: Floats, vcomp: Floats) -> MixedLMParams:
    out = MixedLMParams(likelihood.k_fe, params.k_re, params.k_vc)
    out.cov_re, out.vcomp = cov_re, vcomp
    out.fe_params = likelihood.solve(cov_re, vcomp).beta
    out.reml = likelihood.reml
    return out


__all__ = ["Likelihood", "Solution", "cholesky_root", "em_steps", "steepest_ascent"]
