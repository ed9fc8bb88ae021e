"""Codes of labels that come in parts."""

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.frame import Column
from mixedmodels.design.labels_met import Labels

KINDS = [("int64", 0), ("int64", -300), ("int64", 2**62), ("int16", 0), ("int16", -300)]
KINDS += [("uint64", 0), ("uint64", 2**62), ("float64", 0), ("float64", -300)]


@pytest.mark.parametrize(("dtype", "origin"), KINDS)
def test_numbers_have_the_codes_of_their_first_appearance(dtype: str, origin: int) -> None:
    """In a table, beyond its ends, or too far apart for one: the codes are those of an enumeration."""
    rng = np.random.default_rng(5)
    first = rng.permutation(150) + origin
    far = np.array([origin + 30_000, origin + 7]) if dtype == "int16" else np.array([origin + 2**40, origin + 7])
    parts = [first[:100], first[20:90], first, far, first[:3]]
    labels = Labels()
    known: dict[int, int] = {}
    for part in parts:
        codes = labels.codes(Column(part.astype(dtype)))
        for label in sorted(set(part.tolist())):
            known.setdefault(label, len(known))
        assert codes.dtype == np.int32
        assert codes.tolist() == [known[label] for label in part.tolist()]
    table, places = labels.table()
    assert table.equals(pd.Index(sorted(known), dtype=table.dtype))
    assert [table[places[code]] for code in known.values()] == list(known)


def test_large_unsigned_numbers_are_no_places() -> None:
    values = np.array([2**64 - 1, 2**64 - 2, 5], dtype=np.uint64)
    labels = Labels()
    for _ in range(2):
        assert labels.codes(Column(values)).tolist() == [2, 1, 0]
    assert labels.codes(Column(np.array([2**64 - 2], dtype=np.uint64))).tolist() == [1]
