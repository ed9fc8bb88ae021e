"""Names of the data as labels of a plot: literal, broken into lines, and short enough to leave room for the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mixedmodels.design.labels import level_text

LINE = 40
"""Characters of a line that fit below an axis."""

SIDE = 28
"""Characters of a line that fit beside an axis."""

SHORT = 24
"""Characters of a level's name beside a point, a tick or in a legend."""

CUT = "\N{HORIZONTAL ELLIPSIS}"


def literal(text: str) -> str:
    """Return a text that matplotlib draws as it is, dollars too, which would else enclose mathematics."""
    return text.replace("$", r"\$")


def name(text: str, line: int = LINE, most_lines: int = 3) -> str:
    """Return the name of an axis, in lines of about one length that is ``line`` at most, and not too many of them.

    Lines end at spaces and after colons; a word that is longer than a line loses its middle.
    """
    if len(text) <= line:
        return literal(text)
    even = min(line, len(text) // -(-len(text) // line) + 6)
    lines = [""]
    for word in re.split(r"(?<=[\s:])(?=\S)", text):
        piece = _without_middle(word, line)
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > even:
            lines.append("")
        lines[-1] += piece
    shown = [each.rstrip() for each in lines[:most_lines]]
    return literal("\n".join(shown) + (f" {CUT}" if len(lines) > most_lines else ""))


def level_names(levels: Iterable[Any], most: int = SHORT) -> list[str]:
    """Return short names of levels, of ``most`` characters at most, cut where it leaves them distinct.

    Names are cut at the end if that keeps them apart, else in the middle, else the words are cut that all begin with.
    """
    texts = [level_text(level) for level in levels]
    same = next((i for i, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1), 0)
    start = texts[0].rfind(" ", 0, same) + 1 if texts else 0
    ways = [
        [_ended(text, most) for text in texts],
        [_without_middle(text, most) for text in texts],
        [CUT + _ended(text[start:], most - 1) if len(text) > most else text for text in texts],
    ]
    distinct: Sequence[str] = max(ways, key=lambda way: len(set(way)))
    return [literal(text) for text in distinct]


def _ended(text: str, most: int) -> str:
    """Return a text cut at its end: between words, unless that took more than half of it."""
    if len(text) <= most:
        return text
    words = text[:most].rfind(" ")
    return text[: words if words >= most // 2 else most - 1].rstrip(" ,;:-(") + CUT


def _without_middle(text: str, most: int) -> str:
    head = most // 2
    return text if len(text) <= most else text[:head].rstrip() + CUT + text[len(text) - (most - 1 - head) :].lstrip()
