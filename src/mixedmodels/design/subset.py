"""A design on some of its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Design


def take_rows(design: Design, rows: npt.NDArray[np.intp]) -> Design:
    """Return the design on some rows, repeated ones too; levels without rows are left out.

    Parameters
    ----------
    design
        The whole.
    rows
        Positions among its rows, (n_taken,).
    """
    factors = []
    for f in design.factors:
        present, codes = np.unique(f.codes[rows], return_inverse=True)
        Z = None if f.Z is None else np.ascontiguousarray(f.Z[rows])
        factors.append(replace(f, levels=f.levels[present], codes=codes.astype(np.int32), Z=Z))
    return replace(
        design,
        y=np.ascontiguousarray(design.y[rows]),
        X=np.ascontiguousarray(design.X[rows]),
        offset=None if design.offset is None else np.ascontiguousarray(design.offset[rows]),
        weights=None if design.weights is None else np.ascontiguousarray(design.weights[rows]),
        factors=tuple(factors),
        rows=None,
        n_rows=len(rows),
    )
