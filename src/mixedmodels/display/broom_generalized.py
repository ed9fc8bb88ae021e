"""Generalised models as tidy data frames, one row a term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.display.broom import random_parameters, tidied
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.inference.generalized import z_table
from mixedmodels.inference.thresholds import threshold_table
from mixedmodels.inference.wald import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mixedmodels.fit.generalized import GlmmState


def tidy_generalized(state: GlmmState, effects: str | Iterable[str], level: float, exponentiate: bool) -> pd.DataFrame:
    """Return one row a parameter of a generalised model, in the columns of ``tidy``; thresholds are fixed effects.

    Parameters
    ----------
    state
        The fit.
    effects
        As for ``tidy``; a dispersion has the term ``dispersion__Observation``.
    level
        Coverage.
    exponentiate
        Exponentials of the fixed effects but for thresholds, as for ``coef_table``.
    """
    fixed = z_table(state, level, exponentiate)
    if isinstance(state.family, Ordinal):
        fixed = pd.concat([threshold_table(state, level).rename_axis("term"), fixed])[list(COLUMNS)]

    def parameters() -> pd.DataFrame:
        rows = random_parameters(state, None)
        if state.dispersion is not None:
            rows.loc[len(rows)] = ("ran_pars", "Residual", "dispersion__Observation", state.dispersion)
        return rows

    return tidied(effects, fixed, parameters)
