"""A design with fixed effects that are known: their part is an offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixedmodels.design.design import Design
from mixedmodels.design.records import Floats


def with_known_effects(design: Design, beta: Floats, known: Sequence[int] | None = None) -> Design:
    """Return the design with some fixed effects known: what they add is in the offset, their columns are gone.

    Parameters
    ----------
    design
        The model.
    beta
        Values of all fixed effects, (n_columns,).
    known
        Positions of those that are known; None for all.
    """
    n_columns = design.X.shape[1]
    known = range(n_columns) if known is None else known
    free = [j for j in range(n_columns) if j not in set(known)]
    before = 0.0 if design.offset is None else design.offset
    return replace(
        design,
        offset=before + design.X[:, list(known)] @ beta[list(known)],
        X=np.ascontiguousarray(design.X[:, free]),
        x_names=tuple(design.x_names[j] for j in free),
        columns={},
    )
