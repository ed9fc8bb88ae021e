"""False zeros and false stops: no fit ends above what many starts of a general optimiser find."""

from __future__ import annotations

import numpy as np
import pytest

import mixedmodels as mm
from boundary.search import assert_optimal
from boundary.simulated import SIMULATIONS

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


def check(name: str, seed: int, n_starts: int) -> mm.LmmResult:
    """Return the fit of one simulated data set by REML or, every third time, by ML, once it is known to be optimal."""
    formula, data = SIMULATIONS[name](np.random.default_rng([seed, list(SIMULATIONS).index(name)]))
    model = mm.LinearMixedModel(formula, data, weights="w" if "w" in data else None)
    return assert_optimal(model, reml=seed % 3 > 0, n_starts=n_starts)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", SIMULATIONS)
def test_as_low_as_many_starts(name: str, seed: int) -> None:
    check(name, seed, n_starts=8)


SEVERAL_OPTIMA = [
    ("three_factors", 1845),
    ("hardly_any_rows_slope", 4110),
    ("hardly_any_rows_slope", 4192),
    ("heavy_tails", 111),
    ("heavy_tails", 3697),
    ("heavy_tails", 4275),
]
"""The simulations in some 30,000 on which starts that are multiples of the identity all missed the best optimum."""


@pytest.mark.parametrize(("name", "seed"), SEVERAL_OPTIMA)
def test_best_of_several_optima(name: str, seed: int) -> None:
    check(name, seed, n_starts=40)


VALLEYS = [("three_factors", 109), ("three_factors", 877), ("maximal", 3123), ("hardly_any_rows_slope", 3049)]
"""Optima of rank one whose first variance is small: the rest of Lambda's rows can turn without changing S."""


@pytest.mark.parametrize(("name", "seed"), VALLEYS)
def test_valleys_are_not_crept_along(name: str, seed: int) -> None:
    fit = check(name, seed, n_starts=8)
    assert fit.is_singular
    assert fit.optimizer.n_iterations < 60


@pytest.mark.sweep
@pytest.mark.parametrize("hundred", range(1, 11))
@pytest.mark.parametrize("name", SIMULATIONS)
def test_as_low_as_many_starts_a_thousand_times(name: str, hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        check(name, seed, n_starts=16)
