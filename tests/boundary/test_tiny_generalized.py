"""Generalised fits of tiny data sets: none ends above an optimum that random starts find, or says that it is one where
the criterion has none."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import mixedmodels as mm
from mixedmodels.errors import ConvergenceWarning
from mixedmodels.fit.generalized import fit_generalized

_spec = spec_from_file_location("many_starts", Path(__file__).parents[2] / "benchmarks" / "many_starts.py")
assert _spec is not None
assert _spec.loader is not None
many_starts = sys.modules["many_starts"] = module_from_spec(_spec)
_spec.loader.exec_module(many_starts)

FLAT = [7, 55, 135, 239, 431, 527, 831]
"""Without effects no zero is in excess, and the criterion is flat there."""
SADDLES = [479]
"""A dispersion of zero, where the gradient says nothing."""
CRAWLS = [335, 470, 847]
"""The model of the Hessian lacks much of it."""
SEVERAL_OPTIMA = [250, 502, 543, 688, 1519, 2063]
BESIDE_THE_EDGE = [783, 326, 382]
"""The first walks run where log |H| falls without bound."""


@pytest.mark.parametrize("seed", [*FLAT, *SADDLES, *CRAWLS, *SEVERAL_OPTIMA, *BESIDE_THE_EDGE])
def test_ends_at_the_best_optimum_that_starts_find(seed: int) -> None:
    found = many_starts.outcome(seed)
    assert found.is_optimum
    assert not found.is_missed, found


@pytest.mark.parametrize("seed", [469, 517, 613, 925, 952])
def test_criterion_does_not_hang_on_where_modes_are_looked_for(seed: int) -> None:
    problem = many_starts.problem_of(seed)
    fit = fit_generalized(problem)
    assert max(abs(fit.theta)) > 10  # so that Newton's method converges late
    assert abs(problem.deviance(fit.psi) - fit.optimum.deviance) < 3e-7


@pytest.mark.parametrize("seed", [86, 623, 718])
def test_says_that_there_is_no_minimum(seed: int) -> None:
    data, family, model, _ = many_starts.tiny_data(seed)
    family = family.removeprefix("zero_inflated_")
    with pytest.warns(ConvergenceWarning, match=r"no minimum was found.*n_agq=15"):
        fit = mm.glmer(model, data, family, zero_inflation="~ 1")
    assert not fit.converged
    assert [f.data["status"] for f in fit.findings if f.kind == "not_converged"] == ["no minimum"]
    problem = many_starts.problem_of(seed)
    assert fit_generalized(problem.with_nodes(15)).optimum.converged


@pytest.mark.sweep
@pytest.mark.parametrize("hundred", range(20))
def test_ends_at_the_best_optimum_that_starts_find_two_thousand_times(hundred: int) -> None:
    missed = [seed for seed in range(100 * hundred, 100 * hundred + 100) if many_starts.outcome(seed).is_missed]
    assert not missed
