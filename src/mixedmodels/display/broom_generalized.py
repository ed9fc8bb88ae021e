"""Generalised models as tidy data frames, one row a term."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.display.broom import random_parameters, tidied
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.inference.generalized import z_table
from mixedmodels.inference.thresholds import threshold_table
from mixedmodels.inference.wald import COLUMNS
from mixedmodels.inference.zero_effects import zero_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mixedmodels.fit.generalized import GlmmState

COMPONENTS = ("cond", "zi")
"""The counts, and the chances of zeros of their own, as broom.mixed calls them."""


def tidy_generalized(state: GlmmState, effects: str | Iterable[str], level: float, exponentiate: bool) -> pd.DataFrame:
    """Return one row a parameter of a generalised model, in the columns of ``tidy``; thresholds are fixed effects.

    Parameters
    ----------
    state
        The fit.
    effects
        As for ``tidy``; a dispersion has the term ``dispersion__Observation``. Where zeros have a chance of their own a
        column ``component`` tells effects on its logit, ``"zi"``, from the others, ``"cond"``.
    level
        Coverage.
    exponentiate
        Exponentials of the fixed effects but for thresholds and those on chances of zeros, as for ``coef_table``.
    """
    fixed = z_table(state, level, exponentiate)
    if isinstance(state.family, Ordinal):
        fixed = pd.concat([threshold_table(state, level).rename_axis("term"), fixed])[list(COLUMNS)]
    n_counts = len(fixed)
    if state.problem.zeros is not None:
        zeros = zero_table(state, level).assign(df=math.inf).rename_axis("term")
        fixed = pd.concat([fixed.rename_axis("term"), zeros])[list(COLUMNS)]

    def parameters() -> pd.DataFrame:
        rows = random_parameters(state, None)
        if state.dispersion is not None:
            rows.loc[len(rows)] = ("ran_pars", "Residual", "dispersion__Observation", state.dispersion)
        return rows

    out = tidied(effects, fixed, parameters)
    if state.problem.zeros is not None:
        is_zero = (out["effect"] == "fixed") & (out.index >= n_counts)
        out.insert(1, "component", np.where(is_zero, *COMPONENTS[::-1]))
    return out
