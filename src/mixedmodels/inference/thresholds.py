"""Thresholds between ordered categories, their standard errors, and those of the chances of categories.

The engine's linear predictor has an intercept, minus the first threshold, and is compared with the cuts 0, phi. All is
by the delta method, from the covariance of beta and phi in the engine's basis, where nothing cancels far from origins.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.design.labels import level_text
from mixedmodels.errors import InferenceError
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState


def ordinal_family(state: GlmmState, what: str) -> Ordinal:
    """Return the family of a fit to ordered categories.

    Raises
    ------
    InferenceError
        It is another.
    """
    if not isinstance(state.family, Ordinal):
        raise InferenceError(
            f"{what} are those between ordered categories; this fit is of the family {state.family.name!r}. "
            "Ordered categories are fitted by family='ordinal'."
        )
    return state.family


def threshold_names(state: GlmmState) -> list[str]:
    """Return the names of the thresholds, ``1|2`` between the categories 1 and 2."""
    return [f"{below}|{above}" for below, above in pairwise(map(level_text, state.design.categories))]


def thresholds(state: GlmmState) -> Floats:
    """Return the thresholds, (n_categories - 1,), in order.

    Raises
    ------
    InferenceError
        If the responses are no ordered categories.
    """
    return np.asarray(ordinal_family(state, "Thresholds").cuts(state.phi) - state.beta[0])


def threshold_table(state: GlmmState, level: float = 0.95) -> pd.DataFrame:
    """Return the thresholds: ``estimate, std_error, ci_lower, ci_upper``.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage of Wald's intervals.

    Raises
    ------
    InferenceError
        If the responses are no ordered categories.
    """
    check_level(level)
    estimate = thresholds(state)
    rows = np.zeros((len(estimate), state.n_fixed))
    rows[:, 0] = 1.0
    se = np.sqrt(_variance(state, cut_rows(state, rows, np.arange(len(estimate)))))
    half = special.ndtri(0.5 + level / 2) * se
    values = np.column_stack([estimate, se, estimate - half, estimate + half])
    columns = pd.Index(["estimate", "std_error", "ci_lower", "ci_upper"])
    return pd.DataFrame(values, index=pd.Index(threshold_names(state), name="threshold"), columns=columns)


def location_names(state: GlmmState) -> tuple[str, ...]:
    """Return the names of the thresholds, of ordered categories, and of the fixed effects that are shown as such."""
    own = state.fixed_names[state.own_fixed]
    return (*threshold_names(state), *own) if isinstance(state.family, Ordinal) else own


def location_rows(state: GlmmState) -> Floats:
    """Return what has these names as linear functions of psi, (n_locations, n_psi).

    Parameters
    ----------
    state
        The fit.
    """
    slopes = np.zeros((state.n_fixed, len(state.psi)))
    slopes[:, state.beta_in_psi] = state.problem.model.fixed_map()
    if not isinstance(state.family, Ordinal):
        return slopes
    cuts = np.zeros((len(state.phi) + 1, len(state.psi)))
    cuts[1:, state.beta_in_psi.stop :] = np.eye(len(state.phi))
    return np.vstack([cuts - slopes[0], slopes[state.own_fixed]])


def cut_rows(state: GlmmState, rows: Floats, k: npt.NDArray[np.intp]) -> Floats:
    """Return distances from rows to thresholds as combinations of beta, in the basis, and phi.

    Parameters
    ----------
    state
        The fit.
    rows
        Columns of X, (n_rows, n_fixed).
    k
        The threshold of each row, from 0 on, (n_rows,).
    """
    hot = np.eye(len(state.phi) + 1)[k][:, 1:]
    return np.hstack([-state.fixed_root.coordinates(rows), hot])


def _variance(state: GlmmState, rows: Floats) -> Floats:
    own = slice(len(state.theta), None)
    return np.asarray(np.maximum(np.einsum("ij,jk,ik->i", rows, state.cov_psi[own, own], rows), 0.0))


def chance_errors(state: GlmmState, rows: Floats, eta: Floats) -> Floats:
    """Return standard errors of the chances of the categories without random effects, (n_rows, n_categories).

    Parameters
    ----------
    state
        The fit.
    rows
        Columns of X, (n_rows, n_fixed).
    eta
        The engine's linear predictor there, (n_rows,).
    """
    family = ordinal_family(state, "Chances of categories")
    cuts = family.cuts(state.phi)
    slopes = [
        family.below_slope(cut - eta)[:, None] * cut_rows(state, rows, np.full(len(rows), k))
        for k, cut in enumerate(cuts)
    ]
    nothing = np.zeros_like(slopes[0])
    errors = [np.sqrt(_variance(state, above - below)) for below, above in pairwise([nothing, *slopes, nothing])]
    return np.column_stack(errors)
