"""The border to the Rust engine: arrays and sizes only."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

def available_memory() -> int | None:
    """Bytes that the machine and the limits of the process and its group leave; None where the system does not tell."""

class Minimum:
    """Where the optimiser stopped."""

    theta: Floats  # user's units, diagonals >= 0
    deviance: float
    status: int  # 0 converged, 1 iteration limit, 2 no further decrease
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    trace: Floats  # (n_iterations, 6): deviance, gradient norm, predicted decrease, step norm, radius, ratio
    other_optima: list[float]
    singular: bool

class Model:
    """Cross-products of one model; keeps no rows.

    Raises ValueError with a sentence for a bad shape and MemoryError where there is no room, never panics.
    """

    def __init__(
        self,
        y: Floats,  # (n,), offset already taken off
        X: Floats,  # (n, p), C order
        weights: Floats | None,
        codes: Sequence[Codes],  # one (n,) a factor
        n_levels: Sequence[int],
        Z: Sequence[Floats | None],  # (n, q) C order, None for ones
        blocks: Sequence[Sequence[int]],  # block sizes of each factor's Lambda; -m: m columns with one common variance
        n_threads: int = 0,  # 0: as many as the machine has
        dense: bool | None = None,  # force the dense or sparse path; None: chosen by fill
        # lower triangle of A^-1 by columns (starts, rows, values) and log |A| of each factor whose levels are related
        relations: Sequence[tuple[Places, Places, Floats, float] | None] | None = None,
    ) -> None: ...
    kept: list[int]  # columns of X that are not aliased (leftmost kept)
    nearly_dependent: list[int]  # columns of X kept whose own part is below 1e-7 of their spread
    n_theta: int
    dense: bool
    bytes_of_a_fit: float  # that it takes besides the products
    residual_scale: float  # root mean square of the least-squares residual of y on X
    def spread(self, beta: Floats) -> float: ...
    """Root mean square of sqrt(w) (y - X beta), beta (p,)."""
    def dependent_columns(self) -> list[list[int]]: ...
    """Columns of Z, a list a factor, that are combinations of columns before them, whatever their blocks."""
    def deviance(self, theta: Floats, reml: bool) -> float: ...
    def gradient(self, theta: Floats, reml: bool) -> Floats: ...
    def minimize(self, reml: bool, start: Floats | None, max_iterations: int, n_starts: int) -> Minimum: ...
    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]: ...
    """beta (p,), unscaled covariance (X' V^-1 X)^-1 (p, p), sigma, conditional modes (n_levels, q) a factor."""
    def conditional_covariance(self, theta: Floats) -> list[Floats]: ...
    """Lambda M^-1 Lambda' of each level, (n_levels, q, q) a factor; times sigma^2 it is Var(b | y)."""
    def with_threads(self, n_threads: int) -> Model: ...
    def with_response(
        self,
        y: Floats,
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        Z: Sequence[Floats | None],
    ) -> Model: ...
    """The same model with another response; only the products with y are formed anew."""

    # Inference: coordinates of the engine, theta~ = lower triangles of Lambda~ with S_k = T_k Lambda~ Lambda~' T_k'.

    parameters: npt.NDArray[np.int64]  # (n_theta, 3): factor, row, column
    def basis(self) -> list[Floats]: ...
    """T_k (q, q) of each factor."""
    def to_engine(self, theta: Floats) -> Floats: ...
    def to_user(self, theta: Floats) -> Floats: ...
    def identification(self) -> tuple[Floats, Floats, list[Floats]]: ...
    """Directions of (sigma^2, sigma^2 S~) along which V is constant (m, k + 1), or A'VA with A'X = 0 (m', k + 1), and
    sum_l of what X leaves of Z_l'WZ_l (q, q) of each factor, in the bases T_k."""
    def evaluate(self, theta: Floats, reml: bool) -> tuple[float, float, Floats, Floats, Floats, Floats]: ...
    """At theta~: deviance, residual variance s2, gradient (k,), Newton's curvature (k, k), exact gradient (k,) and
    Hessian (k, k) of s2."""
    def information(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, Floats]: ...
    """At a user's theta: theta~ (k,), exact Hessian (k + 1, k + 1) of the unprofiled -2 log-likelihood in
    (theta~, log sigma), and s (k, p, p) with d (X'V0^-1X)^-1 / d theta~_i = K s_i K', K K' = (X'V0^-1X)^-1 that of
    fixed_root."""
    def fixed_root(self, theta: Floats, in_engine: bool = False) -> tuple[Floats, Floats, Floats, Floats]: ...
    """m (p,) and T (p, p) of the fixed basis (x - m x_1) T, x a row of the kept columns; at a user's theta, or theta~
    if in_engine, the fixed effects (p,) and K (p, p) in that basis."""
    def crossing(self, n_threads: int = 0) -> tuple[Crossing, list[int]]: ...
    """Where the levels of its factors meet, and the positions of these in the caller's list; ValueError where there is
    one factor only or a level has more than four effects."""
    def level_sums(self) -> list[tuple[Floats, Floats]]: ...
    """Z_l'WZ_l (n_levels, q, q) and Z_l'W[Q r] (n_levels, p + 1, q) of each factor, in the caller's order."""
    def fixed_sums(self) -> tuple[Floats, Floats, Floats, Floats, float]: ...
    """m (p,) and T (p, p) of Q = (X - X_1 m') T, least-squares coefficients of y in Q (p,), [Q r]'W[Q r] (p + 1, p + 1)
    for the residual r over its root mean square, and sum log w."""
    def effect_bases(self) -> list[tuple[npt.NDArray[np.int64], Floats, Floats]]: ...
    """f (q,), m (q,) and T (q, q) of each factor's basis (z - m z_f) T; f is the first column of a column's block."""
    def solve_in_bases(self, theta: Floats) -> tuple[Floats, list[Floats]]: ...
    """At theta~: fixed effects (p,) and conditional modes (n_levels, q) a factor, in the bases of their columns."""
    def minimize_on(
        self, psi: Floats, held: tuple[int, int, int], target: float, reml: bool
    ) -> tuple[Floats, float, float, bool]:
        """The lowest criterion from psi = (theta~, log sigma) on with log sd or Fisher's z of an element of Sigma_k
        (factor, row, column; -1: log sigma) held: psi, criterion, its slope in the target, whether it converged."""
    def minimize_on_function(
        self, psi: Floats, function: Callable[[Floats], tuple[float, Floats, Floats]], target: float, reml: bool
    ) -> tuple[Floats, float, float, bool]:
        """The same with a function held that returns its value, gradient and Hessian in psi."""
    def minimize_beside(self, moved: Model, theta: Floats, reml: bool) -> tuple[Floats, float, float, bool]:
        """The lowest criterion from theta~ on with a fixed effect held, which the other model has in its response."""
    def kenward_roger(self, theta: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]: ...
    """At a user's theta, REML, in S~_i with G_i = dV0 / dS~_i and P0 the projection: S~ (k,), K'X'V0^-1 G_i V0^-1 X K
    (k, p, p), K'X'V0^-1 G_i V0^-1 G_j V0^-1 X K (k, k, p, p), tr(P0 G_i) (k,), tr(P0 G_i P0 G_j) (k, k); K is that of
    fixed_root."""
    def refit_many(
        self,
        Y: Floats,  # (m, n), offset taken off
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        Z: Sequence[Floats | None],
        reml: bool,
        start: Floats | None,
    ) -> tuple[Floats, Floats, Floats, Floats, Floats, npt.NDArray[np.int32], npt.NDArray[np.bool_]]: ...
    """Fits of m responses: beta (m, p), their standard errors (m, p), sigma (m,), theta (m, k), deviance (m,), status
    (m,; -1: cannot be fitted), singular (m,)."""
    def fit_many(
        self,
        Y: Floats,
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        Z: Sequence[Floats | None],
        reml: bool,
        max_iterations: int,
        n_starts: int,
    ) -> tuple[
        Floats,
        Floats,
        Floats,
        Floats,
        Floats,
        npt.NDArray[np.int32],
        npt.NDArray[np.bool_],
        Floats,
        Floats,
        Floats,
    ]: ...
    """Fits of m responses as `minimize` makes them one by one: beta (m, p), K (m, p, p) with (X'V0^-1X)^-1 = K K',
    sigma (m,), theta (m, k), deviance (m,), status (m,; -1: cannot be fitted), singular (m,), and as `information` has
    them theta~ (m, k), Hessian (m, k + 1, k + 1) and s (m, k, p, p), nan where there is none."""
    def quadratic_forms(
        self,
        theta: Floats,
        x: Floats,
        codes: Sequence[Codes],
        Z: Sequence[Floats | None],
        in_engine: bool = False,
    ) -> Floats: ...
    """Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of each row (m,); code -1: no such level; theta is a user's, or
    theta~ if in_engine."""

class ChainModel:
    """Subjects as chains of rows that are correlated through neighbours, Q the inverse of their correlations.

    Neighbours of the same correlation are one of C classes; correlations are (3, C), two derivatives behind the values,
    in one parameter a group.
    """

    def __init__(
        self,
        y: Floats,  # (n,), offset already taken off
        X: Floats,  # (n, p), C order
        weights: Floats | None,
        order: npt.NDArray[np.int64],  # rows by chain and time, (n,)
        lengths: npt.NDArray[np.int64],  # rows of each chain
        groups: npt.NDArray[np.int64],  # of each chain
        links: npt.NDArray[np.int32],  # class of each two neighbours, in their order
        class_groups: npt.NDArray[np.int64],  # (C,)
        n_groups: int,
        n_threads: int = 0,
    ) -> None: ...
    kept: list[int]  # columns of X that are not aliased (leftmost kept)
    nearly_dependent: list[int]
    scale: float  # root mean square of the least-squares residual of y on X
    def constant(self, reml: bool) -> float: ...
    """What the criterion lacks to -2 log-likelihood."""
    def products(self, correlations: Floats) -> tuple[Floats, Floats]: ...
    """[q r]'Q [q r] of each group, (3, G, p + 1, p + 1), and log|C|, (3, G), with tr(Q C' Q C') behind it."""
    def squares(self, correlations: Floats) -> Floats: ...
    """[q r]'D C D [q r] of each group, (G, p + 1, p + 1), D the first derivative of Q = C^-1."""
    def fixed_root(self, products: Floats) -> tuple[Floats, Floats, Floats, Floats] | None: ...
    """`PatternModel.fixed_root` for [q r]'V^-1 [q r], (p + 1, p + 1)."""

class CoupledModel:
    """Henderson's equations with a precision Q of the rows, times scale squared, told on pairs of rows a >= b.

    Lambda is that of every block of effects, q x q by columns, one after the other. What cannot be evaluated is None.
    """

    def __init__(
        self,
        y: Floats,  # (n,), offset already taken off
        X: Floats,  # (n, p), C order
        weights: Floats | None,
        codes: Sequence[Codes],  # one (n,) a block of effects; every level has rows
        n_levels: Sequence[int],
        Z: Sequence[Floats],  # (n, q) C order, times the roots of the weights
        pairs: Places,  # (n_pairs, 2), each row with itself among them
        n_threads: int = 0,
    ) -> None: ...
    kept: list[int]  # columns of X that are not aliased
    nearly_dependent: list[int]
    scale: float  # root mean square of the least-squares residual
    def constant(self, reml: bool) -> float: ...
    def value(self, Q: Floats, Lambda: Floats, reml: bool) -> float | None: ...
    """The criterion less log|Q^-1| and the constant."""
    def derivatives(
        self, Q: Floats, Lambda: Floats, reml: bool, of_determinant: bool
    ) -> tuple[float, Floats, Floats, Floats] | None: ...
    """The value, derivatives in Q, as if both elements of a pair were one, and in Lambda, or those of log|V| + log|Q|
    alone, and V^-1 [X K, r] (n, p + 1)."""
    def fixed_root(self, Q: Floats, Lambda: Floats, reml: bool) -> tuple[Floats, Floats, Floats, Floats] | None: ...
    """As that of ``PatternModel``."""
    def solve(self, Q: Floats, Lambda: Floats, B: Floats) -> Floats | None: ...
    """V^-1 B, (n, c)."""
    def conditional(self, Q: Floats, Lambda: Floats) -> Floats | None: ...
    """Lambda M^-1 Lambda' of each level, q x q, the blocks of effects one after the other."""

class PatternModel:
    """Subjects by patterns of visits, for residuals that are correlated within them; keeps no rows.

    Sigma is (G, V, V), for G groups of subjects and V visits, over scale squared, and may not be positive definite:
    what cannot be evaluated is None.
    """

    def __init__(
        self,
        y: Floats,  # (n,), offset already taken off
        X: Floats,  # (n, p), C order
        weights: Floats | None,
        order: npt.NDArray[np.int64],  # rows by pattern, subject and visit, (n,)
        groups: Sequence[int],  # of each pattern
        visits: Sequence[Sequence[int]],  # ascending, of each pattern
        n_subjects: Sequence[int],  # of each pattern
        n_visits: int,
        n_groups: int,
        n_threads: int = 0,
    ) -> None: ...
    kept: list[int]  # columns of X that are not aliased (leftmost kept)
    nearly_dependent: list[int]
    scale: float  # root mean square of the least-squares residual of y on X
    def constant(self, reml: bool) -> float: ...
    """What `value` lacks to -2 log-likelihood."""
    def moments(self) -> tuple[Floats, Floats]: ...
    """Sums and counts of products of residuals by pairs of visits, (G, V, V) each."""
    def value(self, sigma: Floats, reml: bool) -> float | None: ...
    def derivatives(self, sigma: Floats, reml: bool) -> tuple[float, Floats, list[Floats], Floats] | None: ...
    """Value; gradient (G, V, V); coefficients of dSigma[a, b] dSigma[c, d] of determinant, residual and X, each
    (G, V, V, V, V); sum of K [q r] [q r]'K by pairs of visits, (G, V, p + 1, V, p + 1), q in the basis, turned."""
    def fixed_root(self, sigma: Floats, reml: bool) -> tuple[Floats, Floats, Floats, Floats] | None: ...
    """Means (p,) and map (p, p) of the basis of X, beta (p,) in it, U^-T (p, p) with X'V^-1X = U U' over scale."""
    def kenward_roger(self, sigma: Floats, b: Floats, d: Floats) -> tuple[Floats, Floats, Floats] | None: ...
    """sum W_ij Q_ij and q'K D K q, (p, p) each; coefficients of dSigma_j in tr(P dSigma_j P D) but for X twice."""

    def block_value(self, V: Floats, reml: bool) -> float | None: ...
    """`value` where each pattern has a covariance V of its own, (m, m), one after the other."""
    def block_root(self, V: Floats, reml: bool) -> tuple[Floats, Floats, Floats, Floats] | None: ...
    """`fixed_root`, for blocks."""
    def block_derivatives(
        self, V: Floats, dV: Floats, k: int, reml: bool
    ) -> tuple[float, Floats, list[Floats], Floats] | None: ...
    """Value; gradient in V; second derivatives of determinant, residual and X along k matrices dV a block, (k, k) each;
    [q r]'K dV_i K [q r], (k, p + 1, p + 1), q in the basis, turned."""
    def block_kenward_roger(
        self, V: Floats, dV: Floats, W: Floats, bend: Floats
    ) -> tuple[Floats, Floats, Floats] | None: ...
    """sum W_ij Q_ij and q'K V_W K q, (p, p) each; tr(P dV_j P V_W) but for X twice, (k,), for V_W by block."""

def minimize_called(
    evaluate: Callable[[Floats, Any], Any], start: Floats, max_iterations: int, n: int
) -> tuple[Any, int, float, Floats, int] | None: ...

"""The walk of the trust region over what `evaluate(point, near)` makes: None, or an object with `value` and `walked()`.

Returns the last object, status, gradient norm, trace (n_iterations, 6) and number of evaluations."""

class Accumulator:
    """Cross-products of one model as its rows come by; keeps no rows. Pickles.

    The first rows that come fix the bases in which all sums are formed, also those of accumulators that are merged.
    Raises as ``Model`` does.
    """

    def __init__(self, blocks: Sequence[Sequence[int]]) -> None: ...
    @property
    def n_obs(self) -> int: ...
    def add(
        self,
        y: Floats,
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        n_levels: Sequence[int],  # so far; they grow
        Z: Sequence[Floats | None],
        counts: Floats | None = None,  # for how many rows each stands, without weights
    ) -> None: ...
    def fork(self) -> Accumulator: ...
    """The same bases without sums, for rows that another process has."""
    def merge(self, other: Accumulator, codes: Sequence[Codes]) -> None: ...
    """Adds the sums of another, whose level j of factor k is ``codes[k][j]`` here."""
    def n_pairs(self) -> list[int]: ...
    """Pairs of levels that occur, of factors (0, 1), (0, 2), (1, 2), ..."""
    def finish(
        self,
        places: Sequence[Codes],
        ranks: Sequence[int] | None = None,
        n_threads: int = 0,
        dense: bool | None = None,
    ) -> Model | Accumulator: ...
    """The model of all rows, level j of factor k at ``places[k][j]`` of its factor ``ranks[k]``.

    Or, where its sums have too few digits, an empty accumulator for another pass over the same rows."""
    def fixed_sums(self) -> tuple[Floats, Floats, Floats, Floats]: ...
    """m (p,), T (p, p) and b (p,) of provisional columns q = (x - m x_1) T; products of [1, q, y - q b] without
    weights, (p + 2, p + 2), lower triangle."""
    def effect_sums(self, k: int) -> tuple[Floats, Floats]: ...
    """T (q, q) of provisional columns z T of factor k; their products without weights, (q, q)."""
    def __getstate__(self) -> bytes: ...
    def __setstate__(self, state: bytes) -> None: ...

class GeneralizedMinimum:
    """Where the optimiser of a generalised model stopped."""

    psi: Floats  # theta, beta and phi in the engine's bases
    deviance: float  # -2 log-likelihood, all constants in
    status: int  # as Minimum.status, and 3 no minimum
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    trace: Floats  # as Minimum.trace
    other_optima: list[float]
    singular: bool
    curvature: Floats  # (n_psi, n_psi), a model of the Hessian

class GeneralizedModel:
    """A generalised linear mixed model; keeps its rows. psi is theta, beta and phi in orthonormal bases.

    Raises ValueError with a sentence for a bad shape and MemoryError where there is no room, never panics.
    """

    def __init__(
        self,
        family_name: str,  # "binomial-logit", "poisson-log", ...
        y: Floats,  # (n,), successes for the binomial
        trials: Floats | None,
        weights: Floats | None,  # multiply the log density
        offset: Floats | None,
        X: Floats,  # as for Model, and so all below
        codes: Sequence[Codes],
        n_levels: Sequence[int],
        Z: Sequence[Floats | None],
        blocks: Sequence[Sequence[int]],
        n_threads: int = 0,
        dense: bool | None = None,
        nodes: tuple[Floats, Floats] | None = None,  # of one effect, and weights of the normal density, (n_agq,) each
        covariates: Sequence[tuple[int, Floats]] | None = None,  # of a parameter of the family, (n, n_columns), C order
    ) -> None: ...
    kept: list[int]
    nearly_dependent: list[int]
    n_theta: int
    n_extra: int
    def psi(self, theta: Floats, beta: Floats, phi: Floats) -> Floats: ...
    """psi of a user's theta, beta of the columns kept, and phi."""
    def deviance(self, psi: Floats) -> float: ...
    def gradient(self, psi: Floats) -> Floats: ...
    def hessian(self, psi: Floats) -> Floats | None: ...
    """(n_psi, n_psi), by differences of the gradient; None where one cannot be evaluated."""
    def fixed_basis(self) -> tuple[Floats, Floats]: ...
    """Means m (p,) and map T (p, p) of the basis (x - m x_1) T of the columns kept."""
    def fixed_map(self) -> Floats: ...
    """K (p, p) with beta = K times that of psi."""
    def minimize(self, start: Floats | None, max_iterations: int, n_starts: int) -> GeneralizedMinimum: ...
    def estimates(
        self, psi: Floats, minimum: GeneralizedMinimum | None = None
    ) -> tuple[Floats, Floats, Floats, list[Floats], list[Floats], Floats]: ...
    """theta, beta, phi, modes (n_levels, q) and their covariances (n_levels, q, q) a factor, eta (n,).

    Modes are looked for from those of `minimum` on.
    """
    def log_density(self, eta: Floats, phi: Floats) -> Floats: ...
    """(3, n): log density of each row, and its first and second derivative in eta."""
    def basis(self) -> list[Floats]: ...
    """T_k (q, q) of each factor."""
    def minimize_on(self, psi: Floats, held: tuple[int, int, int], target: float) -> tuple[Floats, float, float, bool]:
        """The lowest criterion from psi on with log sd or Fisher's z of an element of Sigma_k (factor, row, column)
        held: psi, criterion, its slope in the target, whether it converged."""
    def minimize_on_function(
        self, psi: Floats, function: Callable[[Floats], tuple[float, Floats, Floats]], target: float
    ) -> tuple[Floats, float, float, bool]:
        """The same with a function held that returns its value, gradient and Hessian in psi."""
    def minimize_free(self, psi: Floats, free: Sequence[int]) -> tuple[Floats, float, float, bool]:
        """The lowest criterion from psi on with all elements but these held."""

class Crossing:
    """Where the levels of crossed factors meet, the first with all others and each other with those behind it.

    Raises ValueError with a sentence for a bad shape and MemoryError where there is no room, never panics.
    """

    def __init__(
        self,
        codes: Sequence[Codes],  # one (n,) a factor, two factors at least
        Z: Sequence[Floats | None],  # (n, q) C order, q of one to four, times roots of weights; None for ones
        n_levels: Sequence[int],
        n_threads: int = 0,
    ) -> None: ...
    bytes: int  # that it takes
    def with_threads(self, n_threads: int) -> Crossing: ...
    def scaled(self, scales: Sequence[Floats]) -> ScaledCrossing: ...
    """R = S_1'Z_1'Z S of the first factor with the others, S blocks (n_levels, q, q) a factor."""

class ScaledCrossing:
    """R, and X = R'R less S'Z'Z S of the others with each other."""

    def product(self, x: Floats) -> tuple[Floats, Floats]: ...
    """X x and R x of columns, (effects of the others, k)."""
    def back(self, y: Floats) -> Floats: ...
    """R'y of columns, (effects of the first factor, k)."""
    def squares(self) -> list[list[Floats]]: ...
    """Blocks on the diagonals of R R' and R'R, (n_levels, q, q) a factor: the first factor's with all others; then
    those of each other factor with the ones behind it."""
    def lanczos(self, start: Floats) -> Lanczos: ...
    """Lanczos' method on X from columns of length one, (effects of the others, k), k at most 8."""

class Lanczos:
    """Lanczos' method with full reorthogonalisation, a column for itself: X Q = Q T + ..., T tridiagonal."""

    def step(self) -> tuple[Floats, Floats]: ...
    """One more step: elements of T on the diagonal and beside it, (k,)."""
    def slopes(self, weights: Floats, turns: Sequence[Floats]) -> list[Floats]: ...
    """tr(K Q'R'N R Q) for matrices N of the first factor's levels, tr(K Q'N'X Q) for those of the others', (n, k) a
    factor; K (k, steps, steps), N (n, n_levels, q, q) a factor."""
