"""Texts in columns: how wide they are, and what happens where a line is too short for them.

Names stay whole and numbers stay under one another. Where a table is too wide, in this order: columns stand closer, a
last column of sentences is folded, leading labels become headings of the rows below them, long labels stand on lines of
their own, columns go on below in blocks.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

from mixedmodels.errors import InferenceError
from mixedmodels.texts.numbers import align

DEFAULT_WIDTH = 80
"""Columns where nobody says how many there are."""

MIN_WIDTH = 60
"""Columns below which nothing is folded further."""

MAX_PROSE = 100
"""Columns beyond which sentences are not read with ease."""

GAPS = ("  ", " ")
"""Between columns, and where that makes a line too long."""

INDENT = "  "
_QUOTED = re.compile("`[^`]*`")
_RANDOM_TERM = re.compile(r"\([^()]*\|[^()]*\)")
_HARD = "\0"
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")

SHORT = 1 / 5
"""Part of a line up to which a label is short, and does not stand on a line of its own."""

MIN_WORDS = 24
"""Columns that a column of sentences has at least before it is folded."""


def text_width(width: int | None = None) -> int:
    """Return how many columns a text may have.

    Parameters
    ----------
    width
        What was asked for; None for the environment's COLUMNS, or the terminal's width, or 80 where the output is no
        terminal.

    Raises
    ------
    InferenceError
        If ``width`` is not a whole number of columns, 60 at least.
    """
    if width is not None:
        if isinstance(width, bool) or not isinstance(width, Integral) or width < MIN_WIDTH:
            raise InferenceError(f"width is {width!r}; it must be a whole number of columns, {MIN_WIDTH} or more.")
        return int(width)
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return max(int(told), MIN_WIDTH)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or DEFAULT_WIDTH, MIN_WIDTH)
    except (AttributeError, OSError, ValueError):  # no standard output, no terminal, or a closed one
        return DEFAULT_WIDTH


def n_columns(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for East Asian signs, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def is_one_line(text: str) -> bool:
    """Return whether nothing in a text ends lines or steers terminals."""
    return _CONTROLS.search(text) is None


def one_line_text(text: str) -> str:
    """Return the text with the characters that end lines or steer terminals written as Python writes them."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def fold_sentence(text: str, width: int, first: str = "", below: str = "") -> list[str]:
    """Return the lines of a sentence or a formula, broken at spaces but not inside of backticks or short random terms.

    Parameters
    ----------
    text
        The sentence.
    width
        Columns; more than one reads with ease are not used.
    first, below
        What the first line and those below it begin with.
    """
    size = min(width, MAX_PROSE)
    lines: list[str] = []
    kept = _QUOTED.sub(lambda name: name[0].replace(" ", _HARD), one_line_text(text))
    kept = _RANDOM_TERM.sub(lambda term: term[0].replace(" ", _HARD) if len(term[0]) <= size // 2 else term[0], kept)
    for word in kept.split(" "):
        if lines and n_columns(lines[-1]) + 1 + n_columns(word) <= size:
            lines[-1] += f" {word}"
        elif word:
            lines.append(f"{below if lines else first}{word}")
    return [line.replace(_HARD, " ") for line in lines]


@dataclass(frozen=True)
class Grid:
    """Texts in columns, the first of them labels.

    Attributes
    ----------
    header
        One text a column; empty for none.
    rows
        Texts, one tuple a row.
    alignment
        For each column ``"l"``, ``"r"`` or ``"n"``: left, right, or numbers with their decimal points aligned.
    n_labels
        Columns that name the rows.
    ruled
        Draw a line below the header.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alignment: str
    n_labels: int = 1
    ruled: bool = True

    def lines(self, width: int) -> list[str]:
        """Return the lines, none wider than ``width`` unless a single name is."""
        columns = self._padded()
        sizes = _sizes(columns)
        for gap in GAPS:
            if _total(sizes, gap) <= width:
                return self._set(columns, sizes, gap)
        folded = self._with_folded_words(columns, sizes, width)
        if folded is not None:
            return folded.lines(width)
        if self.n_labels > 1:
            return self._nested().lines(width)
        plan = min((_plan(columns[0], sizes, width, gap) for gap in GAPS), key=lambda plan: plan.cost)
        return self._in_blocks(columns, sizes, plan, width)

    def least_width(self) -> int:
        """Return the columns that the table takes at least with all labels beside their rows."""
        flat = _total(_sizes(self._padded()), GAPS[-1])
        return flat if self.n_labels == 1 else min(flat, self._nested().least_width())

    def _padded(self) -> list[list[str]]:
        """Return the columns, headers first, numbers padded to align their decimal points."""
        columns = [list(c) for c in zip(*self.rows, strict=True)] or [[] for _ in self.alignment]
        columns = [align(c) if a == "n" else c for a, c in zip(self.alignment, columns, strict=True)]
        return [[h, *c] for h, c in zip(self.header, columns, strict=True)] if self.header else columns

    def _set(self, columns: Sequence[Sequence[str]], sizes: Sequence[int], gap: str) -> list[str]:
        """Return the lines of a table that is not too wide."""
        filled = [_fill_all(c, size, side) for c, size, side in zip(columns, sizes, self.alignment, strict=True)]
        lines = [gap.join(row).rstrip() for row in zip(*filled, strict=True)]
        return [lines[0], "-" * _total(sizes, gap), *lines[1:]] if self.header and self.ruled else lines

    def _with_folded_words(self, columns: Sequence[Sequence[str]], sizes: Sequence[int], width: int) -> Grid | None:
        """Return the grid with the sentences of its last column broken at spaces; None where that does not help."""
        if self.alignment[-1] != "l" or len(sizes) <= self.n_labels or not any(" " in text for text in columns[-1]):
            return None
        room = width - _total(sizes[:-1], GAPS[0]) - len(GAPS[0])
        if room < MIN_WORDS:  # a block of its own
            room = width - min(_total(sizes[: self.n_labels], GAPS[0]), width // 3) - len(GAPS[0])
        if sizes[-1] <= room:
            return None
        rows: list[tuple[str, ...]] = []
        for row in self.rows:
            first, *others = fold_sentence(row[-1], room) or [""]
            rows += [(*row[:-1], first), *[(*[""] * (len(row) - 1), text) for text in others]]
        return None if max(n_columns(row[-1]) for row in rows) > room else replace(self, rows=tuple(rows))

    def _nested(self) -> Grid:
        """Return the grid with the labels before the last as headings of the rows that follow."""
        n = self.n_labels
        blank = ("",) * (len(self.alignment) - n)
        rows: list[tuple[str, ...]] = []
        for row in self.rows:
            named = zip(self.header or ("",) * n, row[: n - 1], strict=False)
            outer = GAPS[0].join(f"{name} {label}".lstrip() for name, label in named if label)
            if not row[n - 1]:  # a row of its own, such as that of the residual
                rows.append((GAPS[0].join(filter(None, row[: n - 1])), *row[n:]))
                continue
            rows += [(outer, *blank)] if outer else []
            rows.append((f"{INDENT}{row[n - 1]}", *row[n:]))
        header = (f"{INDENT}{self.header[n - 1]}", *self.header[n:]) if self.header else ()
        return Grid(header, tuple(rows), self.alignment[n - 1 :], 1, self.ruled)

    def _in_blocks(self, columns: Sequence[Sequence[str]], sizes: Sequence[int], plan: _Plan, width: int) -> list[str]:
        """Return the lines of each block below one another, without the rows that have values in other blocks only."""
        lines: list[str] = []
        has_values = [any(texts) for texts in zip(*columns[1:], strict=True)]
        for block in plan.blocks:
            here = [any(texts) for texts in zip(*[columns[j] for j in block], strict=True)]
            kept = [i for i, values in enumerate(here) if values or not has_values[i] or (i == 0 and self.header)]
            beside = [[columns[j][i] for i in kept] for j in (0, *block)]
            lines += [""] if lines else []
            lines += self._block(beside, [plan.room, *[sizes[j] for j in block]], [0, *block], plan.gap, width)
        return lines

    def _block(
        self, columns: Sequence[Sequence[str]], sizes: Sequence[int], which: Sequence[int], gap: str, width: int
    ) -> list[str]:
        """Return the lines of some columns of values beside the labels, those too long on lines of their own."""
        sides = [self.alignment[j] for j in which]
        lines: list[str] = []
        for i, (label, *texts) in enumerate(zip(*columns, strict=True)):
            fits = n_columns(label) <= sizes[0]
            lines += [] if fits else _fold_name(label, width)
            if any(texts) or (fits and label):
                row = zip([label if fits else "", *texts], sizes, sides, strict=True)
                lines.append(gap.join(_fill(*each) for each in row).rstrip())
            if i == 0 and self.header and self.ruled:
                lines.append("-" * max(_total(sizes, gap), *map(n_columns, lines)))
        return lines


@dataclass(frozen=True)
class _Plan:
    """Where labels and columns go in a table that is too wide.

    Attributes
    ----------
    gap
        Between columns.
    room
        Columns for labels beside their rows.
    blocks
        The columns of values that stand beside one another.
    n_apart
        Labels on lines of their own.
    """

    gap: str
    room: int
    blocks: list[list[int]]
    n_apart: int

    @property
    def cost(self) -> tuple[int, int]:
        """What is to be small."""
        return len(self.blocks), self.n_apart


def _plan(labels: Sequence[str], sizes: Sequence[int], width: int, gap: str) -> _Plan:
    """Return how to lay out labels and values: no short label apart, and blocks only where nothing else helps."""
    lengths = list(map(n_columns, labels))
    room = width - _total(sizes[1:], gap) - len(gap)
    if room < 0 or any(room < length <= SHORT * width for length in lengths):
        room = width // 3
    room = max((length for length in lengths if length <= room), default=0)
    blocks: list[list[int]] = [[]]
    for j in range(1, len(sizes)):
        if blocks[-1] and _total([room, *[sizes[i] for i in [*blocks[-1], j]]], gap) > width:
            blocks.append([])
        blocks[-1].append(j)
    return _Plan(gap, room, blocks, sum(length > room for length in lengths))


def _sizes(columns: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len if "".join(column).isascii() else n_columns, column), default=0) for column in columns]


def _total(sizes: Sequence[int], gap: str) -> int:
    return sum(sizes) + len(gap) * (len(sizes) - 1)


def _fill_all(texts: Sequence[str], size: int, side: str) -> list[str]:
    if not "".join(texts).isascii():
        return [_fill(text, size, side) for text in texts]
    return [text.ljust(size) for text in texts] if side == "l" else [text.rjust(size) for text in texts]


def _fill(text: str, size: int, side: str) -> str:
    blank = " " * (size - n_columns(text))
    return f"{text}{blank}" if side == "l" else f"{blank}{text}"


def _fold_name(name: str, width: int) -> list[str]:
    """Return the line of a name; where no line is long enough, its parts between spaces and colons."""
    if n_columns(name) <= width:
        return [name]
    indent = " " * (len(name) - len(name.lstrip()))
    parts = name.strip().replace(":", ":\0").replace(" ", " \0").split("\0")
    lines = [indent]
    for part in parts:
        if lines[-1].strip() and n_columns(lines[-1]) + n_columns(part.rstrip()) > width:
            lines.append(f"{indent}{INDENT}")
        lines[-1] += part
    return [line.rstrip() for line in lines]
