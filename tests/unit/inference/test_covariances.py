"""Covariances of the random effects, beside R's."""

from __future__ import annotations

import numpy as np
import pytest

from data_loader import load
from fixed_theta import reference_state, state_at
from mixedmodels.design.build import build_design
from mixedmodels.formula.parse import parse_formula
from mixedmodels.inference.covariances import covariance_frame, factor_covariances


@pytest.mark.parametrize("name", ["sleepstudy_slope", "machines_noint", "penicillin_crossed", "pastes_nested"])
def test_as_r_reports(name: str) -> None:
    state, theirs = reference_state(name)
    for ours, block in zip(factor_covariances(state), theirs["varcorr"], strict=True):
        assert ours.group == block["group"]
        np.testing.assert_allclose(ours.covariance, block["cov"], rtol=1e-7)
        np.testing.assert_allclose(ours.sd, block["sd"], rtol=1e-7)
        np.testing.assert_allclose(ours.correlation, block["corr"], rtol=1e-7)


def test_long_form_lists_variances_then_covariances() -> None:
    state, _ = reference_state("machines_noint")
    frame = covariance_frame(factor_covariances(state), state.sigma)
    assert list(frame) == ["group", "effect_1", "effect_2", "covariance", "sd_or_corr"]
    assert frame["group"].tolist() == ["Worker"] * 6 + ["Residual"]
    assert frame["effect_2"].isna().tolist() == [True] * 3 + [False] * 3 + [True]
    np.testing.assert_allclose(frame["covariance"].iloc[:3], frame["sd_or_corr"].iloc[:3] ** 2)
    pair = frame.iloc[4]
    product = frame["sd_or_corr"].iloc[0] * frame["sd_or_corr"].iloc[2]
    assert (pair["effect_1"], pair["effect_2"]) == ("Machine[A]", "Machine[C]")
    assert pair["covariance"] == pytest.approx(pair["sd_or_corr"] * product)
    assert frame.iloc[-1]["sd_or_corr"] == state.sigma


def test_double_bar_has_no_covariance_to_list() -> None:
    design = build_design(parse_formula("Reaction ~ Days + (Days || Subject)"), load("sleepstudy"))
    state = state_at(design, [1.0, 0.2])
    (factor,) = factor_covariances(state)
    assert factor.covariance[0, 1] == 0
    assert np.isnan(factor.correlation[0, 1])
    assert len(covariance_frame((factor,), state.sigma)) == 3


def test_correlation_of_a_zero_variance_is_undefined() -> None:
    design = build_design(parse_formula("Reaction ~ Days + (Days | Subject)"), load("sleepstudy"))
    (factor,) = factor_covariances(state_at(design, [1.0, 0.0, 0.0]))
    assert np.isnan(factor.correlation[0, 1])
    assert factor.correlation[0, 0] == 1
