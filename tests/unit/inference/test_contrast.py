"""Contrasts: their tests are those of the coefficients they are made of, and what cannot be estimated is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from data_loader import load
from fixed_theta import reference_state
from mixedmodels.errors import InferenceError
from mixedmodels.fit.records import FitState
from mixedmodels.inference.contrast import contrast, estimable_rows
from mixedmodels.inference.degrees import DDF_METHODS
from mixedmodels.inference.wald import coef_table
from mixedmodels.lmer import lmer


def sleep() -> FitState:
    return reference_state("sleepstudy_slope")[0]


@cache
def aliased() -> FitState:
    """A fit whose second column of numbers is twice the first."""
    data = load("sleepstudy").assign(hours=lambda d: 24 * d["Days"])
    with pytest.warns(UserWarning, match="dropped"):
        return lmer("Reaction ~ Days + hours + (1 | Subject)", data).state


@pytest.mark.parametrize("ddf", DDF_METHODS)
def test_coefficients_are_contrasts(ddf: str) -> None:
    table = contrast(sleep(), ["Intercept", "Days"], ddf, 0.9)
    expected = coef_table(sleep(), ddf, 0.9)
    assert list(table) == list(expected)
    assert list(table.index) == ["Intercept", "Days"]
    np.testing.assert_allclose(table, expected)


def test_a_right_hand_side_moves_the_test_and_not_the_interval() -> None:
    zero, ten = (contrast(sleep(), text).iloc[0] for text in ("Days = 0", "Days = 10"))
    assert ten["statistic"] == pytest.approx((ten["estimate"] - 10) / ten["std_error"])
    same = ["estimate", "std_error", "df", "ci_lower", "ci_upper"]
    pd.testing.assert_series_equal(zero[same], ten[same], check_names=False)


@pytest.mark.parametrize("ddf", DDF_METHODS)
def test_a_joint_test_of_one_row_is_the_square_of_its_t(ddf: str) -> None:
    table = contrast(sleep(), "Intercept + 9 * Days = 340", ddf, joint=True)
    assert list(table.index) == ["Intercept + 9 * Days = 340", "joint"]
    row, joint = table.iloc[0], table.loc["joint"]
    assert table["num_df"].tolist() == [1, 1]
    assert joint["statistic"] == pytest.approx(row["statistic"] ** 2)
    assert joint["df"] == pytest.approx(row["df"])
    assert joint["p_value"] == pytest.approx(row["p_value"])
    assert np.isnan(joint["estimate"])


def test_contradictions_are_refused() -> None:
    with pytest.raises(InferenceError, match="contradict each other"):
        contrast(sleep(), ["Days = 1", "2 * Days = 3"], joint=True)
    assert contrast(sleep(), ["Days = 1", "2 * Days = 2"], joint=True).loc["joint", "num_df"] == 1


def test_what_can_be_estimated_without_a_dropped_column() -> None:
    state = aliased()
    days = contrast(state, "Days").iloc[0]
    both = contrast(state, "Days + 24 * hours").iloc[0]
    np.testing.assert_allclose(both, days)
    np.testing.assert_allclose(contrast(state, [0, 1, 24]).iloc[0], days)
    np.testing.assert_allclose(contrast(state, [0, 1]).iloc[0], days)


@pytest.mark.parametrize("text", ["hours", "Days + hours = 0", "Days - 24 * hours"])
def test_what_cannot_be_estimated(text: str) -> None:
    with pytest.raises(
        InferenceError, match=f"'{text.replace('+', '.').replace('*', '.')}' cannot be estimated: the .*'hours' was"
    ):
        contrast(aliased(), text)


@pytest.mark.parametrize("L", [[0, 1, 0], [[1, 0, 0], [0, 1, 0]], ["Days", [0, 1, 0]]])
def test_a_full_row_with_a_zero_for_the_dropped_column_cannot_be_estimated(L: object) -> None:
    with pytest.raises(InferenceError, match=r"'L[12]' cannot be estimated: the column 'hours' was dropped"):
        contrast(aliased(), L)


def test_rows_of_the_design_are_estimable() -> None:
    state = aliased()
    X = state.design.X[:4]
    np.testing.assert_array_equal(estimable_rows(state, X, list("abcd")), X[:, list(state.kept)])
    with pytest.raises(InferenceError, match="'b' cannot be estimated"):
        estimable_rows(state, X[:2] + np.diag([0.0, 0.0, 1.0])[1:], ["a", "b"])


def test_level_is_a_coverage() -> None:
    with pytest.raises(InferenceError, match="level is 95"):
        contrast(sleep(), "Days", level=95)
