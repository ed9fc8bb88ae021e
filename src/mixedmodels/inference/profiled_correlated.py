"""A model with something on its residuals, and random effects beside it, as a profile sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_fit import effects_coordinates, effects_covariance, fit_correlated
from mixedmodels.inference.correlated_parameters import CorrelatedParameters
from mixedmodels.inference.profiled_marginal import MarginalProfiled
from mixedmodels.inference.without_effect import Without, design_without, tied_with

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.inference.variance_parameter import VarianceParameter


@dataclass(frozen=True)
class CorrelatedProfiled(CorrelatedParameters, MarginalProfiled):
    """A fit with something on its residuals as a profile sees it."""

    @cached_property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """Which elements of psi are diagonal ones of a Lambda, in which the criterion is even, (n_psi,)."""
        out = np.zeros(self.state.n_covariance, dtype=bool)
        problem = self.state.problem
        for own, e in zip(problem.covariance.effects_places, problem.effects, strict=True):
            column, row = np.triu_indices(1 if e.is_tied else e.size)
            out[own] = row == column
        return out

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return the lowest criterion where a standard deviation of random effects is zero; None for others."""
        if parameter.factor < 0 or parameter.kind != "sd":
            return None
        state, place = self.state, (parameter.factor, parameter.row)
        reduced = design_without(state.design, *place)
        fit = fit_correlated(self._reduced(reduced), reml=state.reml, control=state.control)
        covariances = self._with_zero(effects_covariance(fit.problem, fit.point), *place)
        residual = fit.problem.covariance.with_effects(fit.point, np.zeros(0))
        return Without(fit.optimum.deviance, self._psi(residual, covariances), is_empty=False)

    def _reduced(self, design: Design | None) -> CorrelatedProblem:
        """Return the problem of fewer random effects."""
        problem = self.state.problem
        if design is not None:
            return problem.with_design(design)
        alone = replace(self.state.design, factors=())
        return CorrelatedProblem(alone, sigma=problem.known_sigma, n_threads=problem.n_threads)

    def _with_zero(self, found: list[Floats], factor: int, column: int) -> list[Floats]:
        """Return covariances of all random effects from those of the others."""
        design, left, out = self.state.design, iter(found), []
        dropped = tied_with(design.factors[factor], column)
        for k, f in enumerate(design.factors):
            kept = [c for c in range(f.n_effects) if k != factor or c not in dropped]
            whole = np.zeros((f.n_effects, f.n_effects))
            if kept:
                whole[np.ix_(kept, kept)] = next(left)
            out.append(whole)
        return out

    def _psi(self, residual: Floats, covariances: list[Floats]) -> Floats:
        """Return psi of a point of the residuals and covariances of random effects."""
        return self.map.psi(np.concatenate([residual, effects_coordinates(self.state.problem, covariances)]))

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Return psi of a model without an effect, with the effect put back uncorrelated and small."""
        problem, point = self.state.problem, self.map.point(without.psi)
        covariances = effects_covariance(problem, point)
        places = sorted(tied_with(self.state.design.factors[parameter.factor], parameter.row))
        covariances[parameter.factor][places, places] = value**2
        return self._psi(problem.covariance.with_effects(point, np.zeros(0)), covariances)

    def elsewhere(self, psi: Floats) -> Iterator[Floats]:
        """Yield psi with the correlations of one effect reversed, each effect in turn, and where the fit began."""
        problem = self.state.problem
        point = self.map.point(psi)
        residual = problem.covariance.with_effects(point, np.zeros(0))
        for e in problem.effects:
            for j in range(e.size if e.size > 1 and not e.is_tied else 0):
                covariances = effects_covariance(problem, point)
                sign = np.ones(len(covariances[e.factor]))
                sign[e.first + j] = -1.0
                covariances[e.factor] = covariances[e.factor] * np.outer(sign, sign)
                yield self._psi(residual, covariances)
        for start in problem.starts():
            yield self.map.psi(start)
