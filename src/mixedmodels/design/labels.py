"""Levels as messages and tables show them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

_MIDNIGHT = " 00:00:00"
_IN_NUMBERS = frozenset("0123456789nN")
"""Numbers have one of these, infinity an n."""


def shown_level(level: Any) -> Any:
    """Return a level as it is shown: dates, durations and intervals as text, other values as Python has them.

    A date is shown without the time of day where that is midnight, and in UTC if it has a zone, as columns are read.
    """
    if isinstance(level, np.datetime64 | dt.date):
        time = pd.Timestamp(level)
        return str(time if time.tzinfo is None else time.tz_convert(None)).removesuffix(_MIDNIGHT)
    if isinstance(level, np.timedelta64 | dt.timedelta):
        return str(pd.Timedelta(level)).removesuffix(_MIDNIGHT)
    if isinstance(level, pd.Interval):
        return str(level)
    return level.item() if isinstance(level, np.generic) else level


def level_text(level: Any) -> str:
    """Return the text of a level."""
    return str(shown_level(level))


def level_texts(levels: pd.Index) -> tuple[str, ...]:
    """Return the texts of all levels."""
    if isinstance(levels.dtype, np.dtype) and levels.dtype.kind in "iuf":
        return tuple(map(str, levels.tolist()))
    return tuple(map(level_text, levels))


def odd_ones(levels: pd.Index) -> list[str]:
    """Return the texts of those levels that cannot be read as numbers."""
    texts = [level_text(level) for level in levels]
    if all(text.isascii() and text.isdecimal() for text in texts):
        return []
    if not any(set(text) & _IN_NUMBERS for text in texts):
        return texts
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    return [text for text, number in zip(texts, numbers, strict=True) if pd.isna(number)]
