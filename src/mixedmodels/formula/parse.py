"""Formula text taken apart: response, fixed terms, offsets and random terms. Knows no data."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from formulaic.errors import FormulaicError
from formulaic.parser.types import Term

from mixedmodels.errors import FormulaError, nearest
from mixedmodels.formula.expressions import REST, STRING, expand_terms, names_in, terms_of
from mixedmodels.formula.terms import Formula, RandomTerm

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<quoted>`[^`]+`)"
    rf"|(?P<string>{STRING})"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[\w.]+)"
    r"|(?P<op>\|\||\*\*|%\w*%|.)",
    re.DOTALL,
)
# Words of Python that no expression holds: in a formula they are columns.
_STATEMENTS = "|".join(
    sorted({*keyword.kwlist} - {"False", "None", "True", "and", "else", "for", "if", "in", "is", "lambda", "not", "or"})
)
_IN_CALLS = re.compile(
    rf"`[^`]*`|{STRING}|\^|[−–]|\s+|as\.factor(?=\s*\()|(?<![\w.])(?P<statement>{_STATEMENTS})(?![\w.])"
)
_BRACKETS = re.compile(rf"`[^`]*`|{STRING}|[()\[\]{{}}]")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Signs that word processors and printed pages put in the place of the typed ones.
_SIGNS = {"−": "-", "–": "-", "∼": "~", "～": "~", "∣": "|"}
# formulaic sets this before the word that it complains about, in a copy of the text.
_FORMULAIC_MARK = "⧛"
# Covariance structures as glmmTMB, lme4 and nlme spell them.
_STRUCTURE = re.compile(
    r"(ar1|cs|diag|us|toep|ou|exp|gau|mat|rr|homcs|homdiag|hetar1|homtoep|propto|equalto|cor[A-Z]\w*|pd[A-Z]\w*)\("
)
_WORD, _QUOTED = re.compile(r"[^\W\d]\w*"), re.compile(rf"`[^`]*`|{STRING}")
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
_COMPARISONS = ("<", ">", "=", "!", "&")
_OPERANDS = {"name", "number", "quoted", "string", "call"}


@dataclass(frozen=True)
class _Token:
    """One word of a formula; ``call`` is a whole function call or ``{...}``, already in Python's spelling."""

    kind: str
    text: str
    start: int
    end: int


@dataclass
class _Parts:
    """Right-hand side sorted into its kinds of terms."""

    fixed: list[tuple[str, list[_Token]]] = field(default_factory=list)
    offsets: list[str] = field(default_factory=list)
    random: list[RandomTerm] = field(default_factory=list)


def parse_formula(text: str) -> Formula:
    """Return the parts of a mixed-model formula in lme4's language; results are cached by text.

    Parameters
    ----------
    text
        Such as ``"y ~ x + (1 + x | g)"``.

    Raises
    ------
    FormulaError
        The text cannot be read; the message shows the place.

    Examples
    --------
    >>> parse_formula("Reaction ~ Days + (Days | Subject)").random[0].columns
    '1 + Days'
    """
    if not isinstance(text, str):
        raise FormulaError(
            f"A formula is text such as 'y ~ x + (1 | g)', but this one is of type {type(text).__name__!r}. "
            "Put it in quotes."
        )
    return _parse(text)


def check_subtracted(formula: Formula, columns: Collection[str]) -> None:
    """Refuse terms taken away that are not there, where ``.`` stands for some columns.

    Parameters
    ----------
    formula
        With ``.`` in its fixed part; `parse_formula` has checked others.
    columns
        What ``.`` stands for.

    Raises
    ------
    FormulaError
        A term is not there; the message shows the place.
    """
    _Reader(formula.text).check_subtracted(columns)


@lru_cache(maxsize=256)
def _parse(text: str) -> Formula:
    return _Reader(text).formula()


