"""The table of checks, with the advice below what it is about."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import pandas as pd

from mixedmodels.display.table import TEXT_WIDTH


class CheckFrame(pd.DataFrame):
    """A DataFrame ``verdict, found, advice`` that shows its texts in full; what is made from it is plain."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        names = [str(name) for name in self.index]
        width = max(map(len, names), default=0)
        lines = []
        for name, (_, row) in zip(names, self.iterrows(), strict=True):
            start = f"{name:<{width}}  {row['verdict']}  "
            below = " " * len(start)
            lines.append(fill(start + row["found"], TEXT_WIDTH, subsequent_indent=below))
            if row["advice"]:
                lines.append(fill(row["advice"], TEXT_WIDTH, initial_indent=below, subsequent_indent=below))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.to_html(max_rows=None)
