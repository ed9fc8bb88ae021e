"""An order of rows and levels that depends on their content alone.

Rows fall into classes by their numbers, levels by the classes of their rows, rows again by the classes of their levels,
until no class is divided any more (colour refinement of the graph of rows and levels).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.design.subset import take_rows

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Codes, Floats

Classes = npt.NDArray[np.intp]

DIGITS = 9
"""Digits of a number, relative to the largest of its column, that count as content; later ones are rounding."""


def in_canonical_order(design: Design) -> Design:
    """Return the design with its rows and levels in an order that neither names nor the order of the rows change.

    Levels that only their names tell apart keep their order among each other, and so do rows of the same levels and
    numbers.

    Parameters
    ----------
    design
        The whole.
    """
    rows, levels = content_classes(design)
    places = [np.argsort(np.argsort(classes, kind="stable"), kind="stable") for classes in levels]
    codes = [place[f.codes] for f, place in zip(design.factors, places, strict=True)]
    ordered = take_rows(design, np.lexsort([*codes[:0:-1], rows, codes[0]]))
    factors = [
        replace(f, levels=f.levels[np.argsort(place)], codes=place[f.codes].astype(np.int32))
        for f, place in zip(ordered.factors, places, strict=True)
    ]
    return replace(ordered, factors=tuple(factors))


def level_classes(design: Design, name: str) -> tuple[Classes, Classes]:
    """Return classes of the levels of a factor by content, and finer ones by the levels of others that they meet.

    Names do not change which levels are in one class, nor the order of the first classes; both are (n_levels,).

    Parameters
    ----------
    design
        The whole.
    name
        The factor.
    """
    rows, levels = content_classes(design)
    place = [f.name for f in design.factors].index(name)
    others = [f.codes for f in design.factors if f.name != name]
    return levels[place], _level_classes(design.factors[place].codes, _distinct(np.column_stack([rows, *others])))


def content_classes(design: Design) -> tuple[Classes, list[Classes]]:
    """Return the class of each row, (n_obs,), and of each level of each factor, (n_levels,), by their content.

    Parameters
    ----------
    design
        The whole.
    """
    rows = _distinct(_numbers(design))
    while True:
        levels = [_level_classes(f.codes, rows) for f in design.factors]
        refined = [c[f.codes] for f, c in zip(design.factors, levels, strict=True)]
        finer = _distinct(np.column_stack([rows, *refined]))
        if finer.max() == rows.max():
            return rows, levels
        rows = finer


def _numbers(design: Design) -> Floats:
    """Return all that is computed from a row of the data, without rounding, (n_obs, n_numbers)."""
    parts = [design.X, *(f.Z for f in design.factors), design.offset, design.weights]
    numbers = np.column_stack([part for part in parts if part is not None])
    size = np.abs(numbers).max(axis=0)
    return np.round(numbers / np.where(size > 0, size, 1.0), DIGITS) + 0.0


def _distinct(rows: npt.NDArray[np.generic]) -> Classes:
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1], dtype=np.intp).ravel()


def _level_classes(codes: Codes, rows: Classes) -> Classes:
    """Return classes of levels that have the same classes of rows; those with fewer rows come first."""
    order = np.lexsort((rows, codes))
    counts = np.bincount(codes)
    parts = np.split(rows[order].astype(">i8"), np.cumsum(counts)[:-1])
    keys = [(len(part), part.tobytes()) for part in parts]
    place = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([place[key] for key in keys], dtype=np.intp)
