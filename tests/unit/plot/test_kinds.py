"""Pictures of generalised models and those with correlated residuals show these fits' own numbers."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import mixedmodels as mm
from data_loader import load
from mixedmodels.diagnose.binned import bin_residuals

mpl.use("Agg")

HERDS = load("cbpp")
SICK = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", HERDS, "binomial")
COUNTS = mm.glmer("y ~ trt * lbase + (1 | subject)", load("epil"), "negative_binomial")
WINE = mm.glmer("rating ~ temp + contact + (1 | judge)", load("wine"), "ordinal")
TEETH = mm.load_dataset("Orthodont")
TEETH["visit"] = TEETH["age"].astype(int).astype("category")
VISITS = mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", TEETH, ddf="kenward-roger")
TIMES = mm.lmer("distance ~ age * Sex + (1 | Subject)", TEETH, residual="car1(age | Subject)")
GENERALISED = {"binomial": SICK, "counts": COUNTS, "ordinal": WINE}
KINDS = {**GENERALISED, "mmrm": VISITS, "correlated": TIMES}


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def points(ax: Axes) -> np.ndarray:
    return np.asarray(ax.collections[0].get_offsets())


def answers() -> pd.DataFrame:
    """Return yes or no of 40 people to 30 items with long names, some of which they did not see."""
    rng = np.random.default_rng(3)
    rows = [(f"participant {p:02d}", f"a rather long item {i}") for p in range(40) for i in range(30)]
    frame = pd.DataFrame(rows, columns=["person", "item"]).sample(frac=0.8, random_state=1)
    frame["how [frequent] $it$ is"] = rng.normal(size=len(frame))
    chance = 1 / (1 + np.exp(-frame["how [frequent] $it$ is"]))
    return frame.assign(correct=rng.random(len(frame)) < chance)


ANSWERS = mm.glmer("correct ~ `how [frequent] $it$ is` + (1 | person)", answers(), "binomial")


@pytest.mark.parametrize("name", KINDS)
def test_the_panel_of_every_kind_draws(name: str) -> None:
    fit = KINDS[name]
    axes = mm.plot.panel(fit)
    assert len(axes) == (3 if name == "mmrm" else 4)
    axes[0].figure.canvas.draw()
    standard = "Quantile residual" if name in GENERALISED else "Normalized residual"
    assert axes[0].get_ylabel() == axes[2].get_ylabel() == standard


@pytest.mark.parametrize("name", KINDS)
def test_residuals_are_drawn_against_fitted_values(name: str) -> None:
    fit = KINDS[name]
    kind = "quantile" if name in GENERALISED else "normalized"
    x, y = points(mm.plot.residual(fit)).T
    seed = {"seed": 0} if name in GENERALISED else {}
    np.testing.assert_allclose(y, fit.residuals(kind, **seed))
    fitted = fit.linear_predictor if name == "ordinal" else fit.fittedvalues
    if len(np.unique(fitted)) > 25:  # of few, points are spread
        np.testing.assert_allclose(x, fitted)
    first = fit.residuals() if name in GENERALISED else fit.residuals("pearson")
    named = fit.family.residual_kinds[0] if name in GENERALISED else "pearson"
    np.testing.assert_allclose(points(mm.plot.residual(fit, named))[:, 1], first)
    with pytest.raises(mm.InferenceError, match="There are no 'person' residuals"):
        mm.plot.residual(fit, "person")


def test_ratios_are_drawn_at_equal_distances() -> None:
    on = mm.plot.coefficients(SICK, exponentiate=True)
    assert on.get_xscale() == "log"
    assert on.get_xlabel() == "ratio of odds and 95 % interval"
    drawn = on.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(drawn, np.exp(SICK.fe_params[1:]))
    assert on.lines[0].get_xdata()[0] == 1
    with pytest.raises(mm.InferenceError, match="none of these has one"):
        mm.plot.coefficients(VISITS, exponentiate=True)
    with pytest.raises(mm.InferenceError, match="on one axis"):
        mm.plot.coefficients(SICK, COUNTS, exponentiate=True)


def test_coefficients_have_the_fits_own_degrees_of_freedom() -> None:
    on = mm.plot.coefficients(VISITS)
    ends = on.containers[0].lines[2][0].get_segments()
    table = VISITS.coef_table("kenward-roger").drop("Intercept")
    np.testing.assert_allclose([s[0, 0] for s in ends], table["ci_lower"])
    assert "1|2" not in [text.get_text() for text in mm.plot.coefficients(WINE).get_yticklabels()]


def test_means_of_a_generalised_model_are_those_of_margins() -> None:
    on = mm.plot.effects(SICK, "period")
    np.testing.assert_allclose(on.containers[0].lines[0].get_ydata(), SICK.margins("period")["estimate"])
    low, high = np.array([s[:, 1] for s in on.containers[0].lines[2][0].get_segments()]).T
    np.testing.assert_allclose(low, SICK.margins("period")["ci_lower"])
    np.testing.assert_allclose(high, SICK.margins("period")["ci_upper"])
    assert on.get_ylabel() == "cbind(incidence, size -\nincidence)"
    line = mm.plot.effects(COUNTS, "lbase", at={"lbase": [-1.0, 0.0, 1.0]}).lines[0].get_ydata()
    np.testing.assert_allclose(line, COUNTS.margins("lbase", at={"lbase": [-1.0, 0.0, 1.0]})["estimate"])


def test_chances_of_ordered_categories_are_lines() -> None:
    axes = mm.plot.effects(WINE, "temp", by="contact")
    table = WINE.margins("temp", by="contact")
    assert [on.get_title(loc="left") for on in axes] == ["contact = no", "contact = yes"]
    for on, contact in zip(axes, ("no", "yes"), strict=True):
        drawn = np.array([bars.lines[0].get_ydata() for bars in on.containers])
        np.testing.assert_allclose(drawn.T.ravel(), table.loc[contact, "estimate"])
        assert on.get_ylabel() == "chance of each rating"
        assert [text.get_text() for text in on.get_legend().get_texts()] == ["1", "2", "3", "4", "5"]
    assert len(mm.plot.effects(WINE)) == 2
    with pytest.raises(mm.InferenceError, match="lines are of categories"):
        mm.plot.effects(WINE, "temp", by=["contact", "temp"])


def test_partial_residuals_are_the_mean_and_what_is_left() -> None:
    x = load("epil")["lbase"].to_numpy()
    on = mm.plot.effects(COUNTS, "lbase", at={"lbase": np.unique(x).tolist()})
    expected = COUNTS.margins("lbase", at={"lbase": np.unique(x).tolist()})["estimate"]
    values = np.interp(x, np.unique(x), expected) + COUNTS.residuals("response")
    np.testing.assert_allclose(np.sort(points(on)[:, 1]), np.sort(values))


def test_yes_and_no_are_averaged_over_rows() -> None:
    on = mm.plot.effects(ANSWERS)
    drawn = points(on)
    assert len(drawn) == ANSWERS.nobs // 25
    frame = answers()
    values = frame["how [frequent] $it$ is"].to_numpy()
    order = np.argsort(values, kind="stable")[:25]
    assert drawn[0, 0] == pytest.approx(values[order].mean())
    assert on.get_ylabel() == "chance of correct"
    assert "averages of 25 rows" in on.texts[0].get_text()


def test_lines_of_levels_are_on_the_scale_of_the_response() -> None:
    on = mm.plot.spaghetti(ANSWERS)
    population = on.lines[-1].get_ydata()
    assert (population > 0).all()
    assert (population < 1).all()
    with pytest.raises(mm.InferenceError, match="Ordered categories have no mean"):
        mm.plot.spaghetti(WINE)


def test_binned_residuals() -> None:
    bins = bin_residuals(ANSWERS.state)
    assert bins.n.sum() == ANSWERS.nobs
    assert len(bins.n) == int(np.sqrt(ANSWERS.nobs))
    p, y = ANSWERS.fittedvalues.to_numpy(), answers()["correct"].to_numpy(float)
    first = np.argsort(p, kind="stable")[: bins.n[0]]
    assert bins.residual[0] == pytest.approx((y - p)[first].mean())
    assert bins.bound[0] == pytest.approx(1.959964 * np.sqrt((p * (1 - p))[first].sum()) / len(first))
    whole = bin_residuals(SICK.state, 1)
    size, p = HERDS["size"], SICK.fittedvalues.to_numpy()
    assert whole.bound[0] == pytest.approx(1.959964 * np.sqrt((p * (1 - p) / size).sum()) / len(p))
    on = mm.plot.binned_residual(SICK, 5)
    assert len(on.lines[-1].get_ydata()) == 5
    for wrong in (0, 1.5, 10_000, True):
        with pytest.raises(mm.InferenceError, match="n_bins is"):
            mm.plot.binned_residual(SICK, wrong)
    with pytest.raises(mm.InferenceError, match="Ordered categories"):
        mm.plot.binned_residual(WINE)
    with pytest.raises(mm.InferenceError, match="draws a generalised model"):
        mm.plot.binned_residual(VISITS)


def test_means_over_visits() -> None:
    on = mm.plot.visits(VISITS)
    margins = VISITS.margins("visit", by="Sex", ddf="kenward-roger")
    for container, sex in zip(on.containers, ("Male", "Female"), strict=True):
        np.testing.assert_allclose(container.lines[0].get_ydata(), margins.loc[sex, "estimate"])
        low = [s[0, 1] for s in container.lines[2][0].get_segments()]
        np.testing.assert_allclose(low, margins.loc[sex, "ci_lower"])
    texts = [text.get_text() for text in on.texts]
    counts = TEETH.groupby("Sex", observed=True).size() // 4
    assert texts == ["16"] * 4 + ["n Male"] + ["11"] * 4 + ["n Female"]
    assert counts.to_list() == [16, 11]
    assert not mm.plot.visits(VISITS, counts=False).texts
    with pytest.raises(mm.InferenceError, match="not in the fixed part"):
        mm.plot.visits(mm.mmrm("distance ~ age + us(visit | Subject)", TEETH))


def test_a_variogram_lies_about_one() -> None:
    on = mm.plot.variogram(TIMES)
    assert on.get_xlabel() == "Distance in age"
    assert np.allclose(np.unique(np.round(points(on)[:, 0])), [2, 4, 6])
    with pytest.raises(mm.InferenceError, match="structure over times or places"):
        mm.plot.variogram(VISITS)


@pytest.mark.parametrize("plot", [mm.plot.caterpillar, mm.plot.spaghetti, mm.plot.shrinkage, mm.plot.covariance])
def test_what_is_not_random_is_not_drawn(plot) -> None:
    with pytest.raises(mm.InferenceError, match="no random effects to draw"):
        plot(VISITS)


def test_levels_of_generalised_models_are_not_fitted_alone() -> None:
    with pytest.raises(mm.InferenceError, match="not fitted alone"):
        mm.plot.shrinkage(SICK)
    on = mm.plot.caterpillar(SICK)
    np.testing.assert_allclose(on.lines[1].get_xdata(), np.sort(SICK.random_effects["herd"]["Intercept"]))
