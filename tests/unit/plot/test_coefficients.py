"""Forest plots: whose numbers, in which order, under which names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import mixedmodels as mm

MACHINES = mm.load_dataset("Machines")
FIT = mm.lmer("score ~ Machine + (1 | Worker)", MACHINES)
OTHER = mm.lmer("score ~ 1 + (1 | Worker)", MACHINES)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def points(ax: Axes, i: int = 0) -> np.ndarray:
    return np.asarray(ax.containers[i][0].get_xydata())


def test_points_and_bars_are_the_table() -> None:
    ax = mm.plot.coefficients(FIT, ddf="kenward-roger", level=0.9)
    table = FIT.coef_table("kenward-roger", 0.9).drop("Intercept")
    np.testing.assert_array_equal(points(ax)[:, 0], table["estimate"])
    ends = np.array([segment[:, 0] for segment in ax.containers[0][2][0].get_segments()])
    np.testing.assert_allclose(ends, table[["ci_lower", "ci_upper"]], rtol=1e-12)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Machine[T.B]", "Machine[T.C]"]
    assert ax.get_xlabel() == "estimate and 90 % interval"


def test_order_is_that_asked_for_from_the_top() -> None:
    ax = mm.plot.coefficients(FIT, terms=["Machine[T.C]", "Intercept"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Machine[T.C]", "Intercept"]
    np.testing.assert_array_equal(points(ax)[:, 0], FIT.fe_params[["Machine[T.C]", "Intercept"]])
    assert ax.yaxis_inverted()


def test_several_fits_stand_beside_each_other() -> None:
    ax = mm.plot.coefficients(FIT, FIT.update(reml=False), OTHER, names=["REML", "ML", "mean"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["REML", "ML", "mean"]
    heights = [points(ax, i)[0, 1] for i in range(2)]
    assert heights[0] < heights[1] < 0.5
    assert np.isnan(points(ax, 2)[:, 0]).all()


def test_an_intercept_alone_is_drawn() -> None:
    assert [tick.get_text() for tick in mm.plot.coefficients(OTHER).get_yticklabels()] == ["Intercept"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"terms": ["Machine[T.D]"]}, r"no coefficient 'Machine\[T.D\]'; there are Intercept"),
        ({"terms": []}, "terms is empty"),
        ({"names": ["a", "b"]}, "2 names and 1 fits"),
        ({"level": 2}, "level"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.plot.coefficients(FIT, **arguments)


def test_no_fit_is_refused() -> None:
    with pytest.raises(mm.InferenceError, match="no fit"):
        mm.plot.coefficients()
