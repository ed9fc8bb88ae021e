"""Residuals averaged over rows with like fitted means (Gelman and Hill 2007, section 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

QUANTILE = 1.959963984540054
FEWEST = 10
"""Bins at least, where rows allow two each."""


@dataclass(frozen=True)
class Bins:
    """Averages of runs of rows in the order of their fitted means, (n_bins,) each.

    Attributes
    ----------
    fitted, residual
        Averages of means, and of responses less their means; of proportions where there are trials.
    bound
        What 95 % of average residuals lie within, on both sides of zero, if the model is right.
    n
        Rows of each.
    """

    fitted: Floats
    residual: Floats
    bound: Floats
    n: npt.NDArray[np.intp]


def bin_residuals(state: GlmmState, n_bins: int | None = None) -> Bins:
    """Return residuals averaged over rows with like fitted means.

    Parameters
    ----------
    state
        The fit.
    n_bins
        Bins of as many rows each; None: the root of the number of rows, ten at least where there are twenty rows.

    Raises
    ------
    InferenceError
        If the responses are ordered categories, or the number of bins is not allowed.
    """
    n, view = state.design.n_obs, row_view(state)
    if n_bins is None:
        n_bins = max(int(np.sqrt(n)), min(FEWEST, n // 2), 1)
    if not isinstance(n_bins, Integral) or isinstance(n_bins, bool) or not 1 <= n_bins <= n:
        raise InferenceError(f"n_bins is {n_bins!r}; it must be a whole number from 1 to the number of rows, {n}.")
    # view.response refuses ordered categories
    used = np.flatnonzero(np.isfinite(view.response))
    fitted, residual, variance = view.fitted, view.residuals(), _variance(state)
    order = used[np.argsort(fitted[used], kind="stable")]
    parts = [part for part in np.array_split(order, int(n_bins)) if len(part)]
    means = [(fitted[part].mean(), residual[part].mean()) for part in parts]
    bound = [QUANTILE * np.sqrt(variance[part].sum()) / len(part) for part in parts]
    return Bins(*np.array(means).T, np.array(bound), np.array([len(part) for part in parts]))


def _variance(state: GlmmState) -> Floats:
    """Return the variance of each row's response, of its proportion where there are trials, (n_obs,)."""
    trials, weights = state.trials, state.problem.observed.weights
    variance = state.fitted_family.variance_at(state.eta, trials, state.dispersion)
    if state.family.responses == "successes":
        variance = variance / np.where(trials > 0, trials, 1.0) ** 2
    return np.asarray(variance if weights is None else variance / weights)
