"""The picture of a design: what it says of crossing and nesting, and that its cells are the data's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import mixedmodels as mm
from data_loader import load


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def fit(formula: str, data: pd.DataFrame) -> mm.LmmResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MixedModelsWarning)
        return mm.lmer(formula, data)


PENICILLIN = fit("diameter ~ 1 + (1 | plate) + (1 | sample)", load("Penicillin"))
PASTES = fit("strength ~ 1 + (1 | batch / cask)", load("Pastes"))
EVALUATIONS = fit("y ~ 1 + (1 | s) + (1 | d)", load("InstEval"))
KAISER = fit("value ~ treatment * phase + (1 | id)", mm.load_dataset("obk_long"))


@pytest.mark.parametrize(
    ("drawn", "arguments", "title"),
    [
        (PENICILLIN, {}, "plate and sample cross: 144 of 144 cells have rows"),
        (PASTES, {}, "cask:batch is nested in batch"),
        (PASTES, {"rows": "batch"}, "cask:batch is nested in batch"),
        (EVALUATIONS, {}, "s and d cross in part: 73,421 of\n3,352,416 cells have rows (0.022)"),
        (KAISER, {}, "id is nested in treatment"),
        (KAISER, {"columns": "phase"}, "id and phase cross: 48 of 48 cells have rows"),
    ],
)
def test_title_says_how_factors_stand(drawn: mm.LmmResult, arguments: dict[str, str], title: str) -> None:
    ax = mm.plot.design(drawn, **arguments)
    assert ax.get_title() == title
    ax.figure.canvas.draw()


def test_cells_are_counts_of_rows() -> None:
    data = load("Penicillin").drop(index=[0, 5, 6])
    ax = mm.plot.design(fit("diameter ~ 1 + (1 | plate) + (1 | sample)", data))
    shown = np.nan_to_num(ax.images[0].get_array().filled(np.nan))
    counts = pd.crosstab(data["plate"], data["sample"])
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    np.testing.assert_array_equal(shown, counts.loc[names])


def test_nested_levels_are_steps() -> None:
    shown = ~np.isnan(mm.plot.design(PASTES).images[0].get_array().filled(np.nan))
    np.testing.assert_array_equal(np.argmax(shown, axis=1), np.repeat(np.arange(10), 3))
    assert (shown.sum(axis=1) == 1).all()


def test_no_row_is_lost_where_neighbours_share_a_cell() -> None:
    shown = mm.plot.design(EVALUATIONS).images[0].get_array().filled(np.nan)
    assert shown.shape == (300, 300)
    assert np.nansum(shown) == EVALUATIONS.nobs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": "plates"}, "no factor 'plates'; there are plate, sample"),
        ({"rows": "plate", "columns": "plate"}, "both 'plate'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message):
        mm.plot.design(PENICILLIN, **arguments)


def test_one_factor_alone_is_refused() -> None:
    with pytest.raises(mm.InferenceError, match="the only factor"):
        mm.plot.design(fit("Yield ~ 1 + (1 | Batch)", load("Dyestuff")))
