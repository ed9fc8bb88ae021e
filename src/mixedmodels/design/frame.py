"""Columns of any data frame as arrays: numbers, dates or codes with levels. Reads only the columns asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from importlib.util import find_spec
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.labels import shown_level
from mixedmodels.errors import DataError

# Without it polars hands over text as Python objects, which takes longer.
_HAS_PYARROW = find_spec("pyarrow") is not None

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

LARGEST_INTEGER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Column:
    """One column of the user's data.

    Attributes
    ----------
    values
        (n_rows,): numbers (float64, integers or booleans), dates (datetime64 or timedelta64), or the codes of levels.
    levels
        Labels that the codes point to, in their order; None for numbers and dates.
    missing
        (n_rows,) True where there is no value, or None if there is one everywhere.
    """

    values: Values
    levels: pd.Index | None = None
    missing: Mask | None = None

    @property
    def is_number(self) -> bool:
        """True for numbers, booleans among them."""
        return self.levels is None and self.values.dtype.kind in "biuf"

    @property
    def is_boolean(self) -> bool:
        """True for booleans."""
        return self.levels is None and self.values.dtype.kind == "b"

    @property
    def is_date(self) -> bool:
        """True for dates, times and durations."""
        return self.levels is None and self.values.dtype.kind in "mM"

    def as_levels(self) -> Column:
        """Return booleans as the levels False and True."""
        return Column(self.values.astype(np.int32), pd.Index([False, True]), self.missing)

    def take(self, rows: npt.NDArray[np.intp]) -> Column:
        """Return the column at some rows, all of which have a value."""
        return Column(self.values[rows], self.levels)

    def drop_unused_levels(self) -> Column:
        """Return the column without the levels that no row has; every row has a value."""
        if self.levels is None:
            return self
        counts = np.bincount(self.values, minlength=len(self.levels))
        if counts.all():
            return self
        used = np.flatnonzero(counts)
        position = np.zeros(len(self.levels), dtype=np.int32)
        position[used] = np.arange(len(used), dtype=np.int32)
        return Column(position[self.values], self.levels[used])

    @property
    def numbers(self) -> Values:
        """Numbers or codes as formulaic computes with them, (n_rows,): whole ones in 64 bits with a sign."""
        values = self.values
        if values.dtype.kind == "i" or (values.dtype.kind == "u" and values.max(initial=0) <= LARGEST_INTEGER):
            return values.astype(np.int64, copy=False)
        return values

    @cached_property
    def labels(self) -> list[Any]:
        """What names of columns call the levels: themselves, dates by their texts; empty for numbers."""
        return [] if self.levels is None else self._shown_levels.tolist()

    @property
    def _shown_levels(self) -> pd.Index:
        assert self.levels is not None
        return self.levels.map(shown_level) if self.levels.dtype.kind in "mM" else self.levels

    def to_series(self) -> pd.Series:
        """Return the column as formulaic knows it: levels make a Categorical, dates among them called by their text."""
        if self.levels is None:
            return pd.Series(self.numbers, copy=False)
        return pd.Series(pd.Categorical.from_codes(self.values, self._shown_levels, validate=False), copy=False)


@dataclass(frozen=True)
class Frame:
    """The user's data, read a column at a time.

    Attributes
    ----------
    n_rows
        Number of rows.
    names
        Names of the columns that a formula can mention.
    read
        Reads one column by name.
    index
        Labels of the rows of a pandas frame, if they are not their positions.
    """

    n_rows: int
    names: tuple[str, ...]
    read: Callable[[str], Column]
    index: pd.Index | None = None

    @property
    def index_names(self) -> tuple[str, ...]:
        """Names in the index of a pandas frame, which is not read."""
        known = [] if self.index is None else self.index.names
        return tuple(name for name in known if isinstance(name, str) and name not in self.names)


def open_frame(data: object) -> Frame:
    """Return a reader of the columns of any supported kind of data.

    Parameters
    ----------
    data
        pandas or polars DataFrame, pyarrow Table, or a mapping of equal-length arrays or lists; an open Frame too.

    Raises
    ------
    DataError
        Another kind of data, or columns that do not fit together.
    """
    if isinstance(data, Frame):
        return data
    if isinstance(data, pd.DataFrame):
        return _open_pandas(data)
    if isinstance(data, Mapping):
        return _open_mapping(data)
    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise DataError("The data are a lazy frame, which holds no rows yet. Call .collect() on it first.")
    if not isinstance(frame, nw.DataFrame):
        raise DataError(
            "The data must be a pandas or polars DataFrame, a pyarrow Table or a mapping of equal-length arrays, "
            f"not {type(data).__name__!r}."
        )
    return Frame(len(frame), tuple(frame.columns), lambda name: _from_narwhals(name, frame[name]))


def _open_pandas(data: pd.DataFrame) -> Frame:
    columns, index = data.columns, data.index
    if columns.nlevels > 1:
        raise DataError(
            "The columns of the data have several levels (a MultiIndex), which a formula cannot name. "
            "Give each column one name, for example data.columns = ['_'.join(c) for c in data.columns]."
        )

    # pandas takes longer to make three Series than a small model takes to fit; this is no public part of it
    array_of = getattr(data, "_get_column_array", None)

    def read(name: str) -> Column:
        place = columns.get_loc(name)
        if not isinstance(place, int):
            n_columns = data[name].shape[1]
            raise DataError(f"{n_columns} columns are called {name!r}. Give each column its own name.")
        values = None if array_of is None else array_of(place)
        if isinstance(values, np.ndarray) and values.dtype.kind in "biufmM":
            values = values.view()
            values.flags.writeable = False  # as in what pandas hands out
            return _from_numpy(name, values)
        return _from_categories(values) if isinstance(values, pd.Categorical) else _from_pandas(name, data[name])

    names = tuple([name for name in columns if isinstance(name, str)])
    plain = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
    return Frame(len(index), names, read, None if plain else index)


def _open_mapping(data: Mapping[Any, Any]) -> Frame:
    lengths: dict[str, int] = {}
    for name, values in data.items():
        lengths[name] = _length(name, values)
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"The columns must have equal lengths, but they have: {listed}.")
    n_rows = next(iter(lengths.values()), 0)
    return Frame(n_rows, tuple(lengths), lambda name: read_array(name, data[name]))


def _length(name: str, values: Any) -> int:
    dimensions = np.ndim(values) if np.isscalar(values) or hasattr(values, "shape") else 1
    if dimensions != 1 or not hasattr(values, "__len__"):
        raise DataError(f"Column {name!r} must be a one-dimensional array or a list.")
    return len(values)


def read_array(name: str, values: Any) -> Column:
    """Return a column from any one-dimensional array, list or series; an index on it is not used."""
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist()  # None where the mask is
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufmM":
        return _from_numpy(name, values)
    if isinstance(values, pd.Series):
        return _from_pandas(name, values)
    series = nw.from_native(values, series_only=True, pass_through=True)
    return (
        _from_narwhals(name, series)
        if isinstance(series, nw.Series)
        else _from_pandas(name, pd.Series(values, copy=False))
    )


def check_order(name: str, values: object, labels: pd.Index, rows: npt.NDArray[np.intp] | None = None) -> None:
    """Refuse values that have the labels of the rows in another order, since they are taken by position.

    Parameters
    ----------
    name
        What the values are, for the message.
    values
        One a row, of any kind; only a pandas index is looked at.
    labels
        Of the rows, or their positions.
    rows
        Positions of these rows among the values; None for all.

    Raises
    ------
    DataError
        Its index holds all labels, but not in this order.
    """
    if not isinstance(values, pd.Series | pd.DataFrame):
        return
    if (values.index if rows is None else values.index[rows]).equals(labels):
        return
    if values.index.nlevels == labels.nlevels and labels.isin(values.index).all():
        raise DataError(
            f"{name} has the index of the data in another order, and an index aligns nothing here. Put it in the order "
            f"of the rows, {name}.loc[data.index], or pass {name}.to_numpy() if it has that order already."
        )


def _from_numpy(name: str, values: Values, missing: Mask | None = None) -> Column:
    """Numbers, booleans or dates; a NaN or NaT is a missing value."""
    if values.dtype.kind in "mM":
        missing = np.isnat(values)
        return Column(values, missing=missing if missing.any() else None)
    if values.dtype.kind != "f":
        return Column(values, missing=missing)
    numbers = values.astype(np.float64, copy=False)
    finite = np.isfinite(numbers)
    if finite.all():
        return Column(numbers, missing=missing)
    not_a_number = np.isnan(numbers)
    infinite = ~(finite | not_a_number)
    if infinite.any():
        raise DataError(
            f"Column {name!r} is infinite in {np.count_nonzero(infinite)} of {len(values)} rows, the first row "
            f"{infinite.argmax()} (counted from 0). Replace these values, or make them NaN to leave their rows out."
        )
    return Column(numbers, missing=not_a_number if missing is None else missing | not_a_number)


def _from_pandas(name: str, series: pd.Series) -> Column:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _from_categories(series.array)
    if isinstance(dtype, np.dtype):
        return _from_numpy(name, series.to_numpy()) if dtype.kind in "biufmM" else _from_objects(name, series)
    if dtype.kind in "mM":
        return _from_numpy(name, series.to_numpy(dtype="datetime64[ns]" if dtype.kind == "M" else "timedelta64[ns]"))
    if dtype.kind in "biuf":
        return _from_nullable(name, series)
    if isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("dictionary"):
        return _from_narwhals(name, nw.from_native(series.array.__arrow_array__(), series_only=True))
    return _from_labels(name, series) if pd.api.types.is_string_dtype(dtype) else _from_objects(name, series)


def _from_categories(values: pd.Categorical) -> Column:
    return _with_levels(values.codes, values.categories)


def _from_nullable(name: str, series: pd.Series) -> Column:
    """Numbers of pandas' own, arrow's or sparse types."""
    missing = series.isna().to_numpy(dtype=bool)
    kind = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}[series.dtype.kind]
    if not missing.any():
        return _from_numpy(name, series.to_numpy(dtype=kind))
    return _from_numpy(name, series.fillna(False if kind is np.bool_ else 0).to_numpy(dtype=kind), missing)


def _from_objects(name: str, series: pd.Series) -> Column:
    """Python objects: numbers, text or dates if they all are; otherwise labels if they can be sorted."""
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind == "complex":
        raise DataError(
            f"Column {name!r} holds complex numbers, which have no order and no sign. Use their real and imaginary "
            "parts, or their absolute values, as columns of their own."
        )
    missing = series.isna().to_numpy(dtype=bool)
    if kind in ("integer", "boolean", "floating", "mixed-integer-float", "decimal", "empty"):
        present = series.to_numpy(dtype=object)[~missing]
        values: Values = np.zeros(len(series), dtype={"integer": np.int64, "boolean": np.bool_}.get(kind, np.float64))
        try:
            values[~missing] = present
        except OverflowError:  # whole numbers beyond 64 bits can only be labels
            return _from_labels(name, series)
        return _from_numpy(name, values, missing if missing.any() else None)
    if kind in ("date", "datetime", "datetime64"):
        return _from_numpy(name, pd.to_datetime(series).to_numpy(dtype="datetime64[ns]"))
    if kind in ("mixed", "mixed-integer") and all(isinstance(value, Real | Decimal) for value in series[~missing]):
        return _from_numpy(name, series.astype(np.float64).to_numpy(), missing if missing.any() else None)
    return _from_labels(name, series)


def _from_labels(name: str, series: pd.Series) -> Column:
    """Text, or anything else that can be sorted; the levels are in sorted order."""
    try:
        codes, labels = series.factorize()
        levels = pd.Index(labels)
        order = levels.argsort()
    except (NotImplementedError, TypeError) as error:  # the former: pandas cannot sort structs of arrow
        kinds = sorted({type(value).__name__ for value in series.dropna()})
        raise DataError(
            f"Column {name!r} holds values that cannot be sorted among each other ({', '.join(kinds)}). "
            f"Make them one type, for example data[{name!r}].astype(str)."
        ) from error
    position = np.empty(len(order) + 1, dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    position[-1] = -1
    return _with_levels(position[codes], levels[order])


def _with_levels(codes: Values, levels: pd.Index) -> Column:
    missing = codes < 0
    return Column(codes, levels, missing if missing.any() else None)


def _from_narwhals(name: str, series: nw.Series[Any]) -> Column:
    dtype = series.dtype
    missing = series.is_null().to_numpy() if series.null_count() else None
    if dtype == nw.Boolean or dtype.is_numeric():
        if dtype.is_decimal():
            series = series.cast(nw.Float64)
        filled = series if missing is None else series.fill_null(False if dtype == nw.Boolean else 0)
        return _from_numpy(name, filled.to_numpy(), missing)
    if dtype.is_temporal() and dtype != nw.Time:
        return _from_numpy(name, series.to_numpy())
    if isinstance(dtype, nw.Enum):
        levels = pd.Index(dtype.categories)
        return _with_levels(levels.get_indexer(pd.Index(series.to_numpy())).astype(np.int32), levels)
    if dtype == nw.Categorical and series.implementation.is_polars():
        series = series.cast(nw.String)  # its categories are in order of appearance anywhere in the session
    if _HAS_PYARROW:
        return _from_pandas(name, series.to_native().to_pandas())
    return _from_objects(name, pd.Series(series.to_numpy(), copy=False))
