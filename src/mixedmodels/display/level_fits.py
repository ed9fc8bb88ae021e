"""Regressions of each level, as text."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from mixedmodels.texts.noted_frame import NotedFrame, show_notes
from mixedmodels.texts.numbers import significant

if TYPE_CHECKING:
    from mixedmodels.inference.level_fits import LevelFits

MAX_NAMED = 5
"""Levels whose note is shown."""


def describe(fits: LevelFits) -> str:
    """Return the coefficients by level and what is common to them, as text."""
    return f"{fits.formula}\n{_table(fits)!r}"


def describe_html(fits: LevelFits) -> str:
    """Return the coefficients by level and what is common to them, as HTML."""
    return f"<p>{html.escape(fits.formula)}</p>{_table(fits)._repr_html_()}"


def _table(fits: LevelFits) -> NotedFrame:
    table = show_notes(fits.coef)
    n = len(fits.levels)
    notes = [
        f"{n} level{'s' if n != 1 else ''} of {fits.group}; pooled residual standard deviation "
        f"{significant(fits.sigma)} on {fits.df_resid} degrees of freedom."
    ]
    odd = fits.levels.loc[fits.levels["note"] != "", "note"]
    notes += [f"{level}: {note}" for level, note in odd.iloc[:MAX_NAMED].items()]
    if len(odd) > MAX_NAMED:
        notes.append(f"{len(odd) - MAX_NAMED} more levels have a note, see .levels.")
    table.attrs["notes"] = tuple(notes)
    return table
