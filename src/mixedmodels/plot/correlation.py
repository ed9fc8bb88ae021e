"""Correlations of residuals within subjects, as a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.covariance.residual import correlations
from mixedmodels.plot.asked import draws_correlated_residuals
from mixedmodels.plot.canvas import load, panels
from mixedmodels.plot.labels import level_names, name
from mixedmodels.plot.selection import name_categories

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalFitted, MarginalState

MAX_WRITTEN = 12
"""Visits whose correlations are written into the map."""

DARK = 0.6
"""Correlation, in size, on whose colour letters are white."""


@draws_correlated_residuals
def correlation(fit: MarginalFitted, *, ax: Axes | Iterable[Axes] | None = None) -> Any:
    """Draw the correlations of a subject's residuals as a map, with the standard deviations on the diagonal.

    Parameters
    ----------
    fit
        A fit of ``mmrm``.
    ax
        Axes to draw on, one a group of subjects with a covariance of its own; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a group.

    Raises
    ------
    InferenceError
        If the fit has no correlated residuals.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> data = mm.load_dataset("Orthodont")
    >>> data["visit"] = data["age"].astype("category")
    >>> fit = mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", data)
    >>> mm.plot.correlation(fit).get_xlabel()
    'visit'
    """
    state = fit.state
    rows = state.problem.rows
    titles = (
        ["correlations"] if rows.term.group is None else [f"{rows.term.group} = {g}" for g in level_names(rows.groups)]
    )
    size = float(np.clip(0.7 * len(rows.visits) + 1.6, 3.6, 7.0))
    axes = panels(ax, titles, size=(size + 0.8, size))
    images = {}
    for g, on in enumerate(axes):
        images[on.figure] = _draw(on, state, state.residual_covariance[g])
        if rows.term.group is not None:
            on.set_title(name(titles[g]), fontsize="small")
    for figure, image in images.items():  # axes that are given may be of several
        figure.colorbar(image, ax=[on for on in axes if on.figure is figure], label="Correlation", shrink=0.8)
    drawn = np.empty(len(axes), dtype=object)
    drawn[:] = axes
    return axes[0] if len(axes) == 1 else drawn


def _draw(ax: Axes, state: MarginalState, Sigma: Floats) -> Any:
    visits = state.problem.rows.visits.labels
    n, sds, R = len(visits), np.sqrt(np.diag(Sigma)), correlations(Sigma)
    image = ax.imshow(np.where(np.eye(n, dtype=bool), np.nan, R), cmap=load("cm").RdBu_r, vmin=-1, vmax=1)
    if n <= MAX_WRITTEN:
        letters = float(np.clip(72 / n, 6, 9))
        for i, j in np.ndindex(n, n):
            text = f"sd {sds[i]:.3g}" if i == j else f"{R[i, j]:.2f}"
            color = "white" if i != j and abs(R[i, j]) > DARK else "black"
            ax.text(j, i, text, ha="center", va="center", color=color, fontsize=letters)
    name_categories(ax, visits)
    ax.set_yticks(ax.get_xticks(), [visits[int(place)] for place in ax.get_xticks()], fontsize="small")
    ax.set_xlabel(name(", ".join(state.problem.rows.term.visits)))
    ax.set_ylim(n - 0.5, -0.5)
    return image
