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


def by_pattern(state: MarginalState) -> Iterator[Subjects]:
    """Yield all subjects, those with the same visits together."""
    Sigma, weights = state.residual_covariance, state.design.weights
    for group, visits, rows in state.problem.patterns.each():
        roots = np.ones(rows.shape) if weights is None else np.sqrt(weights[rows])
        yield Subjects(rows, Sigma[group][np.ix_(visits, visits)], roots)


def normalized(state: MarginalState, residual: Floats) -> Floats:
    """Return L^-1 r by subject, V = L L', (n_obs,): uncorrelated and of variance one but for the estimation of beta.

    Parameters
    ----------
    state
        The fit.
    residual
        Response less the fixed part, (n_obs,).
    """
    out = np.empty(len(residual))
    for some in by_pattern(state):
        weighted = some.roots * residual[some.rows]
        out[some.rows] = np.linalg.solve(some.factor, weighted.T).T
    return out


def draw_residuals(state: MarginalState, n: int, random: np.random.Generator) -> Floats:
    """Return n draws of the residuals, (n_obs, n)."""
    out = np.empty((state.design.n_obs, n))
    for some in by_pattern(state):
        white = random.standard_normal((*some.rows.shape, n))
        out[some.rows] = np.einsum("vw,swn->svn", some.factor, white) / some.roots[:, :, None]
    return out


def sds(state: MarginalState) -> Floats:
    """Return the standard deviation of each row's residual, weights counted, (n_obs,)."""
    rows = state.problem.rows
    variances = np.diagonal(state.residual_covariance, axis1=1, axis2=2)[rows.group, rows.visit]
    weights = state.design.weights
    return np.asarray(np.sqrt(variances if weights is None else variances / weights))
