"""Several models side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mixedmodels.display.columns import CORRELATION, KINDS, RESIDUAL, SD, Column, Spread, column_of
from mixedmodels.display.summary import Summary
from mixedmodels.display.table import Table
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference import criteria
from mixedmodels.inference.compare import check_names
from mixedmodels.inference.degrees import tests_of
from mixedmodels.inference.link_scale import ratios_of
from mixedmodels.inference.nesting import same_rows
from mixedmodels.inference.wald import coef_table
from mixedmodels.texts import numbers
from mixedmodels.texts.layout import INDENT
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.fit.records import FixedFit, HoldsFixed
    from mixedmodels.inference.approximation import Approximation

BELOW = ("std_error", "interval", "p_value", "nothing")
"""What may stand below an estimate."""

RANDOM = ("all", "sd", "none")
"""What may be shown of the random part."""

FACTS = ("Family", "Link", "Observations", "Levels", "Parameters", "Method", "Log-likelihood", "AIC", "BIC")
"""What may be said of a fit as a whole."""

OF_A_FAMILY = ("Family", "Link")
"""Facts that go without saying where all responses are normal."""

CRITERIA = ("Log-likelihood", "AIC", "BIC")
"""Facts that are compared between fits."""

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""P-values below which an estimate has stars."""

SEPARATED = {"separated", "separated_zeros"}
"""Kinds of findings that estimates grow without bound."""

MAX_DIGITS = 12

Row = tuple[str, ...]


@dataclass(frozen=True)
class _Style:
    """How estimates are written.

    Attributes
    ----------
    below
        One of ``BELOW``.
    digits
        Decimals; None for as many as standard errors allow.
    stars
        Whether estimates have stars.
    """

    below: str
    digits: int | None
    stars: bool

    @property
    def pad(self) -> int:
        """Columns behind the digits of an estimate: for stars, and for the bracket that closes below it."""
        return len(STARS[0][1]) if self.stars else int(self.below != "nothing")

    def with_room(self, text: str, mark: str = "") -> str:
        """Return a text whose end stands where the digits of an estimate end; nothing stays nothing."""
        return f"{text}{mark:<{self.pad}}" if text else ""


