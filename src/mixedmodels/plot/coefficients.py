"""Fixed effects of one or several models with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.degrees import tests_of
from mixedmodels.inference.link_scale import ratios_of
from mixedmodels.inference.wald import coef_table
from mixedmodels.plot.asked import draws_a_fit, read_texts
from mixedmodels.plot.canvas import GUIDE, MODEL, as_drawn, load, panels
from mixedmodels.plot.labels import SIDE, level_names, name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from mixedmodels.fit.records import HoldsFixed

ROOM = 0.6
"""Of the distance between two coefficients, what the models share."""


@draws_a_fit
def coefficients(
    *fits: HoldsFixed,
    names: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    ddf: str | None = None,
    level: float = 0.95,
    exponentiate: bool = False,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw fixed effects with their confidence intervals, those of several models beside each other (a forest plot).

    Parameters
    ----------
    fits
        One or several fits.
    names
        What the legend calls them; None: their formulas' numbers, ``(1)``, ``(2)``.
    terms
        Coefficients to show, in this order from the top; None: all but an intercept that is not alone.
    ddf, level
        As for ``mixedmodels.table``.
    exponentiate
        Draw ratios of odds or of means on an axis of equal ratios; all models must have a logit, or all a log link.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes.

    Raises
    ------
    InferenceError
        If there is no fit, there is no such coefficient, the number of names is wrong, coefficients are not logarithms
        of ratios, or ``ddf`` or ``level`` is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("score ~ Machine + (1 | Worker)", mm.load_dataset("Machines"))
    >>> [label.get_text() for label in mm.plot.coefficients(fit).get_yticklabels()]
    ['Machine[T.B]', 'Machine[T.C]']
    """
    if not fits:
        raise InferenceError("There is no fit to draw. Give at least one.")
    if names is not None and len(names := read_texts("names", names)) != len(fits):
        raise InferenceError(f"There are {len(names)} names and {len(fits)} fits. Give a name for each fit.")
    tests = tests_of(fits, ddf)
    ratios = set(ratios_of([fit.state for fit in fits], exponentiate))
    if len(ratios) > 1:
        raise InferenceError(
            "exponentiate draws ratios of odds, or of means, on one axis: all of these fits must have a logit link, or "
            "all a log link."
        )
    tables = [coef_table(fit.state, each, level, exponentiate) for fit, each in zip(fits, tests, strict=True)]
    known = list(dict.fromkeys(term for table in tables for term in table.index))
    shown = shown_coefficients(known, None if terms is None else read_texts("terms", terms))
    texts = [_label(term) for term in shown]
    (on,) = panels(ax, ["coefficients"], size=(5.6, height_for(shown)))
    labels = [f"({i + 1})" for i in range(len(fits))] if names is None else level_names(names)
    on.axvline(1 if exponentiate else 0, color=GUIDE, linewidth=0.8, zorder=0)
    for i, table in enumerate(tables):
        rows = table.reindex(shown)
        at = np.arange(len(shown)) + ROOM * ((i + 0.5) / len(fits) - 0.5)
        estimate = rows["estimate"].to_numpy()
        # as lists, since matplotlib 3.8 takes an array of one width for a number
        widths = [(estimate - rows["ci_lower"].to_numpy()).tolist(), (rows["ci_upper"].to_numpy() - estimate).tolist()]
        color = MODEL if len(fits) == 1 else f"C{i}"
        on.errorbar(estimate, at, xerr=widths, fmt="o", color=color, capsize=3, markersize=5, label=labels[i])
    on.set_ylim(len(shown) - 0.5, -0.5)
    pitch = 72 * on.get_window_extent().height / on.figure.dpi / _n_lines(texts)
    on.set_yticks(range(len(shown)), texts, fontsize=float(np.clip(0.75 * pitch, 5, 9)), linespacing=0.95)
    what = f"ratio of {ratios.pop()}" if exponentiate else "estimate"
    on.set_xlabel(f"{what} and {100 * level:g} % interval")
    if exponentiate:
        _space_ratios(on)
    if len(fits) > 1:
        on.legend(frameon=False, fontsize="small")
    return as_drawn([on])


def _space_ratios(ax: Axes) -> None:
    """Have an axis of equal ratios with plain numbers on it."""
    ticker = load("ticker")
    ax.set_xscale("log")
    low, high = np.log10(ax.get_xlim())
    steps = (1, 2, 5) if high - low < 2.5 else (1,)
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=steps, numticks=12) if high - low > 0.6 else ticker.AutoLocator())
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(ticker.NullLocator())


def height_for(terms: Sequence[str]) -> float:
    """Return the height of a plot in inches that leaves room for the names of these coefficients."""
    return float(np.clip(1.2 + 0.14 * (len(terms) + _n_lines([_label(term) for term in terms])), 2.2, 12.0))


def _label(term: str) -> str:
    return name(term, SIDE, most_lines=6)


def _n_lines(texts: Sequence[str]) -> int:
    return sum(1 + text.count("\n") for text in texts)


def shown_coefficients(known: Sequence[str], terms: Sequence[str] | None = None) -> list[str]:
    """Return the coefficients to draw, from the top.

    Raises
    ------
    InferenceError
        If one of them is in no fit, or there is none.
    """
    if terms is None:
        return [term for term in known if term != "Intercept"] or list(known)
    chosen = [terms] if isinstance(terms, str) else list(terms)
    for term in chosen:
        if term not in known:
            raise InferenceError(
                f"There is no coefficient {term!r}; there are {', '.join(known)}.{nearest(str(term), known)}"
            )
    if not chosen:
        raise InferenceError("There is no coefficient to draw: terms is empty.")
    return chosen
