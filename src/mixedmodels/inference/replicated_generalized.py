"""A generalised mixed model as a bootstrap sees it: responses drawn from it, and fits to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.subset import draw_levels, rows_of_levels, take_rows
from mixedmodels.errors import InferenceError
from mixedmodels.fit.fitted import marginal_fitted, random_part
from mixedmodels.fit.generalized import fit_generalized, off_zero
from mixedmodels.inference.bootstrap import Draw, Refits, refitted_one_by_one
from mixedmodels.inference.covariances import factor_roots
from mixedmodels.inference.generalized_parameters import GeneralizedParameters
from mixedmodels.inference.pivots import LIFT, error_covariance
from mixedmodels.inference.thresholds import location_names, location_rows

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState

ONE_VALUE = "the response of the replicate has the same value in all rows"


@dataclass(frozen=True)
class GeneralizedReplicated(GeneralizedParameters):
    """A generalised mixed model that can be simulated from and fitted again.

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
        """The kinds of bootstrap that there are of it: rows have no residuals to draw from."""
        return ("parametric", "cases")

    @property
    def units(self) -> dict[str, int]:
        """How many levels of each grouping factor can be drawn, or left out."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    def values_of(self, state: GlmmState) -> Floats:
        """Return thresholds, fixed effects and variance parameters of one fit."""
        parameters = GeneralizedParameters(state)
        return np.concatenate([location_rows(state) @ state.psi, parameters.map.values(state.psi[None])[0]])

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of thresholds and fixed effects."""
        return location_names(self.state)

    def errors_of(self, state: GlmmState) -> Floats:
        """Return their standard errors in one fit."""
        rows = location_rows(state)
        return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, state.cov_psi, rows), 0.0)))

    def draw(self, kind: str) -> Draw:
        """Return the function that draws responses from the fitted distribution."""
        assert kind == "parametric"
        return generalized_draw(self.state)

    def refits(self, Y: Floats) -> Refits:
        """Return estimates from responses, (m, n_obs)."""
        return refitted_one_by_one(self, Y)

    def refit(self, y: Floats) -> GlmmState:
        """Return the fit to another response.

        Raises
        ------
        InferenceError
            If it does not vary.
        """
        return generalized_refit(self.state, y)

    def _fit(self, design: Design, rows: npt.NDArray[np.intp]) -> GlmmState:
        return fit_generalized(self.state.problem.with_design(design, rows), control=self.state.control)

    def refit_levels(self, name: str, drawn: npt.NDArray[np.int64]) -> GlmmState:
        """Return the fit to some levels of a grouping factor, each time one that is drawn a level of its own."""
        design = self.state.design
        return self._fit(draw_levels(design, name, drawn), rows_of_levels(design, name, drawn))

    def refit_without(self, level: int) -> GlmmState:
        """Return the fit without a level of the grouping factor with fewest."""
        design = self.state.design
        rows = np.flatnonzero(design.factors[-1].codes != level)
        return self._fit(take_rows(design, rows), rows)

    def noise(self, values: pd.DataFrame) -> list[Floats]:
        """Return N, what levels' estimates vary by beside Sigma, (n_values, n_effects, n_effects) a factor."""
        state, diagonal = self.state, [p.kind == "sd" for p in self.map.parameters[: len(self.state.theta)]]
        psi = state.psi.copy()
        theta = psi[: len(diagonal)]
        psi[: len(diagonal)] = np.where(diagonal & (np.abs(theta) < LIFT), LIFT, theta)
        lifted, _, _, _, covariances, _ = state.problem.model.estimates(psi)
        parts = split_theta(lifted, [f.n_theta for f in state.design.factors])
        out = []
        for factor, part, C in zip(state.design.factors, parts, covariances, strict=True):
            noise = error_covariance(relative_factor(part, factor.block_sizes), C)
            out.append(np.broadcast_to(noise, (len(values), *noise.shape)))
        return out


def generalized_refit(state: GlmmState, y: Floats) -> GlmmState:
    """Return the fit to another response, which starts from the parameters of a state.

    Raises
    ------
    InferenceError
        If it does not vary.
    """
    share = y / state.trials
    if share.min() == share.max():
        raise InferenceError(ONE_VALUE)
    return fit_generalized(state.problem.with_response(y), start=off_zero(state.psi), control=state.control)


def generalized_draw(state: GlmmState) -> Draw:
    """Return the function that draws responses: first the effects of each factor, then the rows'."""
    design, eta, roots = state.design, marginal_fitted(state), factor_roots(state)
    family = state.fitted_family

    def draw(rng: np.random.Generator) -> Floats:
        drawn = eta.copy()
        for factor, root in zip(design.factors, roots, strict=True):
            drawn += random_part(factor, rng.standard_normal((factor.n_levels, factor.n_effects)) @ root.T)
        return family.draw(drawn, state.trials, state.phi, rng)

    return draw
