"""Replicates of a bootstrap as histograms, with the estimate and an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.plot.asked import draws_a_bootstrap, read_texts
from mixedmodels.plot.canvas import CONTRAST, GUIDE, MODEL, as_drawn, count_of, panels, say_instead
from mixedmodels.plot.labels import name
from mixedmodels.plot.selection import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.bootstrap import Bootstrap

MAX_BINS = 60
"""Bars of a histogram, at most."""


@draws_a_bootstrap
def bootstrap(
    draws: Bootstrap,
    which: str | Sequence[str] | None = None,
    *,
    kind: str = "percentile",
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw the replicates of each statistic of a bootstrap, the estimate, and the limits of an interval.

    Parameters
    ----------
    draws
        What ``fit.bootstrap()`` returned.
    which
        Statistics to show, a panel each; None for all.
    kind, level
        Of the interval, as for ``Bootstrap.conf_int``.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them, one a statistic.

    Raises
    ------
    InferenceError
        If there is no such statistic, or ``kind`` or ``level`` is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (1 | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.bootstrap(fit.bootstrap(50, seed=1, progress=False), "Days").get_xlabel()
    'Days'
    """
    known = list(draws.replicates.columns)
    shown = known if which is None else read_texts("which", which)
    if not shown:
        raise InferenceError(f"which is empty; name some of {', '.join(known)}.")
    for one in shown:
        choose("statistic", one, known)
    limits = draws.conf_int(kind, level)
    axes = panels(ax, shown, size=(3.8, 3.0))
    for one, on in zip(shown, axes, strict=True):
        _draw(on, draws.replicates[one].dropna().to_numpy(dtype=np.float64))
        for limit in limits.loc[one].to_numpy(dtype=np.float64):
            on.axvline(float(limit), color=CONTRAST, linewidth=1.2, linestyle="--")
        on.axvline(draws.estimates[one], color="black", linewidth=1.5)
        on.set_xlabel(name(one))
        on.set_yticks([])
    axes[0].set_title(_told(draws), fontsize="small", loc="left")
    return as_drawn(axes)


def _draw(ax: Axes, values: Floats) -> None:
    if len(values) == 0:
        say_instead(ax, "every refit failed")
        return
    if np.ptp(values) <= 1e-12 * abs(values).max():
        ax.axvline(values[0], color=GUIDE, linewidth=6)
        return
    edges = np.histogram_bin_edges(values, bins="fd")
    n_bins = min(max(len(edges) - 1, 5), MAX_BINS)
    ax.hist(values, bins=n_bins, color=MODEL, alpha=0.45, linewidth=0)


def _told(draws: Bootstrap) -> str:
    """Return how many replicates there are, and how many failed."""
    n = len(draws.replicates)
    asked = f" of {draws.n_asked:,}" if n < draws.n_asked else ""
    failed = f", {draws.n_failed:,} failed" if draws.n_failed else ""
    return f"{count_of(n, 'replicate')}{asked}{failed}"
