"""The criterion of large crossed factors without a factorisation, with a stated Monte Carlo error.

Once the levels of the first factor, that with most effects, are eliminated, M is D^1/2 (I - X) D^1/2 with D the blocks
of the levels on its diagonal, X = R'R less what the other factors share, and

    log|M| = sum log|D| + tr log(I - X) = sum log|D| - tr X + tr f(X),    f(x) = log(1 - x) + x.

tr X is exact. Where elimination fills in, the bulk of X has the size of one over the rows of a level, and f(X) is tiny:
what defeats elimination makes sampling accurate. Of tr f(X) the part in the span of U, a basis of the top of X, is
taken exactly (deflation: Gambhir, Stathopoulos and Orginos 2017), the rest by Rademacher probes (Hutchinson 1990),
every quadratic form by Lanczos' method with full reorthogonalisation (Ubaru, Chen and Saad 2017). Its derivative is
that of f(X) along the rank one matrix of the probe in the same Krylov space (Beckermann, Kressner and Schweitzer 2018),
and costs no product. beta, sigma and u come from conjugate gradients on I - X. Passes over the data are the engine's.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mixedmodels._engine import Crossing
from mixedmodels.covariance.unstructured import theta_elements
from mixedmodels.errors import FitError
from mixedmodels.fit.fixed_root import Basis
from mixedmodels.fit.sampled_rows import ColumnBasis, EffectBasis, column_basis, effect_basis, parts

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels._engine import Model
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

B = TypeVar("B")

DEFLATED = 20
"""Columns of U."""

SUBSPACE_STEPS = 5
"""Products of X with U by which it turns to the top of X."""

TOGETHER = 8
"""Columns that go through one pass."""

TOLERANCE = 0.01
"""Standard error of the criterion until which probes are added."""

BATCH = 32
"""Probes that are added at a time, and the least there are."""

MOST_PROBES = 4096
"""Probes after which the error is what it is."""

NEAR_NESTED = 1.0
"""Standard deviation of a probe's log|M| from which data are next to nested: elimination is cheap for them."""

MOST_EFFECTS = 4
"""Random effects a level that the engine's products are written for."""

MOST_STEPS = 60
"""Steps of Lanczos' method, and ten times those of conjugate gradients."""

STEP_SHARE = 1e-4
"""Change of a quadratic form by another step, as a share of the wanted error, after which there is none."""

SOLVED = 1e-11
"""Residual of conjugate gradients, relative to the right-hand side."""


@dataclass(frozen=True)
class Sampling:
    """How the criterion is sampled: the same for any theta, so that the criterion is smooth.

    Attributes
    ----------
    deflated
        Columns of U.
    tolerance
        Standard error of the criterion until which probes are added, a batch at a time.
    most
        Probes after which none are added.
    seed
        Of the probes and of the start of U.
    """

    deflated: int = DEFLATED
    tolerance: float = TOLERANCE
    most: int = MOST_PROBES
    seed: int = 0


WALK = Sampling(deflated=4, tolerance=np.inf, most=4)
"""What a walk needs, in one pass: variances depend on hardly anything that probes tell."""


@dataclass(frozen=True)
class Solution:
    """Effects at one theta; what they are of is the residual of least squares over its root mean square.

    Attributes
    ----------
    beta
        Fixed effects, in the basis, (p,).
    r2
        Its sum of squares left, penalty included.
    inner
        Q'V0^-1Q, (p, p).
    solved
        M^-1 Lambda'Z'W[Q y] of each factor, (n_levels, n_effects, p + 1), spherical.
    """

    beta: Floats
    r2: float
    inner: Floats
    solved: list[Floats]

    def modes(self, k: int) -> Floats:
        """Return the spherical modes u of a factor, (n_levels, n_effects)."""
        p = len(self.beta)
        return np.asarray(self.solved[k][:, :, p] - self.solved[k][:, :, :p] @ self.beta)

    @cached_property
    def root(self) -> Floats:
        """K, upper triangular, with (Q'V0^-1Q)^-1 = K K', (p, p)."""
        p = len(self.beta)
        return np.asarray(np.linalg.inv(np.linalg.cholesky(self.inner)).T) if p else np.zeros((0, 0))


