"""What a user is told when data and formula do not make a model: the sentence, with the column's name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.errors import DataError, DesignError, FormulaError
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(11)
N = 192


def frame(**columns: Any) -> pd.DataFrame:
    """Return 24 groups of 8 rows with two treatments, some columns replaced."""
    data = pd.DataFrame(
        {
            "y": RNG.normal(size=N),
            "x": RNG.normal(size=N),
            "tr": np.tile(["A", "B"], N // 2),
            "subject": np.repeat([f"s{i:02}" for i in range(24)], 8),
            "w": np.ones(N),
        }
    )
    return data.assign(**columns)


def design(data: Any, formula: str = "y ~ x + (1 | subject)", **arguments: Any) -> Design:
    """Return the design of a formula."""
    return build_design(parse_formula(formula), data, **arguments)


# What other packages drop silently, refuse obscurely or fit wrongly.


def test_nan_in_response_is_left_out_and_said() -> None:
    data = frame()
    data.loc[5, "y"] = np.nan
    made = design(data)
    assert made.n_obs == 191
    assert made.findings[0].message == "Left out 1 of 192 rows: missing y 1."


def test_nan_in_grouping_is_not_a_group() -> None:
    data = frame()
    data.loc[5, "subject"] = None
    made = design(data)
    assert made.factors[0].n_levels == 24
    assert made.n_dropped == {"missing subject": 1}


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        (
            "y ~ xx + (1 | subject)",
            r"There is no column 'xx' in the data. Did you mean 'x'\? The columns are: y, x, tr",
        ),
        ("y ~ x + (1 | subjct)", r"There is no column 'subjct' in the data. Did you mean 'subject'\?"),
        ("y ~ x + (z | subject)", "There is no column 'z' in the data"),
        ("yy ~ x + (1 | subject)", r"There is no column 'yy' in the data. Did you mean 'y'\?"),
        ("log(yy) ~ x + (1 | subject)", "There is no column 'yy' in the data"),
        ("y ~ log(xx) + (1 | subject)", "There is no column 'xx' in the data"),
        ("y ~ x + offset(ww) + (1 | subject)", "There is no column 'ww' in the data"),
        ("y ~ max + (1 | subject)", "There is no column 'max' in the data"),
        ("y ~ x + (1 | log)", "There is no column 'log' in the data"),
        ("y ~ x + (1 | tr:sbject)", r"no column 'sbject' in the data. Did you mean 'subject'\?"),
        ("y ~ lgo(x) + (1 | subject)", r"'lgo\(x\)' calls 'lgo', which is not a known function. Did you mean 'log'\?"),
        ("cbind(y, x) ~ x + (1 | subject)", "calls 'cbind', which is not a known function. A model has one response"),
        ("y ~ ns(x, 3) + (1 | subject)", r"calls 'ns', .* For natural cubic splines write cr\(x, df=3, "),
        ("y ~ relevel(tr, 'B') + (1 | subject)", r"For another reference level write C\(x, contr\.treatment"),
        ("y ~ foo(x) + (1 | subject)", "calls 'foo', which is not a known function. There are C, I, bs, cs, cr,"),
        ("y ~ x + (1 | paste(tr))", "calls 'paste', which is not a known function"),
    ],
)
def test_unknown_names(formula: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        design(frame(), formula)


def test_only_columns_that_the_dot_stands_for_can_be_taken_away() -> None:
    assert design(frame(), "y ~ . - w + (1 | subject)").x_names == ("Intercept", "x", "tr[T.B]")
    with pytest.raises(FormulaError, match=r"no term ww to take away; there are x, tr, w\. Did you mean 'w'"):
        design(frame(), "y ~ . - ww + (1 | subject)")


def test_the_index_is_no_column() -> None:
    with pytest.raises(DataError, match=r"'subject' is the index of the data.*data\.reset_index\(\)"):
        design(frame().set_index("subject"))
    assert design(frame().set_index("tr")).n_obs == N
    assert design(frame().set_index("w"), "y ~ . + (1 | subject)").x_names == ("Intercept", "x", "tr[T.B]")


@pytest.mark.parametrize(
    ("key", "coding", "says"),
    [
        ("trr", "sum", r"contrasts names 'trr'.*; there are: tr\. Did you mean 'tr'\?$"),
        ("x", "sum", r"there are: tr\. For a number use C\(x, contr\.sum\)"),
        ("tr", "contr.summ", "The contrast 'contr.summ' of 'tr' is unknown. Did you mean 'sum'"),
    ],
)
def test_contrasts_that_cannot_be_used(key: str, coding: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        design(frame(), "y ~ x + tr + (1 | subject)", contrasts={key: coding})


def test_contrasts_without_categories() -> None:
    with pytest.raises(DataError, match=r"contrasts names 'xx'.*there are: none\. Did you mean 'x'\?$"):
        design(frame(), contrasts={"xx": "sum"})


@pytest.mark.parametrize("dtype", [complex, object])
def test_complex_numbers_are_refused(dtype: type) -> None:
    with pytest.raises(DataError, match="Column 'x' holds complex numbers"):
        design(frame(x=pd.Series([1j, 2 + 1j] * (N // 2), dtype=dtype)))


@pytest.mark.parametrize("argument", ["weights", "offset"])
def test_unknown_column_in_arguments(argument: str) -> None:
    with pytest.raises(DataError, match=r"There is no column 'wt' in the data. Did you mean 'w'\?"):
        design(frame(), **{argument: "wt"})


def test_string_and_category_groups_are_fine() -> None:
    for subject in (frame()["subject"], frame()["subject"].astype("category"), frame()["subject"].astype(object)):
        assert design(frame(subject=subject)).factors[0].levels.tolist() == [f"s{i:02}" for i in range(24)]


def test_one_level() -> None:
    with pytest.raises(DesignError, match=r"grouping factor 'subject' has one level only \('s1'\).*at least two"):
        design(frame(subject="s1"))


def test_one_row_a_level() -> None:
    with pytest.raises(
        DesignError,
        match=r"'subject' has as many levels \(192\) as there are rows.*cannot be told apart from the residual",
    ):
        design(frame(subject=np.arange(N)))


def test_as_many_effects_as_rows() -> None:
    pairs = np.arange(N) // 2
    with pytest.raises(
        DesignError,
        match=r"'subject' has 96 levels with 2 correlated random effects each, 192 in all, but there are 192 rows only",
    ):
        design(frame(subject=pairs), "y ~ x + (x | subject)")
    assert design(frame(subject=pairs), "y ~ x + (x || subject)").factors[0].n_theta == 2
    assert design(frame(subject=pairs), "y ~ x + (1 | subject)").factors[0].n_levels == 96


def test_aliased_columns_stay_for_the_engine_to_find() -> None:
    assert design(frame(), "y ~ x + I(2 * x) + (1 | subject)").X.shape == (N, 3)


def test_constant_response() -> None:
    with pytest.raises(DesignError, match=r"The response 'y' is constant: it is 3.0 in all 192 rows"):
        design(frame(y=3.0))
    data = frame()
    with pytest.raises(DesignError, match="The response 'y' less its offset is constant"):
        design(data, offset=data["y"].to_numpy())


@pytest.mark.parametrize("text", [str, "category", object])
def test_numbers_as_text_in_the_response(text: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"The response 'y' must be numeric, but holds '.*They look like numbers.*data\['y'\].astype\(float\)",
    ):
        design(frame(y=[f"{v:.3f}" for v in RNG.normal(size=N)]).astype({"y": text}))


def test_text_in_the_response() -> None:
    with pytest.raises(DataError, match=r"The response 'y' must be numeric, but holds 'no', 'yes'\.$"):
        design(frame(y=np.tile(["yes", "no"], N // 2)))
    with pytest.raises(DataError, match="The response 'y' holds dates or times"):
        design(frame(y=pd.date_range("2024-01-01", periods=N)))


@pytest.mark.parametrize("empty", [frame().iloc[:0], pl.DataFrame(frame().iloc[:0].to_dict("list")), {}, {"y": []}])
def test_no_rows(empty: Any) -> None:
    with pytest.raises(DataError, match="The data have no rows"):
        design(empty)


def test_level_new_to_a_fixed_effect() -> None:
    made = design(frame(), "y ~ tr + (1 | subject)")
    with pytest.raises(
        DataError, match=r"Column 'tr' has the level 'C', which the fit did not have\. It had 'A', 'B'\."
    ):
        made.recipe.fixed_matrix({"tr": ["A", "C"]})


# Other ways to go wrong.


def put(value: Any, column: str) -> pd.DataFrame:
    """Return data with a value in the third row of a column."""
    data = frame()
    data.loc[2, column] = value
    return data


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize(
    ("column", "arguments"), [("y", {}), ("x", {}), ("w", {"weights": "w"}), ("w", {"offset": "w"})]
)
def test_infinite_values(column: str, value: float, arguments: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"Column '{column}' is infinite in 1 of 192 rows, the first row 2"):
        design(put(value, column), **arguments)


@pytest.mark.parametrize(
    "formula", ["y ~ log(z) + (1 | subject)", "y ~ x + (log(z) | subject)", "log(z) ~ x + (1 | subject)"]
)
def test_transformations_that_are_infinite(formula: str) -> None:
    with pytest.raises(DataError, match=r"log\(z\).* infinite .*row 4"):
        design(frame(z=[1.0] * 4 + [0.0] * 3 + [2.0] * (N - 7)), formula)


def test_infinite_arrays() -> None:
    weights = np.ones(N)
    weights[3] = np.inf
    with pytest.raises(DataError, match=r"'\(weights\)' is infinite in 1 of 192 rows, the first row 3"):
        design(frame(), weights=weights)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_weights_must_be_positive(value: float) -> None:
    with pytest.raises(
        DataError, match=rf"The weights 'w' must be positive. 1 of 192 are not, the first is {value} in row 2"
    ):
        design(put(value, "w"), weights="w")


@pytest.mark.parametrize("argument", ["weights", "offset"])
def test_arguments_of_the_wrong_length_or_type(argument: str) -> None:
    with pytest.raises(DataError, match=rf"{argument} must be a column name or an array.*192 rows.*\(3,\)"):
        design(frame(), **{argument: [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=rf"{argument} must be a column name or an array.*\(\)"):
        design(frame(), **{argument: 2.0})
    with pytest.raises(DataError, match=f"The {argument} 'tr' must be numeric"):
        design(frame(), **{argument: "tr"})


def test_offset_must_be_numeric() -> None:
    with pytest.raises(DataError, match="The offset 'tr' must be numeric, but holds 'A', 'B'"):
        design(frame(), "y ~ x + offset(tr) + (1 | subject)")


def test_grouping_of_mixed_types() -> None:
    mixed = pd.Series([1, "a"] * (N // 2), dtype=object)
    with pytest.raises(DataError, match=r"'subject' holds values that cannot be sorted.*\(int, str\).*astype\(str\)"):
        design(frame(subject=mixed))
    assert design(frame(subject=mixed.astype(str))).factors[0].n_levels == 2


def test_fixed_effect_with_one_level() -> None:
    with pytest.raises(DesignError, match=r"Column 'tr' has one level only \('A'\), so it has no effect"):
        design(frame(tr="A"), "y ~ tr + (1 | subject)")


def test_dates_have_no_slope() -> None:
    data = frame(day=[dt.date(2024, 1, 1) + dt.timedelta(days=i % 9) for i in range(N)])
    for formula in ("y ~ day + (1 | subject)", "y ~ x + (day | subject)", "y ~ x:day + (1 | subject)"):
        with pytest.raises(DataError, match="Column 'day' holds dates or times, which have no slope"):
            design(data, formula)
    assert design(data, "y ~ I((day - day.min()).dt.days) + (1 | day)").X[8, 1] == 8


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ log(tr) + (1 | subject)", r"log\(tr\).* cannot be computed"),
        ("log(tr) ~ x + (1 | subject)", r"'log\(tr\)' cannot be computed"),
        ("y ~ x.nothing() + (1 | subject)", "cannot be computed"),
        ("sum(y) ~ x + (1 | subject)", r"'sum\(y\)' must give one value for each of the 192 rows"),
        ("y ~ x + offset(log(2)) + (1 | subject)", r"'log\(2\)' must give one value for each"),
        ("y ~ poly(x, 0.5) + (1 | subject)", "cannot be computed"),
    ],
)
def test_expressions_that_cannot_be_computed(formula: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        design(frame(), formula)


def test_intercept_is_a_name_taken() -> None:
    with pytest.raises(DataError, match="'Intercept' is kept for the column of ones"):
        design(frame(Intercept=1.0), "y ~ Intercept + (1 | subject)")


def test_few_levels_are_worth_a_word() -> None:
    made = design(frame(), "y ~ x + (1 | subject) + (1 | tr)")
    assert [f.kind for f in made.findings] == ["few_levels"]
    assert "'tr' has 2 levels only" in made.findings[0].message
    assert made.findings[0].data == {"factor": "tr", "n_levels": 2}


@pytest.mark.parametrize(("n_repeats", "is_few"), [(2, True), (5, True), (6, False)])
def test_few_repeats_are_worth_a_word(n_repeats: int, is_few: bool) -> None:
    n = 60
    g = np.arange(n)
    g[: 2 * n_repeats] //= 2
    made = design(pd.DataFrame({"y": np.random.default_rng(0).normal(size=n), "g": g}), "y ~ 1 + (1 | g)")
    found = [finding.data["n_repeats"] for finding in made.findings if finding.kind == "few_repeats"]
    assert found == [n_repeats] * is_few
