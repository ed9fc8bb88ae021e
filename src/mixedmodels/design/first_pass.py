"""What functions of all rows need to know of them, learnt in a pass before any of their values is computed.

`center` and `scale` need a mean and a sum of squares, `poly` central moments up to twice its degree, `bs` the ends of
its range, and with df quantiles, for which the different values are counted. Moments of two sets of rows are merged by
Pebay's formulas (2008, Sandia report SAND2008-6212).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from math import comb
from types import MappingProxyType
from typing import Any

import numpy as np
from formulaic.utils.stateful_transforms import stateful_transform

from mixedmodels.design.plan import Plan
from mixedmodels.design.records import Floats
from mixedmodels.design.streamed import RowReader
from mixedmodels.errors import DataError
from mixedmodels.formula.expressions import mentions

NOTE = "note"
"""Where a learning function leaves what it has met."""

MOST_VALUES = 1_000_000
"""Different values that are counted."""


class Counted:
    """How often each of some values occurs; nothing, once there are more than ``MOST_VALUES``.

    Parameters
    ----------
    values
        (n_rows,).
    """

    def __init__(self, values: Floats) -> None:
        self.values, self.counts = np.unique(values, return_counts=True)
        self.are_too_many = False
        self._give_up()

    def merge(self, other: Counted) -> None:
        """Count those of another too."""
        both = np.concatenate([self.values, other.values])
        self.values, places = np.unique(both, return_inverse=True)
        sums = np.zeros(len(self.values), dtype=np.int64)
        np.add.at(sums, places, np.concatenate([self.counts, other.counts]))
        self.counts = sums
        self.are_too_many |= other.are_too_many
        self._give_up()

    def _give_up(self) -> None:
        self.are_too_many |= len(self.values) > MOST_VALUES
        if self.are_too_many:
            self.values, self.counts = self.values[:0], self.counts[:0]

    def quantiles(self, shares: Floats, low: float, high: float) -> Floats:
        """Return quantiles of the values from low to high, between neighbours as NumPy's, (n_shares,)."""
        within = (self.values >= low) & (self.values <= high)
        values, ends = self.values[within], np.cumsum(self.counts[within])
        places = shares * (ends[-1] - 1)
        below, above = (values[np.searchsorted(ends, at, side="right")] for at in (np.floor(places), np.ceil(places)))
        return np.asarray(below + (above - below) * (places - np.floor(places)))


class Note:
    """Moments and range of some values.

    Parameters
    ----------
    values
        (n_rows,), at least one.
    order
        Of the highest moment.
    finish
        Makes of a note what the function remembers.
    counted
        The values, where they are counted.
    """

    def __init__(self, values: Floats, order: int, finish: Finish, counted: Counted | None = None) -> None:
        self.counted = counted
        self.n, self.mean = len(values), float(values.mean())
        apart = values - self.mean
        self.mean += float(apart.mean())  # which far from zero rounding has left
        apart = values - self.mean
        self.central = np.array([np.sum(apart**k) for k in range(order + 1)])
        self.low, self.high = float(values.min()), float(values.max())
        self.finish = finish

    def merge(self, other: Note) -> None:
        """Add the values of another."""
        n = self.n + other.n
        step = other.mean - self.mean
        here, there = -other.n / n * step, self.n / n * step
        central = [
            sum(comb(p, k) * (here**k * self.central[p - k] + there**k * other.central[p - k]) for k in range(p + 1))
            for p in range(len(self.central))
        ]
        self.n, self.mean, self.central = n, self.mean - here, np.array(central)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if self.counted is not None and other.counted is not None:
            self.counted.merge(other.counted)

    def square_about(self, origin: float) -> float:
        """Return the sum of squares about an origin."""
        return float(self.central[2] + self.n * (self.mean - origin) ** 2)


class Scaled:
    """What `scale` remembers, as formulaic's: see its arguments."""

    def __init__(self, center: Any, scale: Any, ddof: float) -> None:
        self.center, self.scale, self.ddof = center, scale, ddof

    def __call__(self, note: Note) -> dict[str, Any]:
        center = note.mean if self.center is True else None if self.center is False else np.array(self.center)
        about = 0.0 if center is None else float(center)
        sd = np.sqrt(note.square_about(about) / (note.n - self.ddof))
        scale = sd if self.scale is True else None if self.scale is False else np.array(self.scale)
        return {"ddof": self.ddof, "center": center, "scale": scale}


class Orthogonal:
    """What `poly` remembers: the recurrence of monic polynomials, orthogonal over all rows."""

    def __init__(self, degree: int) -> None:
        self.degree = degree

    def __call__(self, note: Note) -> dict[str, Any]:
        size = np.sqrt(note.central[2] / note.n) or 1.0
        moments = note.central / size ** np.arange(len(note.central))
        moments[1] = 0.0

        def product(a: Floats, b: Floats) -> float:
            return float(sum(x * y * moments[i + j] for i, x in enumerate(a) for j, y in enumerate(b)))

        alpha, norms2 = {}, {}
        before, own = np.zeros(1), np.ones(1)
        for k in range(self.degree + 1):
            norms2[k] = product(own, own)
            if k == self.degree:
                break
            alpha[k] = product(np.append(0.0, own), own) / norms2[k]
            beta = norms2[k] / norms2[k - 1] if k else 0.0
            after = np.append(0.0, own)
            after[: len(own)] -= alpha[k] * own
            after[: len(before)] -= beta * before
            before, own = own, after
        return {
            "alpha": {k: note.mean + size * a for k, a in alpha.items()},
            "norms2": {k: h * size ** (2 * k) for k, h in norms2.items()},
        }


