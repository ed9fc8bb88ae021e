"""Correlations of residuals within subjects by how many visits they are apart (Pinheiro and Bates 2000, section 5.3.1).

The autocorrelation at lag l is the mean product of residuals of one subject that are l places apart in the order of the
visits, over the mean square. Normalized residuals have none but for chance if the covariance is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.residual import correlations
from mixedmodels.predict.marginal import marginal_residuals

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.design.residual_rows import ResidualRows
    from mixedmodels.fit.marginal_fit import MarginalState


@dataclass(frozen=True)
class Lags:
    """Autocorrelations, one a lag.

    Attributes
    ----------
    lag
        Places in the order of the visits, 1, 2, ...; (n_lags,).
    pearson, normalized
        Of these residuals.
    fitted
        Mean correlation of the model over the same pairs.
    n_pairs
        Pairs of rows.
    """

    lag: npt.NDArray[np.int64]
    pearson: Floats
    normalized: Floats
    fitted: Floats
    n_pairs: npt.NDArray[np.int64]


def autocorrelations(state: MarginalState) -> Lags:
    """Return the autocorrelations of a fit at all lags that a subject has.

    Parameters
    ----------
    state
        The fit.
    """
    rows, R = state.problem.rows, correlations(state.residual_covariance)
    seen = _by_visit(rows, np.ones(state.design.n_obs)) > 0
    group = np.zeros(rows.n_subjects, dtype=np.intp)
    group[rows.subject] = rows.group
    lag, counts = pairs_by_lag(rows)
    fitted = np.zeros(len(lag))
    for k, apart in enumerate(lag):
        both = seen[:, apart:] & seen[:, :-apart]
        fitted[k] = np.mean(np.diagonal(R, apart, axis1=1, axis2=2)[group][both])
    pearson, normalized = (autocorrelation(rows, marginal_residuals(state, k)) for k in ("pearson", "normalized"))
    return Lags(lag, pearson, normalized, fitted, counts)


def pairs_by_lag(rows: ResidualRows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the lags that a subject has, (n_lags,), and how many pairs of rows are so far apart.

    Parameters
    ----------
    rows
        Rows by subject and visit.
    """
    seen = _by_visit(rows, np.ones(len(rows.visit))) > 0
    lag = np.arange(1, len(rows.visits))
    counts = np.array([(seen[:, apart:] & seen[:, :-apart]).sum() for apart in lag], dtype=np.int64)
    return lag[counts > 0], counts[counts > 0]


def autocorrelation(rows: ResidualRows, residuals: Floats) -> Floats:
    """Return the autocorrelations of residuals at the lags of ``pairs_by_lag``, (n_lags,).

    Parameters
    ----------
    rows
        Rows by subject and visit.
    residuals
        (n_obs,).
    """
    lag, counts = pairs_by_lag(rows)
    values, square = _by_visit(rows, residuals), np.mean(residuals**2)
    return np.array([np.sum(values[:, a:] * values[:, :-a]) for a in lag]) / counts / square


def _by_visit(rows: ResidualRows, values: Floats) -> Floats:
    """Return values of rows by subject and visit, zero where there is no row, (n_subjects, n_visits)."""
    out = np.zeros((rows.n_subjects, len(rows.visits)))
    out[rows.subject, rows.visit] = values
    return out
