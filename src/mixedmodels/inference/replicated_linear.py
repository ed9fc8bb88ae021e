"""A linear mixed model as a bootstrap sees it: responses drawn from it, and fits to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.subset import draw_levels, take_rows
from mixedmodels.errors import MixedModelsError
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted, random_part
from mixedmodels.fit.problem import Problem, net_responses, row_arguments
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.inference.bootstrap import CANNOT_FIT, KINDS, STOPPED_EARLY, Draw, Refits, std_errors
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.inference.pivots import error_covariances
from mixedmodels.inference.variance_parameters import LinearParameters, covariance_map, estimate, natural_values

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FitState


@dataclass(frozen=True)
class LinearReplicated(LinearParameters):
    """A linear mixed model that can be simulated from and fitted again.

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
        """The kinds of bootstrap that there are of it: relatives are not exchangeable, so they are not resampled."""
        return KINDS[:1] if self.state.design.is_related else KINDS

    @property
    def units(self) -> dict[str, int]:
        """How many levels of each grouping factor can be drawn, or left out."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    def values_of(self, state: FitState) -> Floats:
        """Return fixed effects and variance parameters of one fit, (n_fixed + n_parameters,)."""
        if isinstance(state, StructuredState):
            return np.append(state.beta, covariance_map(state).values(estimate(state)[None])[0])
        row: Floats = self._values(state.beta[None], np.array([state.sigma]), state.theta[None])[0]
        return row

    def _values(self, beta: Floats, sigma: Floats, theta: Floats) -> Floats:
        """Return fixed effects and variance parameters, (m, n_statistics), of beta (m, p), sigma (m,), theta (m, k)."""
        factors = self.state.design.factors
        parts = split_theta(sigma[:, None] * theta, [f.n_theta for f in factors])
        roots = [relative_factor(part, f.block_sizes) for part, f in zip(parts, factors, strict=True)]
        covariances = [root @ root.swapaxes(1, 2) for root in roots]
        return np.hstack([beta, natural_values(self.map.parameters, covariances, sigma)])

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        return self.state.fixed_names

    def errors_of(self, state: FitState) -> Floats:
        """Return the standard errors of the fixed effects of one fit, (n_fixed,)."""
        return std_errors(state)

    def draw(self, kind: str) -> Draw:
        """Return the function that draws a response, parametrically or from residuals."""
        return parametric_draw(self.state) if kind == "parametric" else residual_draw(self.state)

    def refits(self, Y: Floats) -> Refits:
        """Return estimates from responses, (m, n_obs), which the engine fits side by side."""
        design, problem = self.state.design, self.state.problem
        if design.is_structured:
            return self._one_by_one(Y)
        start = np.ascontiguousarray(self.state.theta)
        beta, errors, sigma, theta, _, status, singular = problem.model.refit_many(
            net_responses(design, Y), *row_arguments(design), self.state.reml, start
        )
        values = np.full((len(Y), self.state.n_fixed + len(self.map.parameters)), np.nan)
        fitted = status == 0
        values[fitted] = self._values(beta[fitted], sigma[fitted], theta[fitted])
        failures = tuple(CANNOT_FIT if code < 0 else STOPPED_EARLY for code in status[~fitted])
        errors[~fitted] = np.nan
        return Refits(values, errors, singular, failures)

    def _one_by_one(self, Y: Floats) -> Refits:
        """Return estimates from responses, fitted one after the other."""
        n_fixed, failures = self.state.n_fixed, []
        values = np.full((len(Y), n_fixed + len(self.map.parameters)), np.nan)
        errors, singular = np.full((len(Y), n_fixed), np.nan), np.zeros(len(Y), dtype=bool)
        for i, y in enumerate(Y):
            try:
                state = self.refit(y)
            except MixedModelsError as error:
                failures.append(str(error))
                continue
            singular[i] = state.is_singular
            if not state.optimum.converged:
                failures.append(STOPPED_EARLY)
                continue
            values[i], errors[i] = self.values_of(state), std_errors(state)
        return Refits(values, errors, singular, tuple(failures))

    def _fit(self, problem: Problem) -> FitState:
        return fit_problem(problem, reml=self.state.reml, control=self.state.control)

    def refit(self, y: Floats) -> FitState:
        """Return the fit to another response."""
        return self._fit(self.state.problem.with_response(y))

    def refit_levels(self, name: str, drawn: npt.NDArray[np.int64]) -> FitState:
        """Return the fit to some levels of a grouping factor, each time one that is drawn a level of its own."""
        return self._fit(Problem(draw_levels(self.state.design, name, drawn)))

    def refit_without(self, level: int) -> FitState:
        """Return the fit without a level of the grouping factor with fewest."""
        design = self.state.design
        return self._fit(Problem(take_rows(design, np.flatnonzero(design.factors[-1].codes != level))))

    def noise(self, values: pd.DataFrame) -> list[Floats]:
        """Return N, what levels' estimates vary by beside Sigma, (n_values, n_effects, n_effects) a factor."""
        variance = values["sigma"].to_numpy()[:, None, None] ** 2
        return [noise * variance for noise in error_covariances(self.state)]