@refuses_unknown
def table(
    *fits: HoldsFixed,
    names: Sequence[str] | None = None,
    below: str = "std_error",
    ddf: str | None = None,
    level: float = 0.95,
    terms: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    random: str | bool = "all",
    facts: Sequence[str] | None = None,
    digits: int | None = None,
    stars: bool = False,
    exponentiate: bool = False,
    width: int | None = None,
) -> Summary:
    """Return models side by side: fixed effects, standard deviations and correlations, sizes and criteria.

    Parameters
    ----------
    fits
        The fits, a column each, of ``lmer``, ``glmer`` and ``mmrm``, also of several kinds in one table.
    names
        Their names; None numbers them. Their formulas stand below the table.
    below
        What stands below each estimate: ``"std_error"``, ``"interval"``, ``"p_value"`` or ``"nothing"``.
    ddf, level
        As for ``coef_table``; they matter to intervals and p-values. None: what each fit takes by itself. Generalised
        models beside others have normal tests whatever is named.
    terms
        The fixed effects to show, in this order; None for all.
    labels
        What to call rows, terms, effects and grouping factors: ``{"Days": "Day", "Subject": "person"}`` makes
        ``Days by Subject`` into ``Day by person``.
    random
        Of the random part: ``"all"`` (True); ``"sd"``, without correlations; or ``"none"`` (False).
    facts
        What to say of each fit, in this order, of ``Family``, ``Link``, ``Observations``, ``Levels``, ``Parameters``,
        ``Method``, ``Log-likelihood``, ``AIC`` and ``BIC``; None for all, without family and link where all are normal.
    digits
        Decimals of estimates and standard deviations; None for as many as standard errors allow.
    stars
        Mark estimates with p-values below 0.05, 0.01 and 0.001 by one, two and three stars.
    exponentiate
        Show exp of the fixed effects of models with a logit or log link, ratios of odds or of means; others stay.
    width
        Columns of a line of the text; None for those of the terminal.

    Returns
    -------
    Summary
        Text, with ``.to_html()``, ``.to_latex()``, ``.to_markdown()`` and ``.to_docx(path)``.

    Raises
    ------
    InferenceError
        If there is no fit among the arguments, or an argument is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> sleep = mm.load_dataset("sleepstudy")
    >>> one = mm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    >>> two = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> print(mm.table(one, two, random="none", facts=["Observations", "AIC"], stars=True, digits=1))
    Linear mixed models of Reaction
    <BLANKLINE>
                         (1)          (2)
    ----------------------------------------
    Intercept          251.4***     251.4***
                        (9.7)        (6.8)
    Days                10.5***      10.5***
                        (0.8)        (1.5)
    Fit
      Observations       180          180
      AIC           1794.465     1755.628
    <BLANKLINE>
    - (1): Reaction ~ Days + (1 | Subject)
    - (2): Reaction ~ Days + (Days | Subject)
    - Standard errors in parentheses.
    - * p < 0.05, ** p < 0.01, *** p < 0.001.
    - Tests and intervals use Student's t with Satterthwaite's degrees of freedom.
    """
    random = {True: "all", False: "none"}[random] if isinstance(random, bool) else random
    _check(fits, below, random)
    for fit in fits:
        fit.check_estimated("table")
    states = [fit.state for fit in fits]
    columns = [column_of(state) for state in states]
    heads = [f"({i + 1})" for i in range(len(fits))] if names is None else check_names(names, len(fits))
    style = _Style(below, _check_digits(digits), _check_flag("stars", stars))
    tests = tests_of(fits, ddf)
    ratios = ratios_of(states, _check_flag("exponentiate", exponentiate))
    tables = [
        coef_table(state, method, level, bool(ratio))
        for state, method, ratio in zip(states, tests, ratios, strict=True)
    ]
    facts = _chosen(facts, _known_facts(columns), "facts", "fact", also=OF_A_FAMILY)
    shown = _chosen(terms, dict.fromkeys(str(term) for t in tables for term in t.index), "terms", "fixed effect")
    rows = [
        *_fixed_rows(tables, shown, style),
        *(_threshold_rows(columns, level, style) if terms is None else ()),
        *(_zero_rows(columns, level, style) if terms is None else ()),
        *_random_rows(columns, random, style),
        *_fact_rows(states, columns, facts, style),
    ]
    responses = {state.design.response_name for state in states}
    kinds = {column.heading for column in columns}
    heading = (kinds.pop() if len(kinds) == 1 else "Mixed models") + (
        f" of {responses.pop()}" if len(responses) == 1 else ""
    )
    body = Table("", ("", *map(style.with_room, heads)), tuple(_renamed(rows, labels, states)), "l" + "r" * len(fits))
    notes = [*_formula_notes(heads, states), *_ratio_notes(heads, ratios), *_notes(tests, style, level)]
    notes += [f"{head}: {note}" for head, column in zip(heads, columns, strict=True) if (note := column.note())]
    if set(CRITERIA) & set(facts):
        notes += _comparability(states)
    notes += _doubts(states)
    return Summary(heading, "", [body], notes, width)


def _check(fits: Sequence[object], below: str, random: str) -> None:
    if not fits:
        raise InferenceError("table needs one fit at least, such as table(fit1, fit2).")
    for position, fit in enumerate(fits, 1):
        if not hasattr(fit, "state"):
            raise InferenceError(
                f"table takes fits, as in table(fit1, fit2); argument {position} is of type {type(fit).__name__!r}."
            )
    for name, value, allowed in (("below", below, BELOW), ("random", random, RANDOM)):
        if value not in allowed:
            known = ", ".join(f'"{each}"' for each in allowed)
            raise InferenceError(f"{name} is {value!r}; it must be one of {known}.{nearest(str(value), allowed)}")


