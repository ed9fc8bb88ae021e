"""A model with correlated residuals as a bootstrap sees it: responses drawn from it, and fits to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.subset import draw_subjects, take_rows
from mixedmodels.fit.fitted import marginal_fitted
from mixedmodels.fit.marginal_fit import fit_marginal
from mixedmodels.fit.subjects import draw_residuals
from mixedmodels.inference.bootstrap import Draw, Refits, refitted_one_by_one, std_errors
from mixedmodels.inference.marginal_parameters import MarginalParameters, StructureMap

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState


@dataclass(frozen=True)
class MarginalReplicated(MarginalParameters):
    """A fit with correlated residuals that can be simulated from and fitted again.

    Parameters
    ----------
    state
        The fit.
    wrap
        Makes the result that a statistic of the user's gets of a fit.
    """

    wrap: Callable[[Any], Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of bootstrap that there are of it."""
        return ("parametric", "cases")

    @property
    def units(self) -> dict[str, int]:
        """How many subjects can be drawn, or left out."""
        rows = self.state.problem.rows
        return {rows.term.subject: rows.n_subjects}

    def values_of(self, state: MarginalState) -> Floats:
        """Return fixed effects and parameters of the covariance of one fit, (n_fixed + n_parameters,)."""
        return np.concatenate([state.beta, StructureMap(state).values_at(state.point)])

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        return self.state.fixed_names

    def errors_of(self, state: MarginalState) -> Floats:
        """Return the standard errors of the fixed effects of one fit, (n_fixed,)."""
        return std_errors(state)

    def draw(self, kind: str) -> Draw:
        """Return the function that draws responses from the fitted distribution."""
        assert kind == "parametric"
        return marginal_draw(self.state)

    def refits(self, Y: Floats) -> Refits:
        """Return estimates from responses, (m, n_obs)."""
        return refitted_one_by_one(self, Y)

    def refit(self, y: Floats) -> MarginalState:
        """Return the fit to another response."""
        return marginal_refit(self.state, y)

    def refit_levels(self, name: str, drawn: npt.NDArray[np.int64]) -> MarginalState:
        """Return the fit to some subjects, each time one that is drawn a subject of its own."""
        del name
        return self._fit(draw_subjects(self.state.design, drawn))

    def refit_without(self, level: int) -> MarginalState:
        """Return the fit without one subject."""
        design, subject = self.state.design, self.state.problem.rows.subject
        return self._fit(take_rows(design, np.flatnonzero(subject != level)))

    def _fit(self, design: Design) -> MarginalState:
        problem = self.state.problem.with_design(design)
        return fit_marginal(problem, reml=self.state.reml, control=self.state.control)

    def noise(self, values: pd.DataFrame) -> list[Floats]:
        """Return nothing: no factor has levels whose estimates have errors of their own."""
        del values
        return []


def marginal_draw(state: MarginalState) -> Draw:
    """Return the function that draws responses by subject."""
    fitted = marginal_fitted(state)

    def draw(rng: np.random.Generator) -> Floats:
        return np.asarray(fitted + draw_residuals(state, 1, rng)[:, 0])

    return draw


def marginal_refit(state: MarginalState, y: Floats) -> MarginalState:
    """Return the fit to another response."""
    return fit_marginal(state.problem.with_response(y), reml=state.reml, control=state.control)
