"""Sentences about how a table was made of a reference grid, and about rows that are not as others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.fit.findings import listing
from mixedmodels.inference.contrast import MAX_NAMED, dropped_columns
from mixedmodels.inference.contrast_kinds import cell_text
from mixedmodels.inference.grid_average import WEIGHTS
from mixedmodels.inference.nested_factors import Nesting, variables_of_terms

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.reference_grid import ReferenceGrid


def grid_notes(grid: ReferenceGrid, kept: Sequence[str], weights: str, at: Mapping[str, object]) -> Iterator[str]:
    """Yield what is averaged over, and how, and what is held at its mean."""
    others = [name for name in grid.levels if name not in kept]
    averaged = [name for name in others if len(grid.levels[name]) > 1]
    means = [name for name in others if name not in grid.categorical and name not in at]
    if averaged:
        yield f"Averaged over {', '.join(averaged)} with {WEIGHTS[weights]}."
    if means:
        yield f"At the mean of {', '.join(means)}."


def nesting_notes(nesting: Nesting, grid: ReferenceGrid) -> Iterator[str]:
    """Yield which variables with a choice of levels are nested."""
    for name, outer in nesting.outer.items():
        if len(grid.levels[name]) > 1:
            yield f"{name} is nested in {listing(outer)}."


def interaction_notes(
    design: Design,
    nesting: Nesting,
    grid: ReferenceGrid,
    kept: Sequence[str],
    at: Mapping[str, object],
    *,
    of: Sequence[str] | None = None,
) -> Iterator[str]:
    """Yield which variables, all kept or some, interact with others that are averaged over or held at their means."""
    terms = variables_of_terms(design)
    others = [name for name in grid.levels if name not in kept]
    averaged = [name for name in others if len(grid.levels[name]) > 1]
    held = [name for name in others if name not in grid.categorical and name not in at]
    for name in kept if of is None else of:
        partners = {other for term in terms if name in term for other in term if not nesting.related(name, other)}
        hidden = [other for other in averaged if other in partners]
        if hidden:
            yield f"{name} interacts with {listing(hidden)}: averages over {listing(hidden)} may mislead."
        hidden = [other for other in held if other in partners]
        if hidden:
            yield f"{name} interacts with {listing(hidden)}: what holds at the mean of {listing(hidden)} may mislead."


def unknown_notes(state: FixedFit, table: pd.DataFrame) -> Iterator[str]:
    """Yield which rows of a table cannot be estimated."""
    lost = table.index[table["estimate"].isna()]
    if not len(lost):
        return
    labels = [cell_text(label if isinstance(label, tuple) else (label,)) for label in lost]
    rest = f" and {len(labels) - MAX_NAMED} more" if len(labels) > MAX_NAMED else ""
    why = dropped_columns(state) or "no row has these levels"
    yield f"Cannot be estimated: {', '.join(labels[:MAX_NAMED])}{rest}, because {why}."


def certain_notes(table: pd.DataFrame) -> Iterator[str]:
    """Yield which rows of a table are known without error."""
    certain = table.index[table["std_error"] == 0]
    if len(certain):
        labels = [cell_text(label if isinstance(label, tuple) else (label,)) for label in certain[:MAX_NAMED]]
        rest = f" and {len(certain) - MAX_NAMED} more" if len(certain) > MAX_NAMED else ""
        yield f"Without test, since no coefficient plays a part there: {', '.join(labels)}{rest}."
