"""What a design is made of, in a line: how many levels of a grouping factor have which labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.resize import level_columns, row_labels
from mixedmodels.texts.numbers import significant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mixedmodels.design.design import Design
    from mixedmodels.design.frame import Column

MAX_COMBINATIONS = 8
"""Combinations of labels that are counted one by one."""


def levels_in_words(design: Design, name: str, others: Collection[str] = ()) -> str:
    """Return ``subject 12: 6 ctl, 6 trt``, with the means of numbers that levels have and the levels of other factors.

    Parameters
    ----------
    design
        The whole.
    name
        The grouping factor.
    others
        Names of other factors.
    """
    columns = level_columns(design, name)
    n = next(f.n_levels for f in design.factors if f.name == name)
    parts = _counted(columns.labels)
    parts += [f"mean {k} {significant(float(np.mean(c.values)))}" for k, c in columns.numbers.items() if c.is_number]
    beside = [f"{f.n_levels} levels of {f.name}" for f in design.factors if f.name in others]
    parts += [f"with {', '.join(beside)}"] if beside else []
    return f"{name} {n}{': ' if parts else ''}{'; '.join(parts)}"


def rows_in_words(design: Design, name: str) -> str | None:
    """Return ``rows per subject 4: 48 a, 48 b in all``, None where rows differ in no label.

    Parameters
    ----------
    design
        The whole, with as many rows in each level of a grouping factor.
    name
        The grouping factor.
    """
    n = design.n_obs // next(f.n_levels for f in design.factors if f.name == name)
    parts = _counted(row_labels(design, name))
    return f"rows per {name} {n}: {'; '.join(parts)} in all" if parts else None


def _counted(labels: Mapping[str, Column]) -> list[str]:
    """Return how often each combination of labels occurs; if they are many, each column's, and how many there are."""
    if not labels:
        return []
    counts = _counts(labels)
    if len(counts) <= MAX_COMBINATIONS:
        return [", ".join(f"{count} {text}" for text, count in counts.items())]
    if len(labels) > 1:
        return [part for k, c in labels.items() for part in _counted({k: c})]
    low, high = min(counts.values()), max(counts.values())
    each = f"{low}" if low == high else f"{low} to {high}"
    return [f"{each} in each of {len(counts)} {next(iter(labels))}"]


def _counts(labels: Mapping[str, Column]) -> dict[str, int]:
    """Return the number of each combination of labels, in the order of their values."""
    columns = list(labels.items())
    values = np.column_stack([c.values.astype(np.float64) for _, c in columns])
    _, first, counts = np.unique(values, axis=0, return_index=True, return_counts=True)
    texts = (" ".join(_text(k, _value(c, i)) for k, c in columns) for i in first)
    return dict(zip(texts, map(int, counts), strict=True))


def _value(column: Column, i: int) -> Any:
    value = column.values[i].item()
    return value if column.levels is None else column.levels[value]


def _text(name: str, value: object) -> str:
    """Return a label as it is, and a number or a boolean with the name of its column."""
    if isinstance(value, str):
        return value
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
