"""The plots of a report as images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mixedmodels.errors import InferenceError
from mixedmodels.inference.reference_grid import predictors
from mixedmodels.plot import caterpillar, effects, panel, qq, spaghetti
from mixedmodels.plot.canvas import new_figure
from mixedmodels.plot.selection import find_effects

if TYPE_CHECKING:
    from mixedmodels.fit.records import Fitted

MAX_PANELS = 6
"""Panels of a picture; a report shows the first ones."""

N_COLUMNS = 3


@dataclass(frozen=True)
class Picture:
    """An image for a page.

    Attributes
    ----------
    caption
        A sentence below it, which is also its text for those who cannot see it.
    source
        A ``data:`` address.
    """

    caption: str
    source: str


def fit_pictures(fit: Fitted, ddf: str, level: float) -> Iterator[Picture]:
    """Yield what the model says: effects, lines through the data, random effects."""
    variables = predictors(fit.state.design)[:MAX_PANELS]
    share = f"{100 * level:g} %"
    if variables:
        with suppress(InferenceError):  # means that the data do not determine, or too many of them
            yield _picture(
                f"Estimated means with {share} confidence bands and partial residuals.",
                len(variables),
                lambda axes: [
                    effects(fit, name, ddf=ddf, level=level, ax=ax) for name, ax in zip(variables, axes, strict=True)
                ],
            )
    if fit.state.design.columns:
        yield _picture("Data and fitted lines.", 1, lambda axes: spaghetti(fit, ax=axes[0]), size=(7.0, 4.4))
    shown = find_effects(fit.state.design, None, None)[:MAX_PANELS]
    yield _picture(
        f"Conditional modes of the random effects with {share} intervals.",
        len(shown),
        lambda axes: [
            caterpillar(fit, each.factor.name, each.name, level=level, ax=ax)
            for each, ax in zip(shown, axes, strict=True)
        ],
        size=(4.2, 5.5),
    )


def diagnostic_pictures(fit: Fitted) -> Iterator[Picture]:
    """Yield residual plots and normal quantiles of the random effects."""
    yield _picture(
        "Residuals and their size against fitted values, and normal quantiles of residuals and of a random effect.",
        4,
        lambda axes: panel(fit, ax=axes),
        n_columns=2,
    )
    others = find_effects(fit.state.design, None, None)[1 : 1 + MAX_PANELS]
    if others:
        yield _picture(
            "Normal quantiles of the other random effects.",
            len(others),
            lambda axes: [qq(fit, e.factor.name, e.name, ax=ax) for e, ax in zip(others, axes, strict=True)],
        )


def _picture(
    caption: str,
    n: int,
    draw: Callable[[list[Any]], object],
    *,
    size: tuple[float, float] = (4.2, 3.6),
    n_columns: int = N_COLUMNS,
) -> Picture:
    axes = new_figure(n, size, n_columns)
    draw(axes)
    image = io.BytesIO()
    cast("Any", axes[0].get_figure(root=True)).savefig(
        image, format="svg", dpi=150, metadata={"Date": None, "Creator": None}
    )
    return Picture(caption, f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode('ascii')}")