def _check_digits(digits: object) -> int | None:
    if digits is None:
        return None
    if isinstance(digits, Integral) and not isinstance(digits, bool) and 0 <= int(digits) <= MAX_DIGITS:
        return int(digits)
    raise InferenceError(f"digits is {digits!r}; it must be a number of decimals from 0 to {MAX_DIGITS}, or None.")


def _check_flag(name: str, flag: object) -> bool:
    if isinstance(flag, bool):
        return flag
    raise InferenceError(f"{name} is {flag!r}; it must be True or False.")


def _known_facts(columns: Sequence[Column]) -> list[str]:
    all_normal = all(column.family == columns[0].family for column in columns) and columns[0].family[0] == "normal"
    return [fact for fact in FACTS if not all_normal or fact not in OF_A_FAMILY]


def _chosen(asked: object, known: Iterable[str], what: str, one: str, also: Sequence[str] = ()) -> list[str]:
    """Return the names asked for, of those known and others; all that are known by default.

    Raises
    ------
    InferenceError
        If there is no such name.
    """
    there = list(known)
    if asked is None:
        return there
    there += [name for name in also if name not in there]
    names = list(asked) if isinstance(asked, Iterable) and not isinstance(asked, str) else [asked]
    for name in names:
        if not isinstance(name, str) or name not in there:
            which = f"there are {', '.join(there)}" if there else "there is none"
            raise InferenceError(f"{what} asks for {name!r}, which is no {one}; {which}.{nearest(str(name), there)}")
    return list(map(str, names))


def _fixed_rows(tables: Sequence[pd.DataFrame], terms: Sequence[str], style: _Style) -> Iterator[Row]:
    """Yield two rows a term, each term with as many decimals as the model that knows it best allows."""
    known = [(str(term), error) for t in tables for term, error in t["std_error"].items()]
    if not known:
        return
    place_of: dict[str, int] = {}
    for (term, _), place in zip(known, numbers.places([error for _, error in known]), strict=True):
        place_of[term] = max(place, place_of.get(term, place)) if style.digits is None else style.digits
    for term in terms:
        cells = [_cells(t.loc[[term]].iloc[0], place_of[term], style) if term in t.index else ("", "") for t in tables]
        yield (term, *(estimate for estimate, _ in cells))
        if style.below != "nothing":
            yield ("", *(text for _, text in cells))


def _cells(row: pd.Series[Any], place: int, style: _Style) -> tuple[str, str]:
    shown = row[["estimate", "std_error", "ci_lower", "ci_upper"]].tolist()
    estimate, error, lower, upper = numbers.to_place(shown, place)
    if math.isnan(row["std_error"]) and style.digits is None:
        estimate = numbers.significant(row["estimate"])
    has_test = not math.isnan(row["p_value"])
    texts = {
        "std_error": f"({error})",
        "interval": f"[{lower}, {upper}]",
        "p_value": f"({numbers.p_value(row['p_value'])})" if has_test else "",
        "nothing": "",
    }
    mark = next((mark for limit, mark in STARS if row["p_value"] < limit), "") if style.stars else ""
    below = texts[style.below]
    return style.with_room(estimate, mark), below + " " * max(style.pad - 1, 0) if below else ""


def _threshold_rows(columns: Sequence[Column], level: float, style: _Style) -> Iterator[Row]:
    """Yield the thresholds between ordered categories as rows of their own part of the table."""
    tables = [column.thresholds(level).assign(p_value=math.nan) for column in columns]
    names = list(dict.fromkeys(str(name) for table in tables for name in table.index))
    if names:
        yield ("Thresholds", *[""] * len(columns))
    for label, *cells in _fixed_rows(tables, names, style):
        if not any(cells):  # thresholds are not tested
            continue
        yield (f"{INDENT}{label}" if label else "", *cells)