@dataclass(frozen=True)
class Evaluation:
    """The criterion at one theta, and what it is made of.

    Factors are in the design's order, random effects in the bases of their columns. A derivative is that along
    Lambda -> Lambda (I + e E), E with a one at the place of a parameter: in log Lambda on its diagonal.

    Attributes
    ----------
    deviance
        -2 log-likelihood (REML criterion under REML).
    gradient
        Its derivative for these probes, (n_theta,).
    values, gradients
        What each probe gives beside the rest: (n_probes,) and (n_theta, n_probes).
    U
        What was deflated.
    solution
        What is solved for beside.
    s2
        Residual variance over the square of the residual's root mean square.
    n_steps
        Of Lanczos' method, for the last columns.
    """

    deviance: float
    gradient: Floats
    values: Floats
    gradients: Floats
    U: Floats
    solution: Solution
    s2: float
    n_steps: int

    @property
    def n_probes(self) -> int:
        """Number of probes."""
        return len(self.values)

    @property
    def std_error(self) -> float:
        """Monte Carlo standard error of the criterion."""
        return float(self.values.std(ddof=1) / np.sqrt(self.n_probes))

    @property
    def gradient_covariance(self) -> Floats:
        """Monte Carlo covariance of the gradient, (n_theta, n_theta)."""
        return np.atleast_2d(np.cov(self.gradients) / self.n_probes)


@dataclass(frozen=True)
class Forms:
    """Quadratic forms z'f(X)z of some columns, (k,), and their derivatives, (n_theta, k)."""

    value: Floats
    gradient: Floats


