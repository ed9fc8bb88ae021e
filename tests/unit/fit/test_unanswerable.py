"""What the engine cannot compute at an estimate is refused in words of this package."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm


@pytest.mark.parametrize("question", ["information", "covariance_derivatives", "conditional_covariance"])
def test_where_nothing_is_left_to_the_residual_there_is_no_inference(question: str) -> None:
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 4)})
    data["y"] = np.array([1.0, 3, 2, 5, 4, 9])[data.g]  # the larger theta, the better the fit
    problem = mm.LinearMixedModel("y ~ 1 + (1 | g)", data).problem
    arguments = (True,) if question == "information" else ()
    with pytest.raises(mm.InferenceError, match="This fit allows no inference: the likelihood cannot be evaluated"):
        getattr(problem, question)(np.array([1e10]), *arguments)
