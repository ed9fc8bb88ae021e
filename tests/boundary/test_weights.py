"""Weights over many decades: the criterion has optima far from where ordinary ones lie, and the lowest is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels import MixedModelsError

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")

STARTS = 10.0 ** np.arange(-6, 8)


def weighted(seed: int, by_group: bool, weights_are_true: bool) -> pd.DataFrame:
    """Return 40 to 120 rows in 12 groups with weights over 24 decades, drawn by row or by group."""
    rng = np.random.default_rng(seed)
    n = (40, 80, 120)[seed % 3]
    g, x = rng.integers(0, 12, n), rng.normal(size=n)
    w = 10 ** rng.uniform(-12, 12, 12)[g] if by_group else 10 ** rng.uniform(-12, 12, n)
    error = rng.normal(size=n) / (np.sqrt(w) if weights_are_true else 1)
    y = 1 + x + (0.01, 1.0)[seed % 2] * rng.normal(size=12)[g] + error
    return pd.DataFrame({"y": y, "x": x, "g": g, "w": w})


def lowest(model: mm.LinearMixedModel, reml: bool) -> float:
    """Return the lowest deviance that descents from many starts find, each in multiples of the engine's units."""
    found = []
    rows, columns = model.problem.model.parameters.T[1:]
    for start in STARTS:
        theta = model.problem.model.to_user(np.where(rows == columns, start, 0.0))
        try:
            fit = model.fit(reml=reml, start=theta, control=mm.Control(n_starts=1))
        except MixedModelsError:  # it overflows at such a start
            continue
        found += [fit.deviance] if fit.converged else []
    return min(found)


@pytest.mark.parametrize("by_group", [False, True], ids=["by row", "by group"])
@pytest.mark.parametrize("weights_are_true", [False, True], ids=["equal", "true"])
@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x || g)"])
def test_the_lowest_optimum_is_found(formula: str, weights_are_true: bool, by_group: bool) -> None:
    for seed in range(12):
        model = mm.LinearMixedModel(formula, weighted(seed, by_group, weights_are_true), weights="w")
        for reml in (True, False):
            fit = model.fit(reml)
            # the digits of such a criterion can end before its slopes do, which is said; where it ends depends on the
            # last digits of the data, which are not the same for all versions of NumPy
            assert fit.converged or fit.state.optimum.status == "no further decrease", (seed, reml)
            assert fit.deviance <= lowest(model, reml) + 0.01, (seed, reml)
