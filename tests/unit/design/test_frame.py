"""Columns from every kind of frame and of type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from data_loader import load
from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.design.frame import Column, open_frame, read_array
from mixedmodels.errors import DataError
from mixedmodels.formula.parse import parse_formula

FORMULA = parse_formula("Reaction ~ Days + (Days | Subject)")


def same_design(one: Design, other: Design) -> None:
    """Arrays, names and levels must be equal."""
    np.testing.assert_array_equal(one.y, other.y)
    np.testing.assert_array_equal(one.X, other.X)
    assert one.x_names == other.x_names
    assert one.n_dropped == other.n_dropped
    for ours, theirs in zip(one.factors, other.factors, strict=True):
        assert list(map(str, ours.levels)) == list(map(str, theirs.levels))
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        assert ours.columns == theirs.columns
        if ours.Z is not None and theirs.Z is not None:
            np.testing.assert_array_equal(ours.Z, theirs.Z)
        else:
            assert ours.Z is theirs.Z


def kinds_of_frame(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the same data in every form that is accepted."""
    text = frame.assign(Subject=frame["Subject"].astype(str).astype(object))
    lists = {name: text[name].tolist() for name in text}
    return {
        "pandas": frame,
        "pandas text": frame.assign(Subject=frame["Subject"].astype(str)),
        "pandas object": text,
        "pandas integer": frame.assign(Subject=frame["Subject"].astype(int)),
        "pandas float": frame.assign(Subject=frame["Subject"].astype(float)),
        "pandas nullable": frame.assign(Subject=frame["Subject"].astype(int).astype("Int64")).convert_dtypes(),
        "pandas arrow": text.convert_dtypes(dtype_backend="pyarrow"),
        "pandas objects only": text.astype(object),
        "pandas decimals": text.assign(Reaction=[Decimal(repr(float(v))) for v in text["Reaction"]]),
        "pandas sparse": text.assign(Days=pd.arrays.SparseArray(text["Days"])),
        "pandas float32 days": text.assign(Days=text["Days"].astype(np.float32)),
        "pandas small integers": text.assign(Days=text["Days"].astype(np.uint8)),
        "pandas doubled index": frame.set_index(np.zeros(len(frame), dtype=int)),
        "pandas shuffled index": frame.set_index(np.arange(len(frame))[::-1]),
        "polars": pl.from_pandas(text),
        "polars enum": pl.from_pandas(text).with_columns(
            pl.col("Subject").cast(pl.Enum(sorted(set(lists["Subject"]))))
        ),
        "polars categorical": pl.from_pandas(text)
        .reverse()
        .with_columns(pl.col("Subject").cast(pl.Categorical))
        .reverse(),
        "polars decimal": pl.from_pandas(text).with_columns(
            pl.Series("Reaction", [Decimal(f"{v:.4f}") for v in text["Reaction"]])
        ),
        "arrow": pa.Table.from_pandas(text),
        "arrow dictionary": pa.Table.from_pandas(frame),
        "arrow chunks": pa.concat_tables([pa.Table.from_pandas(text[:50]), pa.Table.from_pandas(text[50:])]),
        "mapping of lists": lists,
        "mapping of arrays": {name: np.asarray(values) for name, values in lists.items()},
        "mapping of series": {name: frame[name] for name in frame},
        "mapping of polars series": {name: pl.Series(values) for name, values in lists.items()},
    }


SLEEP = load("sleepstudy")
KINDS = kinds_of_frame(SLEEP)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_gives_the_same_design(kind: str) -> None:
    same_design(build_design(FORMULA, KINDS[kind]), build_design(FORMULA, SLEEP))


def with_gaps(name: str) -> dict[str, Any]:
    """Return data with one missing value in a column, in every form."""
    text = SLEEP.assign(Subject=SLEEP["Subject"].astype(str).astype(object), Days=SLEEP["Days"].astype(float))
    text.loc[7, name] = None
    typed = text.convert_dtypes()
    lists = {c: [None if pd.isna(v) else v for v in text[c]] for c in text}
    return {
        "pandas": text,
        "pandas nullable": typed,
        "pandas arrow": text.convert_dtypes(dtype_backend="pyarrow"),
        "pandas category": text.assign(Subject=text["Subject"].astype("category")),
        "polars": pl.DataFrame(lists),
        "polars enum": pl.DataFrame(lists).with_columns(
            pl.col("Subject").cast(pl.Enum(SLEEP["Subject"].cat.categories.to_list()))
        ),
        "arrow": pa.table(lists),
        "arrow dictionary": pa.Table.from_pandas(text.assign(Subject=text["Subject"].astype("category"))),
        "mapping": lists,
    }


