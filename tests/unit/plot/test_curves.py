"""The numbers behind the plots, against closed forms and slow twins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import stats

import mixedmodels as mm
from data_loader import load
from mixedmodels.inference.profile import Profile
from mixedmodels.plot.covariance import ellipse
from mixedmodels.plot.profile_pairs import profile_pairs
from mixedmodels.plot.quantiles import chosen_ranks, draw_quantiles
from mixedmodels.plot.shrinkage import within_level_fits
from mixedmodels.plot.smoother import smooth
from mixedmodels.plot.spaghetti import mean_lines


@pytest.mark.parametrize("n", [3, 50, 20_000])
def test_smoother_keeps_a_straight_line(n: int) -> None:
    x = np.random.default_rng(n).normal(size=n)
    at, curve = smooth(x, 3 - 2 * x)
    np.testing.assert_allclose(curve, 3 - 2 * at, atol=1e-8)


def test_smoother_of_one_place_is_the_mean() -> None:
    at, curve = smooth(np.full(10, 2.0), np.arange(10.0))
    assert (at.tolist(), curve.tolist()) == ([2.0], [4.5])


def test_smoother_is_clevelands_at_a_point() -> None:
    rng = np.random.default_rng(2)
    x, y = np.sort(rng.uniform(size=40)), rng.normal(size=40)
    at, curve = smooth(x, y)
    k = 33
    distance = np.abs(x - at[k])
    reach = np.sort(distance)[26]  # the 27th of 40, two thirds
    weight = np.clip(1 - (distance / (1.001 * reach)) ** 3, 0, None) ** 3
    line = np.polyfit(x, y, 1, w=np.sqrt(weight))
    assert curve[k] == pytest.approx(np.polyval(line, at[k]))


@pytest.mark.parametrize("weights", [None, "w"])
def test_levels_alone_are_least_squares(weights: str | None) -> None:
    data = load("sleepstudy").assign(w=lambda d: 1 + d.index % 3)
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data, weights=weights)
    effects, determined = within_level_fits(fit.state, 0)
    w = np.ones(len(data)) if weights is None else data["w"].to_numpy()
    assert determined.all()
    for row, (_, rows) in zip(effects, data.groupby("Subject", observed=True), strict=True):
        expected = np.polyfit(rows["Days"], rows["Reaction"], 1, w=np.sqrt(w[rows.index]))[::-1]
        np.testing.assert_allclose(row + fit.fe_params, expected)


def test_levels_with_too_few_rows_are_not_determined() -> None:
    data = load("sleepstudy").drop(index=range(1, 10))  # the first subject keeps one row
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    effects, determined = within_level_fits(fit.state, 0)
    assert determined.tolist() == [False] + [True] * 17
    assert np.isnan(effects[0]).all()
    ax = mm.plot.shrinkage(fit)
    assert ax.get_title().replace("\n", " ").endswith("without 1 level of too few rows")
    plt.close("all")


def test_ellipse_holds_its_share() -> None:
    matrix = np.array([[4.0, 1.0], [1.0, 0.5]])
    points = ellipse(matrix, 0.8)
    distance = np.einsum("in,ij,jn->n", points, np.linalg.inv(matrix), points)
    np.testing.assert_allclose(stats.chi2.cdf(distance, 2), 0.8)


def test_quantile_band_is_that_of_order_statistics() -> None:
    ax = plt.subplots()[1]
    values = stats.norm.ppf((np.arange(1, 21) - 0.375) / 20.25)
    draw_quantiles(ax, values)
    line, points = (np.asarray(l.get_xydata()) for l in ax.get_lines())
    np.testing.assert_allclose(points[:, 0], values)
    slope = np.polyfit(line[:, 0], line[:, 1], 1)[0]
    band = ax.collections[0].get_paths()[0].vertices
    third = band[np.isclose(band[:, 0], values[2]), 1]
    expected = slope * stats.norm.ppf(stats.beta.ppf([0.025, 0.975], 3, 18))
    np.testing.assert_allclose([third.min(), third.max()], expected, atol=1e-9)
    plt.close("all")


def test_chosen_ranks_keep_the_tails() -> None:
    ranks = chosen_ranks(1_000_000)
    assert len(ranks) <= 1_500
    assert ranks[:100].tolist() == list(range(1, 101))
    assert ranks[-1] == 1_000_000
    assert chosen_ranks(7).tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_lines_pass_through_means_with_gaps_between_levels() -> None:
    codes, x, y = np.array([1, 0, 0, 1, 0], np.int32), np.array([2.0, 1, 1, 1, 3]), np.array([5.0, 1, 3, 4, 6])
    at, means = mean_lines(codes, x, y)
    np.testing.assert_array_equal(at, [1, 3, np.nan, 1, 2])
    np.testing.assert_array_equal(means, [2, 6, np.nan, 4, 5])


def test_contours_of_a_quadratic_likelihood_are_ellipses() -> None:
    rho, points = 0.6, np.linspace(-4, 4, 17)
    traces = {"a": {"a": points, "b": rho * points}, "b": {"a": rho * points, "b": points}}
    frames = [
        pd.DataFrame({"parameter": name, "value": points, "zeta": points, "slope": 1.0, **traces[name]})
        for name in "ab"
    ]
    bounds = {"a": (-np.inf, np.inf), "b": (-np.inf, np.inf)}
    profiled = Profile(pd.concat(frames), bounds, {"a": 0.0, "b": 0.0})
    ax = profile_pairs(profiled, levels=[0.9])
    a, b = np.asarray(ax.get_lines()[0].get_xydata()).T
    square = (a**2 - 2 * rho * a * b + b**2) / (1 - rho**2)
    np.testing.assert_allclose(square, stats.chi2.ppf(0.9, 2), rtol=1e-6)
    plt.close("all")
