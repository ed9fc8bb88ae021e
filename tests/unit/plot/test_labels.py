"""Names in plots: literal, short, distinct, and never at the cost of the data."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import mixedmodels as mm
from data_loader import load
from mixedmodels.plot.canvas import new_figure, scatter
from mixedmodels.plot.labels import SHORT, level_names, literal, name
from mixedmodels.plot.selection import name_categories

INSTITUTE = "Sankt-Elisabeth-Gymnasium Nordrhein {} (day and evening classes)"


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def long_names() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"week": np.tile(np.arange(6.0), 24)})
    data["institution"] = np.repeat([INSTITUTE.format(chr(65 + i)) for i in range(24)], 6)
    arms = [
        f"{kind}, with twelve sessions of telephone counselling"
        for kind in ("usual care", "CBT", "drug", "both", "wait")
    ]
    data["arm"] = rng.choice(arms, 144)
    intercepts, slopes = np.repeat(rng.normal(size=(2, 24)), 6, axis=1)
    data["depression score [HAM-D, 17 items]"] = (
        50 + 8 * intercepts + (3 + slopes) * data["week"] + rng.normal(size=144)
    )
    return data


LONG = mm.lmer("`depression score [HAM-D, 17 items]` ~ week * arm + (week | institution)", long_names())


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        (["a", 2, "control"], ["a", "2", "control"]),
        (["control group of the first year", "treatment"], ["control group of the…", "treatment"]),
        (
            ["the very long name of a school 1", "the very long name of a school 2"],
            ["the very lon…a school 1", "the very lon…a school 2"],
        ),
        (
            [INSTITUTE.format("A"), INSTITUTE.format("B")],
            ["…A (day and evening…", "…B (day and evening…"],
        ),
        ([], []),
    ],
)
def test_names_of_levels_are_short_and_distinct(levels: list[object], names: list[str]) -> None:
    assert level_names(levels) == names
    assert all(len(text) <= SHORT for text in names)


def test_names_of_axes_are_broken_into_even_lines() -> None:
    assert name("Reaction") == "Reaction"
    assert name("Fitted depression score [HAM-D, 17 items]") == "Fitted depression score\n[HAM-D, 17 items]"
    lines = name("word " * 60).splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("…")


def test_names_of_coefficients_are_broken_between_variables() -> None:
    text = "task[T.lexdec]:stimulus[T.nonword]:density[T.high]"
    assert name(text, 28) == "task[T.lexdec]:\nstimulus[T.nonword]:\ndensity[T.high]"
    assert name("word " * 7 + "x" * 60, 28).splitlines()[-1] == "x" * 14 + "…" + "x" * 13


def test_dollars_are_drawn_as_they_are() -> None:
    assert literal("cost") == "cost"
    ax = plt.figure().add_subplot()
    ax.set_xlabel(name("$cost_per_{$"))  # as mathematics it would be an error
    ax.figure.canvas.draw()
    _, is_mathematics = ax.xaxis.label._preprocess_math(ax.get_xlabel())
    assert not is_mathematics


@pytest.mark.parametrize("draw", [mm.plot.caterpillar, mm.plot.shrinkage, mm.plot.effects, mm.plot.spaghetti])
def test_long_names_leave_room_for_the_data(draw) -> None:
    axes = np.ravel(np.asarray(draw(LONG), dtype=object))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of axes without room
        axes[0].figure.canvas.draw()
    figure_box = axes[0].figure.bbox
    for ax in axes:
        box = ax.get_window_extent()
        assert box.width * len(axes) > 0.45 * figure_box.width
        assert box.height > 0.5 * figure_box.height
        label = ax.yaxis.label.get_window_extent()
        assert figure_box.y0 <= label.y0 <= label.y1 <= figure_box.y1


def test_legend_of_many_lines_leaves_room_for_the_data() -> None:
    ax = mm.plot.effects(LONG, "week", by="arm")
    ax.figure.canvas.draw()
    assert ax.get_window_extent().width / ax.figure.dpi > 3.6


def test_names_beside_a_small_panel_are_no_longer_than_it() -> None:
    figure, ax = new_figure((4.2, 3.5))
    mm.plot.effects(LONG, "arm", ax=ax)
    figure.canvas.draw()
    assert ax.get_ylabel() == "depression score\n[HAM-D, 17 items]"
    assert ax.yaxis.label.get_window_extent().height < ax.get_window_extent().height


@pytest.mark.parametrize(("n", "rotation"), [(3, 0), (12, 30), (45, 90), (300, 90)])
def test_names_of_categories_turn_where_they_have_no_room(n: int, rotation: int) -> None:
    ax = plt.figure(figsize=(4.8, 3.8), layout="constrained").add_subplot()
    name_categories(ax, [f"level {i}" for i in range(n)])
    ax.figure.canvas.draw()
    labels = ax.get_xticklabels()
    assert {label.get_rotation() for label in labels} == {rotation}
    assert len(labels) <= 50
    assert labels[-1].get_text() == f"level {int(ax.get_xticks()[-1])}"


def middles(ax: Axes) -> np.ndarray:
    return np.asarray(ax.collections[0].get_offsets())


def test_hexagons_have_the_colour_that_was_asked_for() -> None:
    ax = plt.figure().add_subplot()
    x, y = np.random.default_rng(1).normal(size=(2, 6_000))
    scatter(ax, x, y, color="C2")
    ax.figure.canvas.draw()
    colors = ax.collections[0].get_facecolors()
    np.testing.assert_allclose(colors[:, :3], np.tile(to_rgb("C2"), (len(colors), 1)))
    assert colors[:, 3].min() < 0.3 < colors[:, 3].max() <= 0.8


def test_crowds_at_few_places_are_spread_but_not_mixed() -> None:
    ax = plt.figure().add_subplot()
    x = np.tile(np.arange(4.0), 1_000)
    scatter(ax, x, np.zeros(4_000))
    shown = middles(ax)[:, 0]
    assert np.abs(shown - x).max() <= 0.15
    assert len(np.unique(shown)) == 4_000
    scatter(few := plt.figure().add_subplot(), x[:100], np.zeros(100))
    np.testing.assert_array_equal(middles(few)[:, 0], x[:100])


def test_names_of_moved_levels_stay_inside() -> None:
    rows = load("sleepstudy")
    names = {subject: f"participant {subject} of the laboratory" for subject in rows["Subject"].unique()}
    rows["Subject"] = rows["Subject"].map(names).astype(str)
    ax = mm.plot.shrinkage(mm.lmer("Reaction ~ Days + (Days | Subject)", rows))
    ax.figure.canvas.draw()
    frame = ax.get_window_extent()
    assert 9 <= len(ax.texts) < 18
    assert ax.get_title().replace("\n", " ").startswith(f"named: the {len(ax.texts)} of 18 levels")
    for text in ax.texts:
        box = text.get_window_extent()
        assert frame.x0 < box.x0 < box.x1 < frame.x1


@pytest.mark.parametrize("kind", ["level_intervals", "design", "coefficients", "caterpillar"])
def test_nothing_beside_or_below_an_axis_is_overprinted(kind: str) -> None:
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"a": np.repeat(np.arange(60), 20), "b": np.tile(np.arange(20), 60)})
    data["x"] = 1e5 + rng.normal(0, 15, len(data))
    data["y"] = 0.05 * data.x + rng.normal(size=60)[data.a] + rng.normal(size=20)[data.b] + rng.normal(size=len(data))
    fit = mm.lmer("y ~ x + (1 | a) + (1 | b)", data)
    drawn = mm.fit_each("y ~ x | a", data).plot() if kind == "level_intervals" else getattr(mm.plot, kind)(fit)
    for ax in np.ravel(drawn):
        ax.figure.canvas.draw()
        for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
            ends = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
            overlaps = [before[1] - after[0] for before, after in itertools.pairwise(ends)]
            assert max(overlaps, default=-1) < 0
