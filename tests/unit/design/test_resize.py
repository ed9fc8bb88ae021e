"""Designs with other numbers of levels and rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from mixedmodels.design.canonical import in_canonical_order
from mixedmodels.design.design import Design
from mixedmodels.design.planned import planned_design
from mixedmodels.design.resize import evenly, level_columns, resize_levels, resize_rows
from mixedmodels.formula.parse import parse_formula


def make(formula: str, data: pd.DataFrame) -> Design:
    return planned_design(parse_formula(formula), data)


def labels_of_levels(design: Design, name: str) -> pd.DataFrame:
    columns = level_columns(design, name).labels
    return pd.DataFrame({k: np.asarray(c.levels)[c.values] for k, c in columns.items() if c.levels is not None})


def messy(seed: int) -> pd.DataFrame:
    """Return levels with two labels, an age, and different numbers of rows, each level's rows together."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 40))
    levels = pd.DataFrame({"g": rng.permutation(n), "a": rng.choice(list("uvw"), n), "b": rng.choice(list("xy"), n)})
    levels["age"] = rng.normal(40, 10, n)
    data = levels.loc[np.repeat(np.arange(n), rng.integers(2, 6, n))].reset_index(drop=True)
    return data.assign(t=rng.normal(size=len(data)), c=rng.choice(list("pq"), len(data)))


FORMULA = "y ~ a + b + age + t + c + (1 | g)"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [7, 31, 100])
def test_combinations_of_labels_keep_their_shares(seed: int, n: int) -> None:
    data = messy(seed)
    levels = data.drop_duplicates("g")
    shares = levels.groupby(["a", "b"]).size() * n / len(levels)
    made = resize_levels(in_canonical_order(make(FORMULA, data)), "g", n)
    found = labels_of_levels(made, "g").groupby(["a", "b"]).size().reindex(shares.index, fill_value=0)
    assert found.sum() == n == made.factors[0].n_levels
    if n >= len(shares):
        assert (found >= 1).all()
    if shares.min() >= 1:
        assert (found - shares).abs().max() < 1


def rows_by_content(design: Design) -> Counter[tuple[float, ...]]:
    return Counter(map(tuple, np.round(design.X, 9).tolist()))


@pytest.mark.parametrize("n", [5, 12, 60])
def test_other_names_and_orders_of_rows_make_the_same_design(n: int) -> None:
    data = messy(3)
    rng = np.random.default_rng(n)
    names = rng.permutation(1000)[: data["g"].nunique()]
    other = data.assign(g=names[data["g"]]).sample(frac=1, random_state=n)
    one, two = (resize_levels(in_canonical_order(make(FORMULA, frame)), "g", n) for frame in (data, other))
    np.testing.assert_array_equal(one.X, two.X)
    np.testing.assert_array_equal(one.factors[0].codes, two.factors[0].codes)
    assert rows_by_content(in_canonical_order(make(FORMULA, other))) == rows_by_content(make(FORMULA, data))


def test_lists_of_a_latin_square_are_kept_though_no_column_names_them() -> None:
    """Half of the subjects see each item in one condition, half in the other."""
    rng = np.random.default_rng(0)
    cells = pd.MultiIndex.from_product([range(16), range(6)], names=["s", "i"]).to_frame(index=False)
    cells["cond"] = np.where((cells["i"] + (cells["s"] >= 8)) % 2, "a", "b")
    cells = cells.assign(s=rng.permutation(16)[cells["s"]]).sample(frac=1, random_state=1)
    for n in (6, 40):
        made = resize_levels(in_canonical_order(make("y ~ cond + (1 | s) + (1 | i)", cells)), "s", n)
        item = next(f for f in made.factors if f.name == "i")
        a = made.X[:, 1] == 0
        assert (np.bincount(item.codes[a], minlength=6) == n // 2).all()
        assert (np.bincount(item.codes[~a], minlength=6) == n // 2).all()


def test_ages_are_taken_evenly() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 2), "age": np.repeat(np.arange(40.0) ** 2, 2)})
    made = resize_levels(in_canonical_order(make("y ~ age + (1 | g)", data)), "g", 8)
    assert np.sqrt(np.unique(made.X[:, 1])).tolist() == [2.0, 7.0, 12.0, 17.0, 22.0, 27.0, 32.0, 37.0]


def test_doses_are_kept_in_proportion_as_labels_are() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 2), "dose": np.repeat([0, 10, 20], 20)})
    data["arm"] = np.where(data["g"] % 2, "a", "b")
    made = resize_levels(in_canonical_order(make("y ~ arm + dose + (1 | g)", data)), "g", 10)
    first = np.unique(made.factors[0].codes, return_index=True)[1]
    assert sorted(Counter(made.X[first, 2]).values()) == [3, 3, 4]
    assert Counter(made.X[first, 1]) == {0.0: 5, 1.0: 5}


def test_conditions_on_ages_are_labels() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 2), "age": np.repeat(np.r_[20:35, 60:65], 2)})
    made = resize_levels(in_canonical_order(make("y ~ C(age > 50) + (1 | g)", data)), "g", 7)
    first = np.unique(made.factors[0].codes, return_index=True)[1]
    assert Counter(made.X[first, 1]) == {0.0: 5, 1.0: 2}


def test_rows_of_a_level_keep_conditions_and_spread_times() -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 20), "c": np.tile(np.repeat(["p", "q"], 10), 6)})
    data["t"] = np.tile(np.arange(10.0), 12)
    design = in_canonical_order(make("y ~ c + t + (1 | g)", data))
    made = resize_rows(design, "g", 4)
    assert np.bincount(made.factors[0].codes).tolist() == [4] * 6
    for level in range(6):
        rows = made.X[made.factors[0].codes == level]
        assert Counter(rows[:, 1]) == {0.0: 2, 1.0: 2}
        assert set(rows[:, 2]) in ({2.0, 7.0}, {1.0, 6.0})  # quarters of 0, ..., 9, rounded up or down
    odd = resize_rows(design, "g", 3)
    assert Counter(odd.X[:, 1]) == {0.0: 9, 1.0: 9}  # two of one condition in half of the levels
    more = resize_rows(design, "g", 30)
    assert set(Counter(map(tuple, more.X[more.factors[0].codes == 1].tolist())).values()) == {1, 2}


def test_fewer_rows_of_crossed_levels_leave_all_items() -> None:
    cells = pd.MultiIndex.from_product([range(10), range(8)], names=["s", "i"]).to_frame(index=False)
    made = resize_rows(in_canonical_order(make("y ~ 1 + (1 | s) + (1 | i)", cells)), "s", 4)
    assert {f.name: np.bincount(f.codes).tolist() for f in made.factors} == {"s": [4] * 10, "i": [5] * 8}


def test_evenly() -> None:
    things = np.arange(10)
    assert evenly(things, 10).tolist() == list(range(10))
    assert evenly(things, 5).tolist() == [1, 3, 5, 7, 9]
    assert evenly(things, 5, backwards=True).tolist() == [8, 6, 4, 2, 0]
    assert evenly(things, 0).tolist() == []
    assert max(Counter(evenly(things, 23).tolist()).values()) == 3
