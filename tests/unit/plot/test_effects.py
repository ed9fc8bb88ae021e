"""Interaction plots: the means of ``fit.margins`` where they are asked for, and rows behind them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

import mixedmodels as mm

KAISER = mm.lmer("value ~ treatment * phase * hour + (1 | id)", mm.load_dataset("obk_long"))
ORTHODONT = mm.lmer("distance ~ age * Sex + (age | Subject)", mm.load_dataset("Orthodont"))


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def means(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(bars.lines[0].get_ydata(), dtype=float) for bars in ax.containers]


def points(ax: Axes) -> np.ndarray:
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)])


def test_two_variables_are_lines_and_panels() -> None:
    axes = mm.plot.effects(KAISER, "hour", by=["treatment", "phase"])
    table = KAISER.margins("hour", by=["phase", "treatment"])["estimate"]
    assert [ax.get_title(loc="left") for ax in axes] == ["phase = fup", "phase = post", "phase = pre"]
    for ax, phase in zip(axes, ["fup", "post", "pre"], strict=True):
        drawn = means(ax)
        assert len(drawn) == 3
        for treatment, line in zip(["control", "A", "B"], drawn, strict=True):
            np.testing.assert_allclose(line, table.loc[phase].loc[treatment], rtol=1e-12)
        assert len(points(ax)) == 80
        assert ax.get_ylim() == axes[0].get_ylim()


def test_means_of_categories_are_joined_where_lines_are_compared() -> None:
    assert len(mm.plot.effects(KAISER, "hour", by="treatment").get_lines()) == 3 * 4  # points, two caps, the line
    assert len(mm.plot.effects(KAISER, "hour").get_lines()) == 3


def test_values_can_be_given() -> None:
    ax = mm.plot.effects(
        KAISER, "hour", by="phase", at={"hour": ["1", "5"], "phase": ["pre", "post"], "treatment": "A"}
    )
    table = KAISER.margins("hour", by="phase", at={"treatment": "A", "hour": ["1", "5"]})["estimate"]
    np.testing.assert_allclose(means(ax)[0], table.loc["pre"], rtol=1e-12)
    np.testing.assert_allclose(means(ax)[1], table.loc["post"], rtol=1e-12)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["pre", "post"]
    assert len(points(ax)) == 16 * 2 * 2  # people, hours, phases


def test_lines_at_given_numbers() -> None:
    ax = mm.plot.effects(ORTHODONT, "Sex", by="age", at={"age": [8, 14]})
    table = ORTHODONT.margins("Sex", by="age", at={"age": [8, 14]})["estimate"]
    np.testing.assert_allclose(means(ax), [table.loc[8], table.loc[14]], rtol=1e-12)
    assert len(points(ax)) == 108
    line = mm.plot.effects(ORTHODONT, "age", at={"age": [8, 10, 20]}).get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [8, 10, 20]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variable": "hour", "by": ["treatment", "phase", "hour"]}, "by names 3 variables"),
        ({"by": ["treatment", "phase"]}, "name the variable to draw along"),
        ({"variable": "hour", "by": ["treatment", "treatment"]}, "'treatment' twice"),
        ({"variable": "hour", "by": ["treatment", "hour"]}, "the variable itself"),
        ({"variable": "hour", "at": {"hours": 1}}, "hours"),
        ({"variable": "hour", "at": {"phase": "before"}}, "before"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.plot.effects(KAISER, **arguments)


def test_many_rows_are_a_sample_that_says_so() -> None:
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"x": rng.normal(size=20_000), "arm": rng.choice(["a", "b"], 20_000)})
    data["g"] = rng.integers(0, 100, 20_000)
    data["y"] = data["x"] + rng.normal(size=100)[data["g"]] + rng.normal(size=20_000)
    fit = mm.lmer("y ~ x * arm + (1 | g)", data)
    ax = mm.plot.effects(fit, "x")
    assert len(points(ax)) == 2_000
    assert [text.get_text() for text in ax.texts] == ["2,000 of 20,000 rows"]
    distances = np.abs(points(ax)[:, :1] - data["x"].to_numpy()[None]).min(axis=1)
    assert distances.max() == 0  # rows of the data
    ax = mm.plot.effects(fit, "arm", by="x")
    assert [text.get_text() for text in ax.texts] == ["666 rows of each group"]
    assert min(c.get_zorder() for c in ax.collections) < 1
