"""Tests of constraints as the table that statsmodels prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from mixedmodels.design.records import Floats

WIDTHS = (10, 10, 10, 10, 11, 11)
SHORTEST_NAME = 10


@dataclass(frozen=True)
class ConstraintTable:
    """A table of constraints: name, coefficient, standard error, statistic, p-value and interval.

    Attributes
    ----------
    title
        First line; empty for none.
    header
        Names of the columns.
    names, rows
        Names of the constraints, and their numbers as text.
    """

    title: str
    header: list[str]
    names: list[str]
    rows: list[list[str]]

    def as_text(self) -> str:
        """Return plain text."""
        stub = max(SHORTEST_NAME, *map(len, self.names))
        width = stub + sum(WIDTHS) + len(WIDTHS)
        lines = ["=" * width, _line("", self.header, stub), "-" * width]
        lines += [_line(name, row, stub) for name, row in zip(self.names, self.rows, strict=True)]
        return "\n".join([*([self.title.center(width)] if self.title else []), *lines, "=" * width])

    def as_html(self) -> str:
        """Return HTML, names escaped."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in ["", *self.header])
        body = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
            for name, row in zip(self.names, self.rows, strict=True)
        )
        return f'<table class="simpletable"><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table>'

    def __str__(self) -> str:
        return self.as_text()

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()


def constraint_table(
    title: str, names: Sequence[str], columns: Sequence[Floats], letter: str, alpha: float
) -> ConstraintTable:
    """Return the table of some tests.

    Parameters
    ----------
    title
        First line.
    names
        Of the constraints.
    columns
        Coefficients, standard errors, statistics, p-values, lower and upper limits, each (n_rows,).
    letter
        ``"t"`` or ``"z"``.
    alpha
        One less the coverage of the intervals.
    """
    header = ["coef", "std err", letter, f"P>|{letter}|", f"[{alpha / 2}", f"{1 - alpha / 2}]"]
    rows = [
        [_number(coef, 4), _number(sd, 3), _number(t, 3), f"{p:.3f}", _number(low, 3), _number(high, 3)]
        for coef, sd, t, p, low, high in zip(*columns, strict=True)
    ]
    return ConstraintTable(title, header, [str(name) for name in names], rows)


def _number(x: float, digits: int) -> str:
    """Return fixed digits, or significant ones for what is large or small."""
    return f"{x:.{digits}{'g' if np.abs(x) >= 1e4 or np.abs(x) < 1e-4 else 'f'}}"


def _line(name: str, cells: Sequence[str], stub: int) -> str:
    return " ".join([name.ljust(stub), *(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))])
