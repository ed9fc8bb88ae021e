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
    one_sided_survival,
    scheffe_survival,
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


def test_false_discoveries() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.9])
    t = -stats.norm.ppf(p / 2)
    expected = stats.false_discovery_control(p)
    np.testing.assert_allclose(adjusted_p("fdr", t, np.full(5, INF), None), expected, rtol=1e-10)


def pairs(k: int) -> np.ndarray:
    """Return the correlations of all differences of independent means with one variance."""
    D = np.array([np.eye(k)[i] - np.eye(k)[j] for i in range(k) for j in range(i + 1, k)])
    return D @ D.T / 2


@pytest.mark.parametrize("k", [2, 3, 4, 6, 10])
@pytest.mark.parametrize("df", [5.0, INF])
def test_all_pairs_by_their_correlations_are_tukeys(k: int, df: float) -> None:
    """The correlations have rank k - 1, less than the number of pairs."""
    for t in (0.5, 2.0, 3.0, 5.0):
        assert dunnett_survival(pairs(k))(t, df) == pytest.approx(tukey_survival(k)(t, df), abs=2e-4)


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_one_sided_comparisons_that_are_independent(m: int) -> None:
    survival = one_sided_survival(np.eye(m))
    for t in (-3.0, -0.4, 0.0, 1.0, 2.5):
        assert survival(t, INF) == pytest.approx(1 - stats.norm.cdf(t) ** m, abs=2e-4)
    for level in (0.3, 0.95):
        expected = stats.norm.ppf(level ** (1 / m))
        assert adjusted_quantile("mvt", m, np.array([INF]), level, survival, side="less")[0] == pytest.approx(
            expected, abs=2e-3
        )


def test_one_sided_comparison_alone_is_a_t_test() -> None:
    for t in (-2.0, 0.3, 3.0):
        assert one_sided_survival(np.eye(1))(t, 7.0) == pytest.approx(stats.t.sf(t, 7.0), rel=1e-10)


def test_opposite_comparisons_are_one_on_two_sides() -> None:
    R = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert one_sided_survival(R)(2.0, 9.0) == pytest.approx(2 * stats.t.sf(2.0, 9.0), rel=1e-10)


def test_scheffe_of_one_combination_is_a_t_test() -> None:
    assert scheffe_survival(1)(2.0, 9.0) == pytest.approx(2 * stats.t.sf(2.0, 9.0), rel=1e-10)
    assert scheffe_survival(3)(2.0, 9.0) == pytest.approx(stats.f.sf(4 / 3, 3, 9.0), rel=1e-10)


def test_deep_tails_stay_within_their_bounds() -> None:
    t, df = np.array([12.0, 0.3]), np.full(2, INF)
    R = np.array([[1.0, 0.3], [0.3, 1.0]])
    p = adjusted_p("mvt", t, df, one_sided_survival(R), side="greater")[0]
    assert stats.norm.sf(12.0) <= p <= 2.0000001 * stats.norm.sf(12.0)


def test_unknown_adjustment() -> None:
    with pytest.raises(InferenceError, match=r"must be one of .* Did you mean 'tukey'"):
        check_adjust("tuckey")