def _zero_rows(columns: Sequence[Column], level: float, style: _Style) -> Iterator[Row]:
    """Yield effects on the logit of chances of zeros as rows of their own part of the table."""
    tables = [column.zeros(level) for column in columns]
    names = list(dict.fromkeys(str(name) for table in tables for name in table.index))
    if names:
        yield ("Chance of a zero (logit)", *[""] * len(columns))
    for label, *cells in _fixed_rows(tables, names, style):
        yield (f"{INDENT}{label}" if label else "", *cells)


def _random_rows(columns: Sequence[Column], random: str, style: _Style) -> Iterator[Row]:
    """Yield standard deviations, correlations and other parameters of each grouping factor, and the residual's."""
    if random == "none":
        return
    found = [
        {(s.group, s.label): s for s in column.spreads() if random == "all" or s.kind != CORRELATION}
        for column in columns
    ]
    if not any(found):
        return
    kinds = {key: spread.kind for spreads in found for key, spread in spreads.items()}
    groups = [group for group in dict.fromkeys(group for group, _ in kinds) if group != RESIDUAL]
    sds = [s.value for spreads in found for s in spreads.values() if s.kind == SD]
    texts = iter(numbers.column(sds) if style.digits is None else [numbers.fixed(v, style.digits) for v in sds])
    shown = [
        {key: next(texts) if s.kind == SD else _shown(s, style) for key, s in spreads.items()} for spreads in found
    ]
    yield (_random_heading(set(kinds.values())), *[""] * len(columns))
    places = [*groups, RESIDUAL]
    for key in sorted(kinds, key=lambda key: (places.index(key[0]), KINDS.index(kinds[key]))):
        yield (f"{INDENT}{key[1]}", *(style.with_room(texts.get(key, "")) for texts in shown))


def _shown(spread: Spread, style: _Style) -> str:
    if spread.kind == CORRELATION:
        return numbers.fixed(spread.value, 2)
    return numbers.significant(spread.value) if style.digits is None else numbers.fixed(spread.value, style.digits)


def _random_heading(kinds: set[str]) -> str:
    if kinds - {SD, CORRELATION}:
        return "Random part"
    return f"Standard deviations{' and correlations' if CORRELATION in kinds else ''}"


def _fact_rows(
    states: Sequence[FixedFit], columns: Sequence[Column], facts: Sequence[str], style: _Style
) -> Iterator[Row]:
    if facts:
        yield ("Fit", *[""] * len(states))
    values: Mapping[str, Callable[[FixedFit, Column], str]] = {
        "Family": lambda _, column: column.family[0],
        "Link": lambda _, column: column.family[1],
        "Observations": lambda state, _: str(state.design.n_obs),
        "Parameters": lambda state, _: str(state.n_params),
        "Method": lambda _, column: column.method,
        "Log-likelihood": lambda state, _: numbers.criterion(criteria.log_likelihood(state)),
        "AIC": lambda state, _: numbers.criterion(criteria.aic(state)),
        "BIC": lambda state, _: numbers.criterion(criteria.bic(state)),
    }
    for fact in facts:
        if fact != "Levels":
            pairs = zip(states, columns, strict=True)
            yield (f"{INDENT}{fact}", *(style.with_room(values[fact](*pair)) for pair in pairs))
            continue
        for name in dict.fromkeys(name for column in columns for name in column.levels):
            counts = (str(column.levels.get(name, "")) for column in columns)
            yield (f"{INDENT}Levels of {name}", *map(style.with_room, counts))


