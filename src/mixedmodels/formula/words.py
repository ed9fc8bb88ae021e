"""The words of a formula with their places, and what they say side by side. Knows no data."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mixedmodels.errors import FormulaError

STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
"""Quoted text, as a regular expression."""

MAX_DEPTH = 50
"""Brackets inside of brackets that a formula may have."""

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<quoted>`[^`]+`)"
    rf"|(?P<string>{STRING})"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[\w.]+)"
    r"|(?P<op>\|\||\*\*|%\w*%|.)",
    re.DOTALL,
)
_QUOTED_OR_SPACE = re.compile(r"`[^`]*`|\s")
# Words of Python that no expression holds: in a formula they are columns.
_STATEMENTS = "|".join(
    sorted({*keyword.kwlist} - {"False", "None", "True", "and", "else", "for", "if", "in", "is", "lambda", "not", "or"})
)
_IN_CALLS = re.compile(
    rf"`[^`]*`|{STRING}|\^|[−–]|\s+|as\.factor(?=\s*\()|(?<![\w.])(?P<statement>{_STATEMENTS})(?![\w.])"
)
# An expression in pieces that keep comparisons, signs between conditions, commas, brackets and quoted text whole.
_PARTS = re.compile(rf"`[^`]*`|{STRING}|<<|>>|[=!<>]=|[()\[\]{{}},&|=<>]|[^`\"'()\[\]{{}},&|=<>!]+|.")
_COMPOUND = re.compile(r"\b(lambda|for|if)\b")
_BRACKETS = re.compile(rf"`[^`]*`|{STRING}|[()\[\]{{}}]")
_ATTRIBUTE = re.compile(r"\.[^\W\d]\w*")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Signs that word processors and printed pages put in the place of the typed ones.
_SIGNS = {"−": "-", "–": "-", "∼": "~", "～": "~", "∣": "|"}
# Functions of R whose names Python cannot read, and what to do instead.
_R_FUNCTION = re.compile(r"(?<![\w.`])(?!as\.factor\b)((?:as|is)\.\w+)\s*\(")
_MAKE_NUMBERS = "make a column of numbers in the data, such as data['x'].astype(float)"
_INSTEAD = {
    "as.numeric": _MAKE_NUMBERS,
    "as.integer": _MAKE_NUMBERS,
    "as.double": _MAKE_NUMBERS,
    "as.character": "text is a category as it is, and numbers are in C(x)",
    "as.logical": "write a condition in I(), such as I(x > 0)",
}
_OPERANDS = {"name", "number", "quoted", "string", "call"}
_NAMES = {"name", "quoted"}


@dataclass(frozen=True)
class Token:
    """One word of a formula; ``call`` is a whole function call or ``{...}``, already in Python's spelling."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        """True for the name of a column, with or without backticks."""
        return self.kind in _NAMES and self.text != "."


