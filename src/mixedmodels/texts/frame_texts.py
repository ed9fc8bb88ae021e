"""The numbers of a data frame as texts: by what the column is called, and by their size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

P_VALUES = ("p_value", "p_boundary", "p_exact")
"""Columns of p-values, and those whose names begin with one of these."""

TESTS = ("statistic", "chisq", "f_value")
"""Columns of test statistics."""

DEGREES = ("df", "num_df", "den_df")
"""Columns of degrees of freedom."""

CRITERIA = ("aic", "aicc", "bic", "llf", "deviance", "value")
"""Columns of log-likelihoods and information criteria."""

SUMS = ("sum_sq", "mean_sq")
"""Columns of sums of squares."""

SHARES = ("power", "eta_sq", "epsilon_sq", "omega_sq", "part_r2", "without", "icc", "share", "proportion", "cumulative")
"""Columns of numbers between zero and one."""

ON_ONE_SCALE = ("estimate", "mean", "std_error", "se", "ci_lower", "ci_upper", "lower", "upper")
"""Columns of estimates and of how well they are known, which share their decimals."""

MIN_DF = 0.1
"""Less than this has too few digits with one decimal, and is a number of another kind."""

MAX_GIVEN = 12
"""Decimals up to which a column may have been rounded."""


def frame_texts(frame: pd.DataFrame) -> list[list[str]]:
    """Return the texts of each column.

    Estimates have the digits that their standard errors or intervals allow, p-values three decimals or ``<0.001``,
    numbers that were rounded no more decimals than they have. What is missing is ``-``.

    Parameters
    ----------
    frame
        Any table; columns are known by their names.
    """
    names = list(map(str, frame.columns))
    shared = _shared_places(frame, names)
    return [_column(frame.iloc[:, j], name, shared) for j, name in enumerate(names)]


def label_texts(index: pd.Index) -> list[list[str]]:
    """Return the texts of each level of an index, blank where they and those before them repeat the row above."""
    if index.nlevels == 1:
        return [list(map(level_text, index))]
    rows = [tuple(map(level_text, row)) for row in index]
    columns = []
    for j in range(index.nlevels):
        last = j == index.nlevels - 1
        columns.append([
            "" if not last and i and row[: j + 1] == rows[i - 1][: j + 1] else row[j] for i, row in enumerate(rows)
        ])  # fmt: skip
    return columns


def _column(values: pd.Series[Any], name: str, shared: Sequence[int | None] | None) -> list[str]:
    if not _is_float(values):
        return [numbers.UNDEFINED if _is_missing(v) else level_text(v) for v in values]
    floats = values.to_numpy(dtype=float, na_value=math.nan).tolist()
    return _to_given(floats, _by_kind(floats, name, shared))


def _by_kind(values: Sequence[float], name: str, shared: Sequence[int | None] | None) -> list[str]:
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    least, most = min(sizes, default=math.inf), max(sizes, default=0.0)
    texts: Iterator[str]
    if name.startswith(P_VALUES):
        texts = map(numbers.p_value, values)
    elif name in TESTS:
        texts = map(numbers.statistic, values)
    elif name in CRITERIA and least >= 1:
        texts = map(numbers.criterion, values)
    elif name in ON_ONE_SCALE and shared is not None:
        texts = (_to_place(v, place) for v, place in zip(values, shared, strict=True))
    elif all(size.is_integer() for size in sizes) and most < numbers.MAX_INTEGER:
        texts = (numbers.fixed(v, 0) for v in values)
    elif name in SHARES:
        texts = map(numbers.share, values)
    elif name in DEGREES and least >= MIN_DF:
        texts = (numbers.fixed(v, 1) for v in values)
    else:
        texts = iter(numbers.column(values, 3 if name in SUMS else numbers.DIGITS))
    return list(texts)


def _to_place(value: float, place: int | None) -> str:
    return numbers.significant(value) if place is None else numbers.to_place([value], place)[0]


def _shared_places(frame: pd.DataFrame, names: Sequence[str]) -> list[int | None] | None:
    """Return the decimal place of each row's estimate, None for a row without, None where the table tells of none."""
    if set(SHARES) & set(names):
        return [numbers.SHARE_PLACE] * len(frame)
    spread = _spread(frame, names)
    if spread is None:
        return None
    known = np.isfinite(spread) & (spread > 0)
    places = iter(numbers.places(spread[known].tolist())) if known.any() else iter(())
    return [next(places) if k else None for k in known.tolist()]


def _spread(frame: pd.DataFrame, names: Sequence[str]) -> Floats | None:
    """Return the standard error of each row, or a quarter of its interval."""
    once = {name: j for j, name in enumerate(names) if names.count(name) == 1 and _is_float(frame.iloc[:, j])}
    columns = {name: frame.iloc[:, j].to_numpy(dtype=np.float64, na_value=math.nan) for name, j in once.items()}
    errors = columns.get("std_error", columns.get("se"))
    if errors is not None:
        return errors
    for lower, upper in (("ci_lower", "ci_upper"), ("lower", "upper")):
        if lower in columns and upper in columns:
            return np.asarray((columns[upper] - columns[lower]) / 4)
    return None


def _to_given(values: Sequence[float], texts: list[str]) -> list[str]:
    """Return the texts without decimals that the numbers, having been rounded, do not have."""
    shown = max((len(text) - text.index(".") - 1 for text in texts if "." in text and "e" not in text), default=0)
    given = _decimals(values, shown)
    if given >= shown:
        return texts
    return [text if "e" in text or text.startswith("<") else _cut(text, given) for text in texts]


def _decimals(values: Sequence[float], shown: int) -> int:
    """Return the decimals that all of the numbers do with, if fewer than those shown."""
    if all(v.is_integer() or not math.isfinite(v) for v in values):
        return shown  # whole by chance or by kind
    for decimals in range(1, min(shown, MAX_GIVEN)):
        if all(not math.isfinite(v) or round(v, decimals) == v for v in values):
            return decimals
    return shown


def _cut(text: str, decimals: int) -> str:
    whole, point, rest = text.partition(".")
    return f"{whole}{point}{rest[:decimals]}" if point else text


def _is_float(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_float_dtype(values.dtype)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
