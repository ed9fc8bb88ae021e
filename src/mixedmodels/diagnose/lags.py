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
    V = len(rows.visits)
    seen = np.zeros((rows.n_subjects, V), dtype=bool)
    seen[rows.subject, rows.visit] = True
    group = np.zeros(rows.n_subjects, dtype=np.intp)
    group[rows.subject] = rows.group
    by_kind = {}
    for kind in ("pearson", "normalized"):
        by_kind[kind] = np.zeros((rows.n_subjects, V))
        by_kind[kind][rows.subject, rows.visit] = marginal_residuals(state, kind)
    lag = np.arange(1, V)
    counts = np.array([(seen[:, apart:] & seen[:, :-apart]).sum() for apart in lag], dtype=np.int64)
    lag, counts = lag[counts > 0], counts[counts > 0]

    def mean_product(values: Floats) -> Floats:
        square = np.sum(values**2) / state.design.n_obs
        return np.array([np.sum(values[:, a:] * values[:, :-a]) for a in lag]) / counts / square

    fitted = np.zeros(len(lag))
    for k, apart in enumerate(lag):
        both = seen[:, apart:] & seen[:, :-apart]
        fitted[k] = np.mean(np.diagonal(R, apart, axis1=1, axis2=2)[group][both])
    return Lags(lag, mean_product(by_kind["pearson"]), mean_product(by_kind["normalized"]), fitted, counts)
