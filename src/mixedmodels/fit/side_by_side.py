"""Fits of many responses to one model, side by side in the engine, and why one cannot be fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.design.checks import check_response
from mixedmodels.errors import DataError, MixedModelsError, memory_told
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import net_responses, row_arguments
from mixedmodels.formula.update import with_response

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.problem import Problem

CANNOT_FIT = -1
"""Status of a response that has no fit."""


@dataclass(frozen=True)
class SideBySide:
    """Fits of m responses, the numbers of one being those of a fit by itself; nan where there is none.

    Attributes
    ----------
    beta
        (m, n_fixed).
    root
        K with cov(beta) = sigma^2 K K', (m, n_fixed, n_fixed).
    sigma, deviance
        (m,).
    theta
        (m, n_theta).
    status
        As the engine has it, (m,); `CANNOT_FIT`.
    singular
        (m,).
    engine_theta, hessian, sensitivity
        As in ``Information``, with m in front.
    """

    beta: Floats
    root: Floats
    sigma: Floats
    theta: Floats
    deviance: Floats
    status: npt.NDArray[np.int32]
    singular: npt.NDArray[np.bool_]
    engine_theta: Floats
    hessian: Floats
    sensitivity: Floats


def fit_side_by_side(problem: Problem, Y: Floats, reml: bool, control: Control) -> SideBySide:
    """Return the fits of some responses.

    Parameters
    ----------
    problem
        The model, with any response.
    Y
        (m, n_obs), offset included.
    reml, control
        As for `fit_problem`.
    """
    design = problem.design
    net = net_responses(design, Y)
    with memory_told("Fits of several responses"):
        return SideBySide(
            *problem.model.fit_many(
                np.ascontiguousarray(net), *row_arguments(design), reml, control.max_iterations, control.n_starts
            )
        )


def is_constant(problem: Problem, Y: Floats) -> npt.NDArray[np.bool_]:
    """Return which of some responses (m, n_obs) do not vary, as they are or less the offset."""
    offset = problem.design.offset
    found: npt.NDArray[np.bool_] = Y.min(axis=1) == Y.max(axis=1)
    if offset is not None:
        found |= (Y - offset).min(axis=1) == (Y - offset).max(axis=1)
    return found


def why_not(problem: Problem, y: Floats, name: str, reml: bool, control: Control) -> str:
    """Return the sentence with which a fit of one response ends that cannot be fitted.

    Parameters
    ----------
    problem
        The model.
    y
        The response, (n_obs,).
    name
        What it is called.
    reml, control
        As for `fit_problem`.
    """
    infinite = np.flatnonzero(np.isinf(y))
    if len(infinite):
        return str(
            DataError(
                f"Response {name!r} is infinite in {len(infinite)} of {len(y)} rows, the first row {infinite[0]} of "
                "those used (counted from 0). Replace these values, or make them NaN to leave their rows out."
            )
        )
    design = problem.design
    formula = replace(design.formula, text=with_response(design.formula.text, name))
    named = problem.renamed(replace(design, formula=formula, response_name=name))
    try:
        check_response(name, y, design.offset)
        fit_problem(named.with_response(y), reml=reml, control=control)
    except MixedModelsError as error:
        return str(error)
    return f"The optimiser finds no fit of {name!r}."
