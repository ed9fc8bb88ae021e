"""Levels as messages and tables show them; dates as categories."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels.design.labels import shown_level

RNG = np.random.default_rng(61)
TEXTS = ["2014-01-15", "2014-02-17", "2014-03-20"]
DATA = pd.DataFrame({
    "date": np.repeat(pd.to_datetime(TEXTS), 12), "text": np.repeat(TEXTS, 12),
    "block": np.tile(np.repeat([1, 2, 3, 4], 3), 3), "arm": np.tile(["a", "b", "c"], 12),
})  # fmt: skip
DATA["y"] = RNG.normal(size=36) + np.array([0, -2, 3, 1, 5])[DATA.block]
DATES = mm.lmer("y ~ arm * C(date) + (1 | block)", DATA)
TWIN = mm.lmer("y ~ arm * text + (1 | block)", DATA)
DRIFT = DATA.assign(y=DATA.y + 3 * (DATA.date.dt.month - 2))
NAMES = [
    "2014-02-17",
    dt.date(2014, 2, 17),
    dt.datetime(2014, 2, 17),
    pd.Timestamp("2014-02-17"),
    np.datetime64("2014-02-17"),
]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (pd.Timestamp("2014-01-15"), "2014-01-15"),
        (dt.date(2014, 1, 15), "2014-01-15"),
        (pd.Timestamp("2014-01-15 12:30"), "2014-01-15 12:30:00"),
        (pd.Timestamp("2014-01-15 01:00", tz="Europe/Berlin"), "2014-01-15"),
        (pd.Timedelta(days=2), "2 days"),
        (np.int64(3), 3),
        (pd.Interval(0, 1), "(0, 1]"),
        ("a", "a"),
    ],
)
def test_levels_are_shown_as_users_write_them(level: Any, expected: Any) -> None:
    assert shown_level(level) == expected
    assert type(shown_level(level)) is type(expected)


def test_dates_as_categories_are_their_texts() -> None:
    assert DATES.deviance == pytest.approx(TWIN.deviance, abs=1e-9)
    assert [name.replace("C(date)", "text") for name in DATES.fe_params.index] == TWIN.fe_params.index.tolist()
    pairs = DATES.margins("date", pairwise=True)
    assert pairs.index.tolist() == TWIN.margins("text", pairwise=True).index.tolist()
    np.testing.assert_allclose(pairs["estimate"], TWIN.margins("text", pairwise=True)["estimate"], atol=1e-12)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: type(name).__name__)
def test_a_date_is_known_by_text_and_value(name: Any) -> None:
    expected = TWIN.predict({"arm": ["c"], "text": ["2014-02-17"], "block": [2]})
    np.testing.assert_allclose(DATES.predict({"arm": ["c"], "date": [name], "block": [2]}), expected)
    means = DATES.margins("arm", at={"date": [name]})["estimate"]
    np.testing.assert_allclose(means, TWIN.margins("arm", at={"text": ["2014-02-17"]})["estimate"])
    against = DATES.margins("date", control=name)
    assert against.index.tolist() == ["2014-01-15 - 2014-02-17", "2014-03-20 - 2014-02-17"]
    grouped = mm.lmer("y ~ arm + (1 | block) + (1 | date)", DRIFT)
    np.testing.assert_allclose(
        grouped.predict({"arm": ["c"], "date": [name], "block": [2]}),
        grouped.predict({"arm": ["c"], "date": ["2014-02-17"], "block": [2]}),
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("spring", "held dates or durations in the fit, but holds 'spring' now. Write dates as in 2014-02-17."),
        ("03.02.2014", "but holds '03.02.2014' now. Write dates as in 2014-02-17."),  # March or February
        ("03/20/2014", "but holds '03/20/2014' now"),
        (3, "held dates or durations in the fit, but holds numbers now"),
        ("2014-05-01", "levels that the fit did not have: '2014-05-01'"),
        (pd.Timestamp("2014-05-01"), "levels that the fit did not have: '2014-05-01'"),
    ],
)
def test_what_is_no_date_of_the_fit_is_refused(value: Any, says: str) -> None:
    with pytest.raises(mm.DataError) as caught:
        DATES.predict({"arm": ["c"], "date": [value], "block": [2]})
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["2014-02-17 00:00:00", "20140217", "2014/02/17", "2014-02-17T00:00"])
def test_texts_of_dates_with_the_year_first(text: str) -> None:
    new = {"arm": ["c"], "date": [text], "block": [2]}
    np.testing.assert_array_equal(DATES.predict(new), DATES.predict({**new, "date": ["2014-02-17"]}))


@pytest.mark.parametrize(
    ("expression", "column"),
    [
        ("np.where(arm == 'a', 'low', 'high')", np.where(DATA.arm == "a", "low", "high")),
        ("np.where(block > 2, arm, 'none')", np.where(DATA.block > 2, DATA.arm, "none")),
        ("np.select([block > 3, block > 2], ['x', 'y'], 'z')", np.array(["z", "z", "z", "y", "x"])[DATA.block]),
        ("arm.map({'a': 1, 'b': 2, 'c': 4})", DATA.arm.map({"a": 1, "b": 2, "c": 4})),
        ("I(arm.map({'a': 1, 'b': 1, 'c': 4}))", DATA.arm.map({"a": 1, "b": 1, "c": 4})),
        ("block.astype('category')", DATA.block.astype(str)),
        ("arm.str.upper()", DATA.arm.str.upper()),
    ],
)
def test_texts_that_are_computed_are_categories_and_numbers_are_not(expression: str, column: Any) -> None:
    fit = mm.lmer(f"y ~ {expression} + (1 | date)", DRIFT)
    twin = mm.lmer("y ~ made + (1 | date)", DRIFT.assign(made=column))
    assert fit.deviance == pytest.approx(twin.deviance, abs=1e-8)
    names = [name.replace("made", "") for name in twin.fe_params.index]
    assert [name[name.rfind("[") :] if name.endswith("]") else "" for name in fit.fe_params.index[1:]] == names[1:]
    np.testing.assert_allclose(fit.predict(DRIFT[5:7]), twin.fittedvalues[5:7])


def test_a_response_may_be_scores_of_labels() -> None:
    model = mm.LinearMixedModel("arm.map({'a': 1, 'b': 2, 'c': 4}) ~ y + (1 | date)", DATA)
    np.testing.assert_array_equal(model.design.y, DATA.arm.map({"a": 1, "b": 2, "c": 4}))


def test_categories_of_dates_and_times_of_day() -> None:
    data = DATA.assign(date=pd.Categorical(DATA.date), late=DATA.date + pd.Timedelta(hours=9))
    plain = mm.lmer("y ~ arm * date + (1 | block)", data)
    assert plain.fe_params.index.tolist() == [name.replace("C(date)", "date") for name in DATES.fe_params.index]
    np.testing.assert_allclose(plain.predict(DATA), DATES.predict(DATA))
    assert mm.lmer("y ~ C(late) + (1 | block)", data).fe_params.index[1] == "C(late)[T.2014-02-17 09:00:00]"


def test_dates_with_a_zone_are_in_utc() -> None:
    zoned = DATA.assign(date=DATA.date.dt.tz_localize("Europe/Berlin"))
    fit = mm.lmer("y ~ arm * C(date) + (1 | block)", zoned)
    assert fit.deviance == DATES.deviance
    assert "C(date)[T.2014-02-16 23:00:00]" in fit.fe_params.index
    for name in (zoned.date[12], "2014-02-16 23:00:00"):
        means = fit.margins("arm", at={"date": name})["estimate"]
        np.testing.assert_allclose(means, DATES.margins("arm", at={"date": "2014-02-17"})["estimate"])


def test_levels_in_messages_are_python_values() -> None:
    data = load("Penicillin").assign(plate=lambda d: d.plate.cat.codes.astype(np.int64))
    with pytest.raises(mm.InferenceError, match=r"^Level 0 of plate has rows"):
        mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data).cov_fe_robust("CR2", cluster="sample")


def test_one_level_after_rows_are_left_out() -> None:
    data = pd.DataFrame(
        {"arm": np.repeat(["c", "t"], 30), "g": np.r_[np.full(30, np.nan), np.repeat(np.arange(10), 3)]}
    )
    data["y"] = RNG.normal(size=60)
    with pytest.raises(
        mm.DesignError, match=r"'arm' has one level only \('t'\).* Left out 30 of 60 rows: missing g 30\.$"
    ):
        mm.lmer("y ~ arm + (1 | g)", data)
    for gone, says in (("y", "one level only"), ("x", "has one level only")):
        less = data.assign(x=1.0, h=np.repeat([1, 2], 30)).astype({gone: float})
        less.loc[30:, gone] = np.nan
        with pytest.raises(mm.DesignError, match=f"{says}.* Left out 30 of 60 rows: missing {gone} 30"):
            mm.lmer("y ~ x + (1 | h)", less.assign(x=RNG.normal(size=60) + less.x))
    with pytest.raises(mm.DesignError, match=r"Leave it out of the formula\.$"):
        mm.lmer("y ~ arm + (1 | g)", data.assign(arm="c", g=np.tile(np.arange(6), 10)))


@pytest.mark.parametrize("others", [[], [2.5], [1], [None]])
def test_fractions_are_numbers(others: list[Any]) -> None:
    values = [Fraction(k, 7) for k in range(36 - len(others))] + others
    fit = mm.lmer("y ~ x + (1 | block)", DATA.assign(x=values), missing="drop") if None not in others else None
    if fit is None:
        with pytest.warns(mm.DroppedRowsWarning):
            fit = mm.lmer("y ~ x + (1 | block)", DATA.assign(x=values))
    numbers = DATA.assign(x=[np.nan if v is None else float(v) for v in values]).dropna()
    twin = mm.lmer("y ~ x + (1 | block)", numbers)
    assert fit.fe_params.to_dict() == twin.fe_params.to_dict()


def test_what_is_no_number_among_numbers_is_shown() -> None:
    odd = ["." if k == 3 else f"{v:.3f}" for k, v in enumerate(DATA.y)]
    with pytest.raises(mm.DataError, match=r"response 'y' must be numeric, but holds '\.' among numbers\. Make that"):
        mm.lmer("y ~ arm + (1 | block)", DATA.assign(y=odd))
    with pytest.raises(mm.DataError, match=r"must be numeric, but holds .* They look like numbers"):
        mm.lmer("y ~ arm + (1 | block)", DATA.assign(y=[f"{v:.3f}" for v in DATA.y]))
    fit = mm.lmer("y ~ x + (1 | block)", DATA.assign(x=RNG.normal(size=36)))
    with pytest.raises(mm.DataError, match=r"'x' was numeric in the fit, but holds '\.' now"):
        fit.predict(DATA.assign(x=odd))


@pytest.mark.parametrize("text", [".", "n/a", "#REF!"])
@pytest.mark.parametrize("term", ["x", "arm + x"])
def test_numbers_with_a_sign_for_missing_are_a_category_with_a_warning(text: str, term: str) -> None:
    x = DRIFT.block.astype(str).where(DRIFT.index != 4, text).where(DRIFT.index % 2 == 0, "7")
    with pytest.warns(
        mm.MixedModelsWarning, match=f"'x' holds '{text}' among numbers and so is a category of 6 levels"
    ):
        fit = mm.lmer(f"y ~ {term} + (1 | date)", DRIFT.assign(x=x))
    (finding,) = (finding for finding in fit.findings if finding.kind == "numbers_among_labels")
    assert finding.data == {"column": "x", "odd": (text,), "n_levels": 6}
    assert finding.message in str(fit.summary()).replace("\n  ", " ")


@pytest.mark.parametrize("formula", ["y ~ C(x) + (1 | date)", "y ~ arm + (1 | x)", "y ~ mixed + (1 | date)"])
def test_labels_that_are_meant_have_no_warning(formula: str) -> None:
    x = DRIFT.block.astype(str).where(DRIFT.index != 4, ".")
    fit = mm.lmer(formula, DRIFT.assign(x=x, mixed=np.tile(["1", "2", "none"], 12), y=DRIFT.y + 9 * (x == "3")))
    assert "numbers_among_labels" not in [finding.kind for finding in fit.findings]


def test_what_leaves_nothing_to_fit_is_told() -> None:
    x = pd.Series(np.arange(36)).astype(str).where(DATA.index != 4, ".")
    with pytest.raises(mm.FitError, match=r"nothing left to model\. Column 'x' holds '\.' among numbers"):
        mm.lmer("y ~ x + (1 | block)", DATA.assign(x=x))
    with pytest.raises(mm.DesignError, match=r"correlated random effects .* Column 'x' holds '\.' among numbers"):
        mm.lmer("y ~ arm + (x | block)", DATA.assign(x=x))


def test_an_attribute_of_a_column_stands_in_parentheses() -> None:
    with pytest.raises(mm.DataError, match=r"no column 'date\.dt\.day' in the data\. .* I\(date\.dt\.day\)\.$"):
        mm.lmer("y ~ date.dt.day + (1 | block)", DATA)
    assert mm.lmer("y ~ I(date.dt.day) + (1 | block)", DATA).nobs == 36
