"""Lines with the other predictors held: those of the coefficients and of estimated means, and what is said of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import mixedmodels as mm

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def trial() -> pd.DataFrame:
    """Return visits of subjects sorted by arm, with an age each, a covariate of visits, and crossed items."""
    rng = np.random.default_rng(3)
    g, n = np.repeat(np.arange(24), 10), 240
    data = pd.DataFrame(
        {"g": g, "t": np.tile(np.arange(10), 24), "cond": np.tile(list("abcab"), 48), "z": rng.normal(size=n)}
    )
    data["arm"], data["age"] = np.where(g < 15, "ctl", "trt"), rng.normal(40, 9, 24)[g]
    data["item"], data["dose"] = rng.permutation(g % 6), np.array([0, 5, 10, 20])[rng.integers(0, 4, n)]
    data["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 5, n), unit="D")
    means = 0.4 * data["t"] + (data["cond"] == "b") + data["z"] + (data["arm"] == "trt") + 0.05 * data["age"]
    effects = 3 * rng.normal(size=24)[g] + 0.3 * rng.normal(size=24)[g] * data["t"] + rng.normal(size=6)[data["item"]]
    return data.assign(y=means + effects + rng.normal(size=n))


DATA = trial()


def fitted(formula: str, data: pd.DataFrame = DATA) -> mm.LmmResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        return mm.lmer(formula, data)


def drawn(ax: Axes) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the lines of levels, in their order, and the population's."""
    levels, population = (np.asarray(line.get_xydata()) for line in ax.get_lines()[-2:])
    gaps = np.flatnonzero(np.isnan(levels[:, 1]))
    return [line[~np.isnan(line[:, 1])] for line in np.split(levels, gaps)], population


def turns(line: np.ndarray) -> int:
    """Return how often a line changes from rising to falling or back."""
    return int((np.diff(np.sign(np.diff(line[:, 1]))) != 0).sum())


def test_lines_are_those_of_the_coefficients() -> None:
    fit = fitted("y ~ t + age + z + arm + (t | g) + (1 | item)")
    ax = mm.plot.spaghetti(fit)
    lines, population = drawn(ax)
    beta, b = fit.fe_params, fit.random_effects["g"]
    t = np.linspace(0, 9, 60)
    flat = beta["Intercept"] + beta["z"] * DATA["z"].mean()
    both_arms = flat + beta["age"] * DATA["age"].mean() + beta["arm[T.trt]"] / 2
    np.testing.assert_allclose(population, np.column_stack([t, both_arms + beta["t"] * t]), rtol=1e-9)
    assert len(lines) == 24
    for line, (label, rows) in zip(lines, DATA.groupby("g"), strict=True):
        own = beta["age"] * rows["age"].iloc[0] + beta["arm[T.trt]"] * (rows["arm"].iloc[0] == "trt")
        expected = flat + own + b.loc[label, "Intercept"] + (beta["t"] + b.loc[label, "t"]) * t
        np.testing.assert_allclose(line, np.column_stack([t, expected]), rtol=1e-9)
    assert " ".join(ax.get_title().split()) == (
        f"Population at the mean of age ({DATA['age'].mean():.4g}) and z ({DATA['z'].mean():.4g}), averaged over arm; "
        "each g at its own age and arm. Lines without effects of item."
    )


@pytest.mark.parametrize("formula", ["y ~ cond * arm + z + t + (1 | g)", "y ~ cond * arm + z * cond + (cond | g)"])
def test_population_of_a_category_is_its_estimated_means(formula: str) -> None:
    fit = fitted(formula)
    ax = mm.plot.spaghetti(fit, "cond")
    lines, population = drawn(ax)
    np.testing.assert_allclose(population[:, 1], fit.margins("cond")["estimate"], rtol=1e-9)
    assert [line[:, 0].tolist() for line in lines] == [[0, 1, 2]] * 24
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(("x", "visits", "n_lines"), [("t", 10, 3), ("z", 10, 2), ("z", 8, 3)])
def test_data_are_joined_where_levels_have_or_share_few_values(x: str, visits: int, n_lines: int) -> None:
    fit = fitted("y ~ t + z + (1 | g)", DATA[DATA["t"] < visits])
    assert len(mm.plot.spaghetti(fit, x).get_lines()) == n_lines


def test_lines_pass_through_the_fitted_values_where_nothing_is_held() -> None:
    """Each level has its own arm and age, so that at its own days its line is what the model fitted."""
    fit = fitted("y ~ poly(t, 2) * arm + age + (t | g)")
    lines, _ = drawn(mm.plot.spaghetti(fit))
    for line, (_, rows) in zip(lines, DATA.assign(fit=fit.fittedvalues).groupby("g"), strict=True):
        np.testing.assert_allclose(line[[0, -1], 1], rows["fit"].iloc[[0, -1]], rtol=1e-9)


