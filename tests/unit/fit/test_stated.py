"""States at parameters that the user states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.fit.stated import with_parameters
from mixedmodels.inference.covariances import factor_covariances

SLEEP = mm.load_dataset("sleepstudy")
COVARIANCE = np.array([[4.0, -1.0], [-1.0, 0.25]])  # singular


@pytest.fixture(scope="module")
def fit() -> mm.LmmResult:
    return mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


@pytest.mark.parametrize("covariance", [COVARIANCE, COVARIANCE + np.eye(2), np.zeros((2, 2)), np.diag([0.0, 2.0])])
def test_covariances_come_back(fit: mm.LmmResult, covariance: np.ndarray) -> None:
    state = with_parameters(fit.state, varcorr={"Subject": covariance}, sigma=0.3)
    np.testing.assert_allclose(factor_covariances(state)[0].covariance, covariance, atol=1e-12)
    assert state.sigma == 0.3
    assert (state.theta[[0, 2]] >= 0).all()


def test_what_is_not_named_stays(fit: mm.LmmResult) -> None:
    state = with_parameters(fit.state, beta={"Days": 7}, sigma=3.0)
    np.testing.assert_array_equal(state.beta, [fit.fe_params["Intercept"], 7.0])
    np.testing.assert_allclose(factor_covariances(state)[0].covariance, fit.varcorr["Subject"], rtol=1e-12)


def test_frames_are_read_by_name(fit: mm.LmmResult) -> None:
    backwards = pd.DataFrame([[0.25, -1.0], [-1.0, 4.0]], index=["Days", "Intercept"], columns=["Days", "Intercept"])
    state = with_parameters(fit.state, varcorr={"Subject": backwards}, beta=pd.Series({"Days": 1.0, "Intercept": 2.0}))
    np.testing.assert_allclose(factor_covariances(state)[0].covariance, COVARIANCE, atol=1e-12)
    np.testing.assert_array_equal(state.beta, [2.0, 1.0])


def test_bad_parameters(fit: mm.LmmResult) -> None:
    options: list[tuple[dict[str, Any], str]] = [
        ({"sigma": 0}, "sigma is 0; the residual standard deviation must be a positive number"),
        ({"sigma": True}, "sigma is True"),
        (
            {"beta": [1.0]},
            r"beta is \[1.0\]; it must map fixed effects to numbers, or hold 2, one each for Intercept, Days",
        ),
        ({"beta": {"Days": "a"}}, "beta has 'a' for 'Days'; it must be a finite number"),
        ({"beta": {"Days": np.inf}}, "beta has inf for 'Days'"),
        ({"varcorr": 2.0}, r"varcorr is 2.0; it must map grouping factors to covariances .* such as {'Subject': 1.0}"),
        ({"varcorr": {"subject": 1}}, "There is no grouping factor 'subject'.* Did you mean 'Subject'"),
        ({"varcorr": {"Subject": 1.0}}, "it must be 2 variances or a symmetric 2 x 2 matrix, for Intercept, Days"),
        ({"varcorr": {"Subject": [[1, 2], [3, 9]]}}, "it must be 2 variances or a symmetric"),
        (
            {"varcorr": {"Subject": [[1, 2], [2, 1]]}},
            "is no covariance: a combination of its effects has the variance -1",
        ),
        ({"varcorr": {"Subject": [-1, 1]}}, "is no covariance"),
        (
            {"varcorr": {"Subject": pd.DataFrame(np.eye(2), index=["a", "b"], columns=["a", "b"])}},
            "it must be 2 variances",
        ),
    ]
    for option, message in options:
        with pytest.raises(mm.InferenceError, match=message):
            with_parameters(fit.state, **option)
    apart = mm.lmer("Reaction ~ Days + (Days || Subject)", SLEEP)
    with pytest.raises(mm.InferenceError, match=r"whose covariance is zero .* in blocks of 1, 1"):
        with_parameters(apart.state, varcorr={"Subject": [[2.0, 0.5], [0.5, 1.0]]})
    assert with_parameters(apart.state, varcorr={"Subject": [4, 9]}, sigma=1).theta.tolist() == [2.0, 3.0]
