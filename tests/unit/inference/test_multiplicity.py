"""Simultaneous p-values against scipy's laws and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedmodels.errors import InferenceError
from mixedmodels.inference.multiplicity import (
    adjusted_p,
    adjusted_quantile,
    check_adjust,
    dunnett_survival,
    tukey_survival,
)

INF = np.inf


@pytest.mark.parametrize(
    ("k", "df", "t"), [(2, 3.0, 2.0), (3, 10.0, 2.733), (4, 45.0, 7.9), (3, 2.3, 1.2), (5, INF, 2.5)]
)
def test_tukey_is_the_studentized_range(k: int, df: float, t: float) -> None:
    expected = stats.studentized_range.sf(np.sqrt(2) * t, k, df)
    assert tukey_survival(k)(t, df) == pytest.approx(expected, rel=2e-6)


def test_tukey_of_two_means_is_a_t_test() -> None:
    for df, t in ((1.3, 4.0), (7.5, 2.2), (30.0, 9.0), (400.0, 0.4)):
        assert tukey_survival(2)(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-6)


@pytest.mark.parametrize("df", [0.7, 0.2, 0.09, 0.05, 0.01])
def test_fewer_degrees_of_freedom_than_one(df: float) -> None:
    for t in (0.01, 2.0, 10.0, 1e4):
        assert tukey_survival(2)(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-7)
    if df > 0.05:
        half_width = adjusted_quantile("tukey", 1, np.array([df]), 0.95, tukey_survival(2))[0]
        assert half_width == pytest.approx(stats.t.isf(0.025, df), rel=1e-6)


def test_dunnett_against_published_points() -> None:
    """Two-sided 5 % points of Dunnett (1964), table for equal group sizes."""
    for m, df, point in ((2, 10.0, 2.57), (3, 10.0, 2.76), (5, 20.0, 2.73), (4, INF, 2.44)):
        R = np.full((m, m), 0.5) + 0.5 * np.eye(m)
        half_width = adjusted_quantile("dunnett", m, np.array([df]), 0.95, dunnett_survival(R))[0]
        assert half_width == pytest.approx(point, abs=0.012)


@pytest.mark.parametrize("df", [8.0, INF])
def test_dunnett_of_any_correlations(df: float) -> None:
    """A correlation without product structure, against simulation."""
    R = np.array([[1, 0.6, 0.1, 0.3], [0.6, 1, 0.4, 0.2], [0.1, 0.4, 1, 0.7], [0.3, 0.2, 0.7, 1]])
    rng = np.random.default_rng(1)
    T = rng.standard_normal((400_000, 4)) @ np.linalg.cholesky(R).T
    if np.isfinite(df):
        T /= np.sqrt(rng.chisquare(df, (len(T), 1)) / df)
    simulated = np.mean(np.abs(T).max(axis=1) >= 2.4)
    assert dunnett_survival(R)(2.4, df) == pytest.approx(simulated, abs=4 * np.sqrt(simulated / len(T)))


def test_independent_comparisons_are_sidaks() -> None:
    t, df = np.array([2.1, 0.3, -3.0]), np.full(3, INF)
    exact = adjusted_p("dunnett", t, df, dunnett_survival(np.eye(3)))
    np.testing.assert_allclose(adjusted_p("sidak", t, df, None), exact, rtol=1e-4)


def test_step_down() -> None:
    """Holm's (1979) procedure by hand."""
    p = np.array([0.01, 0.04, 0.03, 0.005])
    t = -stats.norm.ppf(p / 2)
    expected = [0.03, 0.06, 0.06, 0.02]
    np.testing.assert_allclose(adjusted_p("holm", t, np.full(4, INF), None), expected, rtol=1e-10)


def test_unknown_adjustment() -> None:
    with pytest.raises(InferenceError, match=r"must be one of .* Did you mean 'tukey'"):
        check_adjust("tuckey")
