"""How containers, arrays of objects, and the values and tables of pandas, polars and arrow are taken apart.

What they are taken apart into are simpler values of the same kinds, and in the end texts, numbers and NumPy's arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.fit.archive import KINDS
from mixedmodels.texts.noted_frame import NotedFrame


@dataclass(frozen=True)
class Form:
    """One kind of value.

    Attributes
    ----------
    name
        What it is called in files.
    holds
        Whether a value is of this kind.
    apart
        Its parts.
    together
        The value of its parts.
    """

    name: str
    holds: Callable[[Any], bool]
    apart: Callable[[Any], tuple[Any, ...]]
    together: Callable[..., Any]


def _exactly(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types


def _any_of(*types: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _extension(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, pd.api.extensions.ExtensionArray) and test(value.dtype)


def _named(package: str, name: str) -> Callable[[Any], bool]:
    return lambda value: (type(value).__module__.split(".")[0], type(value).__name__) == (package, name)


def values_of(column: Any) -> Any:
    """Return the values of a Series or an index: NumPy's array, or pandas' own."""
    return np.asarray(column) if isinstance(column.dtype, np.dtype) else column.array


def _objects(shape: list[int], values: list[Any]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def _frame(columns: list[Any], index: pd.Index, names: pd.Index) -> pd.DataFrame:
    series = {j: pd.Series(values, index=index, dtype=values.dtype) for j, values in enumerate(columns)}
    return pd.DataFrame(series, index=index).set_axis(names, axis=1)


def _columns(frame: pd.DataFrame) -> list[Any]:
    return [values_of(frame.iloc[:, j]) for j in range(frame.shape[1])]


def _single(value: Any) -> tuple[Any]:
    values: Any = [value]
    return (pd.array(values, dtype="Float64") if value is pd.NA else pd.array(values),)


def _is_masked(dtype: Any) -> bool:
    return isinstance(getattr(dtype, "numpy_dtype", None), np.dtype) and not isinstance(dtype, pd.ArrowDtype)


def _unmasked(value: Any) -> tuple[Any, ...]:
    plain = value.dtype.numpy_dtype
    return str(value.dtype), value.to_numpy(dtype=plain, na_value=plain.type(0)), np.asarray(value.isna())


def _masked(dtype: Any, values: Any, missing: Any) -> Any:
    array = pd.array(values, dtype=dtype)
    array[missing] = pd.NA
    return array


def _is_named(dtype: Any) -> bool:
    """Return whether a type of pandas is known by its name."""
    try:
        return bool(pd.api.types.pandas_dtype(str(dtype)) == dtype) and not isinstance(dtype, pd.SparseDtype)
    except (TypeError, ValueError, NotImplementedError):
        return False


def _of_type(dtype: str, values: list[Any]) -> Any:
    # before pandas 3 texts are objects, and "str" is NumPy's
    is_old_text = pd.api.types.pandas_dtype(dtype).kind == "U"
    return values_of(pd.Series(values, dtype=object if is_old_text else pd.api.types.pandas_dtype(dtype)))


def _zoned(times: Any, zone: str) -> Any:
    return pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(zone).array


def _periods(ordinals: Any, dtype: str) -> Any:
    return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(dtype.removeprefix("period[").removesuffix("]")))


def _intervals(left: Any, right: Any, closed: Any) -> Any:
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


def _range(start: int, stop: int, step: int, name: Any) -> pd.RangeIndex:
    return pd.RangeIndex(start, stop, step, name=name)


def _multi_index(levels: list[Any], codes: list[Any], names: list[Any]) -> pd.MultiIndex:
    return pd.MultiIndex(levels=levels, codes=codes, names=names)


def _arrow_file(write: Callable[[Any, BytesIO], object]) -> Callable[[Any], tuple[Any]]:
    def apart(table: Any) -> tuple[Any]:
        buffer = BytesIO()
        write(table, buffer)
        return (np.frombuffer(buffer.getvalue(), dtype=np.uint8),)

    return apart


def _write_table(table: Any, buffer: BytesIO) -> None:
    with import_module("pyarrow").ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)


FORMS = (
    Form("list", _exactly(list), tuple, lambda *values: list(values)),
    Form("tuple", _exactly(tuple), tuple, lambda *values: values),
    Form("set", _exactly(set), tuple, lambda *values: set(values)),
    Form("frozenset", _exactly(frozenset), tuple, lambda *values: frozenset(values)),
    Form(
        "dict",
        lambda value: isinstance(value, Mapping) and type(value).__module__ in ("builtins", "types"),
        lambda value: (list(value), list(value.values())),
        lambda keys, values: dict(zip(keys, values, strict=True)),
    ),
    Form("dtype", lambda v: isinstance(v, np.dtype) and v.kind in KINDS, lambda v: (v.str,), np.dtype),
    Form(
        "scalar",
        lambda v: isinstance(v, np.generic) and v.dtype.kind in KINDS,
        lambda v: (np.asarray(v),),
        lambda a: a[()],
    ),
    Form(
        "objects",
        lambda value: type(value) is np.ndarray and value.dtype.kind == "O",
        lambda value: (list(value.shape), value.ravel().tolist()),
        _objects,
    ),
    Form(
        "range",
        _any_of(pd.RangeIndex),
        lambda i: (i.start, i.stop, i.step, i.name),
        _range,
    ),
    Form(
        "indexes",
        _any_of(pd.MultiIndex),
        lambda index: (list(index.levels), [np.asarray(codes) for codes in index.codes], list(index.names)),
        _multi_index,
    ),
    Form(
        "index",
        _any_of(pd.Index),
        lambda index: (values_of(index), index.name),
        lambda values, name: pd.Index(values, name=name, dtype=values.dtype),
    ),
    Form(
        "series",
        _exactly(pd.Series),
        lambda series: (values_of(series), series.index, series.name),
        lambda values, index, name: pd.Series(values, index=index, name=name, dtype=values.dtype),
    ),
    Form(
        "frame", _exactly(pd.DataFrame, NotedFrame), lambda frame: (_columns(frame), frame.index, frame.columns), _frame
    ),
    Form(
        "one of",
        _any_of(pd.Timestamp, pd.Timedelta, pd.Interval, pd.Period, type(pd.NaT), type(pd.NA)),
        _single,
        lambda values: values[0],
    ),
    Form("values", _extension(_any_of(np.dtype)), lambda values: (np.asarray(values),), pd.array),
    Form(
        "categories",
        _extension(_any_of(pd.CategoricalDtype)),
        lambda values: (np.asarray(values.codes), values.categories, bool(values.ordered)),
        pd.Categorical.from_codes,
    ),
    Form(
        "zoned",
        _extension(_any_of(pd.DatetimeTZDtype)),
        lambda values: (np.asarray(values.tz_convert("UTC").tz_localize(None)), str(values.dtype.tz)),
        _zoned,
    ),
    Form(
        "intervals",
        _extension(_any_of(pd.IntervalDtype)),
        lambda values: (values.left, values.right, values.closed),
        _intervals,
    ),
    Form("periods", _extension(_any_of(pd.PeriodDtype)), lambda values: (values.asi8, str(values.dtype)), _periods),
    Form("masked", _extension(_is_masked), _unmasked, _masked),
    Form(
        "of type",
        _extension(_is_named),
        lambda values: (str(values.dtype), values.to_numpy(dtype=object, na_value=None).tolist()),
        _of_type,
    ),
    Form(
        "polars",
        _named("polars", "DataFrame"),
        _arrow_file(lambda frame, buffer: frame.write_ipc(buffer)),
        lambda values: import_module("polars").read_ipc(BytesIO(values.tobytes())),
    ),
    Form(
        "arrow",
        _named("pyarrow", "Table"),
        _arrow_file(_write_table),
        lambda values: import_module("pyarrow").ipc.open_file(values.tobytes()).read_all(),
    ),
)
"""The first that holds a value is its form."""
