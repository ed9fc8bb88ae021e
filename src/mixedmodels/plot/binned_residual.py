"""Average residuals of rows with like means, for responses that say little one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.binned import bin_residuals
from mixedmodels.plot.asked import draws_a_generalized_fit
from mixedmodels.plot.canvas import DATA, GUIDE, MODEL, panels
from mixedmodels.plot.residual import fitted_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.generalized import GlmmFitted


@draws_a_generalized_fit
def binned_residual(fit: GlmmFitted, n_bins: int | None = None, *, ax: Axes | None = None) -> Any:
    """Draw average residuals of rows with like fitted means, within bounds that hold 95 % of what chance makes.

    Residuals of yes or no lie on two curves and show nothing one by one; their averages do (Gelman and Hill 2007,
    section 5.6). The bounds are 1.96 standard errors by the model's own variances, given the effects
    of the levels. Effects of levels with few rows are drawn towards zero, so that averages rise with the fitted means,
    from below zero on the left to above it on the right, even if the model is right.

    Parameters
    ----------
    fit
        A fit of ``glmer``.
    n_bins
        Bins of as many rows each; None: the root of the number of rows, ten at least where there are twenty rows.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InferenceError
        If the responses are ordered categories, or the number of bins is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> herds = mm.load_dataset("cbpp")
    >>> sick = "cbind(incidence, size - incidence)"
    >>> fit = mm.glmer(f"{sick} ~ period + (1 | herd)", herds, family="binomial")
    >>> mm.plot.binned_residual(fit).get_ylabel()
    'Average residual'
    """
    bins = bin_residuals(fit.state, n_bins)
    [on] = panels(ax, ["binned residuals"])
    on.fill_between(bins.fitted, -bins.bound, bins.bound, color=MODEL, alpha=0.15, linewidth=0)
    on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(bins.fitted, bins.residual, "o", color=DATA, markersize=4)
    most = 1.15 * float(np.abs(np.r_[bins.residual, bins.bound]).max())
    on.set_ylim(-most, most)
    on.set_xlabel(fitted_label(fit.state))
    on.set_ylabel("Average residual")
    return on