class Crossed:
    """Cross-products of a model with crossed factors.

    Fixed columns are orthonormal, effects' columns too within their blocks, up to sqrt(n); the response is the residual
    of the fixed columns over its root mean square.

    Parameters
    ----------
    design
        The model's arrays.
    n_threads
        Of the engine; 0 takes what the machine has.
    products
        Where they were formed; None to sum over the design's rows, which takes less memory.

    Attributes
    ----------
    order
        Factors of the design, the one that is eliminated first, then the others.
    parameters
        (n_theta, 3): grouping factor of the design, row and column in Lambda.
    own
        Z'WZ of the levels, (n_levels, n_effects, n_effects) a factor of the design.
    right
        Z'W[Q y] of the levels, (n_levels, n_effects, p + 1) a factor.
    effect_bases
        Of the columns of each factor.

    Raises
    ------
    FitError
        The model has other random effects, or the fixed effects fit the response perfectly.
    """

    def __init__(self, design: Design, n_threads: int = 0, products: Model | None = None) -> None:
        check_crossed(design)
        factors = design.factors
        self.n, self.names = design.n_obs, [factor.name for factor in factors]
        elements = [(k, *e[0]) for k, factor in enumerate(factors) for e in theta_elements(factor.block_sizes)]
        self.parameters: npt.NDArray[np.int64] = np.array(elements, dtype=np.int64)
        if products is None:
            self._sum(design, n_threads)
        else:
            self._take(products, n_threads)

    def _take(self, products: Model, n_threads: int) -> None:
        """Take the sums that the engine has formed."""
        mean, to_basis, self.beta0, self.base, self.log_weights = products.fixed_sums()
        self.scale = products.residual_scale
        self.basis = ColumnBasis(tuple(products.kept), mean, to_basis)
        bases = zip(products.effect_bases(), products.dependent_columns(), self.names, strict=True)
        self.effect_bases = tuple(_independent(None if gone else Basis(*of), name) for of, gone, name in bases)
        sums = products.level_sums()
        self.own = [own for own, _ in sums]
        self.right = [right.swapaxes(1, 2) for _, right in sums]
        self.crossing, self.order = products.crossing(n_threads)

    def _sum(self, design: Design, n_threads: int) -> None:
        """Sum over the rows."""
        factors = design.factors
        root = None if design.weights is None else np.sqrt(design.weights)
        self.log_weights = 0.0 if root is None else float(2.0 * np.log(root).sum())
        self.order = sorted(range(len(factors)), key=lambda k: -factors[k].n_levels * factors[k].n_effects)
        effects = [_independent(effect_basis(factor, root), factor.name) for factor in factors]
        self.effect_bases = tuple(of_factor.basis for of_factor in effects)
        self.basis = column_basis(design.X, root)
        self.beta0, self.scale = _least_squares(design, self.basis)
        self._sum_rows(design, effects, root)
        columns = [of_factor.columns(factor, root) for of_factor, factor in zip(effects, factors, strict=True)]
        self.crossing = Crossing(
            [factors[k].codes for k in self.order],
            [columns[k] for k in self.order],
            [factors[k].n_levels for k in self.order],
            n_threads,
        )

    def _sum_rows(self, design: Design, effects: list[EffectBasis], root: Floats | None) -> None:
        """Form Z'WZ of the levels and products with [Q y]."""
        p, factors = len(self.basis.kept), design.factors
        self.base = np.zeros((p + 1, p + 1))
        self.own = [np.zeros((f.n_levels, f.n_effects, f.n_effects)) for f in factors]
        self.right = [np.zeros((f.n_levels, f.n_effects, p + 1)) for f in factors]
        for part in parts(design, self.basis):
            E = np.column_stack([part.Q, (part.y - part.Q @ self.beta0) / self.scale])
            self.base += E.T @ E
            for factor, of_factor, own, right in zip(factors, effects, self.own, self.right, strict=True):
                codes, Z = factor.codes[part.at], of_factor.columns(factor, root, part.at)
                columns = np.ones((len(codes), 1)) if Z is None else Z
                for r, z in enumerate(columns.T):
                    for c in range(r + 1):
                        own[:, r, c] += np.bincount(codes, z * columns[:, c], factor.n_levels)
                    for j, e in enumerate(E.T):
                        right[:, r, j] += np.bincount(codes, z * e, factor.n_levels)
        self.own = [own + np.tril(own, -1).swapaxes(1, 2) for own in self.own]

    def with_threads(self, n_threads: int) -> Crossed:
        """Return the same with another number of threads."""
        other = copy(self)
        other.crossing = self.crossing.with_threads(n_threads)
        return other

    @property
    def n_fixed(self) -> int:
        """Fixed columns that are independent."""
        return len(self.basis.kept)


def _independent(basis: B | None, name: str) -> B:
    if basis is None:
        raise FitError(f"Columns of the random effects of {name!r} depend on each other. Leave one of them out.")
    return basis


def _least_squares(design: Design, basis: ColumnBasis) -> tuple[Floats, float]:
    """Return the coefficients of the fixed columns, in their basis, and the root mean square of their residual."""
    beta = np.zeros(len(basis.kept))
    for _ in range(2):  # the second time for what rounding left
        beta = beta + sum(part.Q.T @ (part.y - part.Q @ beta) for part in parts(design, basis))
    left = sum(float(np.sum((part.y - part.Q @ beta) ** 2)) for part in parts(design, basis))
    whole = sum(float(part.y @ part.y) for part in parts(design, basis))
    scale = float(np.sqrt(left / design.n_obs))
    if scale <= 64 * np.finfo(np.float64).eps * float(np.sqrt(whole / design.n_obs)):
        raise FitError("The fixed effects fit the response perfectly, so there is nothing left to model.")
    return beta, scale


class Passes:
    """Whoever wants to know how far work is, told of every pass over the data. This one does not."""

    def count(self) -> None:
        """Count a pass."""

    def expect(self, n: int) -> None:
        """Note that so many more passes end the work."""


UNCOUNTED = Passes()
"""Where nobody asks."""


