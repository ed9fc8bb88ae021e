"""How residuals within subjects differ by how far they are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.variogram import semivariances
from mixedmodels.plot.asked import draws_correlated_residuals
from mixedmodels.plot.canvas import CONTRAST, GUIDE, panels, say_below, say_instead, scatter
from mixedmodels.plot.labels import name
from mixedmodels.plot.smoother import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.marginal_fit import MarginalFitted

IN_VIEW = 0.95
"""Share of the semivariances that the axes hold at least; the largest leave no room for the curve."""


@draws_correlated_residuals
def variogram(fit: MarginalFitted, *, ax: Axes | None = None) -> Any:
    """Draw semivariances of normalized residuals against the distance of two rows of a subject, with a smooth curve.

    The curve lies at one, the grey line, if the covariance is right: below it near zero where close rows are still
    alike, and rising (Pinheiro and Bates 2000, section 5.3.2). For structures over times or places;
    those over visits have ``acf``.

    Parameters
    ----------
    fit
        A fit of ``mmrm``, or of ``lmer`` with ``residual=``.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InferenceError
        If the residuals have no structure over times or places.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.mmrm("distance ~ age * Sex + car1(age | Subject)", mm.load_dataset("Orthodont"))
    >>> mm.plot.variogram(fit).get_xlabel()
    'Distance in age'
    """
    found = semivariances(fit.state)
    [on] = panels(ax, ["variogram"])
    own = fit.state.design.residual
    assert own is not None
    on.set_xlabel(name(f"Distance in {', '.join(own.term.visits)}"))
    on.set_ylabel("Semivariance of normalized residuals")
    if not len(found.distance):
        say_instead(on, "no subject has two rows")
        return on
    top = max(2.0, float(np.quantile(found.semivariance, IN_VIEW)))
    shown = found.semivariance <= top
    scatter(on, found.distance[shown], found.semivariance[shown])
    on.axhline(1, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(*smooth(found.distance, found.semivariance), color=CONTRAST, linewidth=1.8)
    on.set_ylim(0, 1.03 * top)
    above = int((~shown).sum())
    if above:
        say_below(on, f"{above:,} of {len(shown):,} pairs above")
    return on
