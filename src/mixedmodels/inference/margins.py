"""Estimated marginal means and their differences (Searle, Speed and Milliken 1980).

A mean is l'beta: the rows of the reference grid with the levels asked for, averaged over the other variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.comparisons import (
    ZERO_SUM,
    adjustment_notes,
    check_hypothesis,
    check_some,
    comparison_notes,
    contrast_names,
    estimates,
    families,
    families_table,
    hypothesis_notes,
    labels_index,
    read_comparison,
    row_tests,
)
from mixedmodels.inference.contrast import estimable_where_known
from mixedmodels.inference.contrast_kinds import cell_text
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.grid_average import WEIGHTS, grid_means
from mixedmodels.inference.grid_notes import certain_notes, grid_notes, interaction_notes, nesting_notes, unknown_notes
from mixedmodels.inference.nested_factors import find_nesting
from mixedmodels.inference.reference_grid import ReferenceGrid, check_variable, predictors, reference_grid
from mixedmodels.inference.response_scale import (
    SCALES,
    View,
    as_means,
    as_ratios,
    is_transformed,
    observation_sd,
    read_transformation,
)

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.design.zero_part import ZeroPart
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation


def margins(
    state: FixedFit,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
    pairwise: bool | str = False,
    *,
    contrasts: object = None,
    adjust: str | None = None,
    ddf: str | Approximation = "satterthwaite",
    control: object = None,
    weights: str = "equal",
    null: float = 0.0,
    side: str = "two-sided",
    delta: float = 0.0,
    scale: str = "model",
    bias_adjust: bool | float = False,
    level: float = 0.95,
    view: View | None = None,
) -> pd.DataFrame:
    """Return estimated marginal means, or contrasts among them, one row each.

    Parameters
    ----------
    state
        The fit.
    specs
        Variables whose combinations of levels have a mean each.
    by
        Variables within whose levels means are compared.
    at
        Values of variables, instead of all levels of a categorical and the mean of a numeric one.
    pairwise
        True: return the differences of all pairs instead of the means. The name of a kind, as for ``contrasts``.
    contrasts
        Return contrasts instead of the means: the name of one of ``contrast_kinds.KINDS``; weights, as for
        ``contrast_kinds.custom_weights``; or a mapping from each of ``specs`` to one of these, for products of them.
    adjust
        For contrasts, within each level of ``by``, one of ``multiplicity.ADJUSTMENTS``; None for what goes with them.
    ddf
        As for ``degrees.approximation``.
    control
        Return the differences from this level of ``specs`` instead; a tuple if there are several variables.
    weights
        How to average over other categorical variables, one of ``grid_average.WEIGHTS``.
    null, side, delta
        What is tested, see ``comparisons``: a value, where others lie, and a margin, on the scale of the model.
    scale
        ``"response"`` undoes a transformation of the response: means of it, and ratios from differences of logarithms.
    bias_adjust
        True, or the standard deviation of an observation, for the mean of the response instead of the response of the
        mean.
    level
        Coverage of the intervals, those of a family of differences together.
    view
        Takes the place of ``scale`` and ``bias_adjust`` where a link is undone.

    Returns
    -------
    pandas.DataFrame
        ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``, indexed by ``by`` and ``specs``, or by
        ``by`` and ``contrast``; also by what a variable is nested in, where its levels do not tell. Means that the data
        do not determine are NaN. ``attrs["notes"]`` says which these are, what is nested, was averaged over and held,
        what interacts with that, the scale, and what was tested and how tests were adjusted.

    Raises
    ------
    InferenceError
        If a variable, level or argument is not allowed, or a variable is continuous.
    """
    hypothesis = check_hypothesis(null, side, delta, level)
    specs, by = read_names(specs, "specs"), read_names(by, "by")
    comparison = read_comparison(pairwise, contrasts, control, adjust, hypothesis)
    check_weights(weights)
    if comparison is None:
        refuse_absorbed(
            state.design.absorbed, "A mean, which takes a level of each,", "Ask for differences, such as pairwise=True"
        )
    view = response_view(state, scale, bias_adjust, comparison is not None) if view is None else view
    at = check_at(at)
    grid = read_grid(state.design, specs, by, at)
    method = approximation(state, ddf)
    nesting = find_nesting(state.design, grid.categorical)
    means = grid_means(grid, nesting, specs, by, weights)
    notes = (
        *nesting_notes(nesting, grid),
        *grid_notes(grid, means.kept, weights, at),
        *interaction_notes(state.design, nesting, grid, means.kept, at),
        *method.notes,
    )
    if comparison is None:
        L = estimable_where_known(state, means.rows, [cell_text(cell) for cell in means.cells])
        check_some(L, "means")
        offset = state.design.mean_offset
        index = labels_index((*means.by, *means.specs), means.cells)
        table = row_tests(estimates(L, method, offset), index, hypothesis)
        table, scale_notes = shown_means(table, view)
        if state.design.offset is not None:
            notes = (*notes, "The mean of the offset is added to means.")
    else:
        found = families(state, means, comparison, "/" if view.transformation and view.transformation.ratio else "-")
        table = families_table(found, contrast_names(means, comparison), method, hypothesis, comparison.adjust)
        table, scale_notes = shown_contrasts(table, np.concatenate([one.sums for one in found]), view)
        notes = (*notes, *adjustment_notes(comparison.adjust, len(found)))
        notes = (*notes, *comparison_notes(comparison, means.specs))
    table.attrs["notes"] = (
        *unknown_notes(state, table),
        *certain_notes(table),
        *notes,
        *hypothesis_notes(hypothesis, f" on {view.scale}" if view.scale else ""),
        *scale_notes,
    )
    return table


def read_names(variables: str | Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Return names of variables as a tuple.

    Raises
    ------
    InferenceError
        If they are no names, or one stands twice.
    """
    if variables is None:
        return ()
    names = tuple(variables) if isinstance(variables, Iterable) and not isinstance(variables, str) else (variables,)
    if not all(isinstance(name, str) for name in names):
        raise InferenceError(f"{what} is {variables!r}; it must be the name of a variable, or a list of names.")
    if len(set(names)) < len(names):
        raise InferenceError(f"{what} names a variable twice: {', '.join(names)}.")
    return names


