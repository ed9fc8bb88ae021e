"""Fitted values of the rows that were used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FixedFit, MixedFit


def marginal_fitted(state: FixedFit) -> Floats:
    """Return X beta, effects of absorbed levels and offset, shape (n_obs,), in units of the response."""
    design = state.design
    X = design.X if state.n_fixed == design.X.shape[1] else design.X[:, state.kept]
    fitted = X @ state.beta
    if design.absorbed is not None:
        fitted += design.absorbed.sum_of(state.absorbed_effects)
    return fitted if design.offset is None else fitted + design.offset


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
