"""A model with something on its residuals, and random effects beside it, as a bootstrap sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.packed import cholesky_root
from mixedmodels.design.subset import draw_blocks, take_rows
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_fit import CorrelatedState, fit_correlated
from mixedmodels.fit.coupled import CoupledProblem
from mixedmodels.inference.correlated_parameters import CorrelatedMap, CorrelatedParameters
from mixedmodels.inference.pivots import LIFT, error_covariance
from mixedmodels.inference.replicated_marginal import MarginalReplicated

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState


@dataclass(frozen=True)
class CorrelatedReplicated(CorrelatedParameters, MarginalReplicated):
    """A fit with something on its residuals that can be simulated from and fitted again.

    Parameters
    ----------
    state
        The fit.
    wrap
        Makes the result that a statistic of the user's gets of a fit.
    """

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of bootstrap that there are of it: cases are blocks of rows that are independent of others."""
        has_cases = not isinstance(self.state.problem, CoupledProblem) and self.state.design.known_residual is None
        return ("parametric", "cases") if has_cases else ("parametric",)

    @property
    def units(self) -> dict[str, int]:
        """How many blocks of independent rows can be drawn, or left out."""
        problem = self.state.problem
        return {} if isinstance(problem, CoupledProblem) else {problem.cluster_name: problem.n_subjects}

    def values_of(self, state: MarginalState) -> Floats:
        """Return fixed effects and parameters of the covariance of one fit, (n_fixed + n_parameters,)."""
        assert isinstance(state, CorrelatedState)
        return np.concatenate([state.beta, CorrelatedMap(state).values_at(state.point)])

    def refit(self, y: Floats) -> CorrelatedState:
        """Return the fit to another response."""
        problem = self.state.problem.with_response(y)
        assert isinstance(problem, CorrelatedProblem)
        return self._fitted(problem)

    def refit_levels(self, name: str, drawn: npt.NDArray[np.int64]) -> CorrelatedState:
        """Return the fit to some blocks, each time one that is drawn a block of its own."""
        del name
        return self._fit(draw_blocks(self.state.design, self.state.problem.cluster, drawn))

    def refit_without(self, level: int) -> CorrelatedState:
        """Return the fit without one block."""
        return self._fit(take_rows(self.state.design, np.flatnonzero(self.state.problem.cluster != level)))

    def _fit(self, design: Design) -> CorrelatedState:
        return self._fitted(self.state.problem.with_design(design))

    def _fitted(self, problem: CorrelatedProblem) -> CorrelatedState:
        return fit_correlated(problem, reml=self.state.reml, control=self.state.control)

    def noise(self, values: pd.DataFrame) -> list[Floats]:
        """Return N, what levels' estimates vary by beside Sigma, (n_values, n_effects, n_effects) a factor.

        It is that of the fit, times the residual variance there over that of the fit.
        """
        size = np.ones(len(values))
        scale = next((p.name for p in self.map.parameters if p.kind == "sigma"), None)
        if scale is not None:
            sds = values[scale].to_numpy()
            size = (sds / sds[0]) ** 2
        return [size[:, None, None] * noise for noise in self._errors()]

    def _errors(self) -> list[Floats]:
        """Return N of each factor at the estimate, (n_effects, n_effects), off a variance of zero."""
        state, out = self.state, []
        covariance = state.problem.covariance
        lifted = state.point.copy()
        n = len(lifted) - covariance.n_coordinates
        for own, e in zip(covariance.effects_places, state.problem.effects, strict=True):
            column, row = np.triu_indices(1 if e.is_tied else e.size)
            places = np.arange(own.start, own.stop)[row == column] + n
            lifted[places] = np.where(np.abs(lifted[places]) < LIFT, LIFT, lifted[places])
        beside = replace(state, point=lifted)
        for S, C in zip(beside.effects_covariance, beside.conditional_covariance(), strict=True):
            root = cholesky_root(S)
            assert root is not None
            out.append(error_covariance(root, C))
        return out
