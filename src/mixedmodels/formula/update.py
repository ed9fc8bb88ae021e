"""A formula changed by another in which ``.`` stands for what was there, as in R's ``update``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mixedmodels.errors import FormulaError, nearest
from mixedmodels.formula.reduced import absorbed_text

if TYPE_CHECKING:
    from mixedmodels.formula.terms import Formula

_WORD = re.compile(
    r"`[^`]*`"
    r"|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
    r"|(?:\d+\.?\d*|\.\d+)[eE][+-]?\d+"
    r"|[\w.]+"
    r"|\s+|.",
    re.DOTALL,
)


_STRUCTURE = re.compile(r"\w+\s*\([^()]*\|")


def update_formula(old: Formula, new: str) -> str:
    """Return the text of ``new`` with each ``.`` replaced by the old response or the old right-hand side.

    Parameters
    ----------
    old
        The formula to start from.
    new
        Such as ``". ~ . + x"``, ``"log(.) ~ ."``, ``"~ . - (1 | item)"``; a formula without ``.`` stands for itself.

    Raises
    ------
    FormulaError
        If a random term, a covariance structure or an offset is subtracted that is not there; `parse_formula` finds
        absent fixed terms.

    Examples
    --------
    >>> from mixedmodels.formula.parse import parse_formula
    >>> update_formula(parse_formula("y ~ x + (1 | g) + (1 | h)"), ". ~ . + z - (1 | h)")
    'y ~ x + z + (1 | g)'
    """
    if not isinstance(new, str):
        raise FormulaError(f"The formula is {new!r}; it must be a text such as '. ~ . + x'.")
    left, tilde, right = _sides(new)
    if not tilde:
        return new
    response = _replace_dots(left.strip() or ".", _sides(old.text)[0].strip())
    return f"{response} ~ {_right_side(old, right, new)}"


def _right_side(old: Formula, right: str, new: str) -> str:
    kept = []
    if "." in _WORD.findall(right):
        offsets = [_offset_term(expression, expression in old.names) for expression in old.offsets]
        absorbed = [absorbed_text(group, old) for group in old.absorbed]
        kept = [*absorbed, *dict.fromkeys(term.text for term in old.random), *offsets]
        kept += [] if old.residual is None else [old.residual.text]
    text = ""
    for sign, term in _summands(right):
        if sign == "-" and ("|" in _WORD.findall(term) or term.startswith(("offset(", "fe("))):
            kept.remove(_find(term, kept, new))
        else:
            lone = sign == "+" and term == "."
            replaced = old.fixed if lone else _replace_dots(term, f"({old.fixed})")
            text += f" {sign} {replaced}" if text else sign.replace("+", "") + replaced
    if old.residual is not None and any(s == "+" and _STRUCTURE.match(term) for s, term in _summands(right)):
        kept = [term for term in kept if term != old.residual.text]  # one takes the place of the other
    return " + ".join([text or "1", *kept])


def _find(term: str, kept: list[str], new: str) -> str:
    for candidate in kept:
        if re.sub(r"\s", "", candidate) == re.sub(r"\s", "", term):
            return candidate
    there = f"there are {', '.join(kept)}" if kept else "there is none"
    raise FormulaError(f"There is no term {term} to take away; {there}.{nearest(term, kept)}", new, new.find(term))


def _offset_term(expression: str, is_name: bool) -> str:
    return f"offset(`{expression}`)" if is_name and not expression.isidentifier() else f"offset({expression})"


def _replace_dots(text: str, by: str) -> str:
    return _WORD.sub(lambda word: by if word[0] == "." else word[0], text)


def _sides(text: str) -> tuple[str, str, str]:
    for word in _WORD.finditer(text):
        if word[0] == "~":
            return text[: word.start()], "~", text[word.end() :]
    return text, "", ""


def _summands(text: str) -> Iterator[tuple[str, str]]:
    """Yield the sign and the text of each term between plus and minus signs outside of brackets."""
    sign, term, depth = "+", "", 0
    for word in _WORD.findall(text):
        depth += (word in "([{") - (word in ")]}")
        if depth == 0 and word in ("+", "-"):
            if term.strip():
                yield sign, term.strip()
            sign, term = word, ""
        else:
            term += word
    if term.strip():
        yield sign, term.strip()


def with_response(text: str, response: str) -> str:
    """Return the text of a formula with another response, or with one where there was none.

    Parameters
    ----------
    text
        Such as ``"y ~ x + (1 | g)"`` or ``"~ x + (1 | g)"``.
    response
        A column or an expression, as a formula spells it.

    Examples
    --------
    >>> with_response("y ~ x + (1 | g)", "log(z)")
    'log(z) ~ x + (1 | g)'
    """
    _, tilde, right = _sides(text)
    return f"{response} ~ {right.strip()}" if tilde else text


def left_side(text: str) -> str | None:
    """Return what stands left of the tilde, which may be nothing; None where there is no tilde."""
    left, tilde, _ = _sides(text)
    return left.strip() if tilde else None
