"""Size of the residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, GUIDE, panels, scatter
from mixedmodels.plot.labels import name
from mixedmodels.plot.smoother import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.records import Fitted

EXPECTED = 0.8221789586623885
"""E sqrt(abs(Z)) of a standard normal Z: 2^(1/4) Gamma(3/4) / sqrt(pi)."""


@draws_a_fit
def scale_location(fit: Fitted, *, ax: Axes | None = None) -> Any:
    """Draw the square root of the absolute standardized residuals against conditional fitted values.

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
    x, y = conditional_fitted(state), np.sqrt(np.abs(residuals(state, "standardized")))
    [on] = panels(ax, ["scale"])
    scatter(on, x, y)
    on.axhline(EXPECTED, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(*smooth(x, y), color=CONTRAST, linewidth=1.8)
    on.set_ylim(bottom=0)
    on.set_xlabel(name(f"Fitted {state.design.response_name}"))
    on.set_ylabel(r"$\sqrt{|\mathrm{standardized\ residual}|}$")
    return on
