"""Tables that say below themselves how they were made."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd


class NotedFrame(pd.DataFrame):
    """A DataFrame that shows the sentences in ``attrs["notes"]`` below its rows; what is made from it is plain.

    Parameters
    ----------
    frame
        The rows, with the notes in its ``attrs``.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__(frame)
        self.attrs.update(frame.attrs)

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self.attrs.get("notes", ())])

    def _repr_html_(self) -> str | None:
        table = super()._repr_html_()  # type: ignore[operator]  # the stubs leave it out
        return "".join([table or "", *(f"<p>{html.escape(note)}</p>" for note in self.attrs.get("notes", ()))])
