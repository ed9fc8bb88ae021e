"""Names of the data as labels of a plot: literal, broken into lines, and short enough to leave room for the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill
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


def name(text: str, line: int = LINE) -> str:
    """Return the name of an axis, in lines of about one length that is ``line`` at most, and three at most."""
    if len(text) <= line:
        return literal(text)
    even = len(text) // -(-len(text) // line) + 6
    return literal(fill(text, min(line, even), max_lines=3, placeholder=f" {CUT}"))


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
    return text if len(text) <= most else text[: most - 1].rstrip(" ,;:-(") + CUT


def _without_middle(text: str, most: int) -> str:
    head = most // 2
    return text if len(text) <= most else text[:head].rstrip() + CUT + text[len(text) - (most - 1 - head) :].lstrip()