def parametric_draw(state: FitState) -> Draw:
    """Return the function that draws y* = X beta + Z b* + e*: first the effects of each factor, then the residuals."""
    design, mean = state.design, marginal_fitted(state)
    scale = state.sigma if design.weights is None else state.sigma / np.sqrt(design.weights)
    parts = split_theta(state.theta, [f.n_theta for f in design.factors])
    roots = [
        state.sigma * relative_factor(part, f.block_sizes).T for part, f in zip(parts, design.factors, strict=True)
    ]

    def draw(rng: np.random.Generator) -> Floats:
        y = mean.copy()
        for factor, root in zip(design.factors, roots, strict=True):
            y += random_part(factor, drawn_effects(factor, rng) @ root)
        y += scale * rng.standard_normal(design.n_obs)
        return y

    return draw


def drawn_effects(factor: RandomFactor, rng: np.random.Generator) -> Floats:
    """Return standard normal effects of the levels, (n_levels, n_effects), correlated among levels as they are."""
    white = rng.standard_normal((factor.n_levels, factor.n_effects))
    return white if factor.relationship is None else factor.relationship.correlated(white)


def residual_draw(state: FitState) -> Draw:
    """Return the function that resamples modes by level and residuals by row, each reflated to its covariance."""
    design, mean = state.design, marginal_fitted(state)
    effects = []
    for b, fitted in zip(state.b, factor_covariances(state), strict=True):
        centred = b - b.mean(axis=0)
        effects.append(centred @ _reflation(centred.T @ centred / len(b), fitted.covariance))
    root = np.ones(design.n_obs) if design.weights is None else np.sqrt(design.weights)
    e = (design.y - conditional_fitted(state)) * root
    e -= e.mean()
    e *= state.sigma / np.sqrt(np.mean(e**2))

    def draw(rng: np.random.Generator) -> Floats:
        y = mean.copy()
        for factor, b in zip(design.factors, effects, strict=True):
            y += random_part(factor, b[rng.integers(0, factor.n_levels, factor.n_levels)])
        y += e[rng.integers(0, design.n_obs, design.n_obs)] / root
        return y

    return draw


def _reflation(empirical: Floats, fitted: Floats) -> Floats:
    """Return A with A' empirical A = fitted, on the space where the empirical covariance is not zero."""
    values, vectors = np.linalg.eigh(empirical)
    keep = values > 1e-12 * max(float(values.max()), 1e-300)
    down = vectors[:, keep] / np.sqrt(values[keep])
    values_up, vectors_up = np.linalg.eigh(vectors[:, keep].T @ fitted @ vectors[:, keep])
    up = (vectors_up * np.sqrt(np.maximum(values_up, 0))) @ vectors_up.T
    return np.asarray(down @ up @ vectors[:, keep].T)
