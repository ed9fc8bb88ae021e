"""Semivariances of normalized residuals within subjects by how far they are apart (Pinheiro and Bates 2000, 5.3.2).

The semivariance of two residuals is half the square of their difference; of normalized residuals it is one on average
at every distance if the covariance is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.predict.marginal import marginal_residuals

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState

MAX_PAIRS = 200_000
"""Pairs that are formed; of more subjects, some drawn by lot, the same at every call."""


@dataclass(frozen=True)
class Semivariances:
    """One a pair of rows of a subject, (n_pairs,) each.

    Attributes
    ----------
    distance
        Between the two, in units of the times or places.
    semivariance
        Half the squared difference of their normalized residuals.
    n_left_out
        Pairs that were not formed because there are too many.
    """

    distance: Floats
    semivariance: Floats
    n_left_out: int


def semivariances(state: MarginalState) -> Semivariances:
    """Return the semivariances of all pairs within subjects.

    Parameters
    ----------
    state
        The fit.

    Raises
    ------
    InferenceError
        If the fit has no subjects whose rows have times or places.
    """
    own = state.design.residual
    if own is None or own.visits.positions is None:
        raise InferenceError(
            "A variogram needs residuals with a structure over times or places, such as car1(time | id). "
            "mixedmodels.plot.acf draws correlations by visits."
        )
    residual = marginal_residuals(state, "normalized")
    positions = own.visits.positions[own.visit]
    order = np.argsort(own.subject, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(own.subject, minlength=own.n_subjects))[:-1])
    sizes = np.array([len(rows) * (len(rows) - 1) // 2 for rows in members])
    chosen = np.arange(len(members))
    if sizes.sum() > MAX_PAIRS:
        chosen = np.random.default_rng(0).permutation(len(members))
        chosen = chosen[: max(1, int(np.searchsorted(np.cumsum(sizes[chosen]), MAX_PAIRS)))]
    one, two = (np.concatenate(side) for side in zip(*(_pairs(members[s]) for s in chosen), strict=True))
    distance = np.linalg.norm(positions[one] - positions[two], axis=1)
    return Semivariances(distance, 0.5 * (residual[one] - residual[two]) ** 2, int(sizes.sum()) - len(one))


def _pairs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.triu_indices(len(rows), 1)
    return rows[i], rows[j]
