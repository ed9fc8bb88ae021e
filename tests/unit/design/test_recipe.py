"""New data go through the same door: the same numbers for the same rows, levels remembered."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from data_loader import load
from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.errors import DataError
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(5)
N = 80
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=N),
        "x": RNG.normal(size=N),
        "z": RNG.uniform(1, 9, N),
        "k": RNG.integers(1, 5, N),
        "f": pd.Categorical(
            np.tile(["lo", "mid", "hi", "top"], N // 4), categories=["top", "lo", "mid", "hi", "never"]
        ),
        "s": np.tile(["q", "p"], N // 2),
        "g": np.arange(N) % 10,
        "h": np.repeat(["b", "a", "c", "d"], N // 4),
    }
)
FORMULAS = [
    "y ~ x + z + (x|g)",
    "y ~ f*x + (f|h)",
    "y ~ s + (0 + f|h)",
    "y ~ poly(x, 2) + (poly(x, 2)|h)",
    "y ~ scale(x) + center(z) + (scale(x)|g)",
    "y ~ bs(x, df=5) + (bs(z, df=4)|h)",
    "y ~ cr(x, df=4) + (1|g)",
    "y ~ C(f, contr.sum) + (C(f, contr.helmert)||h)",
    "y ~ C(k) + factor(k):x + (C(k)|h)",
    "y ~ log(z) + I(x**2) + offset(z) + offset(scale(x)) + (1|h/g)",
    "y ~ . + (1|I(x > 0):h) + (1|C(g))",
    "scale(y) ~ x + (1|g) + (0 + z|g)",
    "y ~ 0 + (1|g)",
]
SUBSET = [3, 4, 40, 17]


def make(formula: str, data: Any = DATA, **arguments: Any) -> Design:
    """Return the design of a formula."""
    return build_design(parse_formula(formula), data, **arguments)


def same_rows(made: Design, new: Any, rows: Any) -> None:
    """The recipe must give the design's own rows."""
    np.testing.assert_allclose(made.recipe.fixed_matrix(new), made.X[rows], rtol=1e-12, atol=1e-12)
    for k, factor in enumerate(made.factors):
        np.testing.assert_array_equal(made.recipe.level_codes(new, k), factor.codes[rows])
        Z = np.ones((made.n_obs, 1)) if factor.Z is None else factor.Z
        np.testing.assert_allclose(made.recipe.random_matrix(new, k), Z[rows], rtol=1e-12, atol=1e-12)
    offset = np.zeros(made.n_obs) if made.offset is None else made.offset
    np.testing.assert_allclose(made.recipe.offset(new), offset[rows], rtol=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_subset_of_rows_gives_the_rows_of_the_fit(formula: str) -> None:
    made = make(formula)
    same_rows(made, DATA.iloc[SUBSET], SUBSET)
    same_rows(made, DATA.iloc[[7]], [7])
    same_rows(made, DATA, np.arange(N))


@pytest.mark.parametrize("formula", FORMULAS)
def test_recipes_survive_pickling(formula: str) -> None:
    made = pickle.loads(pickle.dumps(make(formula)))
    same_rows(made, DATA.iloc[SUBSET], SUBSET)


@pytest.mark.parametrize("contrast", ["sum", "helmert", "poly", "treatment"])
def test_chosen_contrasts_are_remembered(contrast: str) -> None:
    made = pickle.loads(pickle.dumps(make("y ~ f*x + (f|h)", contrasts={"f": contrast})))
    same_rows(made, DATA.iloc[SUBSET], SUBSET)


def test_new_data_of_another_kind() -> None:
    made = make("y ~ f*x + (f|h) + (1|g)")
    text = DATA.iloc[SUBSET].astype({"f": str})
    for new in (text, pl.from_pandas(text), pa.Table.from_pandas(text), text.to_dict("list")):
        same_rows(made, new, SUBSET)
    same_rows(made, text.assign(f=pd.Categorical(text["f"], categories=["never", "hi", "mid", "lo", "top"])), SUBSET)
    same_rows(made, text.assign(g=text["g"].astype(float)), SUBSET)


def test_new_data_need_no_response_and_only_their_columns() -> None:
    made = make("y ~ x + (z|g)")
    np.testing.assert_array_equal(made.recipe.fixed_matrix({"x": [1.0, 2.0]}), [[1.0, 1.0], [1.0, 2.0]])
    np.testing.assert_array_equal(made.recipe.random_matrix({"z": [3.0]}, 0), [[1.0, 3.0]])
    assert made.recipe.level_codes({"g": [9, 0]}, 0).tolist() == [9, 0]
    with pytest.raises(DataError, match="There is no column 'x' in the data"):
        made.recipe.fixed_matrix({"z": [1.0]})
    with pytest.raises(DataError, match="There is no column 'g' in the data"):
        made.recipe.level_codes({"x": [1.0]}, 0)


def test_missing_values_stay_missing() -> None:
    made = make("y ~ f + scale(x) + offset(z) + (poly(x, 2)||h/g)")
    new = DATA.iloc[SUBSET].reset_index(drop=True)
    new.loc[0, "f"], new.loc[1, "x"], new.loc[2, "h"], new.loc[3, "z"] = None, np.nan, None, np.nan
    X = made.recipe.fixed_matrix(new)
    assert np.isnan(X[:2]).all()
    np.testing.assert_allclose(X[2:], made.X[SUBSET[2:]])
    assert made.recipe.level_codes(new, 0)[2] == -1
    assert made.recipe.level_codes(new, 1)[2] == -1
    np.testing.assert_array_equal(made.recipe.level_codes(new, 0)[[0, 1, 3]], made.factors[0].codes[SUBSET][[0, 1, 3]])
    assert np.isnan(made.recipe.random_matrix(new, 0)).any(axis=1).tolist() == [False, True, False, False]
    assert np.isnan(made.recipe.offset(new)).tolist() == [False, False, False, True]


def test_new_levels_of_grouping_factors() -> None:
    made = make("y ~ x + (1|h/g)")
    new = pd.DataFrame({"h": ["a", "a", "nobody", "a", "b"], "g": [20, 0, 0, 999, 0]})
    names = [factor.name for factor in made.factors]
    known = {name: set(factor.levels) for name, factor in zip(names, made.factors, strict=True)}
    codes = made.recipe.level_codes(new, names.index("h"))
    assert codes.tolist() == [0, 0, -1, 0, 1]
    codes = made.recipe.level_codes(new, names.index("g:h"))
    labels = [f"{g}:{h}" for h, g in new.itertuples(index=False)]
    for code, label in zip(codes, labels, strict=True):
        assert (code >= 0) == (label in known["g:h"])
        assert code < 0 or made.factors[names.index("g:h")].levels[code] == label


@pytest.mark.parametrize(
    ("formula", "new", "says"),
    [
        (
            "y ~ f + (1|g)",
            {"f": ["lo", "new"]},
            "'f' has the level 'new', which the fit did not have. It had 'top', 'lo'",
        ),
        ("y ~ f + (1|g)", {"f": [1, 2]}, "'f' has the level 1, which the fit did not have"),
        ("y ~ f + (1|g)", {"f": ["never"]}, "'f' has the level 'never'"),
        ("y ~ x + (1|g)", {"x": ["a"]}, "'x' was numeric in the fit, but holds 'a' now"),
        ("y ~ C(k) + (1|g)", {"k": [1, 77]}, "levels that the fit did not have: 77"),
    ],
)
def test_new_data_that_do_not_fit(formula: str, new: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make(formula).recipe.fixed_matrix(new)


def test_rows_left_out_of_the_fit_can_be_predicted() -> None:
    data = DATA.astype({"y": float})
    data.loc[5, "y"] = np.nan
    made = make("y ~ f*x + (1|g)", data)
    X = made.recipe.fixed_matrix(data)
    assert made.rows is not None
    np.testing.assert_allclose(X[made.rows], made.X)
    assert np.isfinite(X[5]).all()


def test_array_offset_is_not_in_the_recipe() -> None:
    made = make("y ~ x + offset(z) + (1|g)", offset=np.ones(N))
    np.testing.assert_allclose(made.recipe.offset(DATA), DATA["z"])
    made = make("y ~ x + (1|g)", offset="z")
    np.testing.assert_allclose(made.recipe.offset(DATA), DATA["z"])


def test_reference_data() -> None:
    pixel = load("Pixel")
    made = build_design(parse_formula("pixel ~ day + I(day^2) + (day | Dog) + (1 | Dog:Side)"), pixel)
    same_rows(made, pixel.sample(20, random_state=1), pixel.sample(20, random_state=1).index)


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        ("y ~ I(x - np.mean(x)) + (1|g)", "I(x - np.mean(x))"),
        ("y ~ I(x - x.mean()) * f + (1|g)", "I(x - x.mean())"),
        ("y ~ z + I(z / z.max()) + (1|g)", "I(z / z.max())"),
        ("y ~ I(k - k.min()) + (1|g)", "I(k - k.min())"),
        ("y ~ k.rank() + (1|g)", "k.rank()"),
        ("y ~ np.cumsum(z) + (1|g)", "np.cumsum(z)"),
        ("y ~ I((x - x.mean()) / x.std()) + (1|g)", "I((x - x.mean()) / x.std())"),
        ("y ~ C(np.round(z / z.max())) + (1|g)", "C(np.round(z / z.max()))"),
        ("y ~ I(x - x.iloc[5]) + (1|g)", "I(x - x.iloc[5])"),
    ],
)
def test_what_is_computed_from_all_rows_is_refused_for_new_data(formula: str, named: str) -> None:
    """A row alone is its own mean and maximum, so that the term would mean something else."""
    made = make(formula)
    for recipe in (made.recipe, pickle.loads(pickle.dumps(made.recipe))):
        for rows in ([0], SUBSET, range(N)):
            with pytest.raises(DataError, match=re.escape(named) + r".* depends on all rows .* center\(\), scale\(\)"):
                recipe.fixed_matrix(DATA.iloc[rows])


