"""A design on some of its rows, or on copies of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.residual_rows import ResidualRows


def take_rows(design: Design, rows: npt.NDArray[np.intp]) -> Design:
    """Return the design on some rows, repeated ones too; levels without rows are left out unless others are related.

    Parameters
    ----------
    design
        The whole.
    rows
        Positions among its rows, (n_taken,).
    """
    factors = []
    for f in design.factors:
        Z = None if f.Z is None else np.ascontiguousarray(f.Z[rows])
        if f.relationship is not None:  # which is among all levels, with rows or without
            factors.append(replace(f, codes=np.ascontiguousarray(f.codes[rows]), Z=Z))
            continue
        present, codes = np.unique(f.codes[rows], return_inverse=True)
        factors.append(replace(f, levels=f.levels[present], codes=codes.astype(np.int32), Z=Z))
    return replace(
        design,
        y=np.ascontiguousarray(design.y[rows]),
        X=np.ascontiguousarray(design.X[rows]),
        offset=None if design.offset is None else np.ascontiguousarray(design.offset[rows]),
        weights=None if design.weights is None else np.ascontiguousarray(design.weights[rows]),
        trials=None if design.trials is None else np.ascontiguousarray(design.trials[rows]),
        factors=tuple(factors),
        residual=None if design.residual is None else _some_subjects(design.residual, rows),
        known_residual=None if design.known_residual is None else design.known_residual.take(rows),
        variance=tuple(replace(column, values=column.values[rows]) for column in design.variance),
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
    copy = np.repeat(np.arange(len(drawn)), np.bincount(source.codes, minlength=source.n_levels)[drawn])
    out = take_rows(design, rows_of_levels(design, name, drawn))
    factors = []
    for f, old in zip(out.factors, design.factors, strict=True):
        pairs = np.unique(old.codes.astype(np.int64) * source.n_levels + source.codes)
        if len(pairs) == old.n_levels:  # each level within one level of the source
            levels, codes = np.unique(copy * f.n_levels + f.codes, return_inverse=True)
            factors.append(replace(f, levels=pd.Index(levels), codes=codes.astype(np.int32)))
        else:
            factors.append(f)
    return replace(out, factors=tuple(factors))


def rows_of_levels(design: Design, name: str, drawn: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the rows of some levels of a grouping factor, level after level as they are drawn, (n_taken,).

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
    return np.concatenate([by_level[start[level] : start[level + 1]] for level in drawn])


def draw_blocks(design: Design, block: npt.NDArray[np.intp], drawn: npt.NDArray[np.intp]) -> Design:
    """Return the design of some independent blocks of rows, subjects and levels of a copy being its own.

    Parameters
    ----------
    design
        The whole.
    block
        Of each row, (n_obs,); a subject, or a level of a factor, has rows in one alone.
    drawn
        Blocks by code, (n_drawn,).
    """
    by_block = np.argsort(block, kind="stable")
    start = np.searchsorted(block[by_block], np.arange(int(block.max()) + 2))
    rows = np.concatenate([by_block[start[one] : start[one + 1]] for one in drawn])
    copy = np.repeat(np.arange(len(drawn)), np.diff(start)[drawn])

    def apart(codes: npt.NDArray[np.integer]) -> tuple[pd.Index, npt.NDArray[np.int32]]:
        found, new = np.unique(copy * (int(codes.max()) + 1) + codes, return_inverse=True)
        return pd.RangeIndex(len(found)), new.astype(np.int32)

    out = take_rows(design, rows)
    factors, residual = [], out.residual
    for f in out.factors:
        levels, codes = apart(f.codes)
        factors.append(replace(f, levels=levels, codes=codes))
    if residual is not None:
        subjects, subject = apart(residual.subject)
        residual = replace(residual, subject=subject, subjects=subjects)
    return replace(out, factors=tuple(factors), residual=residual)


def draw_subjects(design: Design, drawn: npt.NDArray[np.intp]) -> Design:
    """Return the design of some subjects with correlated residuals, each drawn copy a subject of its own.

    Parameters
    ----------
    design
        The whole.
    drawn
        Subjects by code, (n_drawn,).
    """
    residual = design.residual
    assert residual is not None
    by_subject = np.argsort(residual.subject, kind="stable")
    start = np.searchsorted(residual.subject[by_subject], np.arange(residual.n_subjects + 1))
    rows = np.concatenate([by_subject[start[subject] : start[subject + 1]] for subject in drawn])
    out = take_rows(design, rows)
    assert out.residual is not None
    copy = np.repeat(np.arange(len(drawn), dtype=np.int32), np.diff(start)[drawn])
    return replace(out, residual=replace(out.residual, subject=copy, subjects=pd.RangeIndex(len(drawn))))


def _some_subjects(residual: ResidualRows, rows: npt.NDArray[np.intp]) -> ResidualRows:
    """Return subjects and visits of some rows; the visits stay, those without rows too."""
    present, subject = np.unique(residual.subject[rows], return_inverse=True)
    return replace(
        residual,
        subject=subject.astype(np.int32),
        subjects=residual.subjects[present],
        visit=residual.visit[rows],
        group=residual.group[rows],
    )
