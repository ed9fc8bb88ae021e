"""Residuals by simulation: where each observation lies among responses drawn from the model (Dunn and Smyth 1996)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.long_work import carry_out
from mixedmodels.predict.simulate import responses
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from mixedmodels.design.records import Floats
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
    n_made, n_asked
        Simulations: fewer than were asked for if the work was interrupted.
    """

    scaled: pd.Series[float]
    tests: pd.DataFrame
    n_made: int
    n_asked: int

    @property
    def notes(self) -> list[str]:
        """What whoever uses the residuals is to know."""
        if self.n_made == self.n_asked:
            return []
        return [f"The simulation was interrupted: {self.n_made} of {self.n_asked} responses were drawn."]

    def __repr__(self) -> str:
        heading = f"Simulated residuals of {len(self.scaled)} rows, uniform if the model is right"
        return "\n".join([heading, *self.notes, repr(self.tests)])


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
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` is from the simulations that were made, None if there are none.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    y = state.design.y
    centre = marginal_fitted(state) if random_effects == "new" else conditional_fitted(state)
    below = np.zeros(len(y), dtype=np.intp)
    variances: list[float] = []

    def blocks() -> Iterator[int]:
        for draw in islice(responses(state, seed=seed, random_effects=random_effects), n):
            below[:] += draw < y
            variances.append(float(np.var(draw - centre)))
            yield 1

    def made() -> SimulatedResiduals | None:
        if not variances:
            return None
        tests = _tests(below, float(np.var(y - centre)), np.array(variances))
        scaled = (below + 0.5) / (len(variances) + 1)
        residuals = pd.Series(scaled, index=state.design.row_labels, name="scaled_residual")
        return SimulatedResiduals(residuals, tests, len(variances), int(n))

    return carry_out(blocks(), int(n), "simulated residuals", shown=False, made=made)


def _tests(below: npt.NDArray[np.intp], observed: float, simulated: Floats) -> pd.DataFrame:
    """Return the tests from the numbers of simulations below each row, and the variance among simulated ones."""
    from scipy import stats  # noqa: PLC0415  # takes longer to import than most fits take

    n = len(simulated)
    share = (float(np.sum(simulated >= observed)) + 1) / (n + 1)
    outside = int(np.sum((below == 0) | (below == n)))
    uniform = stats.kstest((below + 0.5) / (n + 1), "uniform")
    tests = {
        "uniformity": (float(uniform.statistic), float(uniform.pvalue)),
        "dispersion": (observed / float(simulated.mean()), min(1.0, 2 * min(share, 1 - share + 1 / (n + 1)))),
        "outliers": (float(outside), float(stats.binomtest(outside, len(below), 2 / (n + 1)).pvalue)),
    }
    table = pd.DataFrame.from_dict(tests, orient="index", columns=["statistic", "p_value"])
    return show_notes(table.rename_axis("test"))
