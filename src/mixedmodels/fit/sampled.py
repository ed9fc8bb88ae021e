"""The criterion of two large crossed factors without a factorisation, with a stated Monte Carlo error.

With the levels' own variances D on the diagonal, M = D^1/2 [[I, R], [R', I]] D^1/2, and G = R'R on the side of the
factor with fewer levels,

    log|M| = sum log D - tr G + tr f(G),    f(x) = log(1 - x) + x.

tr G is exact. Where elimination fills in, the bulk of G has the size of one over the rows of a level, and f(G) is tiny:
what defeats elimination makes sampling accurate. Of tr f(G) the part in the span of U, a basis of the top of G, is
taken exactly (deflation: Gambhir, Stathopoulos and Orginos 2017), the rest by Rademacher probes (Hutchinson 1990),
every quadratic form by Lanczos' method with full reorthogonalisation (Ubaru, Chen and Saad 2017). Its derivative is
that of f(G) along the rank one matrix of the probe in the same Krylov space (Beckermann, Kressner and Schweitzer 2018),
and costs no product. beta, sigma and u come from conjugate gradients on I - G.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from mixedmodels.errors import FitError

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

DEFLATED = 20
"""Columns of U."""

SUBSPACE_STEPS = 5
"""Products of G with U by which it turns to the top of G."""

TOGETHER = 8
"""Probes that go through one product."""

TOLERANCE = 0.01
"""Standard error of the criterion until which probes are added."""

BATCH = 32
"""Probes that are added at a time, and the least there are."""

MOST_PROBES = 4096
"""Probes after which the error is what it is."""

NEAR_NESTED = 1.0
"""Standard deviation of a probe's log|M| from which data are next to nested: elimination is cheap for them."""

MOST_STEPS = 60
"""Steps of Lanczos' method, and ten times those of conjugate gradients."""

STEP_SHARE = 1e-4
"""Change of a quadratic form by another step, as a share of the wanted error, after which there is none."""

SOLVED = 1e-11
"""Residual of conjugate gradients, relative to the right-hand side."""

DEPENDENT = 1e-9
"""Length of what the columns before leave of a fixed column, relative to it, that counts as none."""


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


WALK = Sampling(deflated=4, tolerance=np.inf, most=TOGETHER)
"""What a walk needs: variances depend on hardly anything that probes tell."""


@dataclass(frozen=True)
class Evaluation:
    """The criterion at one theta, and what it is made of.

    Attributes
    ----------
    deviance
        -2 log-likelihood (REML criterion under REML).
    gradient
        Its derivative in log theta for these probes, (2,), factors as in `Crossed`.
    values, gradients
        What each probe gives beside the rest: (n_probes,) and (2, n_probes).
    beta
        Fixed effects of the residual of least squares, in the basis, over its root mean square, (p,).
    s2
        Residual variance over the square of that.
    inner
        Q'V0^-1Q, (p, p).
    solved
        M^-1 Lambda'Z'W[Q y] of both factors, (n_levels, p + 1) each, spherical.
    n_products
        Products with R, forth and back.
    """

    deviance: float
    gradient: Floats
    values: Floats
    gradients: Floats
    beta: Floats
    s2: float
    inner: Floats
    solved: list[Floats]
    n_products: int

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
        """Monte Carlo covariance of the gradient, (2, 2)."""
        return np.asarray(np.cov(self.gradients) / self.n_probes)

    def modes(self, k: int) -> Floats:
        """Return the spherical modes u of a factor, (n_levels,), over the root mean square of the residual."""
        p = len(self.beta)
        return np.asarray(self.solved[k][:, p] - self.solved[k][:, :p] @ self.beta)


@dataclass(frozen=True)
class _Forms:
    """Quadratic forms z'f(G)z of some columns, (k,), and their derivatives in log theta, (2, k)."""

    value: Floats
    gradient: Floats