@pytest.mark.parametrize("formula", ["y ~ t + z + (t | g)", "y ~ t * arm + z + age + cond + (t || g) + (1 | item)"])
def test_lines_of_a_straight_model_never_turn_back(formula: str) -> None:
    shuffled = DATA.sample(frac=1, random_state=1)
    lines, population = drawn(mm.plot.spaghetti(fitted(formula)))
    assert turns(population) == sum(map(turns, lines)) == 0
    again, _ = drawn(mm.plot.spaghetti(fitted(formula, shuffled)))
    np.testing.assert_allclose(np.concatenate(lines), np.concatenate(again), rtol=1e-5)


def test_numbers_that_are_coded_by_their_values_are_categories() -> None:
    for formula, held in (
        ("y ~ dose + (C(dose) | g)", ""),
        ("y ~ t + (C(dose) | g)", "Population averaged over dose."),
    ):
        ax = mm.plot.spaghetti(fitted(formula), "dose" if not held else "t")
        lines, population = drawn(ax)
        assert ax.get_title() == held
        if not held:
            assert population[:, 0].tolist() == [0, 5, 10, 20]
            assert set(np.concatenate(lines)[:, 0]) == {0, 5, 10, 20}


def test_dates_are_averaged_where_they_are_categories() -> None:
    fit = fitted("y ~ cond + C(day) + (1 | g)")
    ax = mm.plot.spaghetti(fit, "cond")
    assert ax.get_title() == "Population averaged over day."
    np.testing.assert_allclose(drawn(ax)[1][:, 1], fit.margins("cond")["estimate"], rtol=1e-9)
    ax = mm.plot.spaghetti(fit, "day")
    assert len(drawn(ax)[1]) == 5
    ax.figure.canvas.draw()


def test_dates_are_held_at_the_one_in_the_middle() -> None:
    fit = fitted("y ~ t + I((day - np.datetime64('2024-01-01')) / np.timedelta64(1, 'D')) + (1 | g)")
    ax = mm.plot.spaghetti(fit, "t")
    middle = DATA["day"].sort_values().iloc[120]
    assert ax.get_title() == f"Population at day {middle:%Y-%m-%d}."
    intercept, slope, by_day = fit.fe_params
    expected = intercept + slope * np.linspace(0, 9, 60) + by_day * (middle - pd.Timestamp("2024-01-01")).days
    np.testing.assert_allclose(drawn(ax)[1][:, 1], expected, rtol=1e-9)


def test_offsets_are_at_their_mean() -> None:
    fit = fitted("y ~ t + offset(z) + (1 | g)")
    ax = mm.plot.spaghetti(fit)
    _, population = drawn(ax)
    intercept, slope = fit.fe_params
    np.testing.assert_allclose(population[:, 1], intercept + DATA["z"].mean() + slope * population[:, 0], rtol=1e-9)
    assert ax.get_title() == "Population at the mean of the offset."


def test_empty_cells_are_not_made_up() -> None:
    """Where all combinations together are not determined, those that occur are averaged; else nothing is drawn."""
    data = DATA.assign(A=np.array(list("PQ"))[DATA["t"] % 2], B=np.array(list("kkllmn"))[DATA["g"] % 6])
    data = data[(data["A"] == "P") | (data["B"] != "m")]
    fit = fitted("y ~ z + A * B + (1 | g)", data)
    assert fit.state.n_fixed < len(fit.state.design.x_names)
    cells = data[["A", "B"]].drop_duplicates()
    at_zero = fit.predict(cells.assign(z=0.0), random_effects="population").mean()
    _, population = drawn(mm.plot.spaghetti(fit, "z"))
    np.testing.assert_allclose(population[:, 1], at_zero + fit.fe_params["z"] * population[:, 0], rtol=1e-9)
    ax = mm.plot.spaghetti(fit, "A")
    assert "that the data do not determine are left out" in " ".join(ax.get_title().split())
    assert np.isnan(drawn(ax)[1][1, 1])


def test_what_cannot_be_computed_for_other_values_is_refused_and_not_in_reports(tmp_path: Path) -> None:
    fit = fitted("y ~ t + I(z - np.mean(z)) + (1 | g)")
    with pytest.raises(mm.DataError, match="depends on all rows"):
        mm.plot.spaghetti(fit)
    for number, each in enumerate((fit, fitted("y ~ t + z + (1 | g)"))):
        each.report(tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert ("Data and fitted lines. Population at the mean of z" in page) == bool(number)
