"""Covariances of the fixed effects that stay right if V is not, by clusters of rows.

With clusters j, e_j = y_j - X_j beta, M = (X'V^-1X)^-1 and the fitted V as working model,

    V_R = M (sum_j X_j'V_j^-1 A_j e_j e_j'A_j'V_j^-1 X_j) M.

CR0: A_j = I. CR1: sqrt(m / (m - 1)) I for m clusters. CR2: the symmetric A_j with A_j R_j A_j = V_j, where
R_j = V_j - X_j M X_j' is the covariance of e_j, so that V_R has no bias if V is right (Bell and McCaffrey 2002;
Pustejovsky and Tipton 2018). CR3: (I - X_j M X_j'V_j^-1)^-1, close to leaving out one cluster after the other.

Each cluster is seen through its rows' coordinates in the span of its X_j and Z_j, so that a cluster costs the cube of
its effects and not of its rows; V0 = V / sigma^2 stands for V, and X K for X with M / sigma^2 = K K'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.labels import shown_level
from mixedmodels.design.related import refuse_related
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.records import FitState
from mixedmodels.fit.subjects import by_pattern
from mixedmodels.inference.approximation import FTest, wald_f
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FixedFit

Indices = npt.NDArray[np.intp]

KINDS = ("CR0", "CR1", "CR2", "CR3")

FULL_LEVERAGE_TOL = 1e-10
"""Distance from one of an eigenvalue of a cluster's hat matrix that counts as none."""

LARGEST_CLUSTER = 5000
"""Rows, or random effects, of one cluster whose covariance is factored as one dense matrix."""

BATCH_VALUES = 4_000_000
"""Numbers held at once by a batch of clusters."""


@dataclass(frozen=True)
class Clusters:
    """Independent parts of the rows.

    Attributes
    ----------
    name
        What they are, in words.
    codes
        Cluster of each row, 0 to n - 1, (n_obs,).
    n
        How many there are.
    """

    name: str
    codes: Indices
    n: int


@dataclass(frozen=True)
class ClusterTerms:
    """What the clusters leave behind, an m-array each, in the coordinates of K, where s_j = A_j'V_j^-1 X_j.

    Attributes
    ----------
    score
        s_j'e_j, (m, n_fixed).
    cross
        X_j's_j, (m, n_fixed, n_fixed).
    spread
        s_j'V_j s_j, (m, n_fixed, n_fixed).
    """

    score: Floats
    cross: Floats
    spread: Floats


