"""Normal quantiles of residuals and of random effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.diagnose.row_view import row_view
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.plot.asked import draws_a_fit
from mixedmodels.plot.canvas import MODEL, as_drawn, panels, say_instead
from mixedmodels.plot.labels import name
from mixedmodels.plot.quantiles import draw_quantiles
from mixedmodels.plot.residual import KIND_LABELS
from mixedmodels.plot.selection import choose, find_effects
from mixedmodels.predict.random_effects import random_effects_cov

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit, HoldsFixed, MixedFit
    from mixedmodels.plot.selection import Effect

RESIDUALS = "residuals"


@draws_a_fit
def qq(
    fit: HoldsFixed,
    of: str | None = None,
    effect: str | None = None,
    *,
    ax: Axes | Iterable[Axes] | None = None,
) -> Any:
    """Draw normal quantile plots of the standardized residuals and of the random effects.

    Residuals are normalized ones where they are correlated, quantile residuals of generalised models.
    Conditional modes are divided by their own standard deviation, sqrt(Var(b) - Var(b | y)), so that levels with few
    rows can stand beside levels with many (Lange and Ryan 1989). Grey bands hold 95 % of normal samples at each point.

    Parameters
    ----------
    fit
        The fit.
    of
        ``"residuals"``, the name of a grouping factor, or None for all.
    effect
        One effect of that factor; None for all.
    ax
        Axes to draw on, one a panel; None for a new figure.

    Returns
    -------
    matplotlib Axes, or an array of them.

    Raises
    ------
    InferenceError
        If there is no such factor or effect.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> mm.plot.qq(fit, "residuals").get_ylabel()
    'Standardized residual'
    """
    design = fit.state.design
    if of is not None:
        choose("set of values", of, [RESIDUALS, *(factor.name for factor in design.factors)])
    has_effects = bool(design.factors) or effect is not None
    effects = find_effects(design, of, effect) if of != RESIDUALS and has_effects else []
    with_residuals = of == RESIDUALS or (of is None and effect is None)
    names = [*([RESIDUALS] if with_residuals else []), *(e.title for e in effects)]
    axes = panels(ax, names, size=(3.8, 3.6))
    if with_residuals:
        draw_residual_quantiles(axes[0], fit.state)
    for each, on in zip(effects, axes[with_residuals:], strict=True):
        draw_mode_quantiles(on, fit.state, each)  # type: ignore[arg-type]  # it has effects
    return as_drawn(axes)


def draw_residual_quantiles(ax: Axes, state: FixedFit) -> None:
    """Draw the normal quantile plot of the standardized residuals."""
    view = row_view(state)
    draw_quantiles(ax, view.residuals(view.standard))
    ax.set_ylabel(KIND_LABELS[view.standard])


def draw_mode_quantiles(ax: Axes, state: MixedFit, effect: Effect) -> None:
    """Draw the normal quantile plot of one random effect, or say that its variance is zero."""
    values = standardized_modes(state, effect)
    ax.set_title(name(effect.title), fontsize="medium")
    ax.set_ylabel("Standardized mode")
    if values is None:
        ax.set_xlabel("Normal quantile")
        say_instead(ax, "variance estimated as zero")
        return
    draw_quantiles(ax, values, color=MODEL)


def standardized_modes(state: MixedFit, effect: Effect) -> Floats | None:
    """Return modes over sqrt(Var(b) - Var(b | y)), shape (n_levels,); None where the effect has no variance."""
    variance = factor_covariances(state)[effect.k].covariance[effect.j, effect.j]
    conditional = random_effects_cov(state)[effect.factor.name][:, effect.j, effect.j]
    explained = variance - conditional
    if not (explained > 1e-9 * variance).all():
        return None
    return np.asarray(state.b[effect.k][:, effect.j] / np.sqrt(explained))
