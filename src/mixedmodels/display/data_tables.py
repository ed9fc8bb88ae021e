"""What data went into a fit, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.labels import level_text
from mixedmodels.display.table import Table
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Values
    from mixedmodels.design.records import Floats, RandomFactor

MAX_LEVELS = 12
"""Levels of a category listed with their counts; of more, the first are."""


def row_table(design: Design) -> Table:
    """Return how many rows were used and why others were not."""
    rows = [("Rows in the data", str(design.n_rows)), ("Rows used", str(design.n_obs))]
    rows += [(f"Left out: {reason}", str(n)) for reason, n in design.n_dropped.items()]
    return Table("Rows", (), tuple(rows), "lr")


def variable_tables(design: Design) -> Iterator[Table]:
    """Yield the distributions of the response and of the number columns, then those of the categories."""
    numeric = {} if design.categories else {design.response_name: design.y}
    numeric |= {name: c.values.astype(np.float64) for name, c in design.columns.items() if c.is_number}
    if design.weights is not None:
        numeric["(weight)"] = design.weights
    if numeric:
        yield number_table(numeric)
    rows = [(design.response_name, *_counted(design.categories, design.y))] if design.categories else []
    rows += [(name, *_counted(c.levels, c.values)) for name, c in design.columns.items() if c.levels is not None]
    if rows:
        yield Table("Categories", ("", "Levels", "Rows of each"), tuple(rows), "lrl")


def number_table(columns: dict[str, Floats]) -> Table:
    """Return mean, standard deviation and quartiles (type 7 of Hyndman and Fan 1996) of each column."""
    rows = []
    for name, values in columns.items():
        quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
        sd = float(values.std(ddof=1))
        [place] = numbers.places([sd])
        rows.append((name, *numbers.to_place([float(values.mean()), sd, *quartiles], place)))
    return Table("Numbers", ("", "Mean", "Std. dev.", "Min", "1Q", "Median", "3Q", "Max"), tuple(rows), "lrrrrrrr")


def grouping_table(factors: tuple[RandomFactor, ...]) -> Table:
    """Return the grouping factors with how many rows their levels have."""
    rows = []
    for factor in factors:
        counts = np.bincount(factor.codes, minlength=factor.n_levels)
        median = float(np.median(counts))
        texts = (str(counts.min()), numbers.fixed(median, 0 if median.is_integer() else 1), str(counts.max()))
        rows.append((factor.name, str(factor.n_levels), *texts))
    header = ("", "Levels", "Fewest rows", "Median", "Most rows")
    return Table("Grouping factors", header, tuple(rows), "lrrrr")


def _counted(levels: Iterable[object], codes: Values) -> tuple[str, str]:
    levels = [level_text(level) for level in levels]
    counts = np.bincount(codes.astype(np.intp), minlength=len(levels))
    shown = [f"{level} ({n})" for level, n in zip(levels[:MAX_LEVELS], counts, strict=False)]
    return str(len(levels)), ", ".join(shown) + (", ..." if len(levels) > MAX_LEVELS else "")
