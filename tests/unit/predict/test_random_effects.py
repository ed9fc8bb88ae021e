"""Conditional modes and their covariances, beside R's."""

from __future__ import annotations

import numpy as np
import pytest

from fixed_theta import reference_state
from mixedmodels.predict.random_effects import random_effects, random_effects_cov


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("name", ["sleepstudy_slope", "cbpp_weights", "penicillin_crossed", "machines_noint"])
def test_as_r_reports(name: str, method: str) -> None:
    state, theirs = reference_state(name, method)
    modes, covariances = random_effects(state), random_effects_cov(state)
    assert list(modes) == list(covariances) == [ranef["group"] for ranef in theirs["ranef"]]
    for ranef in theirs["ranef"]:
        ours = modes[ranef["group"]]
        assert ours.index.name == ranef["group"]
        assert [str(level) for level in ours.index[:10]] == ranef["levels"]
        np.testing.assert_allclose(ours.iloc[:10], ranef["values"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(covariances[ranef["group"]][:10], ranef["cond_var"], rtol=1e-6)


def test_changing_a_frame_leaves_the_fit_alone() -> None:
    state, _ = reference_state("sleepstudy_slope")
    before = state.b[0].copy()
    frame = random_effects(state)["Subject"]
    frame.iloc[:] = 0.0
    np.testing.assert_array_equal(state.b[0], before)
