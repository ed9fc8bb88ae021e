"""Formulas with the grouping factor after a bar, ``y ~ x | g``: one regression a level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.errors import FormulaError
from mixedmodels.formula.parse import parse_formula
from mixedmodels.formula.words import Text, with_depth

if TYPE_CHECKING:
    from mixedmodels.formula.terms import Formula

EXAMPLE = "'y ~ x | g', with one grouping factor after the bar"


def parse_grouped(text: str) -> Formula:
    """Return a formula whose one random term is the intercept of the grouping factor after the bar.

    Parameters
    ----------
    text
        Such as ``"y ~ x | g"``.

    Raises
    ------
    FormulaError
        If the text cannot be read, or has no bar, or more.

    Examples
    --------
    >>> parse_grouped("y ~ x | a:b").random[0].group
    ('a', 'b')
    """
    if not isinstance(text, str):
        raise FormulaError(f"The formula is {text!r}; it must be a text such as {EXAMPLE}.")
    words = Text(text)
    bars = [token for token, depth in with_depth(words.tokens()) if depth == 0 and token.text in ("|", "||")]
    if len(bars) != 1 or bars[0].text == "||":
        inside = " Parentheses around it make a random term, which lmer fits." if not bars and "|" in text else ""
        raise FormulaError(f"{text!r} must be a formula such as {EXAMPLE}.{inside}")
    left, right = words.text[: bars[0].start].rstrip(), words.text[bars[0].end :].strip()
    formula = parse_formula(f"{left} + (1 | {right})" if right else f"{left} | ")
    if formula.absorbed:
        raise FormulaError(
            f"{text!r} absorbs fixed effects, which one regression a level does not. Write a fixed term."
        )
    if len(formula.random) > 1:
        raise FormulaError(f"{text!r} must be a formula such as {EXAMPLE}; there are {len(formula.random)}.")
    return formula
