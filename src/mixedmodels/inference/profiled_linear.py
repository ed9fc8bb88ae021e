"""A linear mixed model as a profile sees it.

Variance parameters are held on a surface in the engine's psi = (theta~, log sigma); a fixed effect by moving its column
to the response. Under REML the determinant of the whole X'V^-1X stays in the criterion, so that zeta is zero at the
estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.problem import Problem
from mixedmodels.fit.structured_fit import refuse_structures
from mixedmodels.inference.measure import Measure
from mixedmodels.inference.profiler import FixedEffect, Point
from mixedmodels.inference.variance_parameter import VarianceParameter
from mixedmodels.inference.variance_parameters import LinearParameters
from mixedmodels.inference.without_effect import Without, fit_without

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats


@dataclass(frozen=True)
class LinearProfiled(LinearParameters):
    """A linear mixed model as a profile sees it."""

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        return self.state.fixed_names

    @property
    def lowest(self) -> float:
        """The criterion at the fit."""
        return self.state.optimum.deviance

    @cached_property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """Which elements of psi are diagonal ones of Lambda~, (n_theta + 1,)."""
        refuse_structures(self.state.design, "A profile")
        _, row, column = self.state.problem.model.parameters.T
        return np.append(row == column, False)

    def fixed(self, j: int) -> FixedEffect:
        """Return one of the fixed effects."""
        state = self.state
        dof = state.design.n_obs - (state.fixed_rank if state.reml else 0)
        others = [k for i, k in enumerate(state.kept) if i != j]
        names = tuple(state.design.x_names[k] for k in others)
        X = np.ascontiguousarray(state.design.X[:, others])
        reduced = Problem(replace(state.design, X=X, x_names=names), n_threads=state.problem.n_threads)
        column = state.design.X[:, state.kept[j]]

        def solve(c: float, psi: Floats) -> Point | None:
            moved = reduced.with_response(state.design.y - c * column).model
            model = state.problem.model
            try:
                theta, deviance, _, converged = model.minimize_beside(moved, psi[:-1], state.reml)
            except ValueError:  # the criterion cannot be evaluated there
                return None
            if not converged:
                return None
            beta, cov, sigma, _ = model.solve(model.to_user(theta), state.reml)
            r2 = dof * sigma**2 + (c - beta[j]) ** 2 / cov[j, j]
            slope = 2 * dof * (c - beta[j]) / (cov[j, j] * r2)
            return Point(c, deviance, float(slope), np.append(theta, 0.5 * np.log(r2 / dof)))

        value, se = float(state.beta[j]), float(np.sqrt(state.cov_beta[j, j]))
        return FixedEffect(value, se, np.zeros_like(self.psi), solve)

    def solve(self, held: VarianceParameter | Measure, c: float, psi: Floats) -> Point | None:
        """Return the lowest criterion with a parameter's free value, or a function's value, held at c, from psi on."""
        model = self.state.problem.model
        try:
            if isinstance(held, Measure):
                found = model.minimize_on_function(psi, held, c, self.state.reml)
            else:
                place = held.factor, max(held.row, 0), max(held.column, 0)
                found = model.minimize_on(psi, place, c, self.state.reml)
        except ValueError:  # the criterion cannot be evaluated there
            return None
        point, deviance, slope, converged = found
        return Point(c, deviance, slope, point) if converged else None

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return the lowest criterion where a standard deviation is zero; None for sigma, which never is."""
        return fit_without(self.state, parameter.factor, parameter.row) if parameter.kind == "sd" else None

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Return psi of a model without an effect, with the effect put back uncorrelated and small."""
        model = self.state.problem.model
        theta = np.array(model.to_user(np.ascontiguousarray(without.psi[:-1])))
        theta[self.map.parameters.index(parameter)] = value / np.exp(without.psi[-1])
        return np.append(model.to_engine(theta), without.psi[-1])

    def elsewhere(self, psi: Floats) -> Iterator[Floats]:
        """Yield psi with the correlations of one effect reversed, each effect in turn, and the engine's plain start."""
        model = self.state.problem.model
        factor, row, column = model.parameters.T
        theta = model.to_user(np.ascontiguousarray(psi[:-1]))
        for k, effect in sorted(set(zip(factor[row > column], row[row > column], strict=True))):
            turned = (factor == k) & ((row == effect) != (column == effect))
            yield np.append(model.to_engine(np.where(turned, -theta, theta)), psi[-1])
        if (row > column).any():
            yield np.append(self.diagonal[:-1].astype(float), psi[-1])