class _Reader:
    """Reads one formula; every complaint shows the place in the text."""

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"\s", " ", text)
        self.tokens = list(self._tokens())
        self._check_parentheses()

    def formula(self) -> Formula:
        response = self._response(self.tokens[: self._tilde()])
        parts = self._right_side()
        if not parts.random:
            self._fail(
                "There is no random term. Add one, for example (1 | g) with a grouping column g; "
                "without one this is ordinary regression, which statsmodels and scikit-learn fit.",
                len(self.text),
            )
        fixed = _joined(parts.fixed) or "1"
        self._check_fixed(fixed, parts.fixed)
        if not REST.search(fixed):
            self._check_subtracted(parts.fixed, ())
        return Formula(self.text, response, fixed, tuple(parts.offsets), tuple(parts.random))

    def check_subtracted(self, columns: Collection[str]) -> None:
        self._check_subtracted(self._right_side().fixed, columns)

    # Words

    def _tokens(self) -> Iterator[_Token]:
        position = 0
        while match := _TOKEN.match(self.text, position):
            kind, word, end = str(match.lastgroup), match[0], match.end()
            if kind == "op":
                word = _SIGNS.get(word, word)
            if word in ("`", "'", '"'):
                self._fail(f"The quote {word} is opened here and never closed.", position)
            if word == "#":
                self._fail("A formula has no comments: leave out what stands from '#' on.", position)
            if word in ("]", "}"):
                self._fail(f"'{word}' closes nothing.", position)
            if word == "{" or (kind == "name" and self.text[end : end + 1] in ("(", "[")):
                end = self._end_of_call(position if word == "{" else end)
                self._check_functions(position, end)
                kind, word = "call", _python(self.text[position:end])
            if kind != "space":
                yield _Token(kind, word, position, end)
            position = end

    def _end_of_call(self, opening: int) -> int:
        """Return the position after the brackets that begin at `opening`, such as both pairs of ``f(x)[0]``."""
        end = self._end_of_bracket(opening)
        return self._end_of_call(end) if self.text[end : end + 1] in ("(", "[") else end

    def _end_of_bracket(self, opening: int) -> int:
        """Return the position after the bracket that closes the one at `opening`."""
        expected: list[str] = []
        for match in _BRACKETS.finditer(self.text, opening):
            if match[0] in _CLOSING:
                expected.append(_CLOSING[match[0]])
            elif match[0] in _CLOSING.values():
                if match[0] != expected.pop():
                    self._fail(f"'{match[0]}' does not match the bracket that is open.", match.start())
                if not expected:
                    return match.end()
        return self._fail(f"'{self.text[opening]}' is opened here and never closed.", opening)

    def _check_parentheses(self) -> None:
        open_at: list[int] = []
        for token in self.tokens:
            if token.text == "(":
                open_at.append(token.start)
            elif token.text == ")":
                if not open_at:
                    self._fail("')' closes nothing.", token.start)
                open_at.pop()
        if open_at:
            self._fail("'(' is opened here and never closed.", open_at[-1])

    # Left-hand side

    def _tilde(self) -> int:
        places = [i for i, token in enumerate(self.tokens) if token.text == "~"]
        if not places:
            place = self.tokens[1].start if len(self.tokens) > 1 else len(self.text)
            self._fail("A formula needs '~' between the response and the terms: y ~ x + (1 | g).", place)
        if len(places) > 1:
            self._fail("A formula has one '~' only.", self.tokens[places[1]].start)
        return places[0]

    def _response(self, tokens: Sequence[_Token]) -> str:
        if not tokens:
            self._fail("The response is missing: name it left of '~'.", self.text.find("~") if "~" in self.text else 0)
        for token in tokens:
            if token.text in ("|", "||"):
                self._fail("Random terms stand right of '~'.", token.start)
        if len(tokens) == 1 and (tokens[0].kind == "quoted" or keyword.iskeyword(tokens[0].text)):
            return tokens[0].text.strip("`")
        expression = _python(_joined([("+", tokens)]))
        self._check_expression(expression, tokens[0].start)
        return expression

    # Right-hand side

    def _right_side(self) -> _Parts:
        right = self.tokens[self._tilde() + 1 :]
        if not right:
            self._fail("Nothing stands right of '~': write for example y ~ x + (1 | g).", len(self.text))
        for token in right:
            if token.kind == "op" and token.text in _COMPARISONS:
                self._fail("A condition is a term inside of I() only, such as I(x > 0) or I(f == 'B').", token.start)
        parts = _Parts()
        self._sort_terms(right, parts)
        return parts

    def _sort_terms(self, tokens: Sequence[_Token], parts: _Parts) -> None:
        for sign, term in self._summands(tokens):
            self._check_structure(term)
            inside = _inside(term)
            bars = [i for i, token in enumerate(term) if token.text in ("|", "||")]
            calls_offset = [token for token in term if token.text.startswith("offset(")]
            if not bars and not calls_offset:
                self._check_order(term)
                parts.fixed.append((sign, term))
            elif bars and sign == "-":
                self._fail("A random term can be added but not subtracted; leave it out instead.", term[0].start)
            elif bars and inside is None:
                self._complain_about_bar(term, bars[0])
            elif bars and inside is not None:
                if any(token.text in ("|", "||") for token, depth in _with_depth(inside) if depth == 0):
                    parts.random.extend(self._random_terms(term))
                else:
                    self._sort_terms(inside, parts)
            elif len(term) == 1 and sign == "+":
                parts.offsets.append(self._offset(term[0]))
            else:
                self._fail("offset(...) stands on its own and is joined by '+'.", calls_offset[0].start)

    def _offset(self, call: _Token) -> str:
        expression = call.text.removeprefix("offset(").removesuffix(")").strip()
        if not expression:
            self._fail("offset() is empty: put a column or an expression in it.", call.start)
        self._check_expression(expression, call.start)
        return expression.strip("`") if re.fullmatch(r"`[^`]+`", expression) else expression

    def _summands(self, tokens: Sequence[_Token]) -> Iterator[tuple[str, list[_Token]]]:
        """Yield the sign and tokens of each term between plus and minus signs."""
        sign, term, last = "+", list[_Token](), tokens[0]
        for token, depth in _with_depth(tokens):
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
            self._fail(f"Nothing stands right of '{last.text}'.", last.end)
        yield sign, term

    def _complain_about_bar(self, term: Sequence[_Token], bar: int) -> NoReturn:
        self._check_order(term)
        opened = [token for token in term[:bar] if token.text == "("]
        closed = [token for token in term[:bar] if token.text == ")"]
        if len(opened) > len(closed):
            self._fail(
                "A random term cannot be part of an interaction or product: join it to the others by '+'.",
                opened[-1].start,
            )
        self._fail("A random term needs parentheses: (1 | g).", term[bar].start)

    def _random_terms(self, term: Sequence[_Token]) -> Iterator[RandomTerm]:
        """Yield one term for each grouping factor of a parenthesised random term."""
        inside = _inside(term)
        assert inside is not None
        bars = [i for i, (token, _) in enumerate(_with_depth(inside)) if token.text in ("|", "||")]
        if len(bars) > 1:
            self._fail("A random term has one bar.", inside[bars[1]].start)
        left, bar, right = inside[: bars[0]], inside[bars[0]], inside[bars[0] + 1 :]
        if not left:
            self._fail("Nothing stands left of the bar: write (1 | g) for a random intercept.", bar.start)
        if not right:
            self._fail("The grouping factor is missing: name it right of the bar, as in (1 | g).", bar.end)
        text = re.sub(r" +", " ", self.text[term[0].start : term[-1].end])
        columns = self._columns(left)
        for group in self._groups(right):
            yield RandomTerm(columns, group, bar.text == "|", text)

    def _columns(self, tokens: Sequence[_Token]) -> str:
        """Return the left side of a bar in formulaic's language, its intercept spelled out."""
        summands = list(self._summands(tokens))
        for _, term in summands:
            self._check_order(term)
            for token in term:
                if token.text == ".":
                    self._fail("'.' stands for the other columns in the fixed part only.", token.start)
                if token.text.startswith("offset("):
                    self._fail("An offset cannot be part of a random term.", token.start)
        text = _joined(summands)
        self._check_fixed(text, summands)
        if not list(terms_of(text)):
            self._fail("No column is left of the bar: write (1 | g) for a random intercept.", tokens[0].start)
        explicit = any(len(term) == 1 and term[0].text in ("0", "1") for _, term in summands)
        return text if explicit else f"1 + {text}"

    def _groups(self, tokens: Sequence[_Token]) -> list[tuple[str, ...]]:
        """Return the grouping factors, nested ones expanded: ``a/b`` is ``b:a`` and ``a``."""
        inside = _inside(tokens)
        if inside:
            return self._groups(inside)
        path = [self._interaction(part, tokens[-1].end) for part in _split(tokens, "/")]
        groups = [sum(reversed(path[:depth]), ()) for depth in range(len(path), 0, -1)]
        for group in groups:
            if len(set(group)) < len(group):
                self._fail("A variable appears twice in this grouping factor.", tokens[0].start)
        return groups

    def _interaction(self, tokens: Sequence[_Token], end: int) -> tuple[str, ...]:
        """Return the variables of ``a:b:c``, each a name or an expression."""
        variables: tuple[str, ...] = ()
        for part in _split(tokens, ":"):
            inside = _inside(part)
            if inside:
                variables += self._interaction(inside, end)
            elif len(part) == 1 and part[0].kind in ("name", "quoted", "call") and part[0].text != ".":
                if part[0].kind == "call":
                    self._check_expression(part[0].text, part[0].start)
                variables += (part[0].text.strip("`"),)
            else:
                self._complain_about_group(part, end)
        return variables

    def _complain_about_group(self, part: Sequence[_Token], end: int) -> NoReturn:
        if not part:
            self._fail("A grouping variable is missing beside ':' or '/'.", end)
        wrong = next((token for token in part if token.kind == "op"), part[0])
        self._fail(
            "Right of the bar stand columns joined by ':' or '/'. "
            "For two grouping factors write two terms: (1 | a) + (1 | b).",
            wrong.start,
        )

    # Checks

    def _check_functions(self, start: int, end: int) -> None:
        """Functions of R with a dot in their name are not here."""
        if found := _R_FUNCTION.search(self.text, start, end):
            instead = _INSTEAD.get(found[1], "make a column of its values in the data")
            self._fail(f"R's {found[1]}() is no function here: {instead}.", found.start())

    def _check_order(self, tokens: Sequence[_Token]) -> None:
        """Operands and operators must take turns."""
        expects_operand = True
        for token in tokens:
            if token.kind in _OPERANDS or token.text == "(":
                if not expects_operand:
                    self._fail(f"An operator such as '+' is missing before '{token.text}'.", token.start)
                expects_operand = token.text == "("
            elif expects_operand and token.text == ")":
                self._fail("Something is missing before ')'.", token.start)
            elif expects_operand and token.text not in ("+", "-"):
                self._fail(f"Nothing stands left of '{token.text}'.", token.start)
            else:
                expects_operand = token.text != ")"
        if expects_operand:
            self._fail(f"Nothing stands right of '{tokens[-1].text}'.", tokens[-1].end)

    def _check_structure(self, term: Sequence[_Token]) -> None:
        for token in term:
            if token.kind == "call" and "|" in token.text and (found := _STRUCTURE.match(token.text)):
                self._fail(
                    f"The covariance structure {found[1]}(...) is not supported. A random term is (x | g), effects of "
                    "any covariance, or (x || g), uncorrelated effects; residuals are independent.",
                    token.start,
                )

    def _check_fixed(self, text: str, summands: Sequence[tuple[str, Sequence[_Token]]]) -> None:
        """formulaic must be able to read the text; if not, find the term that it cannot read."""
        try:
            expand_terms(text) if "." in text else terms_of(text)
        except (FormulaicError, SyntaxError) as error:
            for _, term in summands:
                self._check_term(term)
            self._fail(f"This cannot be read: {_first_line(error)}", summands[0][1][0].start)

    def _check_subtracted(self, summands: Sequence[tuple[str, Sequence[_Token]]], columns: Collection[str]) -> None:
        """Only terms that are there can be taken away."""
        for k, (sign, term) in enumerate(summands):
            if sign == "-":
                there = [t for t in expand_terms(_joined(summands[:k]), columns) if str(t) != "1"] if k else []
                for missing in expand_terms(_joined([("+", term)]), columns):
                    if str(missing) != "1" and missing not in there:
                        self._complain_about_subtracted(missing, there, term[0].start)

    def _complain_about_subtracted(self, missing: Term, there: Sequence[Term], position: int) -> NoReturn:
        listed = f"there are {', '.join(map(str, there))}" if there else "there is none"
        near = nearest(_sorted_name(missing), map(_sorted_name, there))
        self._fail(f"There is no term {missing} to take away; {listed}.{near}", position)

    def _check_term(self, term: Sequence[_Token]) -> None:
        try:
            expand_terms(_joined([("+", term)]))
        except (FormulaicError, SyntaxError) as error:
            place = str(error).split("\n")[-1].find(_FORMULAIC_MARK)
            hint = _keyword_hint(_joined([("+", term)]))
            self._fail(f"This cannot be read: {_first_line(error)}{hint}", term[0].start + max(place, 0))

    def _check_expression(self, expression: str, position: int) -> None:
        try:
            names_in(expression)
        except SyntaxError as error:
            self._fail(f"'{expression}' cannot be read: {_first_line(error)}{_keyword_hint(expression)}", position)

    def _fail(self, message: str, position: int) -> NoReturn:
        raise FormulaError(message, self.text, position)


