"""Correlations of residuals within subjects by lag: what the data show, and what the covariance says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.lags import autocorrelations
from mixedmodels.plot.asked import draws_correlated_residuals
from mixedmodels.plot.canvas import CONTRAST, DATA, GUIDE, MODEL, as_drawn, load, panels, say_instead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from mixedmodels.fit.marginal_fit import MarginalFitted


QUANTILE = 1.959963984540054


@draws_correlated_residuals
def acf(fit: MarginalFitted, *, ax: Iterable[Axes] | None = None) -> Any:
    """Draw the correlations of residuals within subjects by lag, before and after the covariance is taken out.

    Left, Pearson residuals with the mean correlation of the model over the same pairs; right, normalized residuals,
    which have no correlation if the structure is right: the band holds 95 % of what chance makes
    (Pinheiro and Bates 2000, section 5.3.1).

    Parameters
    ----------
    fit
        A fit of ``mmrm``.
    ax
        Two axes to draw on; None for a new figure.

    Returns
    -------
    array of two matplotlib Axes

    Raises
    ------
    InferenceError
        If the fit has no correlated residuals.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> data = mm.load_dataset("Orthodont")
    >>> data["visit"] = data["age"].astype("category")
    >>> fit = mm.mmrm("distance ~ visit * Sex + ar1(visit | Subject)", data)
    >>> [axes.get_title() for axes in mm.plot.acf(fit)]
    ['Pearson residuals', 'Normalized residuals']
    """
    found = autocorrelations(fit.state)
    axes = panels(ax, ["Pearson residuals", "normalized residuals"], size=(4.2, 3.4))
    for on, title in zip(axes, ("Pearson residuals", "Normalized residuals"), strict=True):
        on.set_title(title, fontsize="medium")
        on.set_xlabel("Visits apart")
        on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
        on.set_ylabel("Autocorrelation")
    if not len(found.lag):
        for on in axes:
            say_instead(on, "no subject has two visits")
        return as_drawn(axes)
    before, after = axes
    before.vlines(found.lag, 0, found.pearson, color=DATA, linewidth=2)
    before.plot(found.lag, found.pearson, "o", color=DATA, label="data")
    before.plot(found.lag, found.fitted, "_", color=CONTRAST, markersize=18, markeredgewidth=2.5, label="model")
    before.legend(frameon=False, fontsize="small")
    reach = QUANTILE / np.sqrt(found.n_pairs)
    after.fill_between(*_stairs(found.lag, reach), color=MODEL, alpha=0.15, linewidth=0)
    after.vlines(found.lag, 0, found.normalized, color=DATA, linewidth=2)
    after.plot(found.lag, found.normalized, "o", color=DATA)
    most = max(0.2, 1.15 * float(np.abs(np.r_[found.normalized, reach]).max()))
    after.set_ylim(-most, most)
    for on in axes:
        on.xaxis.set_major_locator(load("ticker").MaxNLocator(integer=True))
        on.set_xlim(0.4, found.lag[-1] + 0.6)
    return as_drawn(axes)


def _stairs(lag: Any, reach: Any) -> tuple[Any, Any, Any]:
    """Return x, lower and upper edge of a band that is as wide as its lag's."""
    x = np.column_stack([lag - 0.5, lag + 0.5]).ravel()
    edge = np.repeat(reach, 2)
    return x, -edge, edge
