"""Contrasts among means or slopes by name, by weights, and of several variables at once.

A contrast of k means is a row of k weights. An interaction contrast is the product of one a variable:
of the means m_ab, sum_ab c_a d_b m_ab.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product
from math import gcd, lcm
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text, shown_level
from mixedmodels.errors import InferenceError, nearest

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

Cell = tuple[Any, ...]
"""Levels that name a mean, one a variable."""

MAX_DEGREE = 6
MAX_LISTED = 20
_DEGREES = ("linear", "quadratic", "cubic", "quartic")


@dataclass(frozen=True)
class Kind:
    """A way to make contrasts.

    Attributes
    ----------
    make
        Names of the means, and the sign of a difference -> name of each contrast and its weights, (k,).
    adjust
        How tests of such contrasts are adjusted if nothing is said.
    """

    make: Callable[[Sequence[str], str], list[tuple[str, Floats]]]
    adjust: str


@dataclass(frozen=True)
class Weights:
    """Contrasts of means by their weights.

    Attributes
    ----------
    labels
        One a contrast; a tuple, of one part or, of interaction contrasts, one a variable.
    rows
        (n_contrasts, k).
    """

    labels: list[Cell]
    rows: Floats


def cell_text(cell: Cell) -> str:
    """Return the levels that name a mean as one text."""
    return " ".join(map(level_text, cell))


def _operands(cells: Sequence[Cell], minus: str) -> list[str]:
    """Return the texts of means in differences, in parentheses where a level has the sign itself."""
    return [f"({text})" if f" {minus} " in text else text for text in map(cell_text, cells)]


def _differences(labels: Sequence[str], pairs: Sequence[tuple[int, int]], minus: str) -> list[tuple[str, Floats]]:
    unit = np.eye(len(labels))
    return [(f"{labels[i]} {minus} {labels[j]}", unit[i] - unit[j]) for i, j in pairs]


def _pairwise(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    return _differences(labels, list(combinations(range(len(labels)), 2)), minus)


def _reverse_pairwise(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    return _differences(labels, [(j, i) for j in range(len(labels)) for i in range(j)], minus)


def _consecutive(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    return _differences(labels, [(i + 1, i) for i in range(len(labels) - 1)], minus)


def _reverse_consecutive(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    return _differences(labels, [(i, i + 1) for i in range(len(labels) - 1)], minus)


def _control(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    return _differences(labels, [(i, 0) for i in range(1, len(labels))], minus)


def _mean(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    k = len(labels)
    rows = np.eye(k) - 1 / k
    return [(f"{label} {minus} mean", row) for label, row in zip(labels, rows, strict=True)] if k > 1 else []


def _others(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    k = len(labels)
    return [
        (f"{label} {minus} others", row * k / (k - 1))
        for label, (_, row) in zip(labels, _mean(labels, minus), strict=False)
    ]


def _helmert(labels: Sequence[str], minus: str) -> list[tuple[str, Floats]]:
    unit = np.eye(len(labels))
    earlier = ["", labels[0], *(f"mean({labels[0]} .. {label})" for label in labels[1:])]
    return [(f"{labels[i]} {minus} {earlier[i]}", unit[i] - unit[:i].mean(axis=0)) for i in range(1, len(labels))]


def _polynomial(labels: Sequence[str], _: str) -> list[tuple[str, Floats]]:
    """Return orthogonal polynomials in 1 .. k, in the smallest whole numbers, the last weight positive."""
    k = len(labels)
    done: list[list[Fraction]] = [[Fraction(1)] * k]
    for degree in range(1, min(k - 1, MAX_DEGREE) + 1):
        row = [Fraction(i) ** degree for i in range(k)]
        for other in done:
            share = sum((a * b for a, b in zip(row, other, strict=True)), Fraction()) / sum(b * b for b in other)
            row = [a - share * b for a, b in zip(row, other, strict=True)]
        unit = Fraction(lcm(*(a.denominator for a in row)))
        whole = [int(a * unit) for a in row]
        done.append([Fraction(a, gcd(*whole)) for a in whole])
    names = [*_DEGREES, *(f"degree {degree}" for degree in range(len(_DEGREES) + 1, MAX_DEGREE + 1))]
    return [(name, np.array(row, dtype=np.float64)) for name, row in zip(names, done[1:], strict=False)]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "pairwise": Kind(_pairwise, "tukey"),
        "reverse-pairwise": Kind(_reverse_pairwise, "tukey"),
        "consecutive": Kind(_consecutive, "mvt"),
        "reverse-consecutive": Kind(_reverse_consecutive, "mvt"),
        "control": Kind(_control, "dunnett"),
        "mean": Kind(_mean, "fdr"),
        "others": Kind(_others, "fdr"),
        "polynomial": Kind(_polynomial, "none"),
        "helmert": Kind(_helmert, "none"),
    }
)
"""The contrasts that have a name."""

OF_R: Mapping[str, str] = MappingProxyType(
    {
        "revpairwise": "reverse-pairwise",
        "consec": "consecutive",
        "trt.vs.ctrl": "control",
        "eff": "mean",
        "del.eff": "others",
        "poly": "polynomial",
    }
)
"""Names that emmeans has for them."""


def kind_name(name: object, argument: str) -> str:
    """Return the name of a kind of contrasts, which may be given by the name that emmeans has for it.

    Raises
    ------
    InferenceError
        If there is no such kind.
    """
    if isinstance(name, str) and (name in KINDS or name in OF_R):
        return OF_R.get(name, name)
    known = ", ".join(f'"{kind}"' for kind in KINDS)
    raise InferenceError(
        f"{argument} is {name!r}; kinds of contrasts are {known}.{nearest(str(name), [*KINDS, *OF_R])}"
    )


def named_weights(kind: str, cells: Sequence[Cell], minus: str = "-") -> Weights:
    """Return the contrasts of a kind among some means; ``minus`` is the sign between them in the names."""
    return _weights(KINDS[kind].make(_operands(cells, minus), minus), len(cells))


def control_weights(cells: Sequence[Cell], control: Cell, minus: str = "-") -> Weights:
    """Return the differences of means from one of them; none if it is not there."""
    if control not in cells:
        return _weights([], len(cells))
    at = list(cells).index(control)
    pairs = [(i, at) for i in range(len(cells)) if i != at]
    return _weights(_differences(_operands(cells, minus), pairs, minus), len(cells))


def _weights(made: Sequence[tuple[str, Floats]], n_means: int) -> Weights:
    return Weights([(label,) for label, _ in made], np.array([row for _, row in made]).reshape(-1, n_means))


def custom_weights(given: object, cells: Sequence[Cell]) -> Weights:
    """Return contrasts that are given by their weights.

    Parameters
    ----------
    given
        A mapping from names to weights; or a matrix, a row a contrast; or a DataFrame of it, whose index has names.
        Weights are numbers, one a mean, or a mapping from means to numbers, those that it does not name being zero.
    cells
        The means.

    Raises
    ------
    InferenceError
        If weights cannot be read, are not one a mean, name no mean, or are all zero.
    """
    if isinstance(given, pd.DataFrame):
        rows = {str(label): row for label, row in given.iterrows()}
    elif isinstance(given, Mapping):
        rows = {str(label): row for label, row in given.items()}
    else:
        matrix = _numbers(given)
        if matrix is None or matrix.ndim not in (1, 2):
            raise InferenceError(
                f"contrasts is {given!r}; it must be the name of a kind, a mapping from names to weights, or a matrix "
                "with a row of weights a contrast."
            )
        rows = {f"C{i + 1}": row for i, row in enumerate(np.atleast_2d(matrix))}
    if not rows:
        raise InferenceError("contrasts is empty. Give at least one row of weights.")
    return Weights([(label,) for label in rows], np.array([_row(label, row, cells) for label, row in rows.items()]))


def _row(label: str, given: Any, cells: Sequence[Cell]) -> Floats:
    if isinstance(given, Mapping | pd.Series) and not _is_positional(given):
        weights = np.zeros(len(cells))
        for name, weight in given.items():
            number = _numbers(weight)
            if number is None or number.ndim:
                raise InferenceError(f"The weight of {name!r} in the contrast {label!r} is {weight!r}; give a number.")
            weights[find_cell(cells, name, f"The contrast {label!r} weighs")] = number
    else:
        numbers = _numbers(given)
        if numbers is None or numbers.ndim != 1:
            raise InferenceError(f"The contrast {label!r} is {given!r}; it must be weights, one a mean.")
        if len(numbers) != len(cells):
            raise InferenceError(
                f"The contrast {label!r} has {len(numbers)} weights, but there are {len(cells)} means: {listed(cells)}."
            )
        weights = numbers
    if not np.isfinite(weights).all() or not weights.any():
        raise InferenceError(f"The weights of the contrast {label!r} must be finite, and one at least not zero.")
    return weights


def _is_positional(given: Mapping[Any, Any] | pd.Series[Any]) -> bool:
    """Return True for a row of a DataFrame whose columns have no names."""
    return isinstance(given, pd.Series) and isinstance(given.index, pd.RangeIndex)


def _numbers(given: Any) -> Floats | None:
    if isinstance(given, str | bool):
        return None
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def interaction_weights(
    kinds: Mapping[str, object], names: Sequence[str], cells: Sequence[Cell], minus: str = "-"
) -> Weights:
    """Return products of contrasts, one a variable.

    Parameters
    ----------
    kinds
        Variable -> a kind by name, or weights as for `custom_weights`.
    names
        The variables, in the order of the cells' levels.
    cells
        The means, of all combinations of the variables' levels.
    minus
        The sign between means in the names of contrasts.

    Raises
    ------
    InferenceError
        If combinations are missing, or weights cannot be read.
    """
    levels = [list(dict.fromkeys(cell[i] for cell in cells)) for i in range(len(names))]
    if len(cells) != int(np.prod([len(own) for own in levels])):
        raise InferenceError(
            f"Interaction contrasts need a mean of each combination of {' and '.join(names)}; some do not occur. "
            "Choose levels with at, or give weights of the means that there are."
        )
    parts = []
    for name, own in zip(names, levels, strict=True):
        alone = [(level,) for level in own]
        kind = kinds[name]
        if isinstance(kind, str):
            parts.append(named_weights(kind_name(kind, f"contrasts of {name!r}"), alone, minus))
        else:
            parts.append(custom_weights(kind, alone))
    places = {cell: i for i, cell in enumerate(cells)}
    order = [places[cell] for cell in product(*levels)]
    labels, rows = [], []
    for combined in product(*(list(zip(part.labels, part.rows, strict=True)) for part in parts)):
        row = np.ones(1)
        for _, weights in combined:
            row = np.kron(row, weights)
        labels.append(tuple(label[0] for label, _ in combined))
        rows.append(np.zeros(len(cells)))
        rows[-1][order] = row
    return Weights(labels, np.array(rows).reshape(-1, len(cells)))


def find_cell(cells: Sequence[Cell], wanted: object, what: str = "") -> int:
    """Return the position of a mean that is named by its level or a tuple of levels, as they are or as they are shown.

    Parameters
    ----------
    cells
        The means.
    wanted
        The name.
    what
        The beginning of the message.

    Raises
    ------
    InferenceError
        If there is no such mean.
    """
    parts: tuple[Any, ...] = wanted if isinstance(wanted, tuple) else (wanted,)
    if any(getattr(part, "ndim", 0) for part in parts):
        raise InferenceError(f"control is a {type(wanted).__name__!r}; it must be a level, or a tuple of levels.")
    if all(isinstance(part, Hashable) for part in parts) and parts in cells:
        return list(cells).index(parts)
    printed = [tuple(map(shown_level, cell)) for cell in cells]
    as_shown = tuple(map(shown_level, parts))
    if as_shown in printed:
        return printed.index(as_shown)
    texts = [cell_text(cell) for cell in cells]
    if isinstance(wanted, str) and wanted in texts:
        return texts.index(wanted)
    known = [text for text, cell in zip(texts, cells, strict=True) if any(isinstance(part, str) for part in cell)]
    near = nearest(cell_text(as_shown), known)
    if what:
        raise InferenceError(f"{what} {wanted!r}, which is no mean; there are {listed(cells)}.{near}")
    raise InferenceError(f"There is no level {wanted!r} to compare with; there are {listed(cells)}.{near}")


def listed(cells: Sequence[Cell]) -> str:
    """Return the first cells as a list in a sentence."""
    printed = [tuple(map(shown_level, cell)) for cell in cells[:MAX_LISTED]]
    return ", ".join(repr(cell[0] if len(cell) == 1 else cell) for cell in printed)