class Text:
    """A formula's text, whose complaints show the place.

    Parameters
    ----------
    text
        As typed.
    """

    def __init__(self, text: str) -> None:
        self.text = _QUOTED_OR_SPACE.sub(lambda found: found[0] if found[0].startswith("`") else " ", text)

    def tokens(self, start: int = 0, end: int | None = None) -> list[Token]:
        """Return the words, or those between two places.

        Parameters
        ----------
        start, end
            The places; None is the end of the text.

        Raises
        ------
        FormulaError
            A quote or a bracket has no counterpart, or brackets are too deep.
        """
        tokens = list(self._read(start, len(self.text) if end is None else end))
        open_at: list[int] = []
        for token in tokens:
            if token.text == "(":
                open_at.append(token.start)
                if len(open_at) > MAX_DEPTH:
                    self.fail(f"Brackets may be {MAX_DEPTH} deep.", token.start)
            elif token.text == ")":
                if not open_at:
                    self.fail("')' closes nothing.", token.start)
                open_at.pop()
        if open_at:
            self.fail("'(' is opened here and never closed.", open_at[-1])
        return tokens

    def summands(self, tokens: Sequence[Token]) -> Iterator[tuple[str, list[Token]]]:
        """Yield the sign and tokens of each term between plus and minus signs.

        Raises
        ------
        FormulaError
            The last term is missing.
        """
        sign, term, last = "+", list[Token](), tokens[0]
        for token, depth in with_depth(tokens):
            if depth or token.text not in ("+", "-"):
                term.append(token)
            else:
                if term:
                    yield sign, term
                    sign, term = "+", []
                if token.text == "-":
                    sign = "+" if sign == "-" else "-"
            last = token
        if not term:
            self.fail(f"Nothing stands right of '{last.text}'.", last.end)
        yield sign, term

    def check_order(self, tokens: Sequence[Token]) -> None:
        """Operands and operators must take turns.

        Raises
        ------
        FormulaError
            Two of a kind stand side by side.
        """
        expects_operand, before = True, None
        for token in tokens:
            if token.kind in _OPERANDS or token.text == "(":
                if not expects_operand:
                    self._complain_about_neighbours(before, token)
                expects_operand = token.text == "("
            elif expects_operand and token.text == ")":
                self.fail("Something is missing before ')'.", token.start)
            elif expects_operand and token.text not in ("+", "-"):
                self.fail(f"Nothing stands left of '{token.text}'.", token.start)
            elif expects_operand and before is not None and _is_operator(before):
                self.fail(f"Nothing stands right of '{before.text}'.", before.end)
            else:
                expects_operand = token.text != ")"
            before = token
        if expects_operand:
            self.fail(f"Nothing stands right of '{tokens[-1].text}'.", tokens[-1].end)

    def fail(self, message: str, position: int) -> NoReturn:
        """Raise the complaint with its place."""
        raise FormulaError(message, self.text, position)

    def _complain_about_neighbours(self, before: Token | None, token: Token) -> NoReturn:
        hint = ""
        if before is not None and before.is_name and token.is_name:
            both = f"{before.text} {token.text}".replace("`", "")
            hint = f" A column whose name has a space stands in backticks: `{both}`."
        elif before is not None and before.is_name and token.text == "(":
            hint = f" What is called stands next to its bracket: {before.text}(...)."
        self.fail(f"An operator such as '+' is missing before '{token.text}'.{hint}", token.start)

    def _read(self, position: int, stop: int) -> Iterator[Token]:
        while match := _TOKEN.match(self.text, position, stop):
            kind, word, end = str(match.lastgroup), match[0], match.end()
            if kind == "op":
                word = _SIGNS.get(word, word)
            if word in ("`", "'", '"'):
                self.fail(f"The quote {word} is opened here and never closed.", position)
            if word == "#":
                self.fail("A formula has no comments: leave out what stands from '#' on.", position)
            if word in ("]", "}"):
                self.fail(f"'{word}' closes nothing.", position)
            if word == "{" or (kind == "name" and self.text[end : end + 1] in ("(", "[")):
                end = self._end_of_call(position if word == "{" else end)
                self._check_functions(position, end)
                kind, word = "call", in_python(self.text[position:end])
            if kind != "space":
                yield Token(kind, word, position, end)
            position = end

    def _end_of_call(self, opening: int) -> int:
        """Return the position after the brackets that begin at `opening` and what follows them: ``f(x)[0].g()``."""
        end = self._end_of_bracket(opening)
        while True:
            if self.text[end : end + 1] in ("(", "["):
                end = self._end_of_bracket(end)
            elif attribute := _ATTRIBUTE.match(self.text, end):
                end = attribute.end()
            else:
                return end

    def _end_of_bracket(self, opening: int) -> int:
        """Return the position after the bracket that closes the one at `opening`."""
        expected: list[str] = []
        for match in _BRACKETS.finditer(self.text, opening):
            if match[0] in _CLOSING:
                expected.append(_CLOSING[match[0]])
                if len(expected) > MAX_DEPTH:
                    self.fail(f"Brackets may be {MAX_DEPTH} deep.", match.start())
            elif match[0] in _CLOSING.values():
                if match[0] != expected.pop():
                    self.fail(f"'{match[0]}' does not match the bracket that is open.", match.start())
                if not expected:
                    return match.end()
        return self.fail(f"'{self.text[opening]}' is opened here and never closed.", opening)

    def _check_functions(self, start: int, end: int) -> None:
        """Functions of R with a dot in their name are not here."""
        if found := _R_FUNCTION.search(self.text, start, end):
            instead = _INSTEAD.get(found[1], "make a column of its values in the data")
            self.fail(f"R's {found[1]}() is no function here: {instead}.", found.start())


