"""The plots of a report as images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from mixedmodels.errors import DataError, InferenceError
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.inference.link_scale import RATIOS
from mixedmodels.inference.reference_grid import predictors
from mixedmodels.plot import (
    acf,
    binned_residual,
    caterpillar,
    coefficients,
    correlation,
    covariance,
    effects,
    qq,
    residual,
    scale_location,
    shrinkage,
    spaghetti,
    variogram,
    visits,
)
from mixedmodels.plot import design as draw_design
from mixedmodels.plot.canvas import count_of, new_figure
from mixedmodels.plot.caterpillar import height_for
from mixedmodels.plot.coefficients import height_for as coefficients_height
from mixedmodels.plot.coefficients import shown_coefficients
from mixedmodels.plot.qq import RESIDUALS
from mixedmodels.plot.selection import find_effects
from mixedmodels.plot.spaghetti import caption

if TYPE_CHECKING:
    from mixedmodels.fit.generalized import GlmmFitted
    from mixedmodels.fit.marginal_fit import MarginalFitted
    from mixedmodels.fit.records import HoldsFixed, HoldsMixed

MAX_PANELS = 6
"""Panels of one kind; a report shows the first ones."""

MAX_MAPPED = 30
"""Visits whose correlations are a map."""

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


def fit_pictures(fit: HoldsFixed, ddf: str | None, level: float) -> Iterator[Picture]:
    """Yield what the model says: effects, lines through the data, coefficients, random effects; and the design."""
    design = fit.state.design
    share = f"{100 * level:g}\N{NO-BREAK SPACE}%"
    with suppress(DataError, InferenceError):  # the means are not determined or not computable, or there are too many
        names = predictors(design)
        means = [_image(partial(effects, fit, name, ddf=ddf, level=level)) for name in names[:MAX_PANELS]]
        if means:
            left_out = _left_out(len(names), "effects(fit)")
            points = "" if design.categories else " and partial residuals"
            yield Picture(f"Estimated means with {share} confidence bands{points}.{left_out}", tuple(means))
    if _has_correlations(fit):
        with suppress(DataError, InferenceError):  # visits are not in the fixed part, or several categories beside them
            over = _image(partial(visits, fit, ddf=ddf, level=level), size=(5.6, 4.2))
            yield Picture(f"Estimated means at visits with {share} intervals, and numbers of rows.", (over,))
    if _has_effects(fit):
        with suppress(DataError, InferenceError):  # there is no column to draw lines against, or none can be computed
            lines = _image(partial(spaghetti, fit), size=(5.4, 4.0))
            yield Picture(caption(fit), (lines,))
    shown = fit.state.fixed_names[fit.state.own_fixed]
    if len(shown) > 2:
        size = 6.4, coefficients_height(shown_coefficients(shown))
        ratios = fit.state.link in RATIOS
        forest = partial(coefficients, fit, ddf=ddf, level=level, exponentiate=ratios)
        what = f"Ratios of {RATIOS[fit.state.link or '']}" if ratios else "Fixed effects"
        yield Picture(f"{what} with {share} intervals.", (_image(forest, size=size),))
    if _has_effects(fit):
        yield from _random_pictures(fit, share, level)
    if _has_correlations(fit):
        yield from _correlation_pictures(fit)
    with suppress(InferenceError):  # there is one factor only
        if len(design.factors) > 1:
            yield Picture("Rows of the data by pairs of levels.", (_image(partial(draw_design, fit)),))


def _has_effects(fit: HoldsFixed) -> TypeGuard[HoldsMixed]:
    return bool(fit.state.design.factors)


def _has_correlations(fit: HoldsFixed) -> TypeGuard[MarginalFitted]:
    return isinstance(fit.state, MarginalState) and fit.state.design.residual is not None


def _has_family(fit: HoldsFixed) -> TypeGuard[GlmmFitted]:
    return isinstance(fit.state, GlmmState) and not fit.state.design.categories


def _correlation_pictures(fit: MarginalFitted) -> Iterator[Picture]:
    """Yield the correlations of residuals by visits."""
    own = fit.state.design.residual
    assert own is not None
    if own.has_own_times or not 1 < len(own.visits) <= MAX_MAPPED:
        return
    n = len(own.groups)
    maps = tuple(_images(partial(correlation, fit), n, size=(5.0, 4.2)))
    left_out = _left_out(n, "correlation(fit)")
    yield Picture(f"Correlations of the residuals of a subject by visits.{left_out}", maps)


def _random_pictures(fit: HoldsMixed, share: str, level: float) -> Iterator[Picture]:
    """Yield the conditional modes in order, in pairs within ellipses of their covariance, and beside fits alone."""
    design = fit.state.design
    found = find_effects(design, None, None)
    modes = [
        _image(
            partial(caterpillar, fit, each.factor.name, each.name, level=level),
            size=(PANEL[0], height_for(each.factor.n_levels)),
        )
        for each in found[:MAX_PANELS]
    ]
    left_out = _left_out(len(found), "caterpillar(fit)")
    yield Picture(f"Conditional modes of the random effects with {share} intervals.{left_out}", tuple(modes))
    for factor in design.factors:
        n_pairs = factor.n_effects * (factor.n_effects - 1) // 2
        name = factor.name
        if n_pairs:
            left_out = _left_out(n_pairs, f"covariance(fit, {name!r})")
            images = tuple(_images(partial(covariance, fit, name), n_pairs))
            yield Picture(f"Conditional modes of {name}, and ellipses of their covariance.{left_out}", images)
        with suppress(InferenceError):  # no level has rows enough to be fitted alone
            left_out = _left_out(max(n_pairs, 1), f"shrinkage(fit, {name!r})")
            images = tuple(_images(partial(shrinkage, fit, name), max(n_pairs, 1)))
            yield Picture(f"Levels of {name}, each fitted alone and in the model.{left_out}", images)


def diagnostic_pictures(fit: HoldsFixed) -> Iterator[Picture]:
    """Yield residuals against fitted values, by lag or distance, and normal quantiles of them and of random effects."""
    against_fitted = (_image(partial(residual, fit)), _image(partial(scale_location, fit)))
    yield Picture("Residuals and their size against fitted values.", against_fitted)
    if _has_family(fit):
        binned = _image(partial(binned_residual, fit))
        yield Picture("Average residuals of rows with like fitted values; the band holds 95 % of chance.", (binned,))
    found = find_effects(fit.state.design, None, None) if _has_effects(fit) else []
    draw = [partial(qq, fit, RESIDUALS), *(partial(qq, fit, each.factor.name, each.name) for each in found)]
    quantiles = tuple(_image(each) for each in draw[:MAX_PANELS])
    left_out = _left_out(len(draw), "qq(fit)")
    effects_too = " and of the random effects" if found else ""
    yield Picture(f"Normal quantiles of the residuals{effects_too}.{left_out}", quantiles)
    if _has_correlations(fit):
        with suppress(InferenceError):  # subjects have times of their own
            yield Picture("Autocorrelations of residuals within subjects.", tuple(_images(partial(acf, fit), 2)))
        with suppress(InferenceError):  # there are no times
            yield Picture("Semivariances of residuals within subjects.", (_image(partial(variogram, fit)),))


def _left_out(n: int, call: str) -> str:
    """Return how many panels are left out and what draws them, or nothing."""
    more = n - MAX_PANELS
    return (
        f" {count_of(more, 'more panel')} {'is' if more == 1 else 'are'} drawn by mm.plot.{call}." if more > 0 else ""
    )


def _image(draw: Callable[..., Any], size: tuple[float, float] = PANEL) -> str:
    """Return the address of the image that something draws."""
    [image] = _images(draw, 1, size)
    return image


def _images(draw: Callable[..., Any], n: int, size: tuple[float, float] = PANEL) -> Iterator[str]:
    """Yield the addresses of the images that something with n panels draws, ``MAX_PANELS`` at most."""
    drawn = [new_figure(size) for _ in range(n)]
    draw(ax=[ax for _, ax in drawn] if n > 1 else drawn[0][1])
    for figure, _ in drawn[:MAX_PANELS]:
        image = io.BytesIO()
        figure.savefig(image, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
        yield f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode('ascii')}"