def _renamed(rows: Sequence[Row], labels: object, states: Sequence[FixedFit]) -> list[Row]:
    """Return the rows with their labels, or parts of them, called as asked.

    Raises
    ------
    InferenceError
        If ``labels`` is no mapping of texts, or names what is in no row.
    """
    if labels is None:
        return list(rows)
    if not isinstance(labels, Mapping) or not all(isinstance(part, str) for pair in labels.items() for part in pair):
        raise InferenceError(f"labels is {labels!r}; it must map names of rows to texts, as in {{'Days': 'Day'}}.")
    factors = [factor for state in states for factor in state.design.factors]
    effects = {effect for factor in factors for effect in factor.columns}
    parts = {*effects, *(factor.name for factor in factors)}
    whole = [row[0].strip() for row in rows if row[0]]
    for name in labels:
        if name not in whole and name not in parts:
            known = list(dict.fromkeys([*whole, *sorted(parts)]))
            raise InferenceError(
                f"labels renames {name!r}, which is in no row; there are {', '.join(known)}.{nearest(name, known)}"
            )
    return [(_label(row[0], labels), *row[1:]) for row in rows]


def _label(label: str, labels: Mapping[str, str]) -> str:
    name = label.strip()
    if name in labels:
        return label.replace(name, labels[name])
    for between in (" by ", "Levels of ") if label.startswith(INDENT) else ():
        start, found, group = name.rpartition(between)
        if found:
            effects = [labels.get(effect, effect) for effect in start.split(" with ")]
            return f"{INDENT}{' with '.join(effects)}{between}{labels.get(group, group)}"
    return label


def _formula_notes(labels: Sequence[str], states: Sequence[FixedFit]) -> Iterator[str]:
    for label, state in zip(labels, states, strict=True):
        yield f"{label}: {state.design.formula.described}"


def _ratio_notes(heads: Sequence[str], ratios: Sequence[str]) -> Iterator[str]:
    for ratio in dict.fromkeys(filter(None, ratios)):
        models = ", ".join(head for head, own in zip(heads, ratios, strict=True) if own == ratio)
        yield f"{models}: exp of the coefficients, which are ratios of {ratio}."


def _notes(tests: Sequence[Approximation], style: _Style, level: float) -> Iterator[str]:
    if style.below == "std_error":
        yield "Standard errors in parentheses."
    elif style.below == "p_value":
        yield "P-values in parentheses."
    elif style.below == "interval":
        yield f"{100 * level:g} % intervals in brackets."
    if style.stars:
        yield ", ".join(f"{mark} p < {limit:g}" for limit, mark in reversed(STARS)) + "."
    if style.below in ("interval", "p_value") or style.stars:
        yield from dict.fromkeys(note for method in tests for note in method.notes)


def _doubts(states: Sequence[FixedFit]) -> Iterator[str]:
    """Yield which fits are singular, which did not converge, and which have estimates that grow without bound."""
    for words, which in (
        ("Singular fit", [state.is_singular for state in states]),
        ("Not converged", [not state.optimum.converged for state in states]),
        ("Estimates without bound", [any(f.kind in SEPARATED for f in state.findings) for state in states]),
    ):
        models = [str(i) for i, is_so in enumerate(which, 1) if is_so]
        if models:
            yield f"{words}: {'model' if len(models) == 1 else 'models'} {', '.join(models)}."


def _comparability(states: Sequence[FixedFit]) -> Iterator[str]:
    """Yield why criteria of the fits cannot be compared, if so."""
    designs = [state.design for state in states]
    if len({design.n_obs for design in designs}) > 1:
        yield "The models use different numbers of rows; their criteria cannot be compared."
    elif len({state.has_residual for state in states}) > 1:
        yield "Criteria of linear and of generalised models cannot be compared."
    elif len({state.n_agq for state in states}) > 1:
        yield "Criteria by different numbers of nodes cannot be compared."
    elif not all(same_rows(designs[0], design) for design in designs):
        different = "responses" if len({design.response_name for design in designs}) > 1 else "rows or responses"
        yield f"The models use different {different}; their criteria cannot be compared."
    elif len({state.reml for state in states}) > 1:
        yield "Criteria of REML and ML fits cannot be compared."
    elif states[0].reml and len({state.fixed_names for state in states}) > 1:
        yield "Criteria of REML fits with different fixed effects cannot be compared; fit them with reml=False."