def in_python(code: str) -> str:
    """Return R's spelling of an expression in Python's: ``x^2`` is ``x**2``; quoted text stays.

    Columns called like a statement of Python get backticks: ``log(yield)`` is ``log(`yield`)``.
    """
    translation = {"^": "**", "−": "-", "–": "-", "as.factor": "factor"}

    def spelled(match: re.Match[str]) -> str:
        if match["statement"]:
            return f"`{match[0]}`"
        return " " if match[0].isspace() else translation.get(match[0], match[0])

    return _with_conditions_apart(_IN_CALLS.sub(spelled, code))


def _with_conditions_apart(code: str) -> str:
    """Return an expression with parentheses around comparisons that ``&`` and ``|`` join.

    Comparisons bind closer than these in R and less close in Python: ``x > 0 & z > 0`` is ``(x > 0) & (z > 0)``.
    """
    if ("&" in code or "|" in code) and not _COMPOUND.search(code):
        return _conditions_apart(iter(_PARTS.findall(code)))
    return code


def _conditions_apart(parts: Iterator[str]) -> str:
    """Return the parts up to the bracket that closes, or to the end, as one text."""
    text, operands, compares = "", [""], [False]
    for part in parts:
        if part in _CLOSING:
            operands[-1] += part + _conditions_apart(parts)
        elif part in ("&", "|"):
            operands.append("")
            compares.append(False)
            operands[-1] += part
        elif part in (")", "]", "}", ",", "="):
            text += _joined_conditions(operands, compares) + part
            operands, compares = [""], [False]
            if part in _CLOSING.values():
                return text
        else:
            compares[-1] |= part in ("==", "!=", "<=", ">=", "<", ">")
            operands[-1] += part
    return text + _joined_conditions(operands, compares)


def _joined_conditions(operands: Sequence[str], compares: Sequence[bool]) -> str:
    """Return operands, each after the first with its sign before it, as one text."""
    if len(operands) == 1:
        return operands[0]
    text = ""
    for operand, is_comparison in zip(operands, compares, strict=True):
        sign, condition = (operand[:1], operand[1:]) if text else ("", operand)
        text += sign + (f" ({condition.strip()}) " if is_comparison else condition)
    return text.strip()


def has_rest(tokens: Sequence[Token]) -> bool:
    """Return True if a dot stands for the other columns of the data."""
    return any(token.kind == "name" and token.text == "." for token in tokens)


def with_depth(tokens: Sequence[Token]) -> Iterator[tuple[Token, int]]:
    """Yield each token and the number of parentheses around it; a parenthesis counts as inside itself."""
    depth = 0
    for token in tokens:
        depth += token.text == "("
        yield token, depth
        depth -= token.text == ")"


def split(tokens: Sequence[Token], separator: str) -> list[list[Token]]:
    """Return the tokens between the separators outside of parentheses."""
    parts: list[list[Token]] = [[]]
    for token, depth in with_depth(tokens):
        if depth == 0 and token.text == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def inside(tokens: Sequence[Token]) -> Sequence[Token] | None:
    """Return what one pair of parentheses around all the tokens encloses, or None if there is no such pair."""
    if len(tokens) < 2 or tokens[0].text != "(" or any(depth == 0 for _, depth in with_depth(tokens)):
        return None
    closes_early = any(t.text == ")" and depth == 1 for t, depth in list(with_depth(tokens))[:-1])
    return None if closes_early else tokens[1:-1]


def joined(summands: Sequence[tuple[str, Sequence[Token]]]) -> str:
    """Return terms and their signs as text."""
    text = ""
    for sign, tokens in summands:
        text += f" {sign} " if text else sign.replace("+", "")
        for left, token in zip([None, *tokens], tokens, strict=False):
            text += (" " if left and left.end < token.start else "") + token.text
    return text


def _is_operator(token: Token) -> bool:
    """Return True for what joins two operands and is no sign."""
    return token.kind == "op" and token.text not in ("(", ")", "+", "-")