class Crossed:
    """Cross-products of a model with two crossed factors of one random effect a level.

    The first factor is the one with more levels; fixed columns are orthonormal, the response is their residual over its
    root mean square.

    Parameters
    ----------
    design
        The model's arrays.

    Raises
    ------
    FitError
        The model has other random effects, or the fixed effects fit the response perfectly.
    """

    def __init__(self, design: Design) -> None:
        check_two_crossed(design)
        root = np.ones(design.n_obs) if design.weights is None else np.sqrt(design.weights)
        self.n = design.n_obs
        self.log_weights = float(2.0 * np.log(root).sum())
        self.order = sorted(range(2), key=lambda k: -design.factors[k].n_levels)
        factors = [design.factors[k] for k in self.order]
        columns = [root if f.Z is None else root * f.Z[:, 0] for f in factors]
        self.sizes = [
            np.bincount(f.codes, z * z, f.n_levels).astype(np.float64) for f, z in zip(factors, columns, strict=True)
        ]
        shape = (factors[0].n_levels, factors[1].n_levels)
        cross = sparse.coo_array((columns[0] * columns[1], (factors[0].codes, factors[1].codes)), shape=shape)
        self.cross = cross.tocsr()  # rows of one pair are summed
        self.back = self.cross.T.tocsr()
        self.squares = self.cross.power(2)
        y = (design.y if design.offset is None else design.y - design.offset) * root
        self.basis = fixed_basis(design.X, root)
        Q = self.basis.Q
        self.beta0 = Q.T @ y
        rest = y - Q @ self.beta0
        rest -= Q @ (Q.T @ rest)
        self.scale = float(np.sqrt(np.mean(rest**2)))
        if self.scale <= 64 * np.finfo(np.float64).eps * float(np.sqrt(np.mean(y**2))):
            raise FitError("The fixed effects fit the response perfectly, so there is nothing left to model.")
        E = np.column_stack([Q, rest / self.scale])
        self.base = E.T @ E
        self.right = [
            np.column_stack([np.bincount(f.codes, z * e, f.n_levels) for e in E.T])
            for f, z in zip(factors, columns, strict=True)
        ]

    @property
    def n_fixed(self) -> int:
        """Fixed columns that are independent."""
        return len(self.base) - 1


class At:
    """The model at one theta, both elements positive, in the order of ``Crossed``.

    Parameters
    ----------
    model, theta
        The model, and theta, (2,).
    """

    def __init__(self, model: Crossed, theta: Floats) -> None:
        self.model = model
        self.D = [1.0 + t * t * c for t, c in zip(theta, model.sizes, strict=True)]
        self.s = [t / np.sqrt(D) for t, D in zip(theta, self.D, strict=True)]
        self.n_products = 0

    def forth(self, X: Floats) -> Floats:
        """Return R X, (n_1, k)."""
        self.n_products += X.shape[1]
        return np.asarray(self.s[0][:, None] * (self.model.cross @ (self.s[1][:, None] * X)))

    def back(self, Y: Floats) -> Floats:
        """Return R'Y, (n_2, k)."""
        self.n_products += Y.shape[1]
        return np.asarray(self.s[1][:, None] * (self.model.back @ (self.s[0][:, None] * Y)))

    def top(self, k: int, seed: int) -> Floats:
        """Return an orthonormal basis near the first k eigenvectors of G, (n_2, k), by subspace iteration.

        Parameters
        ----------
        k
            Columns.
        seed
            Of the start.
        """
        n = len(self.D[1])
        X = np.random.default_rng(seed).standard_normal((n, min(k, n)))
        X[:, 0] = np.sqrt(self.D[1])  # next to the first eigenvector of a connected design
        for _ in range(SUBSPACE_STEPS):
            X = np.linalg.qr(self.back(self.forth(X)))[0]
        return np.asarray(X)

    def exact_part(self) -> tuple[float, Floats]:
        """Return sum log D - tr G and its derivative in log theta, (2,)."""
        squares = [s * s for s in self.s]
        of_first = squares[0] * (self.model.squares @ squares[1])
        of_second = squares[1] * (self.model.squares.T @ squares[0])
        value = sum(float(np.log(D).sum()) for D in self.D) - float(of_first.sum())
        own = [2.0 * float((1.0 - 1.0 / D).sum()) for D in self.D]
        off = [2.0 * float((part / D).sum()) for part, D in zip((of_first, of_second), self.D, strict=True)]
        return value, np.array(own) - np.array(off)

    def forms(self, Z: Floats, tolerance: float) -> _Forms:
        """Return z'f(G)z of some columns, (n_2, k), with their derivatives.

        Parameters
        ----------
        Z
            The columns.
        tolerance
            Change of any form by another step of Lanczos' method after which there is none.
        """
        length = np.linalg.norm(Z, axis=0)
        q = Z / length
        Q, P, GQ = [q], [], []
        diagonal: list[Floats] = []
        beside: list[Floats] = []
        values = np.full(Z.shape[1], np.inf)
        while True:
            P.append(self.forth(Q[-1]))
            w = self.back(P[-1])
            GQ.append(w.copy())
            diagonal.append(np.einsum("ij,ij->j", w, Q[-1]))
            for _ in range(2):  # twice is enough (Parlett 1980, section 6-9)
                for q in Q:
                    w -= np.einsum("ij,ij->j", w, q) * q
            beside.append(np.linalg.norm(w, axis=0))
            pairs = [_eigen(np.array(diagonal), np.array(beside), j) for j in range(Z.shape[1])]
            last = values
            values = np.array([n * n * (v[0] ** 2 @ _f(x)) for n, (x, v) in zip(length, pairs, strict=True)])
            is_done = np.abs(values - last).max() <= tolerance or beside[-1].max() <= 1e-14
            if is_done or len(Q) >= min(MOST_STEPS, len(Z)):
                break
            Q.append(w / np.maximum(beside[-1], 1e-300))
        gradient = np.empty((2, Z.shape[1]))
        for j, (x, v) in enumerate(pairs):
            K = length[j] ** 2 * (v @ (_divided(x) * np.outer(v[0], v[0])) @ v.T)
            p, q, g = (np.stack([part[:, j] for part in parts]) for parts in (P, Q, GQ))
            gradient[0, j] = 2.0 * np.einsum("ia,ia,a->", K @ p, p, 1.0 / self.D[0])
            gradient[1, j] = 2.0 * np.einsum("ib,ib,b->", K @ q, g, 1.0 / self.D[1])
        return _Forms(values, gradient)

    def solution(self) -> tuple[Floats, list[Floats]]:
        """Return [X y]'V^-1[X y], (p + 1, p + 1), and M^-1 Lambda'Z'[X y] of both factors, (n_levels, p + 1) each."""
        h = [s[:, None] * e for s, e in zip(self.s, self.model.right, strict=True)]
        B = h[1] - self.back(h[0])
        X = np.zeros_like(B)
        left = B.copy()
        step = left.copy()
        size = np.einsum("ij,ij->j", left, left)
        wanted = SOLVED**2 * size
        for _ in range(10 * MOST_STEPS):
            if (size <= wanted).all():
                break
            image = step - self.back(self.forth(step))
            along = size / np.maximum(np.einsum("ij,ij->j", step, image), 1e-300)
            X += along * step
            left -= along * image
            new = np.einsum("ij,ij->j", left, left)
            step = left + new / np.maximum(size, 1e-300) * step
            size = new
        products = self.model.base - h[0].T @ h[0] - B.T @ X
        parts = [h[0] - self.forth(X), X]
        return products, [part / np.sqrt(D)[:, None] for part, D in zip(parts, self.D, strict=True)]


