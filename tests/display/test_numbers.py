"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from mixedmodels.texts.numbers import align, column, fixed, p_value, places, significant, statistic, to_place


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1.005, 1, "1.0"),
        (-0.001, 2, "0.00"),
        (-0.5, 0, "0"),
        (math.nan, 2, "-"),
        (math.inf, 2, "inf"),
        (-1e5, 1, "-100000.0"),
    ],
)
def test_fixed(value: float, decimals: int, text: str) -> None:
    assert fixed(value, decimals) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([612.0899, 35.0717, 654.941], ["612.09", "35.07", "654.94"]),
        ([0.0, 13.806], ["0.00", "13.81"]),
        ([0.0, 0.0], ["0", "0"]),
        ([123456.7, 23456.7], ["123457", "23457"]),
        ([1e-9, 2.5e-9], ["1.000e-09", "2.500e-09"]),
        ([1e-4, 1e4], ["0.0001000", "10000"]),
        ([math.nan, 2.0], ["-", "2.000"]),
        ([1e12, 2e12], ["1.000e+12", "2.000e+12"]),
    ],
)
def test_column(values: list[float], texts: list[str]) -> None:
    assert column(values) == texts


@pytest.mark.parametrize(
    ("std_errors", "decimals"),
    [
        ([6.825, 1.546], [3, 3]),
        ([0.09, 0.11, 0.35], [4, 4, 4]),
        ([12.0, 0.5], [3, 3]),
        ([120.0, 0.5], [1, 4]),
        ([5e3, 2e-3], [0, 6]),
        ([0.0, 1.5], [3, 3]),
        ([math.nan], [3]),
    ],
)
def test_places(std_errors: list[float], decimals: list[int]) -> None:
    assert places(std_errors) == decimals


@pytest.mark.parametrize(
    ("values", "place", "texts"),
    [
        ([251.40510, 6.82456], 3, ["251.405", "6.825"]),
        ([5123456.0, 123.0], -1, ["5123456", "123"]),
        ([1.23456e-8, -4.5e-10], 12, ["1.2346e-08", "-4.50e-10"]),
        ([2.5e9, 1e6], -3, ["2.500000e+09", "1.000e+06"]),
        ([0.0, 1e-9], 12, ["0", "1.000e-09"]),
        ([math.nan, -math.inf], 3, ["-", "-inf"]),
    ],
)
def test_to_place(values: list[float], place: int, texts: list[str]) -> None:
    assert to_place(values, place) == texts


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.04999, "0.050"),
        (0.001, "0.001"),
        (0.00099, "<0.001"),
        (0.0006, "<0.001"),
        (0.0, "<0.001"),
        (1.0, "1.000"),
        (math.nan, "-"),
    ],
)
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text


def test_statistic() -> None:
    assert statistic(float("nan")) == fixed(float("nan"), 2)
    assert [statistic(v) for v in (-1.005, 36.8383, 1e5, 3.9e16)] == ["-1.00", "36.84", "100000.00", "3.900e+16"]


def test_significant() -> None:
    assert [significant(v) for v in (0.0, 0.0123456, -31.4159, 1e-12)] == ["0", "0.01235", "-31.42", "1.000e-12"]


def test_align() -> None:
    assert align(["1.5", "12.345", "7", "-", ""]) == ["1.5  ", "12.345", "7    ", "-", ""]
    assert align(["<0.001", "0.050"]) == ["<0.001", "0.050"]
    assert align(["1.5e-10", "2.25"]) == ["1.5e-10", "2.25"]
    assert align([]) == []


def test_no_number_has_more_digits_than_it_holds() -> None:
    assert to_place([math.exp(-319.42), 0.0], 179) == [f"{math.exp(-319.42):.14e}", "0"]
