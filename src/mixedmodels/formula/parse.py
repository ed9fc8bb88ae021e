"""Formula text taken apart: response, fixed terms, offsets and random terms. Knows no data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NoReturn

from mixedmodels.covariance.effect_kinds import DIAGONAL, REDUCED_RANK, with_one_sd
from mixedmodels.covariance.effect_kinds import KINDS as EFFECT_KINDS
from mixedmodels.covariance.kinds import ALIASES, KINDS, canonical, correlation_needs, with_nugget
from mixedmodels.covariance.variance_kinds import VARIANCES
from mixedmodels.errors import FormulaError, nearest
from mixedmodels.formula.algebra import expand, spelled
from mixedmodels.formula.terms import Formula, RandomTerm, ResidualTerm, VarianceTerm
from mixedmodels.formula.words import Text, Token, has_rest, in_python, inside, joined, split, with_depth

# Covariance structures as glmmTMB, lme4, mmrm and nlme spell them.
_STRUCTURE = re.compile(
    r"(ar1h?|csh?|diag|us|un|toeph?|adh?|arma11h?|idh?|ou|car1|exp|gau|sp_exp|sp_gau|mat|rr|homcs|homdiag|hetar1|homtoep"
    r"|equalto|cor[A-Z]\w*|pd[A-Z]\w*)\("
)
_WORDS_OF_TRUTH = {"TRUE": True, "True": True, "FALSE": False, "False": False}
_RESIDUAL = re.compile(r"\s*([\w.]+)\s*\((.*)\)\s*", re.DOTALL)
_NAME = re.compile(r"`[^`]+`|[^\W\d][\w.]*")
_ABSORBED = "fe("
_PROPORTIONAL = "propto"
_DUMMIES = re.compile(r"0 \+ (`[^`]+`|[^\W\d][\w.]*)")
_COMPARISONS = ("<", ">", "=", "!", "&")


@dataclass
class _Parts:
    """Right-hand side sorted into its kinds of terms."""

    fixed: list[tuple[str, list[Token]]] = field(default_factory=list)
    offsets: list[str] = field(default_factory=list)
    random: list[RandomTerm] = field(default_factory=list)
    residual: list[ResidualTerm] = field(default_factory=list)
    absorbed: list[tuple[str, ...]] = field(default_factory=list)


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


def parse_marginal_formula(text: str) -> Formula:
    """Return the parts of a formula without random terms and with one covariance structure of the residuals.

    Parameters
    ----------
    text
        In the language of the R package mmrm, such as ``"FEV1 ~ ARMCD * AVISIT + us(AVISIT | USUBJID)"``, or with
        groups of subjects, ``"us(AVISIT | ARMCD / USUBJID)"``.

    Raises
    ------
    FormulaError
        The text cannot be read; the message shows the place.

    Examples
    --------
    >>> parse_marginal_formula("FEV1 ~ ARMCD + us(AVISIT | USUBJID)").residual.visits
    ('AVISIT',)
    """
    if not isinstance(text, str):
        raise FormulaError(
            f"A formula is text such as 'y ~ arm * visit + us(visit | id)', but this one is of type "
            f"{type(text).__name__!r}. Put it in quotes."
        )
    return _parse_marginal(text)


def parse_correlated_formula(text: str, residual: str | None, variance: str | None) -> Formula:
    """Return the parts of a formula in lme4's language, with what the residuals are like.

    Parameters
    ----------
    text
        The formula; it needs no random term.
    residual
        A covariance structure, such as ``"ar1(visit | id)"``, or None for independent residuals.
    variance
        A product of variance functions, such as ``"ident(sex) * power(age)"``, or None.

    Raises
    ------
    FormulaError
        A text cannot be read; the message shows the place.

    Examples
    --------
    >>> parse_correlated_formula("y ~ x + (1 | id)", "ar1(visit | id)", "ident(sex)").variance[0].column
    'sex'
    """
    for name, given, such in (("residual", residual, "ar1(visit | id)"), ("variance", variance, "ident(sex)")):
        if given is not None and not isinstance(given, str):
            raise FormulaError(f"{name} is {given!r}; it must be text, such as {name}={such!r}.")
    if not isinstance(text, str):
        return parse_formula(text)
    return _parse_correlated(text, residual, variance)


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
    _Reader(formula.text, is_marginal=formula.residual is not None).check_subtracted(columns)


@lru_cache(maxsize=256)
def _parse(text: str) -> Formula:
    return _Reader(text).formula()


@lru_cache(maxsize=256)
def _parse_marginal(text: str) -> Formula:
    return _Reader(text, is_marginal=True).formula()


@lru_cache(maxsize=256)
def _parse_correlated(text: str, residual: str | None, variance: str | None) -> Formula:
    formula = _Reader(text, needs_random=False).formula()
    names = formula.names
    term: ResidualTerm | None = None
    functions: tuple[VarianceTerm, ...] = ()
    if residual is not None:
        reader = _Reader(residual)
        term = reader.residual_term()
        names |= reader.names
    if variance is not None:
        reader = _Reader(variance)
        functions = reader.variance_terms()
        names |= reader.names
    return replace(formula, residual=term, variance=functions, names=names)


class _Reader:
    """Reads one formula; every complaint shows the place in the text."""

    def __init__(self, text: str, *, is_marginal: bool = False, needs_random: bool = True) -> None:
        self.text = Text(text)
        self.is_marginal = is_marginal
        self.needs_random = needs_random and not is_marginal
        self.tokens = self.text.tokens()
        self.names: set[str] = set()

    def formula(self) -> Formula:
        response = self._response(self.tokens[: self._tilde()])
        parts = self._right_side()
        if self.is_marginal:
            self._check_marginal(parts)
        elif self.needs_random and not parts.random:
            self._fail(
                "There is no random term. Add one, for example (1 | g) with a grouping column g; "
                "without one this is ordinary regression, which statsmodels and scikit-learn fit.",
                len(self.text.text),
            )
        rest = any(has_rest(tokens) for _, tokens in parts.fixed)
        expand(self.text, parts.fixed, None if rest else ())
        fixed = joined(parts.fixed) or "1"
        offsets, random, names = tuple(parts.offsets), tuple(parts.random), frozenset(self.names)
        residual = parts.residual[0] if parts.residual else None
        return Formula(self.text.text, response, fixed, offsets, random, names, residual, tuple(parts.absorbed))

    def residual_term(self) -> ResidualTerm:
        """Return the covariance structure that is all of the text."""
        if len(self.tokens) != 1 or not _RESIDUAL.fullmatch(self.tokens[0].text) or "|" not in self.tokens[0].text:
            self._fail("One covariance structure of the residuals is wanted, such as ar1(visit | id).", 0)
        return self._residual("+", self.tokens[0])

    def variance_terms(self) -> tuple[VarianceTerm, ...]:
        """Return the variance functions whose product is all of the text."""
        return tuple(self._variance(part) for part in split(self.tokens, "*"))

    def check_subtracted(self, columns: Collection[str]) -> None:
        expand(self.text, self._right_side().fixed, columns)

    def _fail(self, message: str, position: int) -> NoReturn:
        self.text.fail(message, position)

    # Left-hand side

    def _tilde(self) -> int:
        places = [i for i, token in enumerate(self.tokens) if token.text == "~"]
        if not places:
            place = self.tokens[1].start if len(self.tokens) > 1 else len(self.text.text)
            self._fail("A formula needs '~' between the response and the terms: y ~ x + (1 | g).", place)
        if len(places) > 1:
            self._fail("A formula has one '~' only.", self.tokens[places[1]].start)
        return places[0]

    def _response(self, tokens: Sequence[Token]) -> str:
        if not tokens:
            self._fail("The response is missing: name it left of '~'.", max(self.text.text.find("~"), 0))
        for token in tokens:
            if token.text in ("|", "||"):
                self._fail("Random terms stand right of '~'.", token.start)
        if len(tokens) == 1 and tokens[0].is_name:
            return self._name(tokens[0].text)
        return self._expression(in_python(joined([("+", tokens)])), tokens[0].start)

    def _name(self, text: str) -> str:
        self.names.add(text.strip("`"))
        return text.strip("`")

    def _expression(self, expression: str, position: int) -> str:
        spelled(self.text, expression, position)
        return expression

    # Right-hand side

    def _right_side(self) -> _Parts:
        right = self.tokens[self._tilde() + 1 :]
        if not right:
            self._fail("Nothing stands right of '~': write for example y ~ x + (1 | g).", len(self.text.text))
        for token in right:
            if token.kind == "op" and token.text in _COMPARISONS:
                self._fail("A condition is a term inside of I() only, such as I(x > 0) or I(f == 'B').", token.start)
        parts = _Parts()
        self._sort_terms(right, parts)
        return parts

    def _sort_terms(self, tokens: Sequence[Token], parts: _Parts) -> None:
        for sign, term in self.text.summands(tokens):
            if self.is_marginal and len(term) == 1 and term[0].kind == "call" and "|" in term[0].text:
                parts.residual.append(self._residual(sign, term[0]))
                continue
            if found := _structure_of(term):
                read = self._proportional if found == _PROPORTIONAL else self._structured
                parts.random.extend(read(sign, term[0], found))
                continue
            self._check_structure(term)
            within = inside(term)
            bars = [i for i, token in enumerate(term) if token.text in ("|", "||")]
            calls_offset = [token for token in term if token.text.startswith("offset(")]
            calls_fe = [token for token in term if token.text.startswith(_ABSORBED)]
            if calls_fe and not bars:
                self._absorb(sign, term, calls_fe[0], parts)
            elif not bars and not calls_offset:
                self.text.check_order(term)
                parts.fixed.append((sign, term))
            elif bars and sign == "-":
                self._fail("A random term can be added but not subtracted; leave it out instead.", term[0].start)
            elif bars and within is None:
                self._complain_about_bar(term, bars[0])
            elif bars and within is not None:
                if any(token.text in ("|", "||") for token, depth in with_depth(within) if depth == 0):
                    text = _spaced(self.text.text[term[0].start : term[-1].end])
                    parts.random.extend(self._random_terms(within, text))
                else:
                    self._sort_terms(within, parts)
            elif len(term) == 1 and sign == "+":
                parts.offsets.append(self._offset(term[0]))
            else:
                self._fail("offset(...) stands on its own and is joined by '+'.", calls_offset[0].start)

    def _absorb(self, sign: str, term: Sequence[Token], call: Token, parts: _Parts) -> None:
        """Read ``fe(firm)`` or ``fe(firm:year)``."""
        if len(term) > 1 or sign == "-":
            self._fail(
                "fe(...) absorbs the levels of a factor: it stands on its own and is joined by '+'. Slopes that differ "
                "between its levels are fixed, C(firm):x, or random, (0 + x | firm).",
                call.start,
            )
        shift = call.start + len(_ABSORBED)
        inner = call.text.removeprefix(_ABSORBED).removesuffix(")")
        if not inner.strip():
            self._fail("fe() is empty: put a grouping column in it, as in fe(firm).", call.start)
        tokens = [replace(t, start=t.start + shift, end=t.end + shift) for t in Text(inner).tokens()]
        wrong = next((token for token in tokens if token.kind == "op" and token.text != ":"), None)
        if wrong is not None:
            self._fail(
                "In fe(...) stands a column, or columns joined by ':' whose combinations are the levels. For two "
                "factors write two terms: fe(a) + fe(b).",
                call.start,
            )
        group = self._interaction(tokens, call.end)
        if len(set(group)) < len(group):
            self._fail("A variable appears twice in this factor.", call.start)
        if group in parts.absorbed:
            self._fail("This factor is absorbed twice. Keep one of them.", call.start)
        parts.absorbed.append(group)

    def _offset(self, call: Token) -> str:
        expression = call.text.removeprefix("offset(").removesuffix(")").strip()
        if not expression:
            self._fail("offset() is empty: put a column or an expression in it.", call.start)
        if _NAME.fullmatch(expression):
            return self._name(expression)
        return self._expression(expression, call.start)

    def _complain_about_bar(self, term: Sequence[Token], bar: int) -> NoReturn:
        self.text.check_order(term)
        opened = [token for token in term[:bar] if token.text == "("]
        closed = [token for token in term[:bar] if token.text == ")"]
        if len(opened) > len(closed):
            self._fail(
                "A random term cannot be part of an interaction or product: join it to the others by '+'.",
                opened[-1].start,
            )
        self._fail("A random term needs parentheses: (1 | g).", term[bar].start)

    def _structured(self, sign: str, call: Token, structure: str) -> Iterator[RandomTerm]:
        """Yield one term for each grouping factor of ``structure(columns | group, option=value)``."""
        within, options = self._inside_call(sign, call, structure)
        if not any(token.text == "|" for token in within):
            self._fail(f"{structure}(...) has one bar: {structure}(0 + f | g).", call.start)
        structure, rank = self._options(structure, options, call)
        for term in self._random_terms(within, _spaced(self.text.text[call.start : call.end])):
            yield replace(term, correlated=structure != DIAGONAL, structure=structure, rank=rank)

    def _proportional(self, sign: str, call: Token, name: str) -> Iterator[RandomTerm]:
        """Yield the term of ``propto(1 | group, A)``, a random intercept with known correlations of its levels."""
        within, options = self._inside_call(sign, call, name)
        such = f"{name}(1 | animal, A)"
        if len(options) != 1 or len(options[0]) != 1 or not options[0][0].is_name:
            self._fail(f"{such} has one bar, and behind a comma the name of a matrix or pedigree.", call.start)
        terms = list(self._random_terms(within, _spaced(self.text.text[call.start : call.end])))
        if len(terms) > 1:
            self._fail(f"{name}(...) takes one grouping factor, as in {such}.", call.start)
        if terms[0].columns != "1":
            found = _DUMMIES.fullmatch(terms[0].columns)
            cure = f"{name}(1 | {found[1]}, ...)" if found else "(x | g) with relationship={'g': ...}"
            self._fail(
                f"{name}(...) is a random intercept of the levels that A relates, as in {such}. Write {cure}.",
                call.start,
            )
        yield replace(terms[0], relationship=options[0][0].text.strip("`"))

    def _inside_call(self, sign: str, call: Token, name: str) -> tuple[list[Token], list[list[Token]]]:
        """Return what stands in a random term that is written as a call: before the first comma, and behind it."""
        if sign == "-":
            self._fail("A random term can be added but not subtracted; leave it out instead.", call.start)
        within, *options = split(self.text.tokens(call.start + len(name) + 1, call.end - 1), ",")
        return within, options

    def _options(self, structure: str, options: Sequence[Sequence[Token]], call: Token) -> tuple[str, int]:
        """Return the structure with ``hom=`` read, and the number of factors of a reduced rank."""
        rank = 2 if structure == REDUCED_RANK else 0
        for option in options:
            name, *value = [token.text for token in option] or [""]
            what = value[1] if len(value) == 2 and value[0] == "=" else None
            if name == "d" and rank and what is not None and what.isdecimal() and int(what) > 0:
                rank = int(what)
            elif name == "hom" and with_one_sd(structure, True) is not None and what in _WORDS_OF_TRUTH:
                structure = str(with_one_sd(structure, _WORDS_OF_TRUTH[what]))
            else:
                place = option[0].start if option else call.start
                allowed = "d=2, a number of factors" if rank else "hom=True, one standard deviation for all effects"
                if not rank and with_one_sd(structure, True) is None:
                    allowed = "no options"
                self._fail(f"{structure}(...) takes {allowed}.", place)
        return structure, rank

    def _random_terms(self, within: Sequence[Token], text: str) -> Iterator[RandomTerm]:
        """Yield one term for each grouping factor of a random term, given what its brackets hold."""
        bars = [i for i, (token, _) in enumerate(with_depth(within)) if token.text in ("|", "||")]
        if len(bars) > 1:
            self._fail("A random term has one bar.", within[bars[1]].start)
        left, bar, right = within[: bars[0]], within[bars[0]], within[bars[0] + 1 :]
        if not left:
            self._fail("Nothing stands left of the bar: write (1 | g) for a random intercept.", bar.start)
        if not right:
            self._fail("The grouping factor is missing: name it right of the bar, as in (1 | g).", bar.end)
        columns = self._columns(left)
        for group in self._groups(right):
            yield RandomTerm(columns, group, bar.text == "|", text)

    def _columns(self, tokens: Sequence[Token]) -> str:
        """Return the left side of a bar in formulaic's language, its intercept spelled out."""
        summands = list(self.text.summands(tokens))
        for _, term in summands:
            self.text.check_order(term)
            for token in term:
                if token.text == ".":
                    self._fail("'.' stands for the other columns in the fixed part only.", token.start)
                if token.text.startswith("offset("):
                    self._fail("An offset cannot be part of a random term.", token.start)
                if token.text.startswith(_ABSORBED):
                    self._fail("Absorbed fixed effects, fe(...), cannot be part of a random term.", token.start)
        text = joined(summands)
        if not expand(self.text, summands, ()):
            self._fail("No column is left of the bar: write (1 | g) for a random intercept.", tokens[0].start)
        explicit = any(len(term) == 1 and term[0].text in ("0", "1") for _, term in summands)
        return text if explicit else f"1 + {text}"

    def _groups(self, tokens: Sequence[Token]) -> list[tuple[str, ...]]:
        """Return the grouping factors, nested ones expanded: ``a/b`` is ``b:a`` and ``a``."""
        within = inside(tokens)
        if within:
            return self._groups(within)
        path = [self._interaction(part, tokens[-1].end) for part in split(tokens, "/")]
        groups = [sum(reversed(path[:depth]), ()) for depth in range(len(path), 0, -1)]
        for group in groups:
            if len(set(group)) < len(group):
                self._fail("A variable appears twice in this grouping factor.", tokens[0].start)
        return groups

    def _interaction(self, tokens: Sequence[Token], end: int) -> tuple[str, ...]:
        """Return the variables of ``a:b:c``, each a name or an expression."""
        variables: tuple[str, ...] = ()
        for part in split(tokens, ":"):
            within = inside(part)
            if within:
                variables += self._interaction(within, end)
            elif len(part) == 1 and part[0].is_name:
                variables += (self._name(part[0].text),)
            elif len(part) == 1 and part[0].kind == "call":
                variables += (self._expression(part[0].text, part[0].start),)
            else:
                self._complain_about_group(part, end)
        return variables

    def _complain_about_group(self, part: Sequence[Token], end: int) -> NoReturn:
        if not part:
            self._fail("A grouping variable is missing beside ':' or '/'.", end)
        if all(token.is_name for token in part):
            name = " ".join(token.text for token in part)
            self._fail(f"A column whose name has a space stands in backticks: `{name}`.", part[0].start)
        wrong = next((token for token in part if token.kind == "op"), part[0])
        self._fail(
            "Right of the bar stand columns joined by ':' or '/'. "
            "For two grouping factors write two terms: (1 | a) + (1 | b).",
            wrong.start,
        )

    # Covariance of residuals

    def _residual(self, sign: str, call: Token) -> ResidualTerm:
        """Return ``kind(visits | group / subject)`` taken apart."""
        found = _RESIDUAL.fullmatch(call.text)
        assert found is not None
        kind = canonical(found[1])
        if kind not in KINDS:
            self._fail(
                f"{found[1]!r} is no covariance structure of residuals; there are {', '.join(KINDS)}."
                f"{nearest(found[1], (*KINDS, *ALIASES))}",
                call.start,
            )
        if sign == "-":
            self._fail("A covariance structure can be added but not subtracted; leave it out instead.", call.start)
        left, *right = found[2].split("|")
        if len(right) != 1:
            self._fail("A covariance structure has one bar: us(visit | id).", call.start)
        behind, *options = right[0].split(",")
        if options:
            kind = self._with_options(kind, options, call)
        path = [self._column_of_residual(name, call) for name in behind.split("/")]
        if len(path) > 2:
            self._fail("Right of the bar stands a subject, or a group and a subject: us(visit | arm / id).", call.start)
        visits = tuple(self._column_of_residual(name, call) for name in left.split(","))
        if len(visits) > 1 and correlation_needs(kind) != "numbers":
            self._fail(
                f"{found[1]}(...) takes one column of visits; several are coordinates, as in sp_exp(x, y | id).",
                call.start,
            )
        if len({*visits, *path}) < len(visits) + len(path):
            self._fail("A column appears twice in this covariance structure.", call.start)
        return ResidualTerm(kind, visits, path[0] if len(path) == 2 else None, path[-1], _spaced(call.text))

    def _with_options(self, kind: str, options: Sequence[str], call: Token) -> str:
        """Return the kind with what ``nugget=True`` behind the subject adds."""
        if [option.replace(" ", "") for option in options] not in (["nugget=True"], ["nugget=False"]):
            self._fail("Behind the subject may stand nugget=True, as in exp(day | id, nugget=True).", call.start)
        if correlation_needs(kind) != "numbers":
            self._fail("A nugget is for correlations that fall with distance: exp, gau, sph.", call.start)
        return with_nugget(kind) if "True" in options[0] else kind

    def _variance(self, part: Sequence[Token]) -> VarianceTerm:
        """Return ``kind(column)`` taken apart."""
        found = _RESIDUAL.fullmatch(part[0].text) if len(part) == 1 and part[0].kind == "call" else None
        if found is None:
            place = part[0].start if part else 0
            self._fail("Variance functions of a column are wanted, joined by '*': ident(sex) * power(age).", place)
        kind, column = found[1], found[2].strip()
        if kind not in VARIANCES:
            self._fail(
                f"{kind!r} is no variance function; there are {', '.join(VARIANCES)}.{nearest(kind, tuple(VARIANCES))}",
                part[0].start,
            )
        if not _NAME.fullmatch(column):
            what = f"{column!r} is none" if column else "it is missing"
            self._fail(f"A variance function takes a column, as in {kind}(x), but {what}.", part[0].start)
        return VarianceTerm(kind, self._name(column))

    def _column_of_residual(self, text: str, call: Token) -> str:
        if not _NAME.fullmatch(text.strip()):
            what = f"{text.strip()!r} is none" if text.strip() else "one is missing"
            self._fail(f"Visits, groups and subjects of a covariance structure are columns, but {what}.", call.start)
        return self._name(text.strip())

    def _check_marginal(self, parts: _Parts) -> None:
        end = len(self.text.text)
        if parts.random:
            self._fail(
                f"{parts.random[0].text} is a random term, which mmrm does not take beside a covariance structure of "
                "the residuals. Leave it out; us(visit | id) has all covariances that random effects of id can have.",
                end,
            )
        if parts.absorbed:
            self._fail("mmrm does not absorb fixed effects. Write the levels as a fixed term instead of fe(...).", end)
        if len(parts.residual) != 1:
            what = "none" if not parts.residual else f"{len(parts.residual)} of them"
            self._fail(
                f"One covariance structure of the residuals is wanted, such as us(visit | id), and there is {what}.",
                end,
            )

    # Checks

    def _check_structure(self, term: Sequence[Token]) -> None:
        for token in term:
            if token.kind == "call" and "|" in token.text and (found := _STRUCTURE.match(token.text)):
                self._fail(
                    f"The covariance structure {found[1]}(...) is not supported. A random term is (x | g), effects of "
                    f"any covariance, (x || g), uncorrelated effects, or one of {', '.join(EFFECT_KINDS)}, such as "
                    "ar1(0 + f | g), joined to the others by '+'; correlated residuals are mixedmodels.mmrm's.",
                    token.start,
                )


def _structure_of(term: Sequence[Token]) -> str | None:
    """Return the covariance structure that a term is written with, None if it is no such term."""
    if len(term) != 1 or term[0].kind != "call" or "|" not in term[0].text:
        return None
    name = term[0].text.partition("(")[0]
    return name if name in (*EFFECT_KINDS, _PROPORTIONAL) else None


def _spaced(text: str) -> str:
    """Return a term as written, with one space for several."""
    return re.sub(r" +", " ", text)
