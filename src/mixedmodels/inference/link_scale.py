"""Marginal means of generalised models on the scale of the response: the link undone, or averaged over random effects.

A mean u of the linear predictor becomes g(u), g the inverse link, the mean of a level without random effect; averaged
over levels it is E g(u + s Z), Z standard normal and s^2 the variance of z'b, averaged over the rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.r2 import random_variances
from mixedmodels.inference.response_scale import Step, Transformation, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.fit.records import FixedFit

SCALES = ("response", "link")
CHOICES = ("population", "averaged")
RATIOS = {"logit": "odds", "log": "means"}
"""What differences on a link scale are logarithms of ratios of."""


def ratios_of(states: Sequence[FixedFit], exponentiate: bool) -> list[str]:
    """Return what exp of the coefficients of each fit are ratios of, nothing where they are not asked for or none.

    Parameters
    ----------
    states
        The fits.
    exponentiate
        Whether ratios are asked for.

    Raises
    ------
    InferenceError
        If they are and no fit has any.
    """
    found = [RATIOS.get(state.link or "", "") if exponentiate else "" for state in states]
    if exponentiate and not any(found):
        raise InferenceError(
            "exponentiate shows ratios of odds or of means, of models with a logit or log link; none of these has one."
        )
    return found


def check_choices(random_effects: object, *, is_mean: bool, is_comparison: bool) -> bool:
    """Return whether means are averaged over random effects.

    Parameters
    ----------
    random_effects
        As for ``link_view``.
    is_mean
        Whether they are means of responses, not of the linear predictor.
    is_comparison
        Whether they are compared on the link scale.

    Raises
    ------
    InferenceError
        If the argument is not allowed.
    """
    if random_effects not in CHOICES:
        raise InferenceError(
            f'random_effects is {random_effects!r}; it must be "population" or "averaged".'
            f"{nearest(str(random_effects), CHOICES)}"
        )
    averaged = random_effects == "averaged"
    if averaged and not is_mean:
        raise InferenceError("An average over random effects is one of means; on the link scale it is 'population'.")
    if averaged and is_comparison:
        raise InferenceError(
            "Differences of means that are averaged over random effects are not available. Ask for the means, or for "
            "differences with random_effects='population'."
        )
    return averaged


def link_view(state: GlmmState, scale: object, random_effects: object, is_comparison: bool) -> View:
    """Return the view of means of a generalised model.

    Parameters
    ----------
    state
        The fit.
    scale
        ``"response"`` or ``"link"``.
    random_effects
        ``"population"``: all zero; ``"averaged"``: the mean over new levels.
    is_comparison
        Whether means are compared.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    """
    scales = ("mean_class", *SCALES) if state.design.categories else SCALES
    if scale not in scales:
        known = " or ".join(f'"{name}"' for name in scales)
        raise InferenceError(f"scale is {scale!r}; it must be {known}.{nearest(str(scale), scales)}")
    averaged = check_choices(random_effects, is_mean=scale == "response", is_comparison=is_comparison)
    link = state.family.link
    of = f"the link scale ({link})"
    if scale == "link":
        return View(None, of, f"on {of}")
    zeros = state.problem.zeros
    if zeros is not None and (zeros.X.shape[1] > 1 or state.family.name.startswith("hurdle")):
        raise InferenceError(
            f"Means of the family {state.family.name!r} depend on the chance of a zero too, and are not here. "
            'Ask for scale="link", which is that of the counts, or fit.predict(data).'
        )
    step = Step(state.fitted_family.mean, state.fitted_family.slope)
    ratio = (RATIOS[link], 1.0) if link in RATIOS else None
    sd = math.sqrt(sum(random_variances(state).values())) if averaged else 0.0
    return View(
        Transformation(f"{link} of {state.design.response_name}", (step,), ratio),
        of,
        f"on {of}",
        brought_back=f"Means of a level without random effects, brought back from {of}; tests are on that scale.",
        sd=sd,
        averaged=f"Means averaged over random effects, whose standard deviation on {of} is {sd:.4g} and taken as "
        "known; tests are on that scale.",
    )
