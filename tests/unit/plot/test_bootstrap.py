"""Pictures of bootstrap replicates: all of them, the estimate, and the limits that the table has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

import mixedmodels as mm
from data_loader import load

FIT = mm.lmer("Reaction ~ Days + (1 | Subject)", load("sleepstudy"))
DRAWS = FIT.bootstrap(60, seed=3, progress=False)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_every_replicate_is_in_a_bar() -> None:
    axes = mm.plot.bootstrap(DRAWS)
    assert [ax.get_xlabel() for ax in axes] == list(DRAWS.replicates.columns)
    for ax in axes:
        assert sum(bar.get_height() for bar in ax.patches) == 60
    assert axes[0].get_title(loc="left") == "60 replicates"


@pytest.mark.parametrize("kind", ["percentile", "basic"])
def test_lines_are_limits_and_estimate(kind: str) -> None:
    ax = mm.plot.bootstrap(DRAWS, "Days", kind=kind, level=0.8)
    limits = DRAWS.conf_int(kind, 0.8).loc["Days"]
    drawn = [float(np.asarray(line.get_xdata())[0]) for line in ax.get_lines()]
    assert drawn == [limits["lower"], limits["upper"], FIT.fe_params["Days"]]


def test_what_is_missing_is_said() -> None:
    holed = DRAWS.replicates.copy()
    holed.iloc[:4] = np.nan
    with pytest.warns(mm.PartialResultWarning, match="60 of 100 replicates were made") as warned:
        ax = mm.plot.bootstrap(replace(DRAWS, replicates=holed, n_failed=4, n_asked=100), "Days")
    assert warned[0].filename == __file__
    assert ax.get_title(loc="left") == "60 replicates of 100, 4 failed"
    assert sum(bar.get_height() for bar in ax.patches) == 56


def test_unknown_statistics_are_refused() -> None:
    with pytest.raises(mm.InferenceError, match="no statistic 'Day'"):
        mm.plot.bootstrap(DRAWS, "Day")
