"""Residuals of the rows that were used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

KINDS = ("conditional", "marginal", "pearson", "standardized")


def residuals(state: FitState, kind: str = "conditional") -> Floats:
    """Return residuals, shape (n_obs,).

    Parameters
    ----------
    state
        The fit.
    kind
        ``"conditional"``: y - X beta - Z b - offset, in units of the response; ``"marginal"``: without Z b;
        ``"pearson"``: conditional times sqrt(weight), all with standard deviation sigma, in units of the response
        (lme4's scale); ``"standardized"``: pearson over sigma, without units.

    Raises
    ------
    InferenceError
        If there is no such kind.
    """
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise InferenceError(f"There are no {kind!r} residuals; there are {known}.{nearest(str(kind), KINDS)}")
    if kind == "marginal":
        return state.design.y - marginal_fitted(state)
    resid = state.design.y - conditional_fitted(state)
    if kind != "conditional" and state.design.weights is not None:
        resid *= np.sqrt(state.design.weights)
    return resid / state.sigma if kind == "standardized" else resid
