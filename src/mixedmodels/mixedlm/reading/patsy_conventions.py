"""What formulas mean where statsmodels reads them, with patsy, and formulaic differs: order, names, some functions."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
from formulaic.formula import SimpleFormula
from formulaic.model_spec import ModelSpec
from formulaic.parser import DefaultFormulaParser, DefaultOperatorResolver
from formulaic.parser.types import Factor, Operator, OrderedSet, Term
from formulaic.transforms import TRANSFORMS
from formulaic.transforms.contrasts import UNSET, DiffContrasts, PolyContrasts, TreatmentContrasts
from formulaic.utils.stateful_transforms import stateful_transform

from mixedmodels.design.expression import as_category, is_boolean, plain_names, protect

_POLYNOMIALS = ("Constant", "Linear", "Quadratic", "Cubic")


class Treatment(TreatmentContrasts):  # type: ignore[misc]  # formulaic has no types
    """Treatment coding whose reference is a level or, where no level is called so, the position of one.

    Parameters
    ----------
    reference
        The level, or its position; the first level by default.
    """

    def __init__(self, reference: Any = UNSET) -> None:
        super().__init__(base=reference)

    @TreatmentContrasts.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _find_base_index(self, levels: Sequence[Any]) -> int:
        is_position = isinstance(self.base, int) and self.base not in levels
        if is_position and -len(levels) <= self.base < len(levels):
            return range(len(levels))[self.base]
        return int(super()._find_base_index(levels))


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def scale(x: Any, center: bool = True, rescale: bool = True, ddof: int = 0, _state: Any = None) -> Any:
    """Return x less its mean, over its standard deviation with divisor n - ddof."""
    return TRANSFORMS["scale"](x, center=center, scale=rescale, ddof=ddof, _state=_state)


FUNCTIONS = MappingProxyType({"scale": scale, "Treatment": Treatment, "I": protect})


def with_booleans(frame: pd.DataFrame, factors: Iterable[Factor]) -> pd.DataFrame:
    """Return the data with columns of true and false as categories, where they are terms and nothing is computed.

    Text of pandas' nullable type becomes plain text, which formulaic knows.
    """
    texts = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.StringDtype)]
    frame = frame.astype(dict.fromkeys(texts, object)) if texts else frame
    booleans = [str(name) for name in frame.columns if is_boolean(frame[name])]
    names = plain_names({str(factor.expr) for factor in factors}, booleans) if booleans else []
    return frame.assign(**{name: as_category(frame[name]) for name in names}) if names else frame


# Order


class _Resolver(DefaultOperatorResolver):  # type: ignore[misc]  # formulaic has no types
    """Operators whose powers are main effects first, then interactions of two, and so on."""

    @property
    def operators(self) -> list[Operator]:
        return [_by_degree(its) if its.symbol in ("**", "^") else its for its in super().operators]


def _by_degree(power: Operator) -> Operator:
    def to_terms(*arguments: Any) -> Any:
        return OrderedSet(sorted(power.to_terms(*arguments), key=_degree))

    return Operator(
        power.symbol,
        arity=power.arity,
        precedence=power.precedence,
        associativity=power.associativity,
        to_terms=to_terms,
    )


PARSER = DefaultFormulaParser(operator_resolver=_Resolver())


def _degree(term: Term) -> int:
    return sum(str(factor.expr) != "1" for factor in term.factors)


def ordered(terms: Iterable[Term], is_number: Callable[[str], bool]) -> SimpleFormula:
    """Return the terms in patsy's order.

    Terms with the same numeric factors stand together, those without any first, then in the order of their first
    appearance; among them interactions of fewer factors come first.

    Parameters
    ----------
    terms
        As written.
    is_number
        Tells whether a factor is numeric.
    """
    terms = list(terms)
    numeric = [frozenset(e for e in (str(f.expr) for f in t.factors) if e != "1" and is_number(e)) for t in terms]
    buckets = [frozenset(), *dict.fromkeys(numeric)]
    order = sorted(range(len(terms)), key=lambda k: (buckets.index(numeric[k]), _degree(terms[k])))
    return SimpleFormula([terms[k] for k in order], _ordering="none")


# Names


def column_names(spec: ModelSpec, text: str) -> list[str]:
    """Return the names that patsy gives to the columns of a matrix.

    Parameters
    ----------
    spec
        formulaic's recipe of the matrix.
    text
        The formula.
    """
    names = list(spec.column_names)
    for expr, renamed in _renamings(spec):
        names = [renamed(name) if expr in name else name for name in names]
    for single, double in _quotes(text):
        names = [name.replace(single, double) for name in names]
    return names


def _renamings(spec: ModelSpec) -> list[tuple[str, Callable[[str], str]]]:
    found: list[tuple[str, Callable[[str], str]]] = []
    for factor in map(str, spec.factors):
        is_spline = factor.startswith(("cr(", "cc(")) or (
            factor.startswith("bs(") and "include_intercept=True" not in factor
        )
        if is_spline:
            found.append((factor, _numbered_from_zero(factor)))
    for factor, state in spec.factor_contrasts.items():
        fields: dict[str, str] = {}
        if isinstance(state.contrasts, PolyContrasts):
            given = state.contrasts.get_coding_column_names(list(state.levels))
            fields = {
                f"[{field}]": f".{_POLYNOMIALS[d]}" if d < len(_POLYNOMIALS) else f"^{d}"
                for d, field in enumerate(given, start=1)
            }
        elif isinstance(state.contrasts, DiffContrasts):
            given = state.contrasts.get_coding_column_names(list(state.levels))
            fields = {f"[D.{field}]": f"[D.{level}]" for field, level in zip(given, state.levels, strict=False)}
        if fields:
            found.append((str(factor), _replaced(str(factor), fields)))
    return found


def _numbered_from_zero(factor: str) -> Callable[[str], str]:
    pattern = re.compile(rf"(?<={re.escape(factor)}\[)(\d+)(?=\])")
    return lambda name: pattern.sub(lambda found: str(int(found[1]) - 1), name)


def _replaced(factor: str, fields: dict[str, str]) -> Callable[[str], str]:
    pattern = re.compile(re.escape(factor) + "(" + "|".join(map(re.escape, fields)) + ")")
    return lambda name: pattern.sub(lambda found: factor + fields[found[1]], name)


def _quotes(text: str) -> list[tuple[str, str]]:
    """Return the texts in a formula that have double quotes, which formulaic's names lose, in single ones."""
    if '"' not in text:
        return []
    try:
        tokens = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError):
        return []
    return [(f"'{token[1:-1]}'", token) for token in tokens if token.startswith('"') and "'" not in token]