def _python(code: str) -> str:
    """Return R's spelling of an expression in Python's: ``x^2`` is ``x**2``; quoted text stays.

    Columns called like a statement of Python get backticks: ``log(yield)`` is ``log(`yield`)``.
    """
    translation = {"^": "**", "−": "-", "–": "-", "as.factor": "factor"}

    def spelled(match: re.Match[str]) -> str:
        if match["statement"]:
            return f"`{match[0]}`"
        return " " if match[0].isspace() else translation.get(match[0], match[0])

    return _IN_CALLS.sub(spelled, code)


def _with_depth(tokens: Sequence[_Token]) -> Iterator[tuple[_Token, int]]:
    """Yield each token and the number of parentheses around it; a parenthesis counts as inside itself."""
    depth = 0
    for token in tokens:
        depth += token.text == "("
        yield token, depth
        depth -= token.text == ")"


def _split(tokens: Sequence[_Token], separator: str) -> list[list[_Token]]:
    """Return the tokens between the separators outside of parentheses."""
    parts: list[list[_Token]] = [[]]
    for token, depth in _with_depth(tokens):
        if depth == 0 and token.text == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _inside(tokens: Sequence[_Token]) -> Sequence[_Token] | None:
    """Return what one pair of parentheses around all the tokens encloses, or None if there is no such pair."""
    if len(tokens) < 2 or tokens[0].text != "(" or any(depth == 0 for _, depth in _with_depth(tokens)):
        return None
    closes_early = any(t.text == ")" and depth == 1 for t, depth in list(_with_depth(tokens))[:-1])
    return None if closes_early else tokens[1:-1]


def _joined(summands: Sequence[tuple[str, Sequence[_Token]]]) -> str:
    """Return terms and their signs as text."""
    text = ""
    for sign, tokens in summands:
        text += f" {sign} " if text else sign.replace("+", "")
        for left, token in zip([None, *tokens], tokens, strict=False):
            text += (" " if left and left.end < token.start else "") + token.text
    return text


def _sorted_name(term: Term) -> str:
    """Return a term's name with its factors in alphabetical order, the same for ``a:b`` and ``b:a``."""
    return ":".join(sorted(factor.expr for factor in term.factors))


def _first_line(error: Exception) -> str:
    """Return formulaic's complaint without its coloured picture."""
    message = error.msg if isinstance(error, SyntaxError) else str(error).split("\n")[0]
    return message if message[-1:] in ".?)" else f"{message}."


def _keyword_hint(expression: str) -> str:
    """Return advice about a column that is called like a word of Python."""
    found = next((word for word in _WORD.findall(_QUOTED.sub("", expression)) if keyword.iskeyword(word)), None)
    return f" A column called {found!r} stands in backticks: `{found}`." if found else ""
