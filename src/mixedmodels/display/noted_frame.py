"""Tables that say below themselves how they were made."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

MAX_ROWS = 60
"""Longer tables are shown without their middle."""


class NotedFrame(pd.DataFrame):
    """A DataFrame that shows the sentences in ``attrs["notes"]`` below its rows; what is made from it is plain."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join([self.to_string(max_rows=MAX_ROWS), *self.attrs.get("notes", ())])

    def _repr_html_(self) -> str:
        notes = (f"<p>{html.escape(note)}</p>" for note in self.attrs.get("notes", ()))
        return "".join([self.to_html(max_rows=MAX_ROWS), *notes])


def show_notes(frame: pd.DataFrame) -> NotedFrame:
    """Return the same table, which shows all its columns and the notes in its ``attrs``."""
    noted = NotedFrame(frame)
    noted.attrs.update(frame.attrs)
    return noted