@pytest.mark.parametrize("name", ["Reaction", "Days", "Subject"])
@pytest.mark.parametrize("kind", with_gaps("Days"))
def test_missing_values_in_every_kind_of_frame(name: str, kind: str) -> None:
    design = build_design(FORMULA, with_gaps(name)[kind])
    assert design.n_dropped == {f"missing {name}": 1}
    assert design.rows is not None
    assert design.rows.tolist() == [i for i in range(180) if i != 7]
    expected = build_design(FORMULA, SLEEP.drop(index=7))
    np.testing.assert_array_equal(design.X, expected.X)
    np.testing.assert_array_equal(design.factors[0].codes, expected.factors[0].codes)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (["b", "a", "c", "a"], ["a", "b", "c"]),
        (["B", "a", "C", "a"], ["B", "C", "a"]),
        (["10", "9", "10", "8"], ["10", "8", "9"]),
        ([10, 9, 10, 8], [8, 9, 10]),
        ([10.0, 9.0, 10.0, 8.0], [8, 9, 10]),
        ([1.5, -0.5, 1.5, 0.25], [-0.5, 0.25, 1.5]),
        ([10**12, 5, 10**12, -(10**12)], [-(10**12), 5, 10**12]),
        ([2**64 - 1, 3, 2**64 - 1, 7], [3, 7, 2**64 - 1]),
        ([10**30, 3, 10**30, 7], [3, 7, 10**30]),
        ([True, False, True, True], [False, True]),
        (pd.Categorical(["b", "a", "c", "a"], categories=["c", "z", "b", "a"]), ["c", "b", "a"]),
        (pd.Categorical([3, 1, 2, 1], categories=[3, 2, 1], ordered=True), [3, 2, 1]),
        ([dt.date(2024, 3, 1), dt.date(2023, 1, 5), dt.date(2024, 3, 1), dt.date(2023, 1, 4)], None),
        (pd.to_datetime(["2024-03-01", "2023-01-05", "2024-03-01", "2023-01-04"]), None),
        (pd.to_datetime(["2024-03-01", "2023-01-05", "2024-03-01", "2023-01-04"]).tz_localize("Europe/Paris"), None),
        (pd.to_timedelta([3, 2, 3, 1], unit="h"), None),
        (pd.PeriodIndex(["2024-03", "2023-01", "2024-03", "2022-12"], freq="M"), None),
        (np.array([200, 100, 200, 0], dtype=np.uint8), [0, 100, 200]),
        (np.array([-128, 127, -128, 0], dtype=np.int8), [-128, 0, 127]),
        ([b"b", b"a", b"b", b"c"], [b"a", b"b", b"c"]),
    ],
)
def test_level_order(values: Any, levels: list[Any] | None) -> None:
    data = pd.DataFrame({"y": np.arange(8.0), "g": pd.Series(values).repeat(2).to_numpy()})
    if isinstance(values, (pd.Categorical, pd.DatetimeIndex, pd.PeriodIndex)):
        data["g"] = values.repeat(2)
    factor = build_design(parse_formula("y ~ 1 + (1 | g)"), data).factors[0]
    assert factor.codes.dtype == np.int32
    expected = sorted(set(values)) if levels is None else levels
    assert len(factor.levels) == len(expected)
    if levels is not None:
        assert factor.levels.tolist() == levels
        assert [factor.levels[c] for c in factor.codes[::2]] == list(values)
    else:
        ranks = [expected.index(value) for value in values]
        assert factor.codes[::2].tolist() == ranks


def test_polars_dates_group() -> None:
    days = [dt.date(2024, 1, 2), dt.date(2023, 1, 1), dt.date(2024, 1, 2), dt.date(2022, 6, 1)] * 2
    for data in (pl.DataFrame({"y": range(8), "g": days}), pa.table({"y": range(8), "g": days})):
        factor = build_design(parse_formula("y ~ 1 + (1 | g)"), data).factors[0]
        assert factor.codes.tolist() == [2, 1, 2, 0] * 2


