"""Wald tests and intervals: R's numbers, and closed forms of the distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fixed_theta import reference_state
from mixedmodels.errors import InferenceError
from mixedmodels.inference.wald import coef_table, t_quantile, two_sided_p


@pytest.mark.parametrize("name", ["sleepstudy_slope", "cbpp_weights", "orthodont_slope"])
def test_estimates_and_intervals_are_those_of_r(name: str) -> None:
    state, theirs = reference_state(name)
    table = coef_table(state, "normal")
    fixef, interval = theirs["fixef"], theirs["wald_ci_95"]
    np.testing.assert_allclose(table["estimate"], fixef["estimate"], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], fixef["se"], rtol=1e-6)
    np.testing.assert_allclose(table["statistic"], fixef["t"], rtol=1e-6)
    np.testing.assert_allclose(table["ci_lower"], interval["lower"], rtol=1e-6)
    np.testing.assert_allclose(table["ci_upper"], interval["upper"], rtol=1e-6)


def test_columns_are_those_promised() -> None:
    table = coef_table(reference_state("sleepstudy_slope")[0], "normal")
    assert list(table) == ["estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper"]
    assert list(table.index) == ["Intercept", "Days"]
    assert np.isinf(table["df"]).all()


def test_residual_degrees_of_freedom() -> None:
    state, _ = reference_state("sleepstudy_slope")
    normal, residual = coef_table(state, "normal"), coef_table(state, "residual")
    assert (residual["df"] == 178).all()
    assert (residual["p_value"] > normal["p_value"]).all()
    assert (residual["ci_upper"] > normal["ci_upper"]).all()


def test_normal_tail() -> None:
    z = np.array([0.0, 1.0, -1.96, 8.0, 30.0])
    expected = [math.erfc(abs(v) / math.sqrt(2)) for v in z]
    np.testing.assert_allclose(two_sided_p(np.full(5, np.inf), z), expected, rtol=1e-12)


def test_student_tail_with_one_and_two_degrees_of_freedom() -> None:
    """Cauchy, and 1 - t / sqrt(2 + t^2), which is 2 / (r (r + t)) with r = sqrt(2 + t^2)."""
    t = np.array([0.5, 2.0, 50.0])
    r = np.sqrt(2 + t**2)
    np.testing.assert_allclose(two_sided_p(np.ones(3), t), 2 / np.pi * np.arctan(1 / t), rtol=1e-10)
    np.testing.assert_allclose(two_sided_p(np.full(3, 2.0), -t), 2 / (r * (r + t)), rtol=1e-10)


def test_quantiles_invert_the_tails() -> None:
    df = np.array([1.0, 2.0, 17.0, np.inf])
    np.testing.assert_allclose(two_sided_p(df, t_quantile(df, 0.95)), 0.1, rtol=1e-9)


def test_unknown_degrees_of_freedom_name_those_that_exist() -> None:
    state, _ = reference_state("sleepstudy_slope")
    with pytest.raises(InferenceError, match=r"ddf=None is not available; it must be one of \"satterthwaite\", "):
        coef_table(state, None)
    with pytest.raises(InferenceError, match="Did you mean 'residual'"):
        coef_table(state, "residuals")


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan"), "0.9", None, True, [0.9]])
def test_level_is_a_coverage(level: object) -> None:
    with pytest.raises(InferenceError, match=r"level is .*; it must lie between 0 and 1"):
        coef_table(reference_state("sleepstudy_slope")[0], level=level)
