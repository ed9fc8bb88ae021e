"""R-squared of mixed models: the share of the fixed part, and of fixed and random parts, in the variance.

With the variance of the fixed part var(X beta), of each random term averaged over the rows sigma_k^2 =
mean_i z_i' Sigma_k z_i (Johnson 2014), and of the residual sigma^2:
marginal R^2 = var(X beta) / total, conditional R^2 = (var(X beta) + sum_k sigma_k^2) / total (Nakagawa and Schielzeth
2013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.fitted import fixed_part
from mixedmodels.inference.covariances import factor_roots

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, MixedFit


def variance_parts(state: FitState, fixed: Floats | None = None) -> tuple[float, dict[str, float], float]:
    """Return the variance of the fixed part, of each grouping factor's effects and of the residual.

    The variance of the fixed part has divisor n - 1 and leaves offsets out; with weights the residual variance is that
    of an observation with weight one.

    Parameters
    ----------
    state
        The fit.
    fixed
        The fixed part, (n_obs,), where it is not that of the state, X beta and the effects of absorbed levels.
    """
    design = state.design
    if fixed is None:
        fixed = fixed_part(state, None if design.stand_in is None else design.stand_in.X)
    fixed = fixed - fixed[0]  # so that what does not vary has exactly no variance
    of_fixed = float(np.var(fixed) * design.n_obs / (design.n_obs - 1))
    return of_fixed, random_variances(state), state.sigma**2


def random_variances(state: MixedFit) -> dict[str, float]:
    """Return the variance of each grouping factor's effects, averaged over the rows."""
    design, parts = state.design, {}
    for factor, Z, root in zip(design.factors, design.moment_effects, factor_roots(state), strict=True):
        if Z is None:
            parts[factor.name] = float(root[0, 0] ** 2)
        else:
            rows = Z @ root
            parts[factor.name] = float(np.einsum("ij,ij->", rows, rows) / len(rows))
    return parts


def r2(state: FitState, fixed: Floats | None = None) -> dict[str, float]:
    """Return ``marginal`` and ``conditional`` R-squared; arguments as for ``variance_parts``."""
    of_fixed, parts, residual = variance_parts(state, fixed)
    random = sum(parts.values())
    total = of_fixed + random + residual
    return {"marginal": of_fixed / total, "conditional": (of_fixed + random) / total}
