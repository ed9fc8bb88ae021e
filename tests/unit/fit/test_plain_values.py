"""Values that are packed as JSON and arrays."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.left_out import LeftOut
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.fit.plain_values import Kept, Packer, Table, Unpacker


@dataclass(frozen=True)
class Pair:
    first: Any
    second: Any = 2


class Colour(Enum):
    RED = 1


TABLE = Table([Kept(Pair), Kept(Colour)])


def round_trip(value: object) -> Any:
    packer = Packer(TABLE)
    text = json.dumps(packer.pack(value), allow_nan=False)
    assert packer.left_out == []
    return Unpacker(TABLE, packer.arrays).unpack(json.loads(text))


PLAIN = [
    *(None, True, 3, -(10**30), 0.1, "text \ud800 \u00e9", 1 + 2j, b"\x00\xff", Decimal("1.10"), Colour.RED, Colour),
    *(
        dt.date(2020, 2, 29),
        dt.time(1, 2, 3),
        dt.datetime(2020, 1, 1, 5),
        pd.Timedelta("3min"),
        pd.Period("2020-01", "M"),
    ),
    *(pd.Timestamp("2020-01-01 03:00", tz="Europe/Paris"), pd.Interval(0, 1, closed="left"), float("inf"), -0.0),
    *([1, ["a"]], (1, (2,)), {1: "a", "b": [2]}, {1, 2}, frozenset({"a"}), Pair(1, [2]), np.dtype("<M8[ns]")),
    np.float64(0.1),
    np.datetime64("2020-01-01T00:00:00", "s"),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_what_is_packed_is_unpacked(value: object) -> None:
    made = round_trip(value)
    assert type(made) is type(value)
    assert made == value


def test_what_is_not_a_number_stays_so() -> None:
    assert np.isnan(round_trip(float("nan")))
    assert round_trip(pd.NA) is pd.NA
    assert round_trip(pd.NaT) is pd.NaT
    assert round_trip(MappingProxyType({"a": 1})) == {"a": 1}


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.array([True, False]),
        np.array(["a", "\u00e9tat"]),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        np.array([1, 2], dtype=">i4"),
        np.array([["a", None], [1.5, (2,)]], dtype=object),
        np.arange(10.0)[::2],
        np.array(3),
    ],
    ids=str,
)
def test_arrays_have_their_bits_and_layout(array: np.ndarray[Any, Any]) -> None:
    made = round_trip(array)
    np.testing.assert_array_equal(made, array)
    assert made.dtype == array.dtype
    assert made.shape == array.shape
    assert made.flags.writeable
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert made.flags.c_contiguous == array.flags.c_contiguous


INDEXES = [
    pd.RangeIndex(2, 9, 3, name="i"),
    pd.Index(["a", "b"], name="text"),
    pd.Index(["a", 1, None], dtype=object),
    pd.Index([1.5, np.nan]),
    pd.Index([True, False]),
    pd.Index([1, 2], dtype=np.int32),
    pd.Index([dt.date(2020, 1, 1)], dtype=object),
    pd.DatetimeIndex(["2020-01-01", pd.NaT]),
    pd.DatetimeIndex(["2020-03-29 01:30", "2020-10-25 02:30"], tz="UTC").tz_convert("Europe/Paris"),
    pd.DatetimeIndex(["2020-03-29 01:30"]).tz_localize(dt.timezone(dt.timedelta(hours=2))),
    pd.TimedeltaIndex(["1h", "2h"]),
    pd.PeriodIndex(["2020Q1", "2020Q3"], freq="Q"),
    pd.IntervalIndex.from_breaks([0, 1, 5]),
    pd.CategoricalIndex(["b", "a"], categories=["b", "a", "c"], ordered=True),
    pd.MultiIndex.from_tuples([("x", 1), ("y", 2), ("x", None)], names=["k", None]),
    pd.Index([1, None], dtype="Int64"),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.dtype))
def test_indexes_are_the_same(index: pd.Index) -> None:
    made = round_trip(index)
    pd.testing.assert_index_equal(made, index)
    assert type(made) is type(index)


@pytest.mark.parametrize(
    "values",
    [
        *([1, 2, 3], [0.5, np.nan, 1], ["a", None, "c"], [True, False, True]),
        pd.array([1, None, 3], dtype="UInt8"),
        pd.array([0.5, None, np.pi], dtype="Float32"),
        pd.array([True, None, False], dtype="boolean"),
        pd.array(["a", None, "c"], dtype="string"),
        pd.Categorical(["a", None, "b"], categories=["b", "a"], ordered=True),
        pd.cut([1, 5, 9], [0, 4, 10]),
        pd.date_range("2020-01-01", periods=3, tz="Asia/Kolkata"),
        np.array([1 + 2j, 0, 1]),
        np.array([Decimal("1.5"), None, dt.date(2020, 1, 1)], dtype=object),
    ],
    ids=str,
)
def test_series_and_frames_are_the_same(values: Any) -> None:
    series = pd.Series(values, index=["x", "y", "x"], name="s")
    pd.testing.assert_series_equal(round_trip(series), series)
    frame = pd.DataFrame({"a": series, 7: series})
    pd.testing.assert_frame_equal(round_trip(frame), frame)


def test_empty_frames() -> None:
    frame = pd.DataFrame(index=pd.Index(["a", "b"]))
    pd.testing.assert_frame_equal(round_trip(frame), frame)


def test_frames_of_polars_and_arrow() -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]}, schema_overrides={"b": pl.Categorical})
    assert round_trip(frame).equals(frame)
    assert round_trip(frame).schema == frame.schema
    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    assert round_trip(table).equals(table)


def test_what_is_met_twice_is_one_thing_again() -> None:
    shared = np.arange(3.0)
    pair = Pair(shared, [shared])
    made = round_trip([pair, pair])
    assert made[0] is made[1]
    assert made[0].first is made[0].second[0]


def test_what_no_table_knows_is_left_out_and_named() -> None:
    packer = Packer(TABLE)
    packed = packer.pack([1, test_empty_frames, Packer, packer, 2])
    assert packer.left_out == [
        f"the function '{__name__}.test_empty_frames'",
        "the class 'mixedmodels.fit.plain_values.Packer'",
        "an object of the class 'mixedmodels.fit.plain_values.Packer'",
    ]
    first, function, *_, last = Unpacker(TABLE, []).unpack(packed)
    assert (first, last) == (1, 2)
    for use in (lambda: function(1), lambda: function.name, lambda: len(function), lambda: np.asarray(function)):
        with pytest.raises(InferenceError, match=r"needs the function '.*test_empty_frames', which the file"):
            use()
    again = Packer(TABLE)
    assert isinstance(Unpacker(TABLE, []).unpack(again.pack(function)), LeftOut)
    assert again.left_out == packer.left_out[:1]


def test_records_of_another_version() -> None:
    assert Kept(Pair).made({"first": 1}) == Pair(1, 2)
    with pytest.raises(DataError, match=r"a Pair with \['third'\] is of another version"):
        Kept(Pair).made({"first": 1, "third": 3})
    with pytest.raises(DataError, match=r"a Pair without \['first'\] is of another version"):
        Kept(Pair).made({"second": 1})
