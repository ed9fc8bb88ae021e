"""Data sets of the reference fits, with the column types that R had."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

DATA = Path(__file__).resolve().parent / "data"


@cache
def descriptions() -> dict[str, Any]:
    """Return the contents of ``datasets.json``: file, source, licence and columns of each data set."""
    described: dict[str, Any] = json.loads((DATA / "datasets.json").read_text(encoding="utf-8"))
    return described


def natural_order(values: pd.Series) -> list[str]:
    """Return the distinct values, by number if all are digits, else by character."""
    distinct = values.dropna().unique().tolist()
    return sorted(distinct, key=int) if all(v.lstrip("-").isdigit() for v in distinct) else sorted(distinct)


def load(name: str) -> pd.DataFrame:
    """Return a data set; factors are Categoricals in R's level order, also where the levels are digits."""
    described = descriptions()[name]
    columns = described["columns"]
    text = {c["name"]: str for c in columns if c["type"] in ("factor", "string")}
    frame = pd.read_csv(DATA / described["file"], dtype=text, keep_default_na=False, na_values=["NA"])
    for column in columns:
        if column["type"] == "factor":
            values = frame[column["name"]]
            frame[column["name"]] = pd.Categorical(values, categories=column.get("levels") or natural_order(values))
    return frame
