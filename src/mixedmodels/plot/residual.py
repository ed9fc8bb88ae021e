"""Residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import CONTRAST, GUIDE, panels, scatter
from mixedmodels.plot.labels import name
from mixedmodels.plot.smoother import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.records import FixedFit, HoldsFixed

KIND_LABELS = {
    "conditional": "Residual",
    "marginal": "Marginal residual",
    "pearson": "Pearson residual",
    "standardized": "Standardized residual",
    "normalized": "Normalized residual",
    "quantile": "Quantile residual",
    "deviance": "Deviance residual",
    "probability": "Probability residual",
    "surrogate": "Surrogate residual",
}


@draws_a_fit
def residual(fit: HoldsFixed, kind: str | None = None, *, ax: Axes | None = None) -> Any:
    """Draw residuals against conditional fitted values, with a smooth curve.

    Fitted values of a generalised model are means, of ordered categories the linear predictor. Residuals that are drawn
    at random, such as quantile residuals of counts, are the same in every drawing.

    Parameters
    ----------
    fit
        The fit.
    kind
        Kind of residuals, as for ``fit.residuals``; None: ``"pearson"`` of linear models, ``"normalized"`` where
        residuals are correlated, ``"quantile"`` of generalised models, which are normal if these are right.
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
    view = row_view(state)
    kind = view.shown if kind is None else kind
    x, y = view.fitted, view.residuals(kind)
    [on] = panels(ax, ["residuals"])
    scatter(on, x, y)
    on.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
    on.plot(*smooth(x, y), color=CONTRAST, linewidth=1.8)
    on.set_xlabel(fitted_label(state))
    on.set_ylabel(KIND_LABELS.get(kind, "Residual"))
    return on


def fitted_label(state: FixedFit) -> str:
    """Return what fitted values are called below an axis."""
    what = "Linear predictor of" if state.design.categories else "Fitted"
    return name(f"{what} {state.design.response_name}")
