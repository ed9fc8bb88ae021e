"""Four residual plots on one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import as_drawn, panels
from mixedmodels.plot.qq import draw_mode_quantiles, draw_residual_quantiles
from mixedmodels.plot.residual import residual
from mixedmodels.plot.scale_location import scale_location
from mixedmodels.plot.selection import find_effects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from mixedmodels.fit.records import HoldsFixed

NAMES = ("residuals", "scale", "residual quantiles", "random-effect quantiles")


@draws_a_fit
def panel(fit: HoldsFixed, *, ax: Iterable[Axes] | None = None) -> Any:
    """Draw residuals and their size against fitted values, and normal quantiles of residuals and of a random effect.

    The random effect is the first of the factor with most levels; ``mixedmodels.plot.qq`` draws them all. A fit without
    random effects has three panels. Which residuals are drawn is said of ``residual`` and ``qq``.

    Parameters
    ----------
    fit
        The fit.
    ax
        Four axes to draw on, three if there are no random effects; None for a new figure.

    Returns
    -------
    array of matplotlib Axes
    """
    factors = fit.state.design.factors
    axes = panels(ax, NAMES if factors else NAMES[:3], size=(4.6, 3.7), n_columns=2 if factors else 3)
    residual(fit, ax=axes[0])
    scale_location(fit, ax=axes[1])
    draw_residual_quantiles(axes[2], fit.state)
    if factors:
        draw_mode_quantiles(axes[3], fit.state, find_effects(fit.state.design, None, None)[0])  # type: ignore[arg-type]
    return as_drawn(axes)
