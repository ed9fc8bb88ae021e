"""Residuals by simulation: where each observation lies among responses drawn from the model (Dunn and Smyth 1996)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.predict.simulate import responses

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


@dataclass(frozen=True)
class SimulatedResiduals:
    """Scaled residuals: uniform on (0, 1) if the model is right.

    Attributes
    ----------
    scaled
        Share of simulations below the observation, (n_obs,).
    tests
        ``statistic, p_value`` of uniformity (Kolmogorov and Smirnov; its p-value is approximate, since observations of
        a level are correlated), dispersion (variance of the residuals against simulated ones) and outliers (outside of
        all simulations).
    """

    scaled: pd.Series[float]
    tests: pd.DataFrame

    def __repr__(self) -> str:
        heading = f"Simulated residuals of {len(self.scaled)} rows, uniform if the model is right"
        return f"{heading}\n{self.tests.to_string()}"


def simulated_residuals(
    state: FitState, n: int = 250, *, seed: int | None = None, random_effects: str = "new"
) -> SimulatedResiduals:
    """Return scaled residuals from n simulated responses.

    Parameters
    ----------
    state
        The fit.
    n
        Simulations.
    seed
        Of the random numbers.
    random_effects
        ``"new"`` (unconditional) or ``"conditional"``.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    """
    from scipy import stats  # noqa: PLC0415  # takes longer to import than most fits take

    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    y = state.design.y
    centre = marginal_fitted(state) if random_effects == "new" else conditional_fitted(state)
    below = np.zeros(len(y), dtype=np.intp)
    simulated = np.empty(n)
    for j, draw in enumerate(islice(responses(state, seed=seed, random_effects=random_effects), n)):
        below += draw < y
        simulated[j] = np.var(draw - centre)
    scaled = (below + 0.5) / (n + 1)
    observed = float(np.var(y - centre))
    share = (float(np.sum(simulated >= observed)) + 1) / (n + 1)
    outside = int(np.sum((below == 0) | (below == n)))
    uniform = stats.kstest(scaled, "uniform")
    tests = {
        "uniformity": (float(uniform.statistic), float(uniform.pvalue)),
        "dispersion": (observed / float(simulated.mean()), min(1.0, 2 * min(share, 1 - share + 1 / (n + 1)))),
        "outliers": (float(outside), float(stats.binomtest(outside, len(y), 2 / (n + 1)).pvalue)),
    }
    frame = pd.DataFrame.from_dict(tests, orient="index", columns=["statistic", "p_value"]).rename_axis("test")
    return SimulatedResiduals(pd.Series(scaled, index=state.design.row_labels, name="scaled_residual"), frame)
