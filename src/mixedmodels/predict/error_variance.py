"""Variance of what a prediction misses by, its degrees of freedom, and the part due to estimated variance parameters.

x'beta^ + z'b^ misses x'beta + z'b by an error whose variance over sigma^2 is [x z] C^-1 [x z]', C the matrix of
Henderson's (1975) mixed-model equations. A level that the fit did not have adds z'S z, a new observation 1 / w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, relative_theta, split_theta
from mixedmodels.fit.structured_fit import StructuredState, refuse_structures
from mixedmodels.inference.variance_parameters import covariance_root, estimate

if TYPE_CHECKING:
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FitState
    from mixedmodels.predict.rows import Rows

SLOPE_STEP = 1e-6
"""Of first differences in the engine's theta, whose natural size is one."""
CURVATURE_STEP = 1e-3
"""Of second differences there."""


@dataclass(frozen=True)
class ErrorVariance:
    """Variance of the error of each row's prediction as a function of the variance parameters.

    Parameters
    ----------
    state
        The fit.
    rows
        What is predicted.
    codes
        Level in each grouping factor, (n_rows,); -1 where its predicted effect is not used.
    unknown
        Whether the effect of each factor is part of what is predicted, but not predicted: one bool a factor.
    residual
        1 / w of a new observation, (n_rows,) or one number; 0 for a mean.
    """

    state: FitState
    rows: Rows
    codes: tuple[Codes, ...]
    unknown: tuple[bool, ...]
    residual: Floats | float

    @cached_property
    def value(self) -> Floats:
        """The variance at the estimates, (n_rows,), in squared units of the response."""
        return self.state.sigma**2 * self._at_estimate

    @cached_property
    def satterthwaite_df(self) -> Floats:
        """2 v^2 / Var(v) with Var(v) by the delta method, (n_rows,) (Giesbrecht and Burns 1985, for any variance)."""
        theta, root = estimate(self.state)[:-1], covariance_root(self.state)
        slopes = np.zeros((self.rows.n_rows, len(root)))
        slopes[:, -1] = 2.0  # log v in log sigma
        for i in np.flatnonzero(root[:-1].any(axis=1)):
            moved = theta.copy()
            moved[i] += SLOPE_STEP
            slopes[:, i] = (
                self._relative(self._in_engine(moved)) / np.maximum(self._at_estimate, 1e-300) - 1
            ) / SLOPE_STEP
        return np.asarray(2.0 / np.sum((slopes @ root) ** 2, axis=1))

    @cached_property
    def correction(self) -> Floats:
        """What estimating the variance parameters adds, 2 tr(A B), (n_rows,), in squared units of the response.

        B is the covariance of the estimated parameters, A that of the predictor's derivatives in them (Kackar and
        Harville 1984); once for the error itself and once for what the plug-in variance misses (Prasad and Rao 1990).

        With V = sum_i gamma_i G_i linear in its parameters the variance v is the minimum over linear predictors of a
        function linear in gamma, whence A = -1/2 d^2 v / dgamma dgamma'. Roots R = (sigma, sigma Lambda) of gamma move
        by D: R + D, R - D and a root of RR' + DD' lie on a line in gamma, at equal distances RD' + DR'.
        """
        refuse_structures(self.state.design, "What estimating variance parameters adds to a prediction's variance")
        theta, root = estimate(self.state)[:-1], covariance_root(self.state)
        total = np.zeros(self.rows.n_rows)
        for direction in root.T:
            step = CURVATURE_STEP / np.abs(direction).max()
            d_sigma = step * direction[-1]
            d_theta = step * direction[:-1] + theta * d_sigma
            ends = sum(
                (1 + sign * d_sigma) ** 2 * self._relative((theta + sign * d_theta) / (1 + sign * d_sigma))
                for sign in (1, -1)
            )
            middle = np.hypot(1, d_sigma)
            bend = ends - 2 * middle**2 * self._relative(self._joined(theta, d_theta) / middle)
            total -= bend / step**2  # 2 * 1/2
        return np.asarray(self.state.sigma**2 * np.maximum(total, 0.0))

    @cached_property
    def _at_estimate(self) -> Floats:
        return self._relative(self._in_engine(estimate(self.state)[:-1]))

    def _in_engine(self, own: Floats) -> Floats:
        """Return the engine's theta, which coordinates of structures stand for in models that have them."""
        state = self.state
        if not isinstance(state, StructuredState):
            return own
        return state.problem.model.to_engine(np.ascontiguousarray(state.criterion.theta(own)))

    def _relative(self, theta: Floats) -> Floats:
        """Return the variance over sigma^2, (n_rows,), at the engine's theta."""
        rows, factors = self.rows, self.state.design.factors
        theta = np.ascontiguousarray(theta)
        bases = self.state.problem.effect_bases
        total = self.state.problem.error_forms(theta, rows.X, self.codes, rows.Z) + self.residual
        parts = split_theta(theta, [f.n_theta for f in factors])
        for k, (factor, part) in enumerate(zip(factors, parts, strict=True)):
            new = self.codes[k] < 0
            if self.unknown[k] and new.any():
                root = bases[k].coordinates(rows.columns(k)[new]) @ relative_factor(part, factor.block_sizes)
                total[new] += np.einsum("ij,ij->i", root, root)
        return np.asarray(total)

    def _joined(self, theta: Floats, other: Floats) -> Floats:
        """Return theta of Lambda Lambda' + D D' for the Lambda and D of two thetas."""
        factors = self.state.design.factors
        sizes = [f.n_theta for f in factors]
        joined = []
        for factor, a, b in zip(factors, split_theta(theta, sizes), split_theta(other, sizes), strict=True):
            sides = [relative_factor(part, factor.block_sizes).T for part in (a, b)]
            joined.append(relative_theta(np.linalg.qr(np.vstack(sides)).R.T, factor.block_sizes))
        return np.concatenate(joined)
