"""Coefficients of one regression a level, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.inference.level_fits import LevelFits
from mixedmodels.plot.canvas import DATA, GUIDE, MAX_LABELS, as_drawn, count_of, label_levels, panels, say_instead
from mixedmodels.plot.caterpillar import height_for
from mixedmodels.plot.labels import name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from matplotlib.axes import Axes


def level_intervals(
    fits: LevelFits,
    which: str | Iterable[str] | None = None,
    *,
    pool: bool = True,
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw the coefficients of each level with their intervals, levels in the order of the data; a line at their mean.

    Where the intervals of a coefficient all hold one value, the levels need no effect on it; where they do not, it is
    one to be random.

    Parameters
    ----------
    fits
        As ``fit_each`` returns them.
    which
        Names of coefficients, a panel each; None for all.
    pool, level
        As for ``coef_table``.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a coefficient.

    Raises
    ------
    InferenceError
        If there is no such coefficient, or an argument is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> each = mm.fit_each("Reaction ~ Days | Subject", mm.load_dataset("sleepstudy"))
    >>> mm.plot.level_intervals(each, "Days").get_xlabel()
    'Days'
    """
    if not isinstance(fits, LevelFits):
        raise InferenceError(f"level_intervals draws what fit_each returns, not a {type(fits).__name__!r}.")
    table = fits.coef_table(level, pool, which)
    names = list(dict.fromkeys(table.index.get_level_values("term")))
    axes = panels(ax, names, size=(4.2, height_for(len(fits.levels))))
    for each, on in zip(names, axes, strict=True):
        rows = table.loc[table.index.get_level_values("term") == each]
        _draw(on, fits, each, rows.droplevel("term"))
    return as_drawn(axes)


def _draw(ax: Axes, fits: LevelFits, coefficient: str, rows: pd.DataFrame) -> None:
    n = len(rows)
    few = n <= MAX_LABELS
    at = np.arange(n, dtype=np.float64)[::-1]
    estimate = rows["estimate"].to_numpy()
    ax.set_xlabel(name(coefficient))
    if np.isnan(estimate).all():
        say_instead(ax, "not determined in any level")
        return
    ax.axvline(float(np.nanmean(estimate)), color=GUIDE, linewidth=0.8, zorder=0)
    lines = ax.hlines(at, rows["ci_lower"], rows["ci_upper"], color=DATA, linewidth=1.2 if few else 0.5)
    if not few:
        lines.set(alpha=float(np.clip(300 / n, 0.12, 0.5)), rasterized=True)
    ax.plot(estimate, at, "o", color="black", markersize=4 if few else 1.5)
    ax.set_ylim(-0.7 - 0.01 * n, n - 0.3 + 0.01 * n)
    if few:
        label_levels(ax, at[::-1], rows.index[::-1])
    else:
        ax.set_yticks([])
    ax.set_ylabel(name(fits.group if few else f"{fits.group}: {count_of(n, 'level')}"))
