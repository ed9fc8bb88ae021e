"""Numbers as text: as many digits as they are worth, decimal points under one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = 4
"""Significant digits of a standard error, and of the smallest number of a column."""

SIMILAR_DECADES = 2
"""Powers of ten between standard errors that still share their decimals."""

MAX_DECIMALS = 7
"""Decimals beyond which a number is written with an exponent."""

MAX_DIGITS = 15
"""Decimal digits that a number holds; what stands behind them is noise."""

MAX_INTEGER = 1e9
"""Size from which a number is written with an exponent."""

SHARE_PLACE = 3
"""Decimals of numbers between zero and one, and of their intervals."""

UNDEFINED = "-"


def fixed(value: float, decimals: int) -> str:
    """Return the number with that many decimals, never as ``-0.00``."""
    if not math.isfinite(value):
        return UNDEFINED if math.isnan(value) else f"{value}"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def column(values: Sequence[float], digits: int = DIGITS) -> list[str]:
    """Return numbers of one kind with common decimals, so that the smallest has ``digits`` significant digits.

    Where they differ too much in size for that, each number gets its own.
    """
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    if not sizes:
        return [fixed(v, 0) for v in values]
    decimals = max(0, digits - 1 - _exponent(min(sizes)))
    if decimals <= MAX_DECIMALS and max(sizes) < min(MAX_INTEGER, 1e5 * min(sizes)):
        return [fixed(v, decimals) for v in values]
    return [significant(v, digits) for v in values]


def significant(value: float, digits: int = DIGITS) -> str:
    """Return the number with that many significant digits."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    return to_place([value], digits - 1 - _exponent(value))[0]


def places(std_errors: Sequence[float]) -> list[int]:
    """Return the decimal place that each estimate is known to.

    One place for all, at which the largest standard error has ``DIGITS`` significant digits and the smallest one less
    at least; a place for each, ``DIGITS`` digits into its standard error, where these differ too much in size.
    """
    exponents = [_exponent(e) if math.isfinite(e) and e > 0 else 0 for e in std_errors]
    if max(exponents) - min(exponents) > SIMILAR_DECADES:
        return [DIGITS - 1 - e for e in exponents]
    return [max(DIGITS - 1 - max(exponents), DIGITS - 2 - min(exponents))] * len(exponents)


def to_place(values: Sequence[float], place: int) -> list[str]:
    """Return the values of one row to the same decimal place, with exponents where they are very small or large."""
    if place > MAX_DECIMALS or max((abs(v) for v in values if math.isfinite(v)), default=0) >= MAX_INTEGER:
        return [_with_exponent(v, place) for v in values]
    return [fixed(v, max(0, place)) for v in values]


def p_value(p: float) -> str:
    """Return the p-value with three decimals, or ``<0.001``; 0.001 is never below it."""
    return "<0.001" if p < 0.001 else fixed(p, 3)


def share(value: float) -> str:
    """Return a number between zero and one with three decimals, or ``<0.001`` where it is above zero."""
    return "<0.001" if 0 < value < 0.1**SHARE_PLACE else fixed(value, SHARE_PLACE)


def statistic(value: float) -> str:
    """Return a test statistic with two decimals."""
    if abs(value) < 1e6 or not math.isfinite(value):
        return fixed(value, 2)
    return _with_exponent(value, 3 - _exponent(value))


def criterion(value: float) -> str:
    """Return a deviance or an information criterion with three decimals."""
    return fixed(value, 3)


def align(texts: Sequence[str]) -> list[str]:
    """Return the texts padded on the right so that, set flush right, their decimal points stand under one another.

    Not where one of them has an exponent, which would take too much room.
    """
    if any("e" in text for text in texts if _is_number(text)):
        return list(texts)
    tails = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    longest = max(tails, default=0)
    return [
        text + " " * (longest - tail) if _is_number(text) else text for text, tail in zip(texts, tails, strict=True)
    ]


def _is_number(text: str) -> bool:
    return text[-1:].isdigit()


def _with_exponent(value: float, place: int) -> str:
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    return f"{value:.{min(max(0, place + _exponent(value)), MAX_DIGITS - 1)}e}"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
