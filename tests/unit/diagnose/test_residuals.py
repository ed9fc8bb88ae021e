"""Residuals, beside R's."""

from __future__ import annotations

import numpy as np
import pytest

from fixed_theta import reference_state
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import marginal_fitted


@pytest.mark.parametrize("name", ["cbpp_weights", "sleepstudy_slope", "penicillin_crossed"])
def test_as_r_reports(name: str) -> None:
    state, theirs = reference_state(name)
    tol = {"rtol": 1e-7, "atol": 1e-9}
    np.testing.assert_allclose(residuals(state)[:10], theirs["residuals_first10"], **tol)
    pearson = np.array(theirs["pearson_residuals_first10"])
    np.testing.assert_allclose(residuals(state, "pearson")[:10], pearson, **tol)
    np.testing.assert_allclose(residuals(state, "standardized")[:10], pearson / theirs["sigma"], **tol)
    assert (residuals(state, "conditional") ** 2).sum() == pytest.approx(theirs["sums"]["residuals_sq"], rel=1e-8)
    assert (residuals(state, "pearson") ** 2).sum() == pytest.approx(theirs["pieces"]["wrss"], rel=1e-8)


def test_marginal_residuals_leave_the_random_effects_in() -> None:
    state, _ = reference_state("sleepstudy_slope")
    np.testing.assert_allclose(residuals(state, "marginal"), state.design.y - marginal_fitted(state))


def test_unknown_kinds_name_those_that_exist() -> None:
    state, _ = reference_state("sleepstudy_slope")
    with pytest.raises(InferenceError, match=r"no 'standardised' residuals; there are .* Did you mean 'standardized'"):
        residuals(state, "standardised")
