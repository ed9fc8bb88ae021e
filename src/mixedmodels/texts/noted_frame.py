"""Data frames that print well: digits by what they are worth, and below them how they were made."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mixedmodels.texts.frame_texts import frame_texts, label_texts
from mixedmodels.texts.layout import Grid, fold_sentence, one_line_text, text_width

LAYOUTS = {"buf", "index", "line_width", "max_rows"}
"""Arguments of ``to_string`` and ``to_html`` that say nothing of digits, as far as this module lays out itself."""

FORMATS = {"decimal", "float_format", "formatters", "na_rep"}
"""Arguments of ``to_html`` by which a caller formats numbers."""


class NotedFrame(pd.DataFrame):
    """A DataFrame with all its digits, which prints those that are worth printing.

    Below its rows it shows the sentences in ``attrs["notes"]``. Both stay with what is made from it: slices, rounded or
    sorted copies, and files that keep ``attrs``, such as parquet.
    """

    @property
    def _constructor(self) -> Callable[..., NotedFrame]:
        return NotedFrame

    def __repr__(self) -> str:
        width = text_width()
        if self.empty:
            table = repr(pd.DataFrame(self))
        else:
            table = self.to_string(line_width=width, max_rows=pd.get_option("display.max_rows"))
        return "\n".join([table, *[line for note in self._notes for line in fold_sentence(note, width, below="  ")]])

    def _repr_html_(self) -> str:
        notes = (f"<p>{html.escape(note)}</p>" for note in self._notes)
        return "".join([self.to_html(max_rows=pd.get_option("display.max_rows")), *notes])

    def to_string(self, *args: Any, **kwargs: Any) -> Any:
        """Return the table as text, with the digits that it is worth unless the arguments of pandas ask for others."""
        if args or not kwargs.keys() <= LAYOUTS or not _is_plain(self):
            return super().to_string(*args, **kwargs)
        most, width = kwargs.get("max_rows"), kwargs.get("line_width")
        text = "\n".join(_lines(self, kwargs.get("index", True), len(self) if most is None else most, width))
        buf = kwargs.get("buf")
        if buf is None:
            return text
        if hasattr(buf, "write"):
            buf.write(text)
        else:
            Path(buf).write_text(text, encoding="utf-8")
        return None

    def to_html(self, *args: Any, **kwargs: Any) -> Any:
        """Return the table as HTML, with the digits that it is worth unless the arguments of pandas ask for others."""
        if args or kwargs.keys() & FORMATS or not _is_plain(self):
            return super().to_html(*args, **kwargs)
        texts = pd.DataFrame(dict(enumerate(frame_texts(self))), dtype=object)
        texts.index, texts.columns = self.index, self.columns
        with pd.option_context("display.max_colwidth", None):
            return texts.to_html(**kwargs)

    @property
    def _notes(self) -> tuple[str, ...]:
        return tuple(self.attrs.get("notes", ()))


def show_notes(frame: pd.DataFrame) -> NotedFrame:
    """Return the same table, which prints well and shows the notes in its ``attrs``."""
    noted = NotedFrame(frame)
    noted.attrs.update(frame.attrs)
    return noted


def _is_plain(frame: pd.DataFrame) -> bool:
    return frame.columns.nlevels == 1 and not frame.empty


def _lines(frame: NotedFrame, index: bool, most: int, width: int | None) -> list[str]:
    """Return the lines of a table, by default as wide as it is; of more than ``most`` rows without the middle."""
    first = (most + 1) // 2
    shown = frame if len(frame) <= most else pd.concat([frame.iloc[:first], frame.iloc[len(frame) - most // 2 :]])
    labels = label_texts(shown.index) if index else []
    names = ["" if name is None else str(name) for name in shown.index.names] if index else []
    columns = [map(one_line_text, column) for column in (*labels, *frame_texts(shown))]
    rows = list(zip(*columns, strict=True))
    if len(shown) < len(frame):
        rows.insert(first, ("...", *[""] * (len(rows[0]) - 1)))
    sides = ["n" if pd.api.types.is_numeric_dtype(dtype) else "l" for dtype in shown.dtypes]
    header = tuple(map(one_line_text, (*names, *map(str, shown.columns))))
    grid = Grid(header, tuple(rows), "l" * len(labels) + "".join(sides), len(labels), False)
    size = f"[{len(frame)} rows x {frame.shape[1]} columns]"
    return [*grid.lines(sys.maxsize if width is None else width), *([size] if len(shown) < len(frame) else [])]