class At:
    """The model at one theta.

    Parameters
    ----------
    model
        Its cross-products.
    Lambda
        Of each factor of the design in the basis of its columns, (n_effects, n_effects), with positive diagonals.
    passes
        Told of each pass over the data.
    """

    def __init__(self, model: Crossed, Lambda: list[Floats], passes: Passes = UNCOUNTED) -> None:
        self.model, self.passes = model, passes
        self.Lambda = Lambda
        D = [np.eye(len(T)) + T.T @ C @ T for T, C in zip(Lambda, model.own, strict=True)]
        self.root = [_cholesky(block) for block in D]
        self.inverse = [_inverse(root) for root in self.root]
        self.S = [T @ inverse.swapaxes(1, 2) for T, inverse in zip(Lambda, self.inverse, strict=True)]
        self.n_steps = 0  # of the last quadratic forms
        self.scaled = model.crossing.scaled([np.ascontiguousarray(self.S[k]) for k in model.order])

    @property
    def n_columns(self) -> int:
        """Rows of X."""
        return sum(self.S[k].shape[0] * self.S[k].shape[1] for k in self.model.order[1:])

    def product(self, x: Floats) -> tuple[Floats, Floats]:
        """Return X x and R x."""
        made = self.scaled.product(np.ascontiguousarray(x))
        self.passes.count()
        return made

    def top(self, k: int, seed: int) -> Floats:
        """Return an orthonormal basis near the k eigenvectors of X with the largest eigenvalues, by subspace iteration.

        Parameters
        ----------
        k
            Columns.
        seed
            Of the start.
        """
        n = self.n_columns
        U = np.random.default_rng(seed).standard_normal((n, min(k, n)))
        first = [np.diagonal(self.root[k], axis1=1, axis2=2).ravel() for k in self.model.order[1:]]
        U[:, 0] = np.concatenate(first)  # next to the first eigenvector of a connected design
        for _ in range(SUBSPACE_STEPS):
            U = np.linalg.qr(self.product(U)[0])[0]
        return np.asarray(U)

    @cached_property
    def turns(self) -> list[tuple[Floats, Floats]]:
        """N and N + N' of each factor, dR = N'R or R N along a parameter, (n, n_levels, n_effects, n_effects) each."""
        out = []
        for k, (L, inverse) in enumerate(zip(self.root, self.inverse, strict=True)):
            both = [_turn(L, inverse, r, c) for factor, r, c in self.model.parameters if factor == k]
            out.append((np.stack([N for N, _ in both]), np.stack([twice for _, twice in both])))
        return out

    def _by_parameter(self, parts: list[Floats]) -> Floats:
        """Return what was made for each factor, in the engine's order, in that of theta."""
        return np.concatenate([parts[self.model.order.index(k)] for k in range(len(parts))])

    def exact_part(self) -> tuple[float, Floats]:
        """Return sum log|D| - tr X and its derivative, (n_theta,)."""
        order = self.model.order
        squares = self.scaled.squares()[0]
        self.passes.count()
        value = sum(2.0 * float(np.log(np.diagonal(L, axis1=1, axis2=2)).sum()) for L in self.root)
        value -= float(np.trace(squares[0], axis1=1, axis2=2).sum())
        traces = [np.einsum("plab,lab->p", self.turns[k][1], A) for k, A in zip(order, squares, strict=True)]
        own = [np.einsum("plaa->p", self.turns[k][1]) for k in order]
        diagonal = (self.model.parameters[:, 1] == self.model.parameters[:, 2]).astype(np.float64)
        levels = np.array([len(self.root[k]) for k in self.model.parameters[:, 0]])
        return value, 2.0 * diagonal * levels - self._by_parameter(own) - self._by_parameter(traces)

    def forms(self, Z: Floats, tolerance: float) -> Forms:
        """Return z'f(X)z of some columns, (rows of X, k), with their derivatives.

        Parameters
        ----------
        Z
            The columns.
        tolerance
            Change of any form by another step of Lanczos' method after which there is none.
        """
        blocks = [self._block_forms(Z[:, i : i + TOGETHER], tolerance) for i in range(0, Z.shape[1], TOGETHER)]
        return Forms(np.concatenate([b.value for b in blocks]), np.hstack([b.gradient for b in blocks]))

    def _block_forms(self, Z: Floats, tolerance: float) -> Forms:
        length = np.linalg.norm(Z, axis=0)
        lanczos = self.scaled.lanczos(np.ascontiguousarray(Z / length))
        diagonal: list[Floats] = []
        beside: list[Floats] = []
        values = np.full(Z.shape[1], np.inf)
        while True:
            for made, kept in zip(lanczos.step(), (diagonal, beside), strict=True):
                kept.append(made)
            self.passes.count()
            x, v = _eigen(np.array(diagonal).T, np.array(beside).T)
            last, values = values, length**2 * np.sum(v[:, 0] ** 2 * _f(x), axis=1)
            if np.abs(values - last).max() <= tolerance or beside[-1].max() <= 1e-14:
                break
            if len(diagonal) >= min(MOST_STEPS, len(Z)):
                break
        self.n_steps = len(diagonal)
        first = v[:, 0]
        inner = _divided(x) * first[:, :, None] * first[:, None, :]
        K = length[:, None, None] ** 2 * (v @ inner @ v.swapaxes(1, 2))
        order = self.model.order
        turns = [np.ascontiguousarray(self.turns[k][1 if j == 0 else 0]) for j, k in enumerate(order)]
        slopes = lanczos.slopes(np.ascontiguousarray(K), turns)
        return Forms(values, self._by_parameter([s if j == 0 else 2.0 * s for j, s in enumerate(slopes)]))

    def solution(self) -> Solution:
        """Return fixed effects, residual sum of squares and modes.

        Raises
        ------
        FitError
            The random effects fit perfectly.
        """
        first, *others = self.model.order
        m, p = len(self.model.base), self.model.n_fixed
        h = [np.einsum("lab,lac->lbc", S, e) for S, e in zip(self.S, self.model.right, strict=True)]
        h_first = h[first].reshape(-1, m)
        B = np.vstack([h[k].reshape(-1, m) for k in others]) - self.scaled.back(h_first)
        X = self._solved(B)
        products = self.model.base - h_first.T @ h_first - B.T @ X
        of_first = h_first - self.product(X)[1]
        ends = np.cumsum([h[k].size // m for k in others])[:-1]
        by_factor = dict(zip([first, *others], [of_first, *np.split(X, ends)], strict=True))
        parts = [by_factor[k].reshape(h[k].shape) for k in range(len(h))]
        solved = [np.einsum("lba,lbc->lac", inverse, u) for inverse, u in zip(self.inverse, parts, strict=True)]
        inner, across = products[:p, :p], products[:p, p]
        beta = np.asarray(np.linalg.solve(inner, across), dtype=np.float64)
        r2 = float(products[p, p] - across @ beta)
        if r2 <= 0:
            raise FitError(
                "The random effects fit the response perfectly, so no residual variance is left to estimate."
            )
        return Solution(beta, r2, inner, solved)

    def inverse_forms(self, codes: list[npt.NDArray[np.int32]], t: list[Floats]) -> Floats:
        """Return t'M^-1 t of vectors with one level of each factor, (m,).

        Parameters
        ----------
        codes
            The level in each factor of the design, (m,); -1 for none.
        t
            What stands there, (m, n_effects) a factor.
        """
        m = len(codes[0])
        h = []
        for levels, part, inverse in zip(codes, t, self.inverse, strict=True):
            of_factor = np.zeros((*inverse.shape[:2], m))
            at = np.flatnonzero(levels >= 0)
            of_factor[levels[at], :, at] = np.einsum("mab,mb->ma", inverse[levels[at]], part[at])
            h.append(of_factor.reshape(-1, m))
        first, *others = self.model.order
        B = np.vstack([h[k] for k in others]) - self.scaled.back(h[first])
        return np.asarray(np.sum(h[first] ** 2, axis=0) + np.sum(B * self._solved(B), axis=0))

    def _solved(self, B: Floats) -> Floats:
        """Return (I - X)^-1 B by conjugate gradients, a column for itself."""
        X = np.zeros_like(B)
        left = B.copy()
        step = left.copy()
        size = np.einsum("ij,ij->j", left, left)
        wanted = SOLVED**2 * size
        for _ in range(10 * MOST_STEPS):
            if (size <= wanted).all():
                break
            image = step - self.product(step)[0]
            along = size / np.maximum(np.einsum("ij,ij->j", step, image), 1e-300)
            X += along * step
            left -= along * image
            new = np.einsum("ij,ij->j", left, left)
            step = left + new / np.maximum(size, 1e-300) * step
            size = new
        return X


def evaluate(
    model: Crossed,
    Lambda: list[Floats],
    reml: bool,
    sampling: Sampling,
    *,
    U: Floats | None = None,
    passes: Passes = UNCOUNTED,
) -> Evaluation:
    """Return the criterion at theta by sampling.

    Parameters
    ----------
    model
        Cross-products.
    Lambda, passes
        As for `At`.
    reml
        The criterion of restricted maximum likelihood.
    sampling
        Probes and their number.
    U
        What is deflated; None for the top of X.

    Raises
    ------
    FitError
        The data are next to nested, for which sampling is no good, or the random effects fit perfectly.
    """
    at = At(model, Lambda, passes)
    value, gradient = at.exact_part()
    U = at.top(sampling.deflated, sampling.seed) if U is None else U
    top, probes = _sampled_forms(at, U, sampling)
    value += float(top.value.sum()) + float(probes.value.mean())
    gradient = gradient + top.gradient.sum(axis=1) + probes.gradient.mean(axis=1)
    solution = at.solution()
    p, dof = model.n_fixed, model.n - (model.n_fixed if reml else 0)
    inner, s2 = solution.inner, solution.r2 / dof
    value += dof * (1.0 + np.log(2.0 * np.pi * s2)) + 2.0 * dof * np.log(model.scale) - model.log_weights
    modes = [solution.modes(k) for k in range(len(solution.solved))]
    for j, (k, r, c) in enumerate(model.parameters):
        gradient[j] -= 2.0 * float(modes[k][:, r] @ modes[k][:, c]) / s2
        if reml:
            across = solution.solved[k][:, r, :p].T @ solution.solved[k][:, c, :p]
            gradient[j] -= 2.0 * float(np.trace(np.linalg.solve(inner, across)))
    if reml:
        value += float(np.linalg.slogdet(inner)[1]) + 2.0 * model.basis.log_det
    return Evaluation(value, gradient, probes.value, probes.gradient, U, solution, s2, at.n_steps)


def _sampled_forms(at: At, U: Floats, sampling: Sampling) -> tuple[Forms, Forms]:
    """Return the forms of U, and those of probes projected off U, as many as the tolerance needs."""
    rng = np.random.default_rng([sampling.seed, 1])
    precise = STEP_SHARE * min(sampling.tolerance, TOLERANCE)
    columns, batch = U, min(BATCH, sampling.most)
    value, gradient = np.empty(0), np.empty((len(at.model.parameters), 0))
    while len(value) < U.shape[1] + sampling.most:
        Z = 2.0 * rng.integers(0, 2, (len(U), batch), dtype=np.int8) - 1.0
        Z -= U @ (U.T @ Z)
        forms = at.forms(np.hstack([columns, Z]), precise)
        value, gradient = np.append(value, forms.value), np.hstack([gradient, forms.gradient])
        columns = U[:, :0]
        probes = value[U.shape[1] :]
        spread = float(probes.std(ddof=1))
        if spread > NEAR_NESTED:
            raise FitError(
                f"Sampling is no good for these data: log|M| of one probe varies by {spread:.2g}, because levels of "
                "one factor are next to nested in the other's. Elimination is cheap for such data: use method='exact'."
            )
        if spread / np.sqrt(len(probes)) < sampling.tolerance:
            break
        blocks = ((spread / sampling.tolerance) ** 2 - len(probes)) / TOGETHER
        at.passes.expect(int(at.n_steps * blocks) + SUBSPACE_STEPS)
    k = U.shape[1]
    return Forms(value[:k], gradient[:, :k]), Forms(value[k:], gradient[:, k:])


def can_sample(design: Design) -> bool:
    """Return whether a model has crossed grouping factors of a few free random effects a level."""
    factors = design.factors
    few = all(factor.n_effects <= MOST_EFFECTS and min(factor.block_sizes) > 0 for factor in factors)
    plain = not design.is_structured and not design.is_related
    return len(factors) > 1 and few and plain and design.absorbed is None


def check_crossed(design: Design) -> None:
    """A model must be one that sampling knows: several grouping factors, a few random effects a level.

    Raises
    ------
    FitError
        It is another.
    """
    if can_sample(design):
        return
    effects = ", ".join(f"{factor.name} with {factor.n_effects}" for factor in design.factors)
    also = " Fixed effects are absorbed, too." if design.absorbed is not None else ""
    also += " Covariances of its effects are structured." if design.is_structured else ""
    also += " Its levels are related." if design.is_related else ""
    raise FitError(
        f"Sampling is for two crossed grouping factors or more with up to {MOST_EFFECTS} random effects a level, such "
        f"as (x | user) + (1 | item); this model has random effects of {effects}.{also} "
        "Use method='exact'."
    )


def _f(x: Floats) -> Floats:
    """log(1 - x) + x."""
    inside = np.minimum(x, 1.0 - 1e-15)
    return np.asarray(np.log1p(-inside) + inside)


def _slope(x: Floats) -> Floats:
    """The derivative of f, -x / (1 - x)."""
    inside = np.minimum(x, 1.0 - 1e-15)
    return np.asarray(-inside / (1.0 - inside))


def _divided(x: Floats) -> Floats:
    """Return (f(x_i) - f(x_j)) / (x_i - x_j), the derivative where they are close, (..., m, m)."""
    apart = x[..., :, None] - x[..., None, :]
    close = np.abs(apart) <= 1e-5
    middle = _slope(0.5 * (x[..., :, None] + x[..., None, :]))
    f = _f(x)
    return np.where(close, middle, (f[..., :, None] - f[..., None, :]) / np.where(close, 1.0, apart))


def _eigen(diagonal: Floats, beside: Floats) -> tuple[Floats, Floats]:
    """Return eigenvalues (k, m) and vectors (k, m, m) of Lanczos' tridiagonal matrices, from (k, m) each."""
    k, m = diagonal.shape
    T = np.zeros((k, m, m))
    at = np.arange(m)
    T[:, at, at] = diagonal
    T[:, at[1:], at[:-1]] = T[:, at[:-1], at[1:]] = beside[:, :-1]
    values, vectors = np.linalg.eigh(T)
    return values, vectors


def _cholesky(D: Floats) -> Floats:
    """Return lower triangular roots, (n, q, q)."""
    return np.sqrt(D) if D.shape[1] == 1 else np.asarray(np.linalg.cholesky(D))


def _inverse(L: Floats) -> Floats:
    return 1.0 / L if L.shape[1] == 1 else np.asarray(np.linalg.inv(L))


def _turn(L: Floats, inverse: Floats, r: int, c: int) -> tuple[Floats, Floats]:
    """Return N and N + N' of a parameter, (n_levels, q, q) each: with S = Lambda L^-T, D = L L', dS = S N.

    dLambda = Lambda E, E with a one at (r, c); L^-1 dD L^-T is J + J' - H - H', J = L^-1 E'L and H = L^-1 E'L^-T.
    """
    J = inverse[:, :, c, None] * L[:, None, r, :]
    H = inverse[:, :, c, None] * inverse[:, None, :, r]
    moved = J + J.swapaxes(1, 2) - H - H.swapaxes(1, 2)
    lower = np.tril(moved, -1) + 0.5 * np.einsum("laa,ab->lab", moved, np.eye(L.shape[1]))
    return J.swapaxes(1, 2) - lower.swapaxes(1, 2), H + H.swapaxes(1, 2)
