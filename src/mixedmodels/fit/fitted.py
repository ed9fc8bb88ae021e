"""Fitted values of the rows that were used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FixedFit, MixedFit


def fixed_part(state: FixedFit, X: Floats | None = None) -> Floats:
    """Return X beta and effects of absorbed levels, (n_rows,), in units of the response.

    Parameters
    ----------
    state
        The fit.
    X
        Rows that stand for those of the fit, (n_rows, n_columns); None for these.
    """
    design = state.design
    X = design.X if X is None else X
    fixed = (X if state.n_fixed == X.shape[1] else X[:, state.kept]) @ state.beta
    return fixed if design.absorbed is None else fixed + design.absorbed.sum_of(state.absorbed_effects)


def marginal_fitted(state: FixedFit) -> Floats:
    """Return the fixed part with the offset, shape (n_obs,), in units of the response."""
    fixed, offset = fixed_part(state), state.design.offset
    return fixed if offset is None else fixed + offset


def conditional_fitted(state: MixedFit) -> Floats:
    """Return X beta + Z b + offset, shape (n_obs,), in units of the response."""
    fitted = marginal_fitted(state)
    for factor, b in zip(state.design.factors, state.b, strict=True):
        fitted += random_part(factor, b)
    return fitted


def random_part(factor: RandomFactor, b: Floats) -> Floats:
    """Return Z b of one grouping factor, shape (n_obs,), for modes b of shape (n_levels, n_effects)."""
    if factor.Z is None:
        return np.take(b[:, 0], factor.codes)
    return np.asarray(np.einsum("ij,ij->i", factor.Z, b[factor.codes]))
