"""Size of the residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, GUIDE, panels, scatter
from mixedmodels.plot.residual import KIND_LABELS, fitted_label
from mixedmodels.plot.smoother import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.records import HoldsFixed

EXPECTED = 0.8221789586623885
"""E sqrt(abs(Z)) of a standard normal Z: 2^(1/4) Gamma(3/4) / sqrt(pi)."""


@draws_a_fit
def scale_location(fit: HoldsFixed, *, ax: Axes | None = None) -> Any:
    """Draw the square root of the absolute standardized residuals against conditional fitted values.

    Residuals are normalized ones where they are correlated, quantile residuals of generalised models.

    A rising smooth curve means a variance that grows with the mean (Cleveland 1993, section 2.7). The grey line is what
    normal residuals of constant variance average to.

    Parameters
    ----------
    fit
        The fit.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes
    """
    state = fit.state
    view = row_view(state)
    x, y = view.fitted, np.sqrt(np.abs(view.residuals(view.standard)))
    [on] = panels(ax, ["scale"])
    scatter(on, x, y)
    on.axhline(EXPECTED, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(*smooth(x, y), color=CONTRAST, linewidth=1.8)
    on.set_ylim(bottom=0)
    on.set_xlabel(fitted_label(state))
    label = KIND_LABELS[view.standard].lower().replace(" ", r"\ ")
    on.set_ylabel(rf"$\sqrt{{|\mathrm{{{label}}}|}}$")
    return on
