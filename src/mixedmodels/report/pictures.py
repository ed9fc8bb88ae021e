"""The plots of a report as images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.reference_grid import predictors
from mixedmodels.plot import caterpillar, effects, qq, residual, scale_location, spaghetti
from mixedmodels.plot.canvas import new_figure
from mixedmodels.plot.caterpillar import height_for
from mixedmodels.plot.qq import RESIDUALS
from mixedmodels.plot.selection import find_effects
from mixedmodels.plot.spaghetti import caption

if TYPE_CHECKING:
    from mixedmodels.fit.records import Fitted

MAX_PANELS = 6
"""Panels of one kind; a report shows the first ones."""

PANEL = 4.2, 3.5
"""Width and height of a panel, in inches."""


@dataclass(frozen=True)
class Picture:
    """Images for a page that belong together.

    Attributes
    ----------
    caption
        A sentence below them, which is also their text for those who cannot see them.
    sources
        A ``data:`` address each.
    """

    caption: str
    sources: tuple[str, ...]


def fit_pictures(fit: Fitted, ddf: str, level: float) -> Iterator[Picture]:
    """Yield what the model says: effects, lines through the data, random effects."""
    design = fit.state.design
    share = f"{100 * level:g}\N{NO-BREAK SPACE}%"
    with suppress(DataError, InferenceError):  # the means are not determined or not computable, or there are too many
        means = [_image(partial(effects, fit, name, ddf=ddf, level=level)) for name in predictors(design)[:MAX_PANELS]]
        if means:
            yield Picture(f"Estimated means with {share} confidence bands and partial residuals.", tuple(means))
    with suppress(DataError, InferenceError):  # there is no column to draw lines against, or none can be computed
        lines = _image(partial(spaghetti, fit), size=(5.4, 4.0))
        yield Picture(caption(fit), (lines,))
    modes = [
        _image(
            partial(caterpillar, fit, each.factor.name, each.name, level=level),
            size=(PANEL[0], height_for(each.factor.n_levels)),
        )
        for each in find_effects(design, None, None)[:MAX_PANELS]
    ]
    yield Picture(f"Conditional modes of the random effects with {share} intervals.", tuple(modes))


def diagnostic_pictures(fit: Fitted) -> Iterator[Picture]:
    """Yield residuals against fitted values, and normal quantiles of residuals and random effects."""
    against_fitted = (_image(partial(residual, fit)), _image(partial(scale_location, fit)))
    yield Picture("Residuals and their size against fitted values.", against_fitted)
    shown = find_effects(fit.state.design, None, None)[: MAX_PANELS - 1]
    draw = [partial(qq, fit, RESIDUALS), *(partial(qq, fit, each.factor.name, each.name) for each in shown)]
    quantiles = tuple(_image(each) for each in draw)
    yield Picture("Normal quantiles of the residuals and of the random effects.", quantiles)


def _image(draw: Callable[..., Any], size: tuple[float, float] = PANEL) -> str:
    """Return the address of the image that something draws."""
    figure, ax = new_figure(size)
    draw(ax=ax)
    image = io.BytesIO()
    figure.savefig(image, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode('ascii')}"
