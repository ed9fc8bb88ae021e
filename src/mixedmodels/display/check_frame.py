"""The table of checks, with the advice below what it is about."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from mixedmodels.texts.layout import fold_sentence, n_columns, text_width


class CheckFrame(pd.DataFrame):
    """A DataFrame ``verdict, found, advice`` that shows its texts in full; what is made from it is plain."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        names = [str(name) for name in self.index]
        size, width = max(map(n_columns, names), default=0), text_width()
        lines = []
        for name, (_, row) in zip(names, self.iterrows(), strict=True):
            start = f"{name}{' ' * (size - n_columns(name))}  {row['verdict']}  "
            below = " " * n_columns(start)
            lines += fold_sentence(row["found"], width, start, below)
            lines += fold_sentence(row["advice"], width, below, below)
        for note in self.attrs.get("notes", ()):
            lines += fold_sentence(note, width, below="  ")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = (f"<p>{html.escape(note)}</p>" for note in self.attrs.get("notes", ()))
        return "".join([self.to_html(max_rows=None), *notes])


def show_checks(found: pd.DataFrame) -> CheckFrame:
    """Return the table of checks, which shows its texts in full and below them the notes in its ``attrs``."""
    shown = CheckFrame(found)
    shown.attrs.update(found.attrs)
    return shown