class Range:
    """What `bs` remembers before it has placed its knots: the ends of its range."""

    def __init__(self, lower: float | None, upper: float | None) -> None:
        self.lower, self.upper = lower, upper

    def __call__(self, note: Note) -> dict[str, Any]:
        return {
            "lower_bound": note.low if self.lower is None else self.lower,
            "upper_bound": note.high if self.upper is None else self.upper,
        }


class Knots(Range):
    """What `bs` with df remembers: the ends of its range, and knots at quantiles of what is in it.

    Parameters
    ----------
    lower, upper
        Ends that are given.
    n_inner
        Knots between them.
    degree
        How often the ends are repeated.
    is_open
        Values beyond the ends count for the quantiles too, as they do where formulaic extends.
    """

    def __init__(self, lower: float | None, upper: float | None, n_inner: int, degree: int, is_open: bool) -> None:
        super().__init__(lower, upper)
        self.n_inner, self.degree, self.is_open = n_inner, degree, is_open

    def __call__(self, note: Note) -> dict[str, Any]:
        ends = super().__call__(note)
        assert note.counted is not None
        within = (-np.inf, np.inf) if self.is_open else (ends["lower_bound"], ends["upper_bound"])
        if within[1] < note.low or within[0] > note.high:  # which is refused where values are computed
            return ends
        inner = note.counted.quantiles(np.linspace(0, 1, self.n_inner + 2)[1:-1], *within)
        knots = np.concatenate([[ends["lower_bound"]], inner, [ends["upper_bound"]]])
        return {**ends, "knots": np.pad(knots, self.degree, mode="edge").tolist()}


Finish = Scaled | Orthogonal | Range


def _noted(x: Any, state: dict[str, Any], order: int, finish: Finish, counts: bool = False) -> Floats:
    """Return values as they are, a note of them left in the state; missing ones are gaps, whose rows are left out."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1:
        raise DataError("its argument must be one column; these rows are read in parts")
    if len(values) and np.isfinite(values).all():
        state[NOTE] = Note(values, order, finish, Counted(values) if counts else None)
    return values


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def _scale(data: Any, center: Any = True, scale: Any = True, ddof: float = 1, _state: Any = None) -> Floats:
    return _noted(data, _state, 2, Scaled(center, scale, ddof))


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def _center(data: Any, _state: Any = None) -> Floats:
    return _noted(data, _state, 2, Scaled(True, False, 1))


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def _poly(x: Any, degree: int = 1, raw: bool = False, _state: Any = None) -> Floats:
    values = np.asarray(x, dtype=np.float64) if raw else _noted(x, _state, max(2, 2 * degree), Orthogonal(degree))
    return np.column_stack([values] * degree)


@stateful_transform  # type: ignore[untyped-decorator]  # formulaic has no types
def _bs(  # noqa: PLR0917  # the arguments are formulaic's
    x: Any,
    df: int | None = None,
    knots: Any = None,
    degree: int = 3,
    include_intercept: bool = False,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    extrapolation: str = "raise",
    _state: Any = None,
) -> Floats:
    n_inner = 0 if df is None else df - degree - bool(include_intercept)
    if df is None or knots is not None or n_inner < 0:  # the latter two are refused where the values are computed
        return _noted(x, _state, 2, Range(lower_bound, upper_bound))
    is_open = extrapolation in ("raise", "extend")
    return _noted(x, _state, 2, Knots(lower_bound, upper_bound, n_inner, degree, is_open), counts=True)


LEARNING: Mapping[str, Any] = MappingProxyType(
    {"center": _center, "scale": _scale, "standardize": _scale, "poly": _poly, "bs": _bs}
)
"""Functions that note what those of their names need to know."""


def has_functions_of_all_rows(plan: Plan) -> bool:
    """Return whether a formula has functions that learn from all rows."""
    texts = {*plan.expressions, *plan.offsets, plan.formula.response}
    names = {str(factor.expr) for part in (plan.fixed, *plan.random) for term in part.terms for factor in term.factors}
    return any(mention.name in LEARNING and mention.is_called for text in texts | names for mention in mentions(text))


class FirstPass:
    """What functions of all rows need to know of them.

    Parameters
    ----------
    reader
        Whose rows they are.
    """

    is_settled = True

    def __init__(self, reader: RowReader) -> None:
        self.reader = reader.fork()
        self.notes: dict[str, Note] = {}

    def add(self, place: str, table: Any) -> None:
        """Note the rows that can be used."""
        for name, state in self.reader.transforms_of(place, table, LEARNING).items():
            if NOTE not in state:
                continue
            if name in self.notes:
                self.notes[name].merge(state[NOTE])
            else:
                self.notes[name] = state[NOTE]

    def fork(self) -> FirstPass:
        """Return the same without notes."""
        return FirstPass(self.reader)

    def merge(self, other: FirstPass) -> None:
        """Add the notes of another."""
        for name, note in other.notes.items():
            if name in self.notes:
                self.notes[name].merge(note)
            else:
                self.notes[name] = deepcopy(note)

    def learnt(self) -> dict[str, dict[str, Any]]:
        """Return what each function remembers, by expression.

        Raises
        ------
        DataError
            One is inside of another, or has too many different values.
        """
        for name, note in self.notes.items():
            if note.counted is not None and note.counted.are_too_many:
                raise DataError(
                    f"{name!r} places its knots at quantiles, and there are more than {MOST_VALUES:,} different "
                    "values, too many to count while rows are read in parts. Round them, or give knots=[...]."
                )
        for outer in self.notes:
            inner = next((name for name in self.notes if name != outer and name in outer), None)
            if inner is not None:
                raise DataError(
                    f"{outer!r} needs all rows of {inner!r}, which needs all rows itself, and these are read in parts. "
                    "Write one of the two with numbers that you know, I(x - 12.5) for center(x)."
                )
        return {name: note.finish(note) for name, note in self.notes.items()}
