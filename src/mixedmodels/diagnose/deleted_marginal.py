"""A model with something on its residuals without some of its rows: fitted again, or in one step in closed form.

With G = V^-1 X K, K K' = (X'V^-1X)^-1 and r = y - X beta, leaving out the rows S changes the fixed effects by

    K^-1 (b - b_S) = G_S' (V^-1_SS - G_S G_S')^-1 (V^-1 r)_S,

V held. Where S is whole blocks of independent rows this is (I - K'X_S'G_S)^-1 G_S' r_S (Cook and Weisberg 1982, section
3.6, with V; Preisser and Qaqish 1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from mixedmodels.design.subset import take_rows
from mixedmodels.diagnose.deleted_linear import left_alone, units_of_factors
from mixedmodels.diagnose.influence import LOST, STOPPED_EARLY, Estimates, Units
from mixedmodels.errors import InferenceError
from mixedmodels.fit.correlated_fit import CorrelatedState, fit_on_residuals
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.subjects import by_pattern
from mixedmodels.inference.marginal_parameters import StructureMap
from mixedmodels.inference.variance_parameters import natural_values, of_factors

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState

NOTHING_LEFT = 1e-10
"""Share of the information about a combination of fixed effects that counts as none."""


@dataclass(frozen=True)
class DeletedMarginal:
    """A model with correlated residuals that can be fitted without some of its rows.

    Parameters
    ----------
    state
        The fit.
    """

    state: MarginalState

    @property
    def units(self) -> dict[str, Units]:
        """Subjects, and levels of grouping factors where there are random effects."""
        design = self.state.design
        out = units_of_factors(design)
        if design.residual is not None:
            rows = design.residual
            out.setdefault(rows.term.subject, Units(rows.subjects, rows.subject))
        return out

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters of the covariance."""
        return [name for name, _ in _covariance_parameters(self.state)]

    @property
    def n_at_once(self) -> int:
        """One: what a refit takes is mostly not the engine's."""
        return 1

    def refit(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the estimates from the rows that stay."""
        state, design = self.state, take_rows(self.state.design, rest)
        alone = left_alone(state.design, design)
        if alone is not None:
            raise InferenceError(alone)
        problem = state.problem.with_design(design)
        if tuple(problem.model.kept) != state.kept:
            raise InferenceError(LOST)
        without = fit_on_residuals(problem, reml=state.reml, control=state.control)
        if not without.optimum.converged:
            raise InferenceError(STOPPED_EARLY)
        away = state.fixed_root.distance_to(without.fixed_root) / state.sigma
        values = dict(_covariance_parameters(without))
        return Estimates(
            without.beta,
            np.sqrt(np.diag(without.cov_beta)),
            away,
            np.array([values.get(name, np.nan) for name in self.parameters]),
        )

    def step(self, rest: npt.NDArray[np.intp]) -> Estimates:
        """Return the fixed effects from the rows that stay, V held."""
        out = np.setdiff1d(np.arange(self.state.design.n_obs), rest)
        whole = len(out) == np.isin(self._block, self._block[out]).sum()
        away = self._without_blocks(out) if whole else self._without_rows(out)
        return Estimates(self._beta(away), np.sqrt(np.diag(self.state.cov_beta)), away, np.zeros(0))

    def steps_of_rows(self) -> tuple[Floats, Floats]:
        """Return fixed effects and their distance without each row, V held."""
        left = self._inverse.diagonal()
        own = left - np.sum(self._weighted_columns**2, axis=1)
        own = np.where(own > NOTHING_LEFT * left, own, np.nan)
        away = self._weighted_columns * (self._weighted / own)[:, None]
        return self._beta(away), away

    def _beta(self, away: Floats) -> Floats:
        """Return the fixed effects that are so far from the fit's."""
        state = self.state
        return np.asarray(state.beta - state.sigma * away @ state.fixed_root.whiten(np.eye(state.n_fixed)).T)

    def _without_blocks(self, out: npt.NDArray[np.intp]) -> Floats:
        share = self._columns[out].T @ self._weighted_columns[out]
        left = np.eye(len(share)) - 0.5 * (share + share.T)
        _check_left(left)
        return np.asarray(np.linalg.solve(left, self._weighted_columns[out].T @ self._residual[out]))

    def _without_rows(self, out: npt.NDArray[np.intp]) -> Floats:
        inverse = self._inverse[out][:, out].toarray()
        root = np.linalg.cholesky(inverse)
        G = np.linalg.solve(root, self._weighted_columns[out])
        left = np.eye(G.shape[1]) - G.T @ G
        _check_left(left)
        # (A - G G')^-1 = A^-1 + A^-1 G (I - G'A^-1 G)^-1 G'A^-1
        return np.asarray(np.linalg.solve(left, G.T @ np.linalg.solve(root, self._weighted[out])))

    @cached_property
    def _block(self) -> npt.NDArray[np.intp]:
        return self.state.problem.cluster

    @cached_property
    def _columns(self) -> Floats:
        """X K, (n_obs, n_fixed)."""
        state = self.state
        return np.asarray(state.sigma * state.fixed_root.whiten(state.design.X[:, list(state.kept)]))

    @cached_property
    def _residual(self) -> Floats:
        return self.state.design.y - marginal_fitted(self.state)

    @cached_property
    def _inverse(self) -> sparse.csr_array:
        """V^-1, (n_obs, n_obs)."""
        rows, columns, values = [], [], []
        for some in by_pattern(self.state):
            n, m = some.rows.shape
            inverse = np.linalg.inv(some.covariance) * some.roots[:, :, None] * some.roots[:, None, :]
            rows.append(np.broadcast_to(some.rows[:, :, None], (n, m, m)).ravel())
            columns.append(np.broadcast_to(some.rows[:, None, :], (n, m, m)).ravel())
            values.append(inverse.ravel())
        n_obs, where = self.state.design.n_obs, (np.concatenate(rows), np.concatenate(columns))
        return sparse.csr_array((np.concatenate(values), where), shape=(n_obs, n_obs))

    @cached_property
    def _weighted_columns(self) -> Floats:
        return np.asarray(self._inverse @ self._columns)

    @cached_property
    def _weighted(self) -> Floats:
        return np.asarray(self._inverse @ self._residual)


def _check_left(left: Floats) -> None:
    """Refuse where nothing is left of the information about a combination of the fixed effects."""
    if np.linalg.eigvalsh(left)[0] < NOTHING_LEFT:
        raise InferenceError(LOST)


def _covariance_parameters(state: MarginalState) -> list[tuple[str, float]]:
    """Return names and values of the parameters of the covariance, those of random effects first."""
    if not isinstance(state, CorrelatedState):
        own = StructureMap(state)
        return list(zip((p.name for p in own.parameters), own.values_at(state.point).tolist(), strict=True))
    scale = state.problem.model.scale
    residual = [(p.name, p.value * (scale if p.is_sd else 1.0)) for group in state.parameters for p in group]
    parameters = list(of_factors(state.design.factors))
    if not parameters:
        return residual
    values = natural_values(parameters, [S[None] for S in state.effects_covariance], np.array([state.sigma]))[0]
    return [*zip((p.name for p in parameters), values.tolist(), strict=True), *residual]
