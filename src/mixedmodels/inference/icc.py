"""Intraclass correlation: the share of the random effects in the variance.

Adjusted: of the variance that the fixed part leaves; unadjusted: of the whole (Nakagawa, Johnson and Schielzeth 2017).
The variances are those of ``r2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference.r2 import variance_parts

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


def icc(state: FitState) -> dict[str, float]:
    """Return ``adjusted`` and ``unadjusted`` intraclass correlation, of all grouping factors together."""
    fixed, parts, residual = variance_parts(state)
    random = sum(parts.values())
    return {"adjusted": random / (random + residual), "unadjusted": random / (fixed + random + residual)}