def test_parts_computed_row_by_row_are_not_refused_with_others() -> None:
    made = make("y ~ log(z) + offset(z - np.mean(z)) + (0 + I(x - np.mean(x))|g) + (1|I(x > x.mean()):h)")
    new = DATA.iloc[SUBSET]
    np.testing.assert_array_equal(made.recipe.fixed_matrix(new), made.X[SUBSET])
    with pytest.raises(DataError, match=r"'z - np\.mean\(z\)' depends on all rows"):
        made.recipe.offset(new)
    for k, factor in enumerate(made.factors):
        if factor.name == "g":
            np.testing.assert_array_equal(made.recipe.level_codes(new, k), factor.codes[SUBSET])
            with pytest.raises(DataError, match=r"'I\(x - np\.mean\(x\)\)' depends on all rows"):
                made.recipe.random_matrix(new, k)
        else:
            with pytest.raises(DataError, match=r"'I\(x > x\.mean\(\)\)' depends on all rows"):
                made.recipe.level_codes(new, k)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_what_is_computed_row_by_row_is_known_to_be_in_any_units(size: float) -> None:
    data = DATA.assign(x=DATA["x"] * size, z=DATA["z"] * size)
    made = make("y ~ I(x**3) + log(z) + cr(z, df=3, constraints='center') + poly(x, 3) + (scale(z)|g)", data)
    same_rows(made, data.iloc[SUBSET], SUBSET)


def test_plain_columns_are_not_probed() -> None:
    assert make("y ~ x * f + offset(z) + (x|g) + (1|h:g)").recipe.probe is None


def test_infinite_values_of_an_expression_are_refused_as_in_the_fit() -> None:
    made = make("y ~ log(z) + x + (log(z)|g)")
    new = DATA.head(6).assign(z=[1.0, np.nan, 2.0, 0.0, -1.0, 0.0])
    said = r"'log\(z\)' is infinite in 2 of 6 rows, the first row 3 of the new data \(counted from 0\)"
    with pytest.raises(DataError, match=said):
        made.recipe.fixed_matrix(new)
    with pytest.raises(DataError, match=said):
        made.recipe.random_matrix(new, 0)
    complete = made.recipe.fixed_matrix(new.drop(index=[3, 5]))
    np.testing.assert_array_equal(np.isnan(complete).any(axis=1), [False, True, False, True])