def evaluate(model: Crossed, theta: Floats, reml: bool, sampling: Sampling) -> Evaluation:
    """Return the criterion at theta by sampling.

    Parameters
    ----------
    model
        Cross-products.
    theta
        (2,), positive, factors as in ``model``.
    reml
        The criterion of restricted maximum likelihood.
    sampling
        Probes and their number.

    Raises
    ------
    FitError
        The data are next to nested, for which sampling is no good, or the random effects fit perfectly.
    """
    at = At(model, theta)
    value, gradient = at.exact_part()
    precise = STEP_SHARE * min(sampling.tolerance, TOLERANCE)
    U = at.top(sampling.deflated, sampling.seed)
    top = at.forms(U, precise)
    probes = _probe_forms(at, U, precise, sampling)
    value += float(top.value.sum()) + float(probes.value.mean())
    gradient += top.gradient.sum(axis=1) + probes.gradient.mean(axis=1)
    products, solved = at.solution()
    p, dof = model.n_fixed, model.n - (model.n_fixed if reml else 0)
    inner, across = products[:p, :p], products[:p, p]
    beta = np.asarray(np.linalg.solve(inner, across), dtype=np.float64)
    r2 = float(products[p, p] - across @ beta)
    if r2 <= 0:
        raise FitError("The random effects fit the response perfectly, so no residual variance is left to estimate.")
    value += dof * (1.0 + np.log(2.0 * np.pi * r2 / dof)) + 2.0 * dof * np.log(model.scale) - model.log_weights
    made = Evaluation(value, gradient, probes.value, probes.gradient, beta, r2 / dof, inner, solved, at.n_products)
    for k, part in enumerate(solved):
        gradient[k] -= 2.0 * float(np.sum(made.modes(k) ** 2)) / made.s2
        if reml:
            gradient[k] -= 2.0 * float(np.trace(np.linalg.solve(inner, part[:, :p].T @ part[:, :p])))
    if not reml:
        return made
    return replace(made, deviance=value + float(np.linalg.slogdet(inner)[1]) + 2.0 * model.basis.log_det)


