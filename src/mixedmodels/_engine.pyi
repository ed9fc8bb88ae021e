"""The border to the Rust engine: arrays and sizes only."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

class Minimum:
    """Where the optimiser stopped."""

    theta: Floats  # user's units, diagonals >= 0
    deviance: float
    status: int  # 0 converged, 1 iteration limit, 2 no further decrease, 3 interrupted
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    trace: Floats  # (n_iterations, 6): deviance, gradient norm, predicted decrease, step norm, radius, ratio
    other_optima: list[float]
    singular: bool

class Model:
    """Cross-products of one model; keeps no rows.

    Raises ValueError with a sentence for a bad shape, never panics.
    """

    def __init__(
        self,
        y: Floats,  # (n,), offset already taken off
        X: Floats,  # (n, p), C order
        weights: Floats | None,
        codes: Sequence[Codes],  # one (n,) a factor
        n_levels: Sequence[int],
        Z: Sequence[Floats | None],  # (n, q) C order, None for ones
        blocks: Sequence[Sequence[int]],  # block sizes of each factor's Lambda
        n_threads: int = 0,  # 0: as many as the machine has
        dense: bool | None = None,  # force the dense or sparse path; None: chosen by fill
    ) -> None: ...
    kept: list[int]  # columns of X that are not aliased (leftmost kept)
    n_theta: int
    dense: bool
    residual_scale: float  # root mean square of the least-squares residual of y on X
    def deviance(self, theta: Floats, reml: bool) -> float: ...
    def gradient(self, theta: Floats, reml: bool) -> Floats: ...
    def minimize(self, reml: bool, start: Floats | None, max_iterations: int, n_starts: int) -> Minimum: ...
    def solve(self, theta: Floats, reml: bool) -> tuple[Floats, Floats, float, list[Floats]]: ...
    """beta (p,), unscaled covariance (X' V^-1 X)^-1 (p, p), sigma, conditional modes (n_levels, q) a factor."""
    def conditional_covariance(self, theta: Floats) -> list[Floats]: ...
    """Lambda M^-1 Lambda' of each level, (n_levels, q, q) a factor; times sigma^2 it is Var(b | y)."""
    def with_response(
        self,
        y: Floats,
        X: Floats,
        weights: Floats | None,
        codes: Sequence[Codes],
        Z: Sequence[Floats | None],
    ) -> Model: ...
    """The same model with another response; only the products with y are formed anew."""
