"""Plots of fits with correlated residuals: the map of correlations, and autocorrelations by lag."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import mixedmodels as mm
from data_loader import load
from mixedmodels.diagnose.lags import autocorrelations

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def visits_missing() -> pd.DataFrame:
    data = load("Orthodont")
    data["visit"] = data["age"].astype("category")
    return data[np.arange(len(data)) % 5 != 2].sample(frac=1, random_state=3)


def test_a_map_shows_the_fits_correlations_and_sds(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", visits_missing)
    drawn = mm.plot.correlation(fit)
    found, R, S = drawn.images[0].get_array(), fit.residual_correlation, fit.residual_covariance
    assert isinstance(R, pd.DataFrame)
    assert isinstance(S, pd.DataFrame)
    np.testing.assert_allclose(found[0, 1:], R.to_numpy()[0, 1:])
    written = [text.get_text() for text in drawn.texts]
    assert f"{R.iloc[2, 1]:.2f}" in written
    assert f"sd {np.sqrt(S.iloc[3, 3]):.3g}" in written
    assert [label.get_text() for label in drawn.get_yticklabels()] == list(R.index)


def test_groups_have_a_map_each(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ visit * Sex + ar1(visit | Sex / Subject)", visits_missing)
    drawn = mm.plot.correlation(fit)
    assert [on.get_title() for on in drawn] == ["Sex = Male", "Sex = Female"]
    _, two = plt.subplots(1, 2)
    assert mm.plot.correlation(fit, ax=two)[0] is two[0]
    with pytest.raises(mm.MixedModelsError, match=r"2 panels \(Sex = Male, Sex = Female\)"):
        mm.plot.correlation(fit, ax=two[0])


def test_autocorrelations_pair_rows_of_a_subject_that_are_so_many_visits_apart(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ visit * Sex + ar1h(visit | Subject)", visits_missing)
    found = autocorrelations(fit.state)
    R = fit.residual_correlation
    assert isinstance(R, pd.DataFrame)
    place = visits_missing["visit"].cat.codes
    for kind, values in (("pearson", found.pearson), ("normalized", found.normalized)):
        r = fit.residuals(kind)
        sums: dict[int, list[float]] = {}
        model: dict[int, list[float]] = {}
        for _, rows in visits_missing.groupby("Subject", observed=True):
            for i, j in combinations(rows.index, 2):
                lag = abs(int(place[i]) - int(place[j]))
                sums.setdefault(lag, []).append(r[i] * r[j])
                model.setdefault(lag, []).append(float(R.iloc[int(place[i]), int(place[j])]))
        expected = [np.mean(sums[lag]) / np.mean(r**2) for lag in (1, 2, 3)]
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        np.testing.assert_allclose(found.fitted, [np.mean(model[lag]) for lag in (1, 2, 3)], rtol=1e-12)
    np.testing.assert_array_equal(found.n_pairs, [len(sums[lag]) for lag in (1, 2, 3)])


def test_autocorrelations_are_drawn(visits_missing: pd.DataFrame) -> None:
    fit = mm.mmrm("distance ~ visit * Sex + ar1(visit | Subject)", visits_missing)
    before, after = mm.plot.acf(fit)
    found = autocorrelations(fit.state)
    drawn = {line.get_label(): line.get_ydata() for line in before.lines}
    np.testing.assert_allclose(drawn["data"], found.pearson)
    np.testing.assert_allclose(drawn["model"], found.fitted)
    np.testing.assert_allclose(after.lines[-1].get_ydata(), found.normalized)


def test_subjects_with_one_visit_each_are_told() -> None:
    data = load("Orthodont").groupby("Subject", observed=True).head(1)
    fit = mm.mmrm("distance ~ Sex + id(age | Subject)", data)
    before, after = mm.plot.acf(fit)
    assert [on.texts[0].get_text() for on in (before, after)] == ["no subject has two visits"] * 2


@pytest.mark.parametrize("plot", [mm.plot.correlation, mm.plot.acf])
def test_a_fit_without_correlated_residuals_is_refused(plot: object) -> None:
    fit = mm.lmer("distance ~ age + (1 | Subject)", load("Orthodont"))
    with pytest.raises(mm.InferenceError, match="draws a fit with correlated residuals, as mmrm returns it"):
        plot(fit)  # type: ignore[operator]
