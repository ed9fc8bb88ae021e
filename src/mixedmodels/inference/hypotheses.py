"""Linear hypotheses about the fixed effects, read from texts, mappings and matrices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

MAX_NAMED = 20
"""Coefficients that a message names."""

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_UNKNOWN = re.compile(r"`[^`]*`?|[^\W\d](?:\[[^\]]*\]|\([^()]*\)|[\w.:])*")
_END_OF_NAME = r"(?![\w.\[:(])"


@dataclass(frozen=True)
class Hypotheses:
    """L beta = rhs, one row a hypothesis.

    Attributes
    ----------
    labels
        A name for each row: the user's, the text as given, or ``"L1"``, ``"L2"``, ...
    L
        (n_rows, n_columns), coefficients of the columns they were read for.
    rhs
        (n_rows,).
    in_full
        Whether a row was given as numbers, one for every coefficient, rather than by names of some.
    """

    labels: tuple[str, ...]
    L: Floats
    rhs: Floats
    in_full: tuple[bool, ...]


@dataclass(frozen=True)
class _Linear:
    """``coefficients @ beta + constant``."""

    coefficients: Floats
    constant: float

    @property
    def is_number(self) -> bool:
        return not self.coefficients.any()

    def plus(self, other: _Linear, times: float = 1.0) -> _Linear:
        return _Linear(self.coefficients + times * other.coefficients, self.constant + times * other.constant)

    def times(self, factor: float) -> _Linear:
        return _Linear(factor * self.coefficients, factor * self.constant)


def read_hypotheses(L: object, names: Sequence[str]) -> Hypotheses:
    """Return hypotheses about coefficients.

    Parameters
    ----------
    L
        A text (``"Days = 0"``, ``"2 * A - B = 1"``; without ``=`` it is compared with 0), a mapping or Series from
        names to coefficients, a matrix with one column a name, one row of it, a DataFrame whose columns are names, a
        list of texts, mappings and rows, or a mapping from labels of the user's to these.
    names
        Names of the coefficients.

    Raises
    ------
    InferenceError
        If L cannot be read, names something unknown, or has a row of zeros.
    """
    rows = _labelled_rows(L)
    read = [(label, _read_row(row, label, names)) for label, row in rows]
    if not read:
        raise InferenceError("There is no contrast in an empty list.")
    for label, row in read:
        if row.is_number:
            raise InferenceError(f"The contrast {label!r} has no coefficient that is not zero.")
    labels, values = zip(*read, strict=True)
    return Hypotheses(
        labels,
        np.array([v.coefficients for v in values]),
        np.array([-v.constant for v in values]),
        tuple(as_numbers(row) is not None for _, row in rows),
    )


def as_numbers(L: object) -> Floats | None:
    """Return L as an array if it holds numbers only, else None."""
    if isinstance(L, str | Mapping | pd.Series | pd.DataFrame):
        return None
    try:
        return np.asarray(L, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _labelled_rows(L: object) -> list[tuple[str, object]]:
    """Return the rows of L with their names."""
    if isinstance(L, pd.DataFrame):
        return [(str(label), row) for label, row in L.iterrows()]
    if isinstance(L, Mapping) and any(isinstance(row, str) or not np.isscalar(row) for row in L.values()):
        return [(str(label), row) for label, row in L.items()]
    numbers = as_numbers(L)
    if isinstance(L, str | Mapping | pd.Series) or (numbers is not None and numbers.ndim == 1 and numbers.size):
        L = [L]
    if isinstance(L, Sequence | np.ndarray):
        return [(row.strip() if isinstance(row, str) else f"L{i + 1}", row) for i, row in enumerate(L)]
    raise InferenceError(
        "A contrast is a text such as 'x = 0', a mapping from names to coefficients, a matrix, or a list of these; "
        f"{type(L).__name__} is none of them."
    )


def _read_row(row: object, label: str, names: Sequence[str]) -> _Linear:
    if isinstance(row, str):
        return _Parser(row, names).hypothesis()
    if isinstance(row, Mapping | pd.Series):
        return _from_mapping(row, names)
    values = as_numbers(row)
    if values is None or values.ndim != 1:
        raise InferenceError(f"{label} of the contrast is {row!r}; it must be a text, a mapping or a row of numbers.")
    if len(values) != len(names):
        raise InferenceError(
            f"{label} of the contrast has {len(values)} numbers, but there are {len(names)} coefficients: "
            f"{', '.join(names)}."
        )
    return _linear(values)


def _from_mapping(row: Mapping[str, object] | pd.Series, names: Sequence[str]) -> _Linear:
    values = np.zeros(len(names))
    for name, value in row.items():
        if name not in names:
            raise _unknown(str(name), names)
        if isinstance(value, str) or not np.isscalar(value):
            raise InferenceError(f"The coefficient of {name!r} in the contrast is {value!r}; it must be a number.")
        values[names.index(str(name))] = value
    return _linear(values)


def _linear(values: Floats) -> _Linear:
    if not np.isfinite(values).all():
        raise InferenceError("The coefficients of a contrast must be finite numbers.")
    return _Linear(values, 0.0)


def _unknown(name: str, names: Sequence[str]) -> InferenceError:
    return InferenceError(
        f"The contrast names {name!r}, which is not a coefficient.{nearest(name, names)} "
        f"The coefficients are: {', '.join(names[:MAX_NAMED])}{', ...' if len(names) > MAX_NAMED else ''}."
    )


def _pattern(name: str) -> re.Pattern[str]:
    """Return what matches a name, bare or in backticks, with any spaces in it, where it does not go on."""
    spaced = r"\s*".join(map(re.escape, "".join(name.split())))
    return re.compile(f"`{spaced}`|{spaced}{_END_OF_NAME}")


class _Parser:
    """Reads ``sum [= sum]`` by recursive descent; names are matched but for their spaces, the longest first.

    Parameters
    ----------
    text
        The hypothesis.
    names
        Names of the coefficients, which may hold any characters.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names, self.position = text, list(names), 0
        self.longest_first = [(name, _pattern(name)) for name in sorted(self.names, key=len, reverse=True)]

    def hypothesis(self) -> _Linear:
        """Return left less right."""
        value = self.sum()
        if self.accept("==") or self.accept("="):
            value = value.plus(self.sum(), -1.0)
        if self.rest():
            raise self.trouble()
        return value

    def sum(self) -> _Linear:
        value = self.product()
        while True:
            if self.accept("+"):
                value = value.plus(self.product())
            elif self.accept("-"):
                value = value.plus(self.product(), -1.0)
            else:
                return value

    def product(self) -> _Linear:
        value = self.signed()
        while True:
            if self.accept("*"):
                value = self.multiply(value, self.signed())
            elif self.accept("/"):
                value = self.divide(value, self.signed())
            else:
                return value

    def signed(self) -> _Linear:
        if self.accept("-"):
            return self.signed().times(-1.0)
        if self.accept("+"):
            return self.signed()
        return self.atom()

    def atom(self) -> _Linear:
        rest = self.rest()
        for name, pattern in self.longest_first:
            if found := pattern.match(rest):
                self.position += found.end()
                return _Linear(np.eye(len(self.names))[self.names.index(name)], 0.0)
        if number := _NUMBER.match(rest):
            self.position += number.end()
            return _Linear(np.zeros(len(self.names)), float(number[0]))
        if self.accept("("):
            value = self.sum()
            if not self.accept(")"):
                raise self.trouble()
            return value
        raise self.trouble()

    def multiply(self, one: _Linear, other: _Linear) -> _Linear:
        if one.is_number:
            return other.times(one.constant)
        if other.is_number:
            return one.times(other.constant)
        raise InferenceError(f"The contrast {self.text!r} multiplies two coefficients; it must be linear in them.")

    def divide(self, one: _Linear, other: _Linear) -> _Linear:
        if other.is_number and other.constant != 0:
            return one.times(1 / other.constant)
        what = "zero" if other.is_number else "a coefficient"
        raise InferenceError(f"The contrast {self.text!r} divides by {what}; it must be linear in the coefficients.")

    def accept(self, sign: str) -> bool:
        if not self.rest().startswith(sign):
            return False
        self.position += len(sign)
        return True

    def rest(self) -> str:
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1
        return self.text[self.position :]

    def trouble(self) -> InferenceError:
        rest = self.rest()
        name = _UNKNOWN.match(rest)
        if name and not any(pattern.match(rest) for _, pattern in self.longest_first):
            return _unknown(name[0].strip("`"), self.names)
        where = f"at {rest!r}" if rest else "at its end"
        return InferenceError(
            f"The contrast {self.text!r} cannot be read {where}. Write it with names of coefficients, numbers, "
            "+, -, *, /, parentheses and one =."
        )
