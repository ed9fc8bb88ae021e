"""Rows by subject, where residuals are correlated: their covariances, what is left of them, and draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState


@dataclass(frozen=True)
class Subjects:
    """Subjects with the same visits and the same covariance but for weights.

    Attributes
    ----------
    rows
        Positions among the rows of the fit, (n_subjects, n_visits).
    covariance
        Of the residuals of weight one, (n_visits, n_visits).
    roots
        Roots of the weights, (n_subjects, n_visits).
    """

    rows: npt.NDArray[np.int64]
    covariance: Floats
    roots: Floats

    @property
    def factor(self) -> Floats:
        """L, lower triangular, with L L' the covariance of residuals of weight one."""
        return np.asarray(np.linalg.cholesky(self.covariance))


def by_pattern(state: MarginalState, *, of_residuals: bool = False) -> Iterator[Subjects]:
    """Yield all subjects, or blocks of independent rows, those with the same covariance together.

    Parameters
    ----------
    state
        The fit.
    of_residuals
        Take the covariance of the residuals alone where there are random effects beside them.
    """
    weights, variance = state.design.weights, state.problem.model.scale**2
    for rows, V in state.problem.each(state.point, of_residuals=of_residuals):
        roots = np.ones(rows.shape) if weights is None else np.sqrt(weights[rows])
        yield Subjects(rows, variance * V, roots)


def normalized(state: MarginalState, residual: Floats, *, of_residuals: bool = True) -> Floats:
    """Return L^-1 r by subject, V = L L', (n_obs,): uncorrelated and of variance one but for the estimation of beta.

    Parameters
    ----------
    state
        The fit.
    residual
        Response less the fixed part and what random effects add, (n_obs,).
    of_residuals
        False takes random effects as a part of V: ``residual`` is then the response less the fixed part alone.
    """
    out = np.empty(len(residual))
    for some in by_pattern(state, of_residuals=of_residuals):
        weighted = some.roots * residual[some.rows]
        out[some.rows] = np.linalg.solve(some.factor, weighted.T).T
    return out


def draw_residuals(state: MarginalState, n: int, random: np.random.Generator) -> Floats:
    """Return n draws of the residuals and of what random effects add, (n_obs, n)."""
    out = np.empty((state.design.n_obs, n))
    effects = state.problem.draw_effects(state.point, n, random)
    for some in by_pattern(state, of_residuals=effects is not None):
        white = random.standard_normal((*some.rows.shape, n))
        out[some.rows] = np.einsum("vw,swn->svn", some.factor, white) / some.roots[:, :, None]
    return out if effects is None else out + effects


def sds(state: MarginalState) -> Floats:
    """Return the standard deviation of each row's residual, weights counted, (n_obs,)."""
    out = np.empty(state.design.n_obs)
    for some in by_pattern(state, of_residuals=True):
        out[some.rows] = np.sqrt(np.diag(some.covariance)) / some.roots
    return out
