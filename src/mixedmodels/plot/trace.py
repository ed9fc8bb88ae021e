"""How the optimiser came to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, MODEL, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.records import Fitted


@draws_a_fit
def trace(fit: Fitted, *, ax: Axes | None = None) -> Any:
    """Draw what the criterion still had to fall, and the largest element of its gradient, at each iteration.

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
    optimum = fit.state.optimum
    deviance, gradient_norm = optimum.steps[:, 0], optimum.steps[:, 1]
    excess = deviance - optimum.deviance
    excess = np.where(excess > np.spacing(abs(optimum.deviance)), excess, np.nan)
    name = "REML criterion" if fit.state.reml else "Deviance"
    [on] = panels(ax, ["trace"])
    on.semilogy(excess, "o-", color=MODEL, markersize=4, label=f"{name} above its minimum")
    on.semilogy(gradient_norm, "s-", color=CONTRAST, markersize=4, label="Largest scaled gradient")
    on.locator_params(axis="x", integer=True)
    on.set_xlabel("Iteration")
    on.legend(frameon=False, fontsize="small")
    return on
