"""A design in standard deviations: the response and the numeric variables of its terms as z-scores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.evaluation import Evaluation, z_scores
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.fixed_terms import WITHOUT_COLUMNS, can_tell_terms
from mixedmodels.design.left_out import LeftOut
from mixedmodels.design.recipe import DesignRecipe
from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.evaluation import MatrixRecipe
    from mixedmodels.design.records import Floats


def standardized_design(design: Design) -> Design:
    """Return the design whose response and numeric variables have mean 0 and standard deviation 1 in its rows.

    A variable is what stands in the terms: ``x``, ``log(x)``, a column of ``poly(x, 2)``. Products are formed of
    z-scores; categories keep their coding; offsets are in standard deviations of the response.

    Parameters
    ----------
    design
        The whole.

    Raises
    ------
    InferenceError
        If the design does not hold the columns that its terms are made from.
    """
    recipe: Any = design.recipe
    if not isinstance(recipe, DesignRecipe):
        raise InferenceError(
            "Variables are standardised where a formula of lmer says what they are; this model was made of arrays, or "
            "of the formulas of MixedLM. Fit it with lmer, or use method='basic'."
        )
    if isinstance(design.y, LeftOut):
        design.y.refuse()
    if not can_tell_terms(design):
        raise InferenceError(f"Variables are standardised from columns that {WITHOUT_COLUMNS}.")
    evaluation = Evaluation(design.columns, design.n_obs, recipe.memory, recipe.contrasts, standardize=True)
    factors = []
    for factor, made in zip(design.factors, recipe.factors, strict=True):
        Z, start, parts = factor.Z, 0, []
        if Z is None:
            factors.append(factor)
            continue
        for matrix in made.matrices:
            end = start + len(matrix.names)
            parts.append(_standardized(evaluation, matrix, Z[:, start:end]))
            start = end
        factors.append(replace(factor, Z=np.ascontiguousarray(np.hstack(parts))))
    sd = float(np.std(design.y, ddof=1))
    return replace(
        design,
        y=z_scores(design.y),
        X=_standardized(evaluation, recipe.fixed, design.X),
        offset=None if design.offset is None else (design.offset - design.offset.mean()) / sd,
        factors=tuple(factors),
    )


def _standardized(evaluation: Evaluation, recipe: MatrixRecipe, matrix: Floats) -> Floats:
    """Return the columns of a part, made from z-scores; those of a part that is not computed are variables."""
    if recipe.is_computed:
        return evaluation.matrix(recipe)
    columns = [matrix[:, j] if name == INTERCEPT else z_scores(matrix[:, j]) for j, name in enumerate(recipe.names)]
    return np.ascontiguousarray(np.column_stack(columns)) if columns else matrix