@dataclass(frozen=True)
class RobustCovariance:
    """A cluster-robust covariance of beta with Bell and McCaffrey's degrees of freedom; goes wherever ``ddf`` does.

    Attributes
    ----------
    state
        The fit.
    kind
        ``"CR0"``, ``"CR1"``, ``"CR2"`` or ``"CR3"``.
    cluster
        What the clusters are, in words.
    n_clusters
        How many there are.
    covariance
        (n_fixed, n_fixed), user's units.
    names
        Of the fixed effects.
    """

    state: FixedFit = field(repr=False)
    kind: str
    cluster: str
    n_clusters: int
    covariance: Floats
    names: tuple[str, ...]
    _terms: ClusterTerms = field(repr=False)

    @property
    def whitened_covariance(self) -> Floats:
        """sum_j s_j'e_j e_j's_j, (n_fixed, n_fixed)."""
        return np.asarray(self._terms.score.T @ self._terms.score)

    @property
    def notes(self) -> tuple[str, ...]:
        """The method."""
        return (
            f"Standard errors are cluster-robust ({self.kind}, {self.n_clusters} clusters: {self.cluster}); tests and "
            "intervals use Student's t with Bell and McCaffrey's degrees of freedom.",
        )

    def __repr__(self) -> str:
        clusters = f"{self.kind}, {self.n_clusters} clusters: {self.cluster}"
        return f"Cluster-robust covariance of the fixed effects ({clusters})\n{self.to_frame()!r}"

    def to_frame(self) -> pd.DataFrame:
        """Return the covariance with the fixed effects as both index and columns."""
        names = list(self.names)
        return show_notes(pd.DataFrame(self.covariance, index=names, columns=names, copy=True))

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,), nan for a row of zeros.

        The estimated variance is sum_j t_j^2 with t_j = l'M s_j'e_j. If V is right Cov(t) = P is known, and the
        degrees of freedom are those of the chi-squared variable with the same mean and variance, tr(P)^2 / tr(P^2).

        Parameters
        ----------
        L
            Combinations of fixed effects, (n_rows, n_fixed).
        """
        out = np.empty(len(L))
        for i, row in enumerate(L):
            mean, variance = self._moments(self.state.fixed_root.whiten(row[None]))
            with np.errstate(invalid="ignore", divide="ignore"):
                out[i] = 2 * mean[0, 0] ** 2 / variance[0, 0]
        return out

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return the joint test of the rows of L by the approximate Hotelling T^2 of Pustejovsky and Tipton (2018).

        With D the estimated covariance of the rows whitened by its mean, eta = q (q + 1) / sum_st Var(D_st), and
        (eta - q + 1) / eta times Wald's F has q and eta - q + 1 degrees of freedom.

        Parameters
        ----------
        L
            Hypotheses L b = 0, (n_rows, n_fixed).
        difference
            L b, (n_rows,).

        Raises
        ------
        InferenceError
            If there are too few clusters for so many rows.
        """
        q = len(L)
        rows = np.linalg.qr(self.state.fixed_root.whiten(L).T)[0].T  # D is whitened: any rows of the same span will do
        mean, _ = self._moments(rows)
        whitened = np.linalg.solve(np.linalg.cholesky(mean), rows)
        eta = q * (q + 1) / float(self._moments(whitened)[1].sum())
        den_df = eta - q + 1
        if self.n_clusters <= q or den_df <= 0:
            raise InferenceError(
                f"{self.n_clusters} clusters ({self.cluster}) are too few for a robust joint test of {q} hypotheses. "
                'Test fewer of them together, or use ddf="satterthwaite".'
            )
        scale = den_df / eta
        return FTest(scale * wald_f(self, L, difference), q, den_df, scale)

    def _moments(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of each element of D = sum_j t_j t_j', (q, q) each, for rows in K's coordinates.

        Cov(t_is, t_jt) = [i = j] spread_i,st - v_is'v_jt with v_is = cross_i rows_s; of these m x m matrices only sums
        of products are needed, and those come from V_s'V_t, (n_fixed, n_fixed).
        """
        q, (m, p, _) = len(rows), self._terms.cross.shape
        spread = rows @ self._terms.spread @ rows.T
        v = rows @ self._terms.cross.swapaxes(1, 2)
        own = v @ v.swapaxes(1, 2)
        flat = v.reshape(m, q * p)
        gram = (flat.T @ flat).reshape(q, p, q, p)
        free = spread - own
        variance = np.empty((q, q))
        for s, t in np.ndindex(q, q):
            G = gram[s, :, t]
            direct = spread[:, s, s] @ free[:, t, t] - own[:, s, s] @ spread[:, t, t] + np.sum(G**2)
            swapped = spread[:, s, t] @ (free[:, s, t] - own[:, s, t]) + np.sum(G * G.T)
            variance[s, t] = direct + swapped
        return free.sum(axis=0), variance


def robust_covariance(
    state: FixedFit, kind: str = "CR2", cluster: str | npt.ArrayLike | None = None
) -> RobustCovariance:
    """Return the cluster-robust covariance of the fixed effects.

    Parameters
    ----------
    state
        The fit.
    kind
        ``"CR0"``: no correction; ``"CR1"``: times m / (m - 1) for m clusters; ``"CR2"``: no bias if the model is right;
        ``"CR3"``: close to the jackknife.
    cluster
        A grouping factor, a column of the fixed part, or an array with the cluster of each row; None takes the
        grouping factor in which the others are nested, or the subjects of correlated residuals. Rows that share a
        random effect or a subject share their cluster.

    Raises
    ------
    InferenceError
        If there is no such kind or cluster, if a grouping factor is not nested in the clusters, if there is one cluster
        only, or if CR3 cannot be had because leaving out a cluster leaves a fixed effect without data.
    """
    refuse_absorbed(state.design.absorbed, "A cluster-robust covariance")
    refuse_related(state.design, "A cluster-robust covariance")
    if kind not in KINDS:
        known = ", ".join(f'"{k}"' for k in KINDS)
        raise InferenceError(f"kind={kind!r} is not available; it must be one of {known}.{nearest(str(kind), KINDS)}")
    if isinstance(state, MarginalState):
        clusters, batches = _subjects(state, cluster), _subject_batches(state, kind)
    else:
        assert isinstance(state, FitState)
        clusters = find_clusters(state, cluster)
        batches = _batches(state, clusters, kind)
    terms = _cluster_terms(state.n_fixed, clusters, batches, kind)
    half = state.fixed_root.whiten(np.eye(state.n_fixed)) @ terms.score.T
    return RobustCovariance(state, kind, clusters.name, clusters.n, half @ half.T, state.fixed_names, terms)


def find_clusters(state: FitState, cluster: str | npt.ArrayLike | None) -> Clusters:
    """Return the clusters that a user means.

    Raises
    ------
    InferenceError
        If there are no such clusters, there is one only, or a grouping factor is not nested in them.
    """
    factors = state.design.factors
    if cluster is None:
        coarsest = factors[-1]
        name, codes = coarsest.name, coarsest.codes.astype(np.intp)
    elif isinstance(cluster, str):
        name, codes = cluster, _named_clusters(state, cluster)
    else:
        name, codes = "as given", _given_clusters(state, cluster)
    for factor in factors:
        split = _level_clusters(factor, codes)[factor.codes] != codes
        if split.any():
            level = shown_level(factor.levels[factor.codes[int(np.argmax(split))]])
            raise InferenceError(
                f"Level {level!r} of {factor.name} has rows in several clusters ({name}): a random effect makes rows "
                "of different clusters depend on each other, and robust covariances take clusters as independent. Use "
                f"clusters in which {factor.name} is nested; there are none if its levels are crossed with all others."
            )
    n = int(codes.max()) + 1
    if n < 2:
        raise InferenceError(f"There is one cluster only ({name}); a robust covariance needs two, and better ten.")
    return Clusters(name, codes, n)


def _named_clusters(state: FitState, name: str) -> Indices:
    design = state.design
    for factor in design.factors:
        if factor.name == name:
            return factor.codes.astype(np.intp)
    if name in design.columns:
        return _factorize(design.columns[name].values, name)
    known = [*(f.name for f in design.factors), *design.columns]
    raise InferenceError(
        f"cluster={name!r} is neither a grouping factor nor a column of the fixed part; there are {', '.join(known)}."
        f"{nearest(name, known)} Pass the values of another column as an array."
    )


def _given_clusters(state: FitState, cluster: npt.ArrayLike) -> Indices:
    design = state.design
    values = np.asarray(cluster)
    if values.shape == (design.n_rows,) and design.rows is not None:
        values = values[design.rows]
    if values.shape != (design.n_obs,):
        raise InferenceError(
            f"cluster has shape {values.shape}; the model was fitted to {design.n_obs} of {design.n_rows} rows. Pass "
            "one value for each."
        )
    return _factorize(values, "as given")


def _factorize(values: npt.NDArray[np.generic], name: str) -> Indices:
    codes = pd.factorize(values)[0]
    if (codes < 0).any():
        row = int(np.argmin(codes))
        raise InferenceError(f"The clusters ({name}) have a missing value at row {row} of those used, counted from 0.")
    return np.asarray(codes, dtype=np.intp)


def _level_clusters(factor: RandomFactor, codes: Indices) -> Indices:
    """Return the cluster of a row of each level, (n_levels,); the first where there is none, which adds nothing."""
    out = np.zeros(factor.n_levels, dtype=np.intp)
    out[factor.codes] = codes
    return out


@dataclass(frozen=True)
class _Batch:
    """Clusters with equally many rows and random effects: (n_batch, rows, ...) arrays in coordinates of unit noise.

    ``noise`` is the variance of e / sigma, (n_batch, rows), where the coordinates could not be made such.
    """

    clusters: Indices
    X: Floats
    root: Floats
    e: Floats
    noise: Floats | None


def _cluster_terms(p: int, clusters: Clusters, batches: Iterator[_Batch], kind: str) -> ClusterTerms:
    m = clusters.n
    terms = ClusterTerms(np.empty((m, p)), np.empty((m, p, p)), np.empty((m, p, p)))
    adjust = _ADJUSTMENTS[kind]
    for batch in batches:
        try:
            score, cross, spread = adjust(batch)
        except np.linalg.LinAlgError:
            raise InferenceError(
                f"CR3 cannot be computed: without one of the clusters ({clusters.name}) a fixed effect cannot be "
                "estimated. Use CR2."
            ) from None
        terms.score[batch.clusters], terms.cross[batch.clusters], terms.spread[batch.clusters] = score, cross, spread
    if kind == "CR1":
        scale = m / (m - 1)
        return ClusterTerms(np.sqrt(scale) * terms.score, np.sqrt(scale) * terms.cross, scale * terms.spread)
    return terms


def _covariance(batch: _Batch) -> Floats:
    V = batch.root @ batch.root.swapaxes(1, 2)
    step = np.arange(V.shape[1])
    V[:, step, step] += 1.0 if batch.noise is None else batch.noise
    return V


def _whiten(batch: _Batch) -> tuple[Floats, Floats, Floats]:
    """Return C with V = C C', C^-1 X and C^-1 e."""
    C = np.asarray(np.linalg.cholesky(_covariance(batch)), dtype=np.float64)
    both: Floats = np.linalg.solve(C, np.concatenate([batch.X, batch.e[:, :, None]], axis=2))
    return C, both[:, :, :-1], both[:, :, -1]


def _plain(batch: _Batch) -> tuple[Floats, Floats, Floats]:
    """A = I."""
    _, X, e = _whiten(batch)
    gram = X.swapaxes(1, 2) @ X
    return np.asarray(np.einsum("jra,jr->ja", X, e)), gram, gram


def _jackknife(batch: _Batch) -> tuple[Floats, Floats, Floats]:
    """A = (I - X X'V^-1)^-1, by which s = V^-1 X (I - X'V^-1X)^-1.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the cluster alone determines a combination of the fixed effects.
    """
    score, gram, _ = _plain(batch)
    rest = np.eye(gram.shape[1]) - gram
    if np.linalg.eigvalsh(rest).min(initial=1.0) < FULL_LEVERAGE_TOL:
        raise np.linalg.LinAlgError
    inverse = np.linalg.inv(rest)
    return (inverse @ score[:, :, None])[:, :, 0], gram @ inverse, inverse @ gram @ inverse


def _unbiased(batch: _Batch) -> tuple[Floats, Floats, Floats]:
    """A = C (C'R C)^-1/2 C', R = V - X X', the inverse a pseudo-inverse; it is the same for every root C of V.

    C'R C = F'F with F = (I - X~X~')^1/2 C'C, X~ = C^-1 X, whose singular values have the condition of V, not of its
    square. F has as many zero singular values as X~ has singular values of one.
    """
    C, X, _ = _whiten(batch)
    P, h, _ = np.linalg.svd(X, full_matrices=False)
    full = h**2 > 1 - FULL_LEVERAGE_TOL
    shrink = 1 - np.where(full, 0.0, np.sqrt(np.clip(1 - h**2, 0, None)))
    CtC = C.swapaxes(1, 2) @ C
    F = CtC - (P * shrink[:, None, :]) @ (P.swapaxes(1, 2) @ CtC)
    _, singular, Vt = np.linalg.svd(F)
    zero = np.arange(F.shape[1]) >= F.shape[1] - full.sum(axis=1, keepdims=True)
    inverse = np.where(zero, 0.0, 1 / np.where(zero, 1.0, singular))
    s = C @ (Vt.swapaxes(1, 2) @ (inverse[:, :, None] * (Vt @ X)))
    Cs = C.swapaxes(1, 2) @ s
    return np.einsum("jra,jr->ja", s, batch.e), batch.X.swapaxes(1, 2) @ s, Cs.swapaxes(1, 2) @ Cs


_ADJUSTMENTS: dict[str, Callable[[_Batch], tuple[Floats, Floats, Floats]]] = {
    "CR0": _plain,
    "CR1": _plain,
    "CR2": _unbiased,
    "CR3": _jackknife,
}


def _subjects(state: MarginalState, cluster: object) -> Clusters:
    """Return the subjects as clusters, which are the only ones that correlated residuals have.

    Raises
    ------
    InferenceError
        If others are meant, or there is one subject only.
    """
    name, n = state.problem.cluster_name, state.problem.n_subjects
    if cluster is not None and cluster != name:
        raise InferenceError(
            f"cluster={cluster!r} is not available: rows are correlated within {name}, whose levels are the clusters. "
            "Leave cluster out."
        )
    if n < 2:
        raise InferenceError(f"There is one {name} only; a robust covariance needs two, and better ten.")
    return Clusters(name, state.problem.cluster, n)


def _subject_batches(state: MarginalState, kind: str) -> Iterator[_Batch]:
    """Yield the subjects, those with the same visits together; V_j = C C' is all of the variance of a row."""
    design = state.design
    X, e = state.fixed_root.whiten(design.X[:, state.kept]), design.y - marginal_fitted(state)
    for some in by_pattern(state):
        factor, size = some.factor / state.sigma, max(1, BATCH_VALUES // some.rows.shape[1] ** 2)
        for start in range(0, len(some.rows), size):
            rows = some.rows[start : start + size]
            subjects = state.problem.cluster[rows[:, 0]]
            root = factor[None] / some.roots[start : start + size, :, None]
            yield _Batch(subjects, X[rows], root, e[rows], np.zeros(rows.shape))


def _batches(state: FitState, clusters: Clusters, kind: str) -> Iterator[_Batch]:
    """Yield the clusters, those of equal shape together, reduced to the span of X and Z where that is smaller."""
    design, codes, m = state.design, clusters.codes, clusters.n
    w = np.ones(design.n_obs) if design.weights is None else design.weights
    order = np.argsort(codes, kind="stable")
    n_rows = np.bincount(codes, minlength=m)
    first_row = np.cumsum(n_rows) - n_rows
    first_effects, n_effects = _effect_places(design.factors, codes, m)
    X, e = state.fixed_root.whiten(design.X[:, state.kept]), design.y - marginal_fitted(state)
    shapes, shape_of = np.unique(n_rows * (1 + n_effects.max()) + n_effects, return_inverse=True)
    for i, shape in enumerate(shapes.tolist()):
        n, k = divmod(shape, 1 + int(n_effects.max()))
        members = np.flatnonzero(shape_of == i)
        size = max(1, BATCH_VALUES // max(1, n * (n if n < k else k + state.n_fixed)))
        for start in range(0, len(members), size):
            batch = members[start : start + size]
            rows = order[first_row[batch][:, None] + np.arange(n)]
            effects = _random_columns(state, rows, first_effects, k)
            own = w[rows]
            # the symmetric A of CR2 depends on the coordinates: unequal weights within a cluster stay where they are
            unequal = kind == "CR2" and bool(np.any(own != own[:, :1]))
            if min(n, n if unequal else k + state.n_fixed) > LARGEST_CLUSTER:
                raise InferenceError(
                    f"A cluster ({clusters.name}) has {n} rows whose covariance must be factored at once; at most "
                    f"{LARGEST_CLUSTER} can be. Use CR1 or CR3 if weights differ within clusters, or finer clusters."
                )
            if unequal:
                yield _Batch(batch, X[rows], effects, e[rows], 1 / own)
                continue
            scale = np.sqrt(own)[:, :, None]
            yield _reduce(_Batch(batch, scale * X[rows], scale * effects, scale[:, :, 0] * e[rows], None))


def _reduce(batch: _Batch) -> _Batch:
    """Return the clusters in an orthonormal basis of the columns of X and Z; outside of it V = I, X = 0 and A = I."""
    both = np.concatenate([batch.X, batch.root], axis=2)
    if both.shape[1] <= both.shape[2]:
        return batch
    Q, R = np.linalg.qr(both)
    p = batch.X.shape[2]
    return _Batch(batch.clusters, R[:, :, :p], R[:, :, p:], np.einsum("jnr,jn->jr", Q, batch.e), None)


def _effect_places(factors: tuple[RandomFactor, ...], codes: Indices, m: int) -> tuple[list[Indices], Indices]:
    """Return the place of each level's first effect in its cluster, by factor, and the effects of each cluster."""
    places, total = [], np.zeros(m, dtype=np.intp)
    for factor in factors:
        cluster = _level_clusters(factor, codes)
        count = np.bincount(cluster, minlength=m)
        order = np.argsort(cluster, kind="stable")
        rank = np.empty(factor.n_levels, dtype=np.intp)
        rank[order] = np.arange(factor.n_levels) - (np.cumsum(count) - count)[cluster[order]]
        places.append(total[cluster] + factor.n_effects * rank)
        total = total + factor.n_effects * count
    return places, total


def _random_columns(state: FitState, rows: Indices, places: list[Indices], k: int) -> Floats:
    """Return Z Lambda of clusters with the given rows, (n_batch, n_rows), as dense (n_batch, n_rows, k)."""
    factors = state.design.factors
    out = np.zeros((*rows.shape, k))
    batch, row = np.ogrid[: rows.shape[0], : rows.shape[1]]
    thetas = split_theta(state.theta, [f.n_theta for f in factors])
    for factor, theta, place in zip(factors, thetas, places, strict=True):
        Lambda = relative_factor(theta, factor.block_sizes)
        Z = np.ones((*rows.shape, 1)) if factor.Z is None else factor.Z[rows]
        first = place[factor.codes[rows]]
        for j, column in enumerate(np.moveaxis(Z @ Lambda, 2, 0)):
            out[batch, row, first + j] = column
    return out
