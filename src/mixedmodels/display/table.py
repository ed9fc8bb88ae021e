"""A table of texts and the four ways to set it: plain, HTML, LaTeX, Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from mixedmodels.texts.layout import INDENT, Grid, is_one_line, one_line_text, text_width

_CAPTION = "text-align: left; font-weight: 600"
_SPACING = "border-spacing: 0.8em 0.1em"  # where no style sheet collapses the borders, columns would touch
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{c: f"\\{c}" for c in "&%$#_{}"},
    }
)
# Underscores inside of words are no marks.
_MARKS = re.compile(r"[\\`*|~$]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|\](?=[(\[])")
_NEGATIVE = re.compile(r"-[\d.]+(?:e[+-]\d+)?")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
_STARS = re.compile(r"\*+$")


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header.

    Attributes
    ----------
    title
        What the table shows; may be empty.
    header
        One text a column; empty for a table without a header.
    rows
        Texts, one tuple a row.
    alignment
        For each column ``"l"``, ``"r"`` or ``"n"``: left, right, or numbers with their decimal points aligned.
    n_labels
        Columns that name the rows.
    ruled
        Draw a line below the header of the text.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alignment: str
    n_labels: int = 1
    ruled: bool = True

    def __post_init__(self) -> None:
        if not is_one_line("".join([*self.header, *chain.from_iterable(self.rows)])):
            object.__setattr__(self, "header", tuple(map(one_line_text, self.header)))
            object.__setattr__(self, "rows", tuple(tuple(map(one_line_text, row)) for row in self.rows))

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """Return the table as plain text.

        Parameters
        ----------
        width
            Columns of a line; None for those of the terminal.
        """
        lines = self.grid().lines(text_width(width))
        return "\n".join([self.title, *lines] if self.title else lines)

    def grid(self) -> Grid:
        """Return what is laid out below the title."""
        return Grid(self.header, self.rows, self.alignment, self.n_labels, self.ruled)

    def to_html(self) -> str:
        """Return the table as an HTML ``<table>``."""
        sides = {"l": "left", "r": "right", "n": "right"}
        caption = f'<caption style="{_CAPTION}">{html.escape(self.title)}</caption>' if self.title else ""
        head = "".join(self._cell("th", sides[a], t) for a, t in zip(self.alignment, self.header, strict=False))
        body = "\n".join(
            "<tr>" + "".join(self._cell("td", sides[a], t) for a, t in zip(self.alignment, row, strict=True)) + "</tr>"
            for row in self.rows
        )
        thead = f"<thead><tr>{head}</tr></thead>\n" if head else ""
        return f'<table style="{_SPACING}">{caption}\n{thead}<tbody>\n{body}\n</tbody></table>'

    def to_latex(self) -> str:
        """Return the table as a LaTeX ``tabular``, ruled by booktabs."""
        lines = [rf"\begin{{tabular}}{{{self.alignment.replace('n', 'r')}}}", r"\toprule"]
        if self.header:
            lines += [_latex_row(self.header), r"\midrule"]
        lines += [_latex_row(row, self.alignment) for row in self.rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return the table in Markdown with pipes."""
        marks = {"l": ":--", "r": "--:", "n": "--:"}
        header = self.header or ("",) * len(self.alignment)
        first, *rows = [_markdown_row(list(map(to_markdown_text, row))) for row in (header, *self.rows)]
        return "\n".join([first, _markdown_row([marks[a] for a in self.alignment]), *rows])

    def _repr_html_(self) -> str:
        return self.to_html()

    @staticmethod
    def _cell(tag: str, side: str, text: str) -> str:
        indent = "&emsp;" if text.startswith(INDENT) and side == "left" else ""
        return f'<{tag} style="text-align: {side}">{indent}{html.escape(text.strip())}</{tag}>'


def to_latex_text(text: str) -> str:
    """Return the text with LaTeX's special characters escaped."""
    return text.translate(_LATEX)


def _latex_row(cells: Sequence[str], alignment: str = "") -> str:
    sides = alignment or "l" * len(cells)
    first, *others = [_latex_cell(cell, side) for cell, side in zip(cells, sides, strict=True)]
    guard = "{}" if first.startswith(("[", "*")) else ""  # which would be an argument of the row before
    return " & ".join([guard + first, *others]) + r" \\"


def _latex_cell(text: str, side: str) -> str:
    """Return a cell: indented labels stay so, numbers get minus signs, stars stand up."""
    escaped = to_latex_text(text.strip())
    if side == "l":
        return (r"\quad " if text.startswith(INDENT) else "") + escaped
    if _NEGATIVE.fullmatch(escaped):
        return f"${escaped}$"
    return _STARS.sub(r"\\textsuperscript{\g<0>}", MINUS.sub("$-$", escaped))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_markdown_text(text: str) -> str:
    """Return the text with what Markdown would read as marks or HTML escaped."""
    return _MARKS.sub(r"\\\g<0>", one_line_text(text).strip()).replace("<", "&lt;")
