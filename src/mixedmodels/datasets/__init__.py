"""The classic mixed-model data sets, with the column types that R has for them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TypedDict

import pandas as pd

from mixedmodels.errors import DataError, nearest
from mixedmodels.texts.noted_frame import show_notes

_HERE = files("mixedmodels.datasets")
_DTYPES = {"integer": "int64", "number": "float64", "boolean": "bool"}


class _Factor(TypedDict):
    levels: list[str]
    ordered: bool


class _Entry(TypedDict):
    file: str
    rows: int
    design: str
    source: str
    licence: str
    columns: dict[str, str | _Factor]


def load_dataset(name: str) -> pd.DataFrame:
    """Return one of the shipped data sets.

    Factors are categorical columns with R's levels in R's order, also where the levels are digits (``Subject`` of
    sleepstudy) or where the first level, the reference of a treatment contrast, is not the first in the alphabet
    (``Sex`` of Orthodont); ordered where they are ordered in R.

    Parameters
    ----------
    name
        One of ``list_datasets()["name"]``.

    Returns
    -------
    pandas.DataFrame
        Rows in R's order; a new copy each time.

    Raises
    ------
    DataError
        If there is no such data set.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> mm.load_dataset("sleepstudy").head(3)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    2  250.8006     2     308
    """
    catalogue = _catalogue()
    if not isinstance(name, str) or name not in catalogue:
        known = ", ".join(catalogue)
        raise DataError(f"No data set is called {name!r}; there are {known}.{nearest(str(name), catalogue)}")
    entry = catalogue[name]
    with _HERE.joinpath("files", entry["file"]).open("rb") as file:
        return pd.read_csv(
            file,
            compression="gzip" if entry["file"].endswith(".gz") else None,
            dtype={column: _dtype(kind) for column, kind in entry["columns"].items()},
            keep_default_na=False,
            na_values=["NA"],
        )


def list_datasets() -> pd.DataFrame:
    """Return the shipped data sets, one row each.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``rows`` and ``columns`` (numbers of each), ``design`` in words, ``source`` (publication, and the R
        package that the file was exported from), ``licence`` as that package states it.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> mm.list_datasets()[["name", "rows", "columns"]].head(3)
       name        rows  columns
    0  sleepstudy   180        3
    1  dietox       861        8
    2  Dyestuff      30        2
    """
    facts = ("rows", "columns", "design", "source", "licence")
    table = [{"name": name, **entry, "columns": len(entry["columns"])} for name, entry in _catalogue().items()]
    return show_notes(pd.DataFrame(table, columns=["name", *facts]))


@cache
def _catalogue() -> dict[str, _Entry]:
    catalogue: dict[str, _Entry] = json.loads(_HERE.joinpath("catalogue.json").read_text(encoding="utf-8"))
    return catalogue


def _dtype(kind: str | _Factor) -> str | pd.CategoricalDtype:
    if isinstance(kind, str):
        return _DTYPES[kind]
    return pd.CategoricalDtype(kind["levels"], ordered=kind["ordered"])
