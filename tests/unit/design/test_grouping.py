"""Levels of combinations, their order and codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixedmodels.design.build import build_design
from mixedmodels.design.grouping import integer_codes
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(7)


def factors_of(formula: str, data: pd.DataFrame) -> dict[str, tuple[list[object], list[int]]]:
    """Return levels and codes of each grouping factor."""
    return {f.name: (f.levels.tolist(), f.codes.tolist()) for f in build_design(parse_formula(formula), data).factors}


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.int64, np.int32, np.int8, np.uint8, np.uint64, np.int16]),
        st.integers(1, 40),
        elements=st.integers(0, 100),
    ),
    st.sampled_from([1, 7, 10**9]),
)
def test_integer_codes_are_those_of_unique(values: npt.NDArray[np.integer], spread: int) -> None:
    values = values * np.asarray(spread).astype(values.dtype)
    codes, present = integer_codes(values)
    distinct, expected = np.unique(values, return_inverse=True)
    np.testing.assert_array_equal(present, distinct)
    np.testing.assert_array_equal(codes, expected)
    assert codes.dtype == np.int32


@pytest.mark.parametrize("extreme", [np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_integer_codes_at_the_ends_of_the_range(extreme: int) -> None:
    values = np.array([extreme, 0, extreme, -1], dtype=np.int64)
    codes, present = integer_codes(values)
    np.testing.assert_array_equal(present[codes], values)
    assert np.all(np.diff(present.astype(float)) > 0)


def test_combinations_are_in_the_order_of_their_variables() -> None:
    n = 40
    data = pd.DataFrame(
        {
            "y": RNG.normal(size=n),
            "a": pd.Categorical(RNG.choice(["z", "a", "m"], n), categories=["z", "m", "a"]),
            "b": RNG.choice([10, 9, 100], n),
            "c": RNG.choice(["u", "v"], n),
        }
    )
    order = {"a": ["z", "m", "a"], "b": [9, 10, 100], "c": ["u", "v"]}
    factors = factors_of("y ~ 1 + (1|a/b/c)", data)
    assert list(factors) == ["c:b:a", "b:a", "a"]
    for name, (levels, codes) in factors.items():
        variables = name.split(":")
        rows = list(data[variables].itertuples(index=False, name=None))
        present = sorted(
            set(rows), key=lambda row: [order[v].index(value) for v, value in zip(variables, row, strict=True)]
        )
        assert levels == [":".join(map(str, row)) if len(row) > 1 else row[0] for row in present]
        assert [present[code] for code in codes] == rows


def test_nested_and_crossed_spellings_agree() -> None:
    n = 60
    data = pd.DataFrame({"y": RNG.normal(size=n), "a": np.arange(n) % 4, "b": np.arange(n) % 3})
    assert factors_of("y ~ 1 + (1|a/b)", data) == factors_of("y ~ 1 + (1|a) + (1|b:a)", data)


def test_labels_of_combinations() -> None:
    data = pd.DataFrame(
        {
            "y": RNG.normal(size=8),
            "flag": [True, False] * 4,
            "day": pd.to_datetime(["2024-01-01", "2024-01-02"]).repeat(4),
            "number": np.tile([2.0, 1.0], 4),
        }
    )
    levels, _ = factors_of("y ~ 1 + (1|flag:day)", data)["flag:day"]
    assert levels == ["False:2024-01-01", "False:2024-01-02", "True:2024-01-01", "True:2024-01-02"]
    levels, _ = factors_of("y ~ 1 + (1|number:flag)", data.assign(flag=data["flag"].to_numpy()[[0, 0, 1, 1] * 2]))[
        "number:flag"
    ]
    assert levels == ["1:False", "1:True", "2:False", "2:True"]


def test_expressions_group() -> None:
    data = pd.DataFrame({"y": RNG.normal(size=30), "x": np.arange(30.0), "g": np.arange(30) % 5})
    factors = factors_of("y ~ 1 + (1|I(x // 10)) + (1|C(g)) + (1|factor(g):I(x > 14))", data)
    assert factors["I(x // 10)"] == ([0, 1, 2], np.repeat([0, 1, 2], 10).tolist())
    assert factors["C(g)"] == ([0, 1, 2, 3, 4], data["g"].tolist())
    assert factors["factor(g):I(x > 14)"][0][:2] == ["0:False", "0:True"]


def test_colons_in_labels_leave_levels_distinct() -> None:
    data = pd.DataFrame({"y": RNG.normal(size=6), "a": ["p:q", "p", "s"] * 2, "b": ["r", "q:r", "t:u"] * 2})
    levels, codes = factors_of("y ~ 1 + (1|a:b)", data)["a:b"]
    assert levels == ["p:'q:r'", "'p:q':r", "s:'t:u'"]
    assert codes == [1, 0, 2, 1, 0, 2]
    levels, _ = factors_of("y ~ 1 + (1|a:b)", data.iloc[[0, 2, 3, 5]].reset_index(drop=True))["a:b"]
    assert levels == ["p:q:r", "s:t:u"]
