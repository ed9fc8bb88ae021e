"""Residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, GUIDE, panels, scatter
from mixedmodels.plot.labels import name
from mixedmodels.plot.smoother import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.records import Fitted

KIND_LABELS = {
    "conditional": "Residual",
    "marginal": "Marginal residual",
    "pearson": "Pearson residual",
    "standardized": "Standardized residual",
}


@draws_a_fit
def residual(fit: Fitted, kind: str = "pearson", *, ax: Axes | None = None) -> Any:
    """Draw residuals against conditional fitted values, with a smooth curve.

    Parameters
    ----------
    fit
        The fit.
    kind
        Kind of residuals, as for ``fit.residuals``.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InferenceError
        If there are no such residuals.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.residual(fit).get_xlabel()
    'Fitted Reaction'
    """
    state = fit.state
    x, y = conditional_fitted(state), residuals(state, kind)
    [on] = panels(ax, ["residuals"])
    scatter(on, x, y)
    on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(*smooth(x, y), color=CONTRAST, linewidth=1.8)
    on.set_xlabel(name(f"Fitted {state.design.response_name}"))
    on.set_ylabel(KIND_LABELS[kind])
    return on