def _probe_forms(at: At, U: Floats, precise: float, sampling: Sampling) -> _Forms:
    """Return the forms of probes projected off U, as many as the tolerance needs."""
    rng = np.random.default_rng([sampling.seed, 1])
    values, gradients = np.empty(0), np.empty((2, 0))
    while len(values) < sampling.most:
        for _ in range(min(BATCH, sampling.most) // TOGETHER):
            Z = 2.0 * rng.integers(0, 2, (len(U), TOGETHER), dtype=np.int8) - 1.0
            forms = at.forms(Z - U @ (U.T @ Z), precise)
            values = np.append(values, forms.value)
            gradients = np.hstack([gradients, forms.gradient])
        spread = float(values.std(ddof=1))
        if spread > NEAR_NESTED:
            raise FitError(
                f"Sampling is no good for these data: log|M| of one probe varies by {spread:.2g}, because levels of "
                "one factor are next to nested in the other's. Elimination is cheap for such data: use method='exact'."
            )
        if spread / np.sqrt(len(values)) < sampling.tolerance:
            break
    return _Forms(values, gradients)


def can_sample(design: Design) -> bool:
    """Return whether a model has two grouping factors of one random effect a level, and its rows."""
    if len(design.factors) != 2 or any(factor.n_effects > 1 for factor in design.factors):
        return False
    plain = not design.is_structured and not design.is_related
    return plain and design.absorbed is None and design.stand_in is None


def check_two_crossed(design: Design) -> None:
    """A model must be one that sampling knows: two grouping factors of one random effect a level.

    Raises
    ------
    FitError
        It is another.
    """
    if can_sample(design):
        return
    effects = ", ".join(f"{factor.name} with {factor.n_effects}" for factor in design.factors)
    also = " Fixed effects are absorbed, too." if design.absorbed is not None else ""
    also += " Its rows were read in parts and are not here." if design.stand_in is not None else ""
    raise FitError(
        "Sampling is for two grouping factors with one random effect a level, such as (1 | user) + (1 | item), and "
        f"rows in memory; this model has random effects of {effects}.{also} Use method='exact'."
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
    """Return (f(x_i) - f(x_j)) / (x_i - x_j), the derivative where they are close, (m, m)."""
    apart = x[:, None] - x[None, :]
    close = np.abs(apart) <= 1e-5
    middle = _slope(0.5 * (x[:, None] + x[None, :]))
    return np.where(close, middle, (_f(x)[:, None] - _f(x)[None, :]) / np.where(close, 1.0, apart))


def _eigen(diagonal: Floats, beside: Floats, j: int) -> tuple[Any, Any]:
    """Return eigenvalues and vectors of Lanczos' tridiagonal matrix of column j."""
    T = np.diag(diagonal[:, j]) + np.diag(beside[:-1, j], 1) + np.diag(beside[:-1, j], -1)
    values, vectors = np.linalg.eigh(T)
    return values, vectors


@dataclass(frozen=True)
class FixedBasis:
    """An orthonormal basis of weighted fixed columns: Q = W^1/2 (X - x_1 mean') T.

    Attributes
    ----------
    kept
        Columns that do not depend on those before them.
    mean
        What is taken off them, times the first one, (p,); zeros where that is no constant.
    to_basis
        T, upper triangular, (p, p).
    Q
        (n_obs, p).
    """

    kept: tuple[int, ...]
    mean: Floats
    to_basis: Floats
    Q: Floats

    @property
    def log_det(self) -> float:
        """log |det T^-1|."""
        return -float(np.log(np.abs(np.diag(self.to_basis))).sum())


def fixed_basis(X: Floats, root: Floats) -> FixedBasis:
    """Return the basis of fixed columns, those that depend on columns before them left out.

    Parameters
    ----------
    X
        (n_obs, n_columns).
    root
        Roots of the weights, (n_obs,).
    """
    has_constant = X.shape[1] > 0 and X[0, 0] != 0 and bool((X[:, 0] == X[0, 0]).all())
    mean = np.zeros(X.shape[1])
    if has_constant:
        mean = (root**2 @ X) / (root @ root) / X[0, 0]
        mean[0] = 0.0
    columns = (X - X[:, :1] * mean) * root[:, None]
    kept: list[int] = []
    Q = np.empty((len(X), 0))
    for j, column in enumerate(columns.T):
        left = column - Q @ (Q.T @ column)
        left -= Q @ (Q.T @ left)
        length = float(np.linalg.norm(left))
        if length > DEPENDENT * float(np.linalg.norm(column)):
            kept.append(j)
            Q = np.column_stack([Q, left / length])
    triangle = np.triu(Q.T @ columns[:, kept])
    return FixedBasis(tuple(kept), mean[kept], np.asarray(np.linalg.inv(triangle), dtype=np.float64), Q)
