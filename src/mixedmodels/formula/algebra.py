"""The algebra of formulas: sums, products and nestings of columns and expressions become terms.

Operators in the order of their strength are ``^`` (or ``**``), ``:`` (or ``%in%``), ``*`` ``/``, ``+`` ``-``
(Wilkinson and Rogers 1973; Chambers and Hastie 1992, section 2.4). What is taken away must be there, and 0 and 1 are
the only numbers.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from formulaic.formula import SimpleFormula
from formulaic.parser.types import Factor, Term

from mixedmodels.errors import nearest
from mixedmodels.formula.expressions import as_written, column_factor
from mixedmodels.formula.words import STRING, Text, Token, inside, joined

MAX_TERMS = 50_000
"""Products of terms that are formed at once, before those that are the same become one."""

ONE = Term([Factor("1", eval_method="literal")])
"""The intercept."""

_WORD, _SPACED = re.compile(r"[^\W\d]\w*"), re.compile(r"[^\W\d]\w*( +\w+)+")
_QUOTED = re.compile(rf"`[^`]*`|{STRING}")


@dataclass(frozen=True)
class Sum:
    """Terms without the intercept, and whether it is in (True), taken away (False) or not spoken of (None)."""

    terms: tuple[Term, ...]
    intercept: bool | None = None


def expand(
    text: Text, summands: Iterable[tuple[str, Sequence[Token]]], columns: Collection[str] | None = None
) -> list[Term]:
    """Return the terms of a right-hand side, an intercept included unless removed, those of fewer factors first.

    Parameters
    ----------
    text
        Where the words are from, for complaints.
    summands
        Signs and words.
    columns
        What ``.`` stands for; None if that is not known yet, when terms taken away are not looked for.

    Raises
    ------
    FormulaError
        A word is none of the language, or something that is not there is taken away.
    """
    summands = list(summands)
    for _, tokens in summands:
        text.check_order(tokens)
    total = _Reading(text, columns).total(summands)
    terms = list(total.terms) if total.intercept is False else [ONE, *total.terms]
    return sorted(terms, key=lambda term: term.degree)


def expand_terms(text: str, columns: Collection[str] = ()) -> SimpleFormula:
    """Return the terms of a right-hand side, an intercept included unless removed.

    Parameters
    ----------
    text
        Such as ``"1 + a * b"``.
    columns
        What ``.`` stands for.
    """
    words = Text(text)
    return SimpleFormula(expand(words, words.summands(words.tokens()), columns), _ordering="none")


@lru_cache(maxsize=1024)
def terms_of(text: str) -> SimpleFormula:
    """Return the terms of a right-hand side without ``.``, see `expand_terms`."""
    return expand_terms(text)


def spelled(text: Text, expression: str, position: int) -> str:
    """Return an expression with one spelling for each meaning.

    Parameters
    ----------
    text, position
        Where it stands, for the complaint.
    expression
        In Python.

    Raises
    ------
    FormulaError
        It is not Python.
    """
    try:
        return as_written(expression)
    except SyntaxError as error:
        return text.fail(f"'{expression}' cannot be read: {error.msg.rstrip('.?')}.{_hint(expression)}", position)


class _Reading:
    """Reads one right-hand side."""

    def __init__(self, text: Text, columns: Collection[str] | None) -> None:
        self.text, self.columns = text, columns
        self.factors: dict[str, Factor] = {}

    def total(self, summands: Iterable[tuple[str, Sequence[Token]]]) -> Sum:
        """Return the sum of terms with their signs."""
        terms: dict[Term, None] = {}
        intercept: bool | None = None
        before: list[tuple[str, Sequence[Token]]] = []
        for sign, tokens in summands:
            remedy = f"I({joined([*before, (sign if before else '+', tokens)])})"
            before = [("+", tokens)]
            part = self._summand(tokens, remedy)
            if part.intercept is not None:
                intercept = part.intercept == (sign == "+")
            if sign == "+":
                terms.update(dict.fromkeys(part.terms))
            elif self.columns is not None:
                for term in part.terms:
                    if term not in terms:
                        self._complain_about_absent(term, list(terms), remedy, tokens[0].start)
            if sign == "-":
                terms = {term: None for term in terms if term not in part.terms}
        return Sum(tuple(terms), intercept)

    def _summand(self, tokens: Sequence[Token], remedy: str) -> Sum:
        """Return a number, a sum in parentheses, or a product; the remedy is how arithmetic would be written here."""
        if len(tokens) == 1 and tokens[0].kind == "number":
            value = float(tokens[0].text)
            if value not in (0, 1):
                self._complain_about_number(tokens[0], remedy)
            return Sum((), value == 1)
        within = inside(tokens)
        if within is not None:
            return self.total(self.text.summands(within))
        terms, end = self._product(tokens, 0)
        if end < len(tokens):
            self._complain_about_operator(tokens[end])
        return Sum(tuple(term for term in terms if term != ONE), True if ONE in terms else None)

    # Each of these returns terms, and the position of the first word that is not read.

    def _product(self, tokens: Sequence[Token], at: int) -> tuple[list[Term], int]:
        left, at = self._interaction(tokens, at)
        while at < len(tokens) and tokens[at].text in ("*", "/"):
            sign = tokens[at]
            right, at = self._interaction(tokens, at + 1)
            if sign.text == "*":
                left = _unique([*left, *right, *self._crossed(left, right, sign)])
            else:
                factors = [factor for term in left if term != ONE for factor in term.factors]
                whole = Term(factors) if factors else ONE
                left = _unique([*left, *self._crossed([whole], right, sign)])
        return left, at

    def _interaction(self, tokens: Sequence[Token], at: int) -> tuple[list[Term], int]:
        left, at = self._power(tokens, at)
        while at < len(tokens) and tokens[at].text in (":", "%in%"):
            sign = tokens[at]
            right, at = self._power(tokens, at + 1)
            left = self._crossed(left, right, sign)
        return left, at

    def _power(self, tokens: Sequence[Token], at: int) -> tuple[list[Term], int]:
        base, at = self._operand(tokens, at)
        while at < len(tokens) and tokens[at].text in ("**", "^"):
            sign, exponent = tokens[at : at + 2]
            if exponent.kind != "number" or not exponent.text.isdigit() or int(exponent.text) < 1:
                self.text.fail(
                    f"Right of '{sign.text}' stands a positive whole number, the most factors of a term; arithmetic "
                    "stands in I().",
                    exponent.start,
                )
            if len(base) == 1 and int(exponent.text) > 1:
                self.text.fail(
                    f"A power of one term is that term again; arithmetic stands in I(), as in "
                    f"I({base[0]}{sign.text}{exponent.text}).",
                    sign.start,
                )
            power = base
            for _ in range(min(int(exponent.text), len(base)) - 1):
                power = self._crossed(power, base, sign)
            base, at = power, at + 2
        return base, at

    def _operand(self, tokens: Sequence[Token], at: int) -> tuple[list[Term], int]:
        token = tokens[at]
        if token.text == "(":
            end = _closing(tokens, at)
            within = self.total(self.text.summands(tokens[at + 1 : end]))
            if within.intercept is False:
                self.text.fail("The intercept can be taken away outside of products and nestings only.", token.start)
            return [*([ONE] if within.intercept else []), *within.terms], end + 1
        if token.text == ".":
            return [Term([column_factor(name)]) for name in self.columns or ()], at + 1
        if token.kind == "number":
            if float(token.text) != 1:
                self._complain_about_number(token, f"I({joined([('+', tokens)]).replace(':', '*')})")
            return [ONE], at + 1
        if token.kind == "string":
            self.text.fail(
                f"{token.text} is quoted text, which is no term: a column stands as it is, or in backticks if its name "
                "has a space.",
                token.start,
            )
        if token.kind == "call":
            code = token.text[1:-1] if token.text.startswith("{") and token.text.endswith("}") else token.text
            factor = Factor(spelled(self.text, code, token.start), eval_method="python")
        else:
            factor = column_factor(token.text.strip("`"))
        if self.factors.setdefault(factor.expr, factor).eval_method != factor.eval_method:
            self.text.fail(
                f"{factor.expr!r} is the name of a column and an expression in one formula. Give the column another "
                "name.",
                token.start,
            )
        return [Term([factor])], at + 1

    def _crossed(self, left: Sequence[Term], right: Sequence[Term], sign: Token) -> list[Term]:
        """Return the products of each term with each."""
        if len(left) * len(right) > MAX_TERMS:
            self.text.fail(f"This product would be of more than {MAX_TERMS:,} pairs of terms.", sign.start)
        return _unique([_times(a, b) for a in left for b in right])

    # Complaints

    def _complain_about_number(self, token: Token, remedy: str) -> NoReturn:
        self.text.fail(
            f"{token.text} is no term: 1 is the intercept, 0 leaves it out, and arithmetic stands in I(), as in "
            f"{remedy}.",
            token.start,
        )

    def _complain_about_absent(self, absent: Term, there: Sequence[Term], remedy: str, position: int) -> NoReturn:
        listed = f"there are {', '.join(map(str, there))}" if there else "there is none"
        near = nearest(_sorted_name(absent), map(_sorted_name, there))
        hint = "" if near or not there else f" Arithmetic stands in I(), as in {remedy}."
        self.text.fail(f"There is no term {absent} to take away; {listed}.{near}{hint}", position)

    def _complain_about_operator(self, token: Token) -> NoReturn:
        if token.text == "$":
            self.text.fail("A column stands alone, without the data and '$'.", token.start)
        self.text.fail(
            f"{token.text!r} is no operator of formulas; there are + - : * / ^ and %in%. Elsewhere it stands in "
            "I(...) only.",
            token.start,
        )


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        depth += (tokens[at].text == "(") - (tokens[at].text == ")")
        if not depth:
            return at
    raise AssertionError("brackets are balanced")


def _times(a: Term, b: Term) -> Term:
    """Return the product of two terms; the intercept is neutral."""
    if ONE in (a, b):
        return b if a == ONE else a
    return Term([*a.factors, *b.factors])


def _unique(terms: Iterable[Term]) -> list[Term]:
    return list(dict.fromkeys(terms))


def _sorted_name(term: Term) -> str:
    """Return a term's name with its factors in alphabetical order, the same for ``a:b`` and ``b:a``."""
    return ":".join(sorted(factor.expr for factor in term.factors))


def _hint(expression: str) -> str:
    """Return advice about columns whose names are words of Python or have spaces."""
    plain = _QUOTED.sub("", expression)
    found = next((word for word in _WORD.findall(plain) if keyword.iskeyword(word)), None)
    if found:
        return f" A column called {found!r} stands in backticks: `{found}`."
    spaced = _SPACED.search(plain)
    return f" A column whose name has a space stands in backticks: `{spaced[0]}`." if spaced else ""