def test_data_are_never_modified_nor_kept() -> None:
    frame = SLEEP.copy()
    before = frame.copy()
    design = build_design(FORMULA, frame, weights=(weights := np.ones(180)), offset=(offset := np.ones(180)))
    pd.testing.assert_frame_equal(frame, before)
    arrays = [design.y, design.X, design.weights, design.offset, design.factors[0].codes]
    sources = [weights, offset, *(frame[c].to_numpy() for c in ("Reaction", "Days"))]
    sources.append(frame["Subject"].array.codes)
    assert not any(np.shares_memory(array, source) for array in arrays for source in sources)


def test_only_columns_of_the_formula_are_read() -> None:
    class Poison:
        def __len__(self) -> int:
            return 180

        def __array__(self, *_: object) -> np.ndarray:
            raise AssertionError("this column is not in the formula")

    build_design(FORMULA, {**{name: SLEEP[name] for name in SLEEP}, "other": Poison()})


def test_frame_lists_names() -> None:
    assert open_frame(pl.DataFrame({"b": [1], "a": [2]})).names == ("b", "a")
    assert open_frame(pd.DataFrame({"b": [1], 0: [2]})).names == ("b",)


def test_used_levels() -> None:
    column = read_array("f", pd.Categorical(["b", "d"], categories=list("abcd")))
    kept = column.drop_unused_levels()
    assert kept.levels is not None
    assert kept.levels.tolist() == ["b", "d"]
    assert kept.values.tolist() == [0, 1]
    assert Column(np.arange(3.0)).drop_unused_levels().levels is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pl.LazyFrame({"y": [1.0]}), r"lazy frame.*\.collect\(\)"),
        (np.ones((3, 2)), "not 'ndarray'"),
        (None, "not 'NoneType'"),
        ("sleepstudy", "not 'str'"),
        (
            {"Reaction": [1.0, 2.0], "Days": [1.0], "Subject": ["a", "b"]},
            "equal lengths.*Reaction 2, Days 1, Subject 2",
        ),
        (
            {"Reaction": np.ones((2, 2)), "Days": [1.0, 1.0], "Subject": [1, 2]},
            "'Reaction' must be a one-dimensional array",
        ),
        ({"Reaction": "text", "Days": [1.0, 1.0], "Subject": [1, 2]}, "'Reaction' must be a one-dimensional array"),
        (
            {"Reaction": iter([1.0]), "Days": [1.0, 1.0], "Subject": [1, 2]},
            "'Reaction' must be a one-dimensional array",
        ),
        ({"Reaction": 3.0, "Days": [1.0, 1.0], "Subject": [1, 2]}, "'Reaction' must be a one-dimensional array"),
        (pd.DataFrame(columns=pd.MultiIndex.from_tuples([("a", "b")])), "MultiIndex"),
        (
            pd.DataFrame([[1.0, 2.0, 3, "a"]], columns=["Reaction", "Reaction", "Days", "Subject"]),
            "2 columns are called",
        ),
    ],
)
def test_frames_that_cannot_be_used(data: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        build_design(FORMULA, data)


def test_a_doubled_name_that_is_not_used_does_no_harm() -> None:
    frame = pd.concat([SLEEP, pd.DataFrame(np.ones((180, 2)), columns=["z", "z"])], axis=1)
    same_design(build_design(FORMULA, frame), build_design(FORMULA, SLEEP))


def test_structs_in_pandas_are_no_levels() -> None:
    structs = pd.Series([{"a": 1}, {"a": 2}], dtype=pd.ArrowDtype(pa.struct([("a", pa.int64())])))
    with pytest.raises(DataError, match="Column 'x' holds values that cannot be sorted"):
        open_frame(pd.DataFrame({"x": structs})).read("x")


@pytest.mark.parametrize("kind", ["pandas", "pandas text", "pandas nullable", "pandas sparse", "pandas decimals"])
def test_pandas_columns_are_the_same_without_its_inner_arrays(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = kinds_of_frame(load("sleepstudy"))[kind]
    inner = build_design(FORMULA, frame)
    monkeypatch.delattr(pd.DataFrame, "_get_column_array")
    same_design(inner, build_design(FORMULA, frame))


def test_columns_of_a_frame_cannot_be_written() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.0], "y2": [1, 2]})
    for name in frame:
        assert not open_frame(frame).read(name).values.flags.writeable


def test_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], columns=["y", "x", "y"])
    with pytest.raises(DataError, match="2 columns are called 'y'"):
        open_frame(frame).read("y")
