"""Levels as messages and tables show them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

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


@dataclass(frozen=True)
class LevelTexts(Sequence[str]):
    """The texts of levels, each made when it is asked for: of many times hardly one is ever shown.

    Attributes
    ----------
    levels
        As they are.
    """

    levels: pd.Index

    def __len__(self) -> int:
        return len(self.levels)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> LevelTexts: ...

    def __getitem__(self, place: int | slice) -> str | LevelTexts:
        found = self.levels[place]
        return LevelTexts(found) if isinstance(place, slice) else level_text(found)


def odd_ones(levels: pd.Index) -> list[str]:
    """Return the texts of those levels that cannot be read as numbers."""
    texts = list(map(level_text, levels.tolist()))
    if all(text.isascii() and text.isdecimal() for text in texts):
        return []
    if not any(set(text) & _IN_NUMBERS for text in texts):
        return texts
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    return [text for text, number in zip(texts, numbers, strict=True) if pd.isna(number)]
