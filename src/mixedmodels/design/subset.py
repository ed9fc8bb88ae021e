"""A design on some of its rows, or on copies of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design


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
        trials=None if design.trials is None else np.ascontiguousarray(design.trials[rows]),
        factors=tuple(factors),
        rows=None,
        labels=None,
        n_rows=len(rows),
        columns={name: column.take(rows) for name, column in design.columns.items()},
        absorbed=None if design.absorbed is None else design.absorbed.take(rows),
    )


def draw_levels(design: Design, name: str, drawn: npt.NDArray[np.intp]) -> Design:
    """Return the design of some levels of a grouping factor with their rows, each drawn copy a level of its own.

    So are the levels nested in it; a copy shares those of other factors with the original.

    Parameters
    ----------
    design
        The whole.
    name
        The factor.
    drawn
        Levels by code, (n_drawn,).
    """
    source = next(f for f in design.factors if f.name == name)
    by_level = np.argsort(source.codes, kind="stable")
    start = np.searchsorted(source.codes[by_level], np.arange(source.n_levels + 1))
    rows = np.concatenate([by_level[start[level] : start[level + 1]] for level in drawn])
    copy = np.repeat(np.arange(len(drawn)), np.diff(start)[drawn])
    out = take_rows(design, rows)
    factors = []
    for f, old in zip(out.factors, design.factors, strict=True):
        pairs = np.unique(old.codes.astype(np.int64) * source.n_levels + source.codes)
        if len(pairs) == old.n_levels:  # each level within one level of the source
            levels, codes = np.unique(copy * f.n_levels + f.codes, return_inverse=True)
            factors.append(replace(f, levels=pd.Index(levels), codes=codes.astype(np.int32)))
        else:
            factors.append(f)
    return replace(out, factors=tuple(factors))
