"""Every plot on fits of every shape: it draws, is labelled by the data's names, and shows the fit's numbers."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from scipy import special

import mixedmodels as mm
from data_loader import load

mpl.use("Agg")

OF_A_FIT = [mm.plot.caterpillar, mm.plot.effects, mm.plot.panel, mm.plot.qq, mm.plot.residual, mm.plot.scale_location]
OF_A_FIT += [mm.plot.shrinkage, mm.plot.trace]


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def odd_names(n_levels: int) -> pd.DataFrame:
    """Two visits of each patient, names that need backticks, a long category, weights."""
    rng = np.random.default_rng(4)
    n = 2 * n_levels
    data = pd.DataFrame({"patient id": np.repeat(np.arange(n_levels), 2), "dose [mg]": rng.uniform(0, 3, n)})
    data["$arm_1$"] = np.where(data["patient id"] % 2 == 0, "standard care and a placebo", "treatment")
    data["w"] = rng.uniform(0.5, 2, n)
    data["y"] = data["dose [mg]"] + np.repeat(rng.normal(size=n_levels), 2) + rng.normal(size=n)
    return data


def fits() -> dict[str, mm.LmmResult]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        return {
            "slopes": mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy")),
            "crossed": mm.lmer("diameter ~ (1 | plate) + (1 | sample)", load("Penicillin")),
            "nested": mm.lmer("strength ~ (1 | batch / cask)", load("Pastes")),
            "zero": mm.lmer("Yield ~ 1 + (1 | Batch)", load("Dyestuff2")),
            "categories": mm.lmer("score ~ Machine + (0 + Machine | Worker)", load("Machines")),
            "three": mm.lmer("y ~ `dose [mg]` + (1 | `patient id`)", odd_names(3)),
            "many": mm.lmer("y ~ `dose [mg]` * `$arm_1$` + (1 | `patient id`)", odd_names(3000), weights="w"),
        }


FITS = fits()
SLEEP = FITS["slopes"]


def lines_of(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in ax.get_lines()]


@pytest.mark.parametrize("name", FITS)
def test_every_plot_draws_every_fit(name: str) -> None:
    fit = FITS[name]
    for draw in OF_A_FIT:
        if draw is mm.plot.effects and name in ("crossed", "nested", "zero"):
            continue
        axes = np.ravel(np.asarray(draw(fit), dtype=object))
        assert all(isinstance(ax, Axes) and ax.get_xlabel() for ax in axes)
        axes[0].figure.canvas.draw()
        plt.close("all")


@pytest.mark.parametrize("name", ["slopes", "categories", "three", "many"])
def test_spaghetti_is_labelled_by_the_data(name: str) -> None:
    ax = mm.plot.spaghetti(FITS[name])
    column = {"slopes": "Days", "categories": "Machine"}.get(name, "dose [mg]")
    assert (ax.get_xlabel(), ax.get_ylabel()) == (column, FITS[name].state.design.response_name)
    ax.figure.canvas.draw()


def test_plots_draw_where_they_are_told() -> None:
    figure, axes = plt.subplots(1, 2)
    assert mm.plot.caterpillar(SLEEP, ax=axes).tolist() == axes.tolist()
    assert mm.plot.residual(SLEEP, ax=axes[1]) is axes[1]
    assert len(figure.axes) == 2
    assert SLEEP.plot().shape == (4,)


def test_every_plot_takes_axes() -> None:
    for name in mm.plot.__all__:
        assert "ax" in inspect.signature(getattr(mm.plot, name)).parameters


def test_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(
        mm.MixedModelsError, match=r"2 panels \(Intercept by Subject, Days by Subject\), but ax holds 1"
    ):
        mm.plot.caterpillar(SLEEP, ax=plt.subplots()[1])


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(mm.MixedModelsError, match=r"^Plots need matplotlib.*: .*pip install matplotlib$"):
        mm.plot.residual(SLEEP)


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (mm.plot.caterpillar, {"group": "Subjct"}, r"no grouping factor 'Subjct'.*mean 'Subject'"),
        (mm.plot.caterpillar, {"effect": "Day"}, r"no random effect 'Day'.*mean 'Days'"),
        (mm.plot.caterpillar, {"level": 95}, "between 0 and 1"),
        (mm.plot.covariance, {"levels": [2.0]}, "between 0 and 1"),
        (mm.plot.qq, {"of": "residual"}, r"no set of values 'residual'.*mean 'residuals'"),
        (mm.plot.residual, {"kind": "raw"}, "no 'raw' residuals"),
        (mm.plot.effects, {"variable": "Dys"}, r"no variable 'Dys'.*mean 'Days'"),
        (mm.plot.effects, {"variable": "Days", "by": "Days"}, "the variable itself"),
        (mm.plot.effects, {"by": "Days"}, "no variable whose effect"),
        (mm.plot.spaghetti, {"x": "Reaction"}, r"no data column in the model 'Reaction'"),
    ],
)
def test_unknown_names_are_refused(draw, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        draw(SLEEP, **arguments)


def test_one_effect_has_no_ellipse_and_intercepts_no_lines() -> None:
    with pytest.raises(mm.InferenceError, match="plate has one random effect, Intercept"):
        mm.plot.covariance(FITS["crossed"])
    with pytest.raises(mm.InferenceError, match="no column to draw lines against"):
        mm.plot.spaghetti(FITS["nested"])


def test_caterpillar_shows_the_modes_in_order() -> None:
    ax = mm.plot.caterpillar(SLEEP, effect="Days")
    modes = SLEEP.random_effects["Subject"]["Days"].sort_values()
    _, points = lines_of(ax)
    np.testing.assert_allclose(points[:, 0], modes)
    assert [label.get_text() for label in ax.get_yticklabels()] == modes.index.astype(str).tolist()


def test_caterpillar_names_only_the_extremes_of_many() -> None:
    ax = mm.plot.caterpillar(FITS["many"])
    modes = FITS["many"].random_effects["patient id"]["Intercept"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [str(modes.idxmin()), str(modes.idxmax())]
    assert ax.get_ylabel() == "patient id: 3,000 levels in order"


def test_modes_of_a_zero_variance_are_named_as_such() -> None:
    ax = mm.plot.qq(FITS["zero"], "Batch")
    assert [text.get_text() for text in ax.texts] == ["variance estimated as zero"]


def test_effects_draw_the_fixed_line_with_its_band() -> None:
    ax = mm.plot.effects(SLEEP, "Days")
    [line] = lines_of(ax)
    intercept, slope = SLEEP.fe_params
    np.testing.assert_allclose(line[:, 1], intercept + slope * line[:, 0])
    band = ax.collections[1].get_paths()[0].vertices
    at_zero = band[band[:, 0] == 0, 1]
    expected = SLEEP.coef_table().loc["Intercept", ["ci_lower", "ci_upper"]]
    np.testing.assert_allclose([at_zero.min(), at_zero.max()], expected)


def test_partial_residuals_keep_the_residual_and_the_mean() -> None:
    ax = mm.plot.effects(SLEEP, "Days")
    points = np.asarray(ax.collections[0].get_offsets())
    intercept, slope = SLEEP.fe_params
    np.testing.assert_allclose(points[:, 1] - intercept - slope * points[:, 0], SLEEP.resid, atol=1e-9)


def test_effects_by_a_category_have_a_line_each() -> None:
    ax = mm.plot.effects(FITS["many"], "dose [mg]", by="$arm_1$")
    assert len(ax.get_lines()) == 2
    ax.figure.canvas.draw()


def test_scale_location_guide_is_the_normal_mean() -> None:
    ax = mm.plot.scale_location(SLEEP)
    expected = 2**0.25 * special.gamma(0.75) / np.sqrt(np.pi)
    assert ax.get_lines()[0].get_ydata()[0] == pytest.approx(expected)


def test_spaghetti_draws_the_population_line() -> None:
    population = lines_of(mm.plot.spaghetti(SLEEP))[-1]
    intercept, slope = SLEEP.fe_params
    np.testing.assert_allclose(population[:, 1], intercept + slope * population[:, 0])


def test_profile_plots_are_straight_where_the_likelihood_is_quadratic() -> None:
    profiled = FITS["crossed"].profile()
    axes = mm.plot.profile(profiled)
    again = mm.plot.profile(FITS["crossed"])
    np.testing.assert_array_equal(axes[0].lines[-1].get_xydata(), again[0].lines[-1].get_xydata())
    assert len(profiled.plot(levels=(0.5,))) == len(axes)
    with pytest.raises(mm.InferenceError, match="take a fit or its profile"):
        mm.plot.profile(3)
    assert [ax.get_xlabel() for ax in axes] == list(profiled.estimates)
    pairs = mm.plot.profile_pairs(profiled)
    assert len(pairs) == 3
    axes[0].figure.canvas.draw()
    pairs[0].figure.canvas.draw()
    with pytest.raises(mm.InferenceError, match="two variance parameters"):
        mm.plot.profile_pairs(FITS["crossed"].profile("sigma"))


def test_zero_variance_is_told_beside_its_modes() -> None:
    ax = mm.plot.caterpillar(FITS["zero"])
    assert ax.get_title() == "variance estimated as zero"
    assert ax.get_xticks().tolist() == [0]
    assert mm.plot.caterpillar(SLEEP, effect="Days").get_title() == ""


def test_lines_of_many_levels_are_a_sample_that_says_so() -> None:
    ax = mm.plot.spaghetti(FITS["many"])
    lines, population = lines_of(ax)
    gaps = np.isnan(lines[:, 1]).sum()
    assert gaps == 149
    dose = FITS["many"].state.design.columns["dose [mg]"].values
    assert population[[0, -1], 0].tolist() == [dose.min(), dose.max()]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["patient id: 150 of 3,000 levels", "population"]
    fitted = FITS["many"].fittedvalues
    ends = lines[np.r_[0, np.flatnonzero(np.isnan(lines[:, 1])) + 1], 1]  # two rows a patient: lines begin at one
    assert np.isclose(ends[:, None], fitted.to_numpy()[None], rtol=1e-12).any(axis=1).all()


def test_wide_bands_run_out_of_the_frame() -> None:
    data = load("sleepstudy").query("Subject.astype('str') in ['308', '309', '310']")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    ax = mm.plot.effects(fit, "Days", level=0.999)
    bottom, top = ax.get_ylim()
    points = np.asarray(ax.collections[0].get_offsets())[:, 1]
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert bottom < points.min() <= points.max() < top
    assert top - bottom <= 5.001 * np.ptp(points)
    assert band.min() < bottom < top < band.max()


def test_more_lines_than_colours_are_told_apart() -> None:
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"site": np.repeat(list("ABCDEFGHIJKLM"), 20), "x": rng.normal(size=260)})
    data["g"] = rng.integers(0, 10, 260)
    data["y"] = data["x"] + rng.normal(size=10)[data["g"]] + rng.normal(size=260)
    ax = mm.plot.effects(mm.lmer("y ~ x + site + (1 | g)", data), "x", by="site")
    assert len({mpl.colors.to_hex(line.get_color()) for line in ax.get_lines()}) == 13


@pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning")
def test_nested_factors_are_drawn_within_what_they_are_nested_in() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"arm": np.repeat(["ctl", "trt"], [20, 40]), "number": np.repeat(["1", "1", "2"], 20)})
    data = data.assign(site=np.tile(np.arange(10), 6), kind=data["arm"] + data["number"], y=rng.normal(size=60))
    data["sex"] = np.tile(["f", "m", "m"], 20)
    fit = mm.lmer("y ~ arm/number + sex + (1 | site)", data)
    ax = mm.plot.effects(fit, "number")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ctl", "trt"]
    drawn = [np.asarray(bars.lines[0].get_ydata(), dtype=float) for bars in ax.containers]
    means = fit.margins("number")["estimate"]
    np.testing.assert_allclose(drawn[0], [means["1", "ctl"], np.nan])
    np.testing.assert_allclose(drawn[1], [means["1", "trt"], means["2", "trt"]])
    assert mm.plot.effects(mm.lmer("y ~ arm/kind + (1 | site)", data), "kind", by="arm").get_legend() is not None
    with pytest.raises(mm.InferenceError, match=r"'number' is nested in 'arm', and .* Draw it by 'arm'"):
        mm.plot.effects(fit, "number", by="sex")


def test_levels_that_a_profile_does_not_reach_are_left_out() -> None:
    profiled = FITS["crossed"].profile("sigma")
    short = profiled.zeta[profiled.zeta["zeta"] < 1.9]
    ax = mm.plot.profile(type(profiled)(short, {"sigma": (0.0, np.inf)}, profiled.estimates))
    bounds = sorted(line[0, 0] for line in lines_of(ax)[2:-1])
    expected = profiled.conf_int(0.5).loc["sigma"].tolist() + profiled.conf_int(0.8).loc["sigma"].tolist()
    np.testing.assert_allclose(bounds, sorted(expected))
    with pytest.raises(mm.InferenceError, match="between 0 and 1"):
        mm.plot.profile(profiled, levels=[95])


def test_contours_fill_the_axes_of_pairs() -> None:
    for ax in mm.plot.profile_pairs(FITS["slopes"].profile()):
        outermost = lines_of(ax)[2]
        limits = np.array([ax.get_xlim(), ax.get_ylim()])
        assert (np.ptp(outermost, axis=0) >= 0.8 * np.ptp(limits, axis=1)).all()
        assert (outermost.min(axis=0) >= limits[:, 0]).all()
        assert (outermost.max(axis=0) <= limits[:, 1]).all()


def test_levels_of_a_profile_are_named() -> None:
    profiled = SLEEP.profile(["sd_Days|Subject", "sigma"])
    for ax in mm.plot.profile(profiled):
        assert [text.get_text() for text in ax.texts] == ["50 %", "80 %", "95 %", "99 %"]
        heights = [text.xy[1] for text in ax.texts]
        np.testing.assert_allclose(heights, special.ndtri([0.75, 0.9, 0.975, 0.995]))
    ax = mm.plot.profile_pairs(profiled, levels=(0.5, 0.9))
    assert [text.get_text() for text in ax.texts] == ["50 %", "90 %"]


def test_names_among_points_do_not_overlap_and_are_explained() -> None:
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"clinic": np.repeat(np.arange(90), 4), "x": np.tile(np.arange(4.0), 90)})
    effects = 0.2 * rng.normal(size=(2, 90))
    data["y"] = effects[0][data["clinic"]] + effects[1][data["clinic"]] * data["x"] + rng.normal(size=360)
    for random in ("x", "1"):
        ax = mm.plot.shrinkage(mm.lmer(f"y ~ x + ({random} | clinic)", data))
        ax.figure.canvas.draw()
        told = f"named: the {len(ax.texts)} of 90 levels that the model moves most and that have room"
        assert ax.get_title().replace("\n", " ") == told
        boxes = [text.get_window_extent().shrunk(0.9, 0.9) for text in ax.texts]
        assert 2 <= len(boxes) <= 6
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_data_lines_are_in_the_legend() -> None:
    assert [text.get_text() for text in mm.plot.spaghetti(SLEEP).get_legend().get_texts()] == [
        "data",
        "each Subject",
        "population",
    ]
