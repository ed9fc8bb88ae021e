"""Intraclass correlation: the share of the random effects in the variance.

Adjusted: of the variance that the fixed part leaves; unadjusted: of the whole (Nakagawa, Johnson and Schielzeth 2017).
The variances are those of ``r2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference.r2 import variance_parts

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState


def icc(state: FitState, fixed: Floats | None = None) -> dict[str, float]:
    """Return ``adjusted`` and ``unadjusted`` intraclass correlation, of all grouping factors together.

    Arguments as for ``variance_parts``.
    """
    of_fixed, parts, residual = variance_parts(state, fixed)
    random = sum(parts.values())
    return {"adjusted": random / (random + residual), "unadjusted": random / (of_fixed + random + residual)}