def check_weights(weights: object) -> None:
    """Raise unless this is a way to average.

    Raises
    ------
    InferenceError
        If it is not.
    """
    if weights not in WEIGHTS:
        known = ", ".join(f'"{name}"' for name in WEIGHTS)
        raise InferenceError(f"weights is {weights!r}; it must be one of {known}.{nearest(str(weights), WEIGHTS)}")


def check_at(at: object) -> Mapping[str, object]:
    """Return the values of variables, none for None.

    Raises
    ------
    InferenceError
        If it is no mapping.
    """
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise InferenceError(f"at is {at!r}; it must map variables to their values, such as {{'x': [0, 1]}}.")
    return at


def read_grid(
    design: Design,
    specs: tuple[str, ...],
    by: tuple[str, ...],
    at: Mapping[str, object],
    zeros: ZeroPart | None = None,
) -> ReferenceGrid:
    """Return the reference grid of the means that are asked for.

    Parameters
    ----------
    design
        The model's arrays and its recipe.
    specs, by, at
        As for `margins`.
    zeros
        As for ``reference_grid``.

    Raises
    ------
    InferenceError
        If a variable is not allowed, or continuous and without values in ``at``.
    """
    names = predictors(design, zeros)
    for name in (*specs, *by):
        check_variable(name, names)
    both = [name for name in specs if name in by]
    if both:
        raise InferenceError(f"{both[0]!r} is in specs and in by. Leave it out of one of them.")
    if not specs:
        raise InferenceError(f"specs names no variable; the variables of the fixed part are: {', '.join(names)}.")
    grid = reference_grid(design, at, zeros)
    for name in (*specs, *by):
        if name not in grid.categorical and name not in at:
            raise InferenceError(
                f"{name!r} is continuous and has no levels. Give the values to use, such as at={{{name!r}: [...]}}, "
                f"or ask for its slope, slopes({name!r})."
            )
    return grid


# The scale of the response


def response_view(state: FixedFit, scale: object, bias_adjust: object, is_comparison: bool) -> View:
    """Return the view of means of a response that may be transformed.

    Parameters
    ----------
    state
        The fit.
    scale, bias_adjust
        As for ``margins``.
    is_comparison
        Whether means are compared.

    Raises
    ------
    InferenceError
        If an argument is not allowed, or the transformation cannot be undone.
    """
    if scale not in SCALES:
        raise InferenceError(f'scale is {scale!r}; it must be "model" or "response".{nearest(str(scale), SCALES)}')
    number = isinstance(bias_adjust, int | float | np.number) and not isinstance(bias_adjust, bool)
    if not isinstance(bias_adjust, bool) and not (number and 0 < float(bias_adjust) < np.inf):  # type: ignore[arg-type]
        raise InferenceError(
            f"bias_adjust is {bias_adjust!r}; it must be True, False or the standard deviation of an observation."
        )
    if bias_adjust and (scale == "model" or is_comparison):
        raise InferenceError("bias_adjust is for means on the scale of the response. Leave it out here.")
    text = state.design.response_name
    of, plain = (f"the scale of {text}", f"of {text}") if is_transformed(state) else ("", "")
    if scale == "model":
        return View(None, of, plain)
    transformation = read_transformation(state)
    sd = float(bias_adjust) if number else observation_sd(state) if bias_adjust else 0.0  # type: ignore[arg-type]
    return View(
        transformation,
        of,
        plain,
        brought_back=f"Means of {text} brought back to the scale of the response, about its medians; tests are on the "
        f"scale of {text}. For its means use bias_adjust=True.",
        sd=sd,
        averaged=f"Means on the scale of the response, of observations with standard deviation {sd:.4g} on the scale "
        f"of {text}, taken as known; tests are on that scale.",
    )


def shown_means(table: pd.DataFrame, view: View) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return means on the scale asked for, and what to know about it.

    Parameters
    ----------
    table
        As ``row_tests`` returns it.
    view
        The scale.
    """
    if view.transformation is None:
        return table, (f"Means {view.plain}.",) if view.plain else ()
    shown = as_means(table, view.transformation, view.sd)
    lost = np.isnan(shown["estimate"]) & ~np.isnan(table["estimate"])
    outside = (f"Without a value: means that no response has as its {view.transformation.text}.",) if lost.any() else ()
    return shown, (view.averaged if view.sd else view.brought_back, *outside)


def shown_contrasts(table: pd.DataFrame, sums: Floats, view: View) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return contrasts on the scale asked for, and what to know about it.

    Parameters
    ----------
    table
        As ``row_tests`` returns it.
    sums
        Of the weights of each contrast, (n_contrasts,).
    view
        The scale.
    """
    transformation = view.transformation
    if transformation is None:
        return table, (f"Differences {view.plain}.",) if view.plain else ()
    if transformation.ratio is not None and (np.abs(sums) < ZERO_SUM).all():
        of = transformation.ratio[0]
        return as_ratios(table, transformation), (f"Ratios of {of}; tests are of differences on {view.scale}.",)
    if (np.abs(sums - 1) < ZERO_SUM).all():
        return shown_means(table, view)
    return table, (f"Differences stay on {view.scale}: there is no other that they have by themselves.",)
