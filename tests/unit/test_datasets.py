"""Shipped data sets against the description that R wrote when it exported them."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from data_loader import descriptions
from mixedmodels.datasets import list_datasets, load_dataset
from mixedmodels.errors import DataError

SHIPPED = [
    "sleepstudy",
    "dietox",
    "Dyestuff",
    "Dyestuff2",
    "Penicillin",
    "Pastes",
    "cake",
    "Machines",
    "Oats",
    "Orthodont",
    "Oxide",
    "InstEval",
    "cbpp",
    "fhch2010",
    "obk_long",
]
DESCRIBED = [name for name in SHIPPED if name in descriptions()]


def test_list_names_every_data_set() -> None:
    table = list_datasets()
    assert list(table.columns) == ["name", "rows", "columns", "design", "source", "licence"]
    assert list(table["name"]) == SHIPPED
    assert table["licence"].str.startswith("GPL").all()
    assert table["source"].str.contains("; R package ").all()


@pytest.mark.parametrize("name", SHIPPED)
def test_list_counts_rows_and_columns(name: str) -> None:
    listed = list_datasets().set_index("name").loc[name]
    assert load_dataset(name).shape == (listed["rows"], listed["columns"])


@pytest.mark.parametrize("name", DESCRIBED)
def test_columns_have_the_types_of_r(name: str) -> None:
    data = load_dataset(name)
    described = descriptions()[name]
    assert list(data.columns) == [column["name"] for column in described["columns"]]
    for column in described["columns"]:
        values = data[column["name"]]
        assert values.isna().sum() == column["missing"]
        if column["type"] == "factor":
            assert isinstance(values.dtype, pd.CategoricalDtype)
            assert values.cat.ordered == column["ordered"]
            assert len(values.cat.categories) == column["n_levels"]
            assert list(values.cat.categories) == column.get("levels", list(values.cat.categories))
            assert all(isinstance(level, str) for level in values.cat.categories)
        else:
            assert values.dtype == {"integer": "int64", "number": "float64", "bool": "bool"}[column["type"]]


def test_digit_levels_are_in_order_of_number() -> None:
    data = load_dataset("InstEval")
    assert list(data["s"].cat.categories) == [str(s) for s in range(1, 2973)]
    lecturers = [int(d) for d in data["d"].cat.categories]
    assert lecturers == sorted(lecturers)
    assert len(lecturers) == 1128


def test_first_level_is_the_one_of_r() -> None:
    assert load_dataset("Orthodont")["Sex"].cat.categories[0] == "Male"
    assert load_dataset("sleepstudy")["Subject"].cat.categories[0] == "308"


def test_numbers_are_the_published_ones() -> None:
    """Belenky et al.'s first subject and Davies' batch means, as printed in the books that use them."""
    sleep = load_dataset("sleepstudy")
    assert sleep.loc[sleep["Subject"] == "308", "Reaction"].iloc[0] == 249.56
    batches = load_dataset("Dyestuff").groupby("Batch", observed=True)["Yield"].mean()
    assert batches.to_list() == [1505, 1528, 1564, 1498, 1600, 1470]


def test_each_load_is_a_new_copy() -> None:
    data = load_dataset("Dyestuff")
    data["Yield"] = 0
    assert load_dataset("Dyestuff")["Yield"].iloc[0] == 1545


def test_insteval_loads_fast() -> None:
    start = time.perf_counter()
    load_dataset("InstEval")
    assert time.perf_counter() - start < 0.3


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(DataError, match=r"No data set is called 'sleepstdy'; .* Did you mean 'sleepstudy'\?"):
        load_dataset("sleepstdy")


@pytest.mark.parametrize("name", [3, None, ["sleepstudy"]])
def test_names_are_text(name: object) -> None:
    with pytest.raises(DataError, match="No data set is called"):
        load_dataset(name)
