"""Likelihood and information criteria, beside R's."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from fixed_theta import reference_state, state_at
from mixedmodels.design.build import build_design
from mixedmodels.formula.parse import parse_formula
from mixedmodels.inference import criteria


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("name", ["sleepstudy_slope", "cbpp_weights", "dyestuff_ri"])
def test_as_r_counts(name: str, method: str) -> None:
    state, theirs = reference_state(name, method)
    assert criteria.log_likelihood(state) == pytest.approx(theirs["logLik"], abs=1e-8)
    assert criteria.aic(state) == pytest.approx(theirs["AIC"], abs=1e-8)
    assert criteria.bic(state) == pytest.approx(theirs["BIC"], abs=1e-8)


def test_aicc_by_hand() -> None:
    state, theirs = reference_state("dyestuff_ri", "ML")
    assert criteria.aicc(state) == pytest.approx(theirs["AIC"] + 2 * 3 * 4 / (30 - 3 - 1), abs=1e-8)


def test_aicc_is_infinite_with_as_many_parameters_as_rows() -> None:
    data = pd.DataFrame({"y": [1.0, 2, 4, 3], "g": ["a", "b", "a", "b"]})
    state = state_at(build_design(parse_formula("y ~ 1 + (1 | g)"), data), [0.5])
    assert criteria.aicc(state) == math.inf


def test_residual_degrees_of_freedom() -> None:
    state, _ = reference_state("sleepstudy_rankdef")
    assert criteria.residual_df(state) == 178
