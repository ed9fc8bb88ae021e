"""A generalised mixed model as a profile sees it: its criterion held on a surface in psi = (theta~, beta~, phi).

Nothing is profiled out of the criterion, so a fixed effect is one more function of psi, a linear one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.fit.generalized import fit_generalized
from mixedmodels.inference.generalized_parameters import GeneralizedParameters
from mixedmodels.inference.measure import Measure
from mixedmodels.inference.profiler import FixedEffect, Point
from mixedmodels.inference.thresholds import location_names, location_rows
from mixedmodels.inference.without_effect import Without, design_without, theta_with_zero

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.variance_parameter import VarianceParameter

    Surface = Callable[[Floats], tuple[float, Floats, Floats]]

BEND = 1e-4
"""Of phi, relative, to difference the slope of the dispersion."""


@dataclass(frozen=True)
class GeneralizedProfiled(GeneralizedParameters):
    """A generalised mixed model as a profile sees it."""

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects, and of thresholds before them."""
        return location_names(self.state)

    @property
    def lowest(self) -> float:
        """The criterion at the fit."""
        return self.state.optimum.deviance

    @cached_property
    def diagonal(self) -> npt.NDArray[np.bool_]:
        """Which elements of psi are diagonal ones of Lambda~, or the root of a dispersion, (n_psi,)."""
        out = np.zeros(len(self.psi), dtype=bool)
        out[: len(self.state.theta)] = [parameter.kind == "sd" for parameter in self._of_theta]
        if self.state.family.is_even:
            out[self.state.phi_in_psi] = True
        return out

    def fixed(self, j: int) -> FixedEffect:
        """Return one of the fixed effects, or a threshold."""
        row = location_rows(self.state)[j]
        along = row @ self.root
        se = float(np.linalg.norm(along))
        if not se > 0:
            raise InferenceError(
                "The criterion is flat in a direction at this fit's optimum, so that it has no profile. "
                "Use fewer effects."
            )
        length = float(np.linalg.norm(row))
        unit, flat = row / length, np.zeros((len(row),) * 2)

        def surface(psi: Floats) -> tuple[float, Floats, Floats]:
            return float(unit @ psi), unit, flat

        def solve(c: float, psi: Floats) -> Point | None:
            point = self._held(surface, c / length, psi)
            return None if point is None else replace(point, c=c, slope=point.slope / length)

        return FixedEffect(float(row @ self.psi), se, self.root @ along / se**2, solve)

    def solve(self, held: VarianceParameter | Measure, c: float, psi: Floats) -> Point | None:
        """Return the lowest criterion with a parameter's free value, or a function's value, held at c, from psi on."""
        if isinstance(held, Measure):
            return self._held(held, c, psi)
        if held.kind == "dispersion":
            return self._held(self._log_dispersion, c, psi)
        try:
            found = self.state.problem.model.minimize_on(psi, (held.factor, held.row, held.column), c)
        except ValueError:  # the criterion cannot be evaluated there
            return None
        return _point(c, found)

    def _held(self, surface: Surface, c: float, psi: Floats) -> Point | None:
        try:
            return _point(c, self.state.problem.model.minimize_on_function(psi, surface, c))
        except ValueError:  # the criterion cannot be evaluated there
            return None

    def _log_dispersion(self, psi: Floats) -> tuple[float, Floats, Floats]:
        dispersion = self.map.parameters[-1]
        value, slope = self.map.unbounded(psi, dispersion)
        bend = np.zeros((len(psi),) * 2)
        own = self.state.phi_in_psi
        for j in range(own.start, own.stop):
            step = np.zeros(len(psi))
            step[j] = BEND * abs(psi[j]) if psi[j] else BEND
            up, down = (self.map.unbounded(psi + by, dispersion)[1] for by in (step, -step))
            bend[j] = (up - down) / (2 * step[j])
        return value, slope, (bend + bend.T) / 2

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return the lowest criterion where a standard deviation, or what makes counts vary more, is zero."""
        state = self.state
        if parameter.kind == "dispersion":
            return self._with_zeros(state.phi_in_psi.start) if state.family.is_even else None
        if parameter.kind != "sd":
            return None
        reduced = design_without(state.design, parameter.factor, parameter.row)
        if reduced is None:
            return self._with_zeros(*range(len(state.theta)))
        fit = fit_generalized(state.problem.with_design(reduced))
        theta = theta_with_zero(state.design, reduced, fit.theta, parameter.factor, parameter.row)
        return Without(fit.optimum.deviance, state.problem.psi(theta, fit.beta, fit.phi), is_empty=False)

    def _with_zeros(self, *places: int) -> Without:
        """Return the lowest criterion with some elements of psi zero."""
        psi = self.psi.copy()
        psi[list(places)] = 0.0
        point, deviance, _, converged = self.state.problem.model.minimize_free(
            psi, [j for j in range(len(psi)) if j not in places]
        )
        if not converged:
            raise InferenceError("The model without the effect could not be fitted, where its profile ends.")
        return Without(deviance, point, is_empty=False)

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Return psi of a model without an effect, with the effect put back uncorrelated and small."""
        if parameter.kind == "dispersion":
            psi = without.psi.copy()
            psi[self.state.phi_in_psi] = np.sqrt(value)
            return psi
        theta, beta, phi, *_ = self.state.problem.model.estimates(without.psi)
        theta = np.array(theta)
        theta[self.map.parameters.index(parameter)] = value
        return self.state.problem.psi(theta, beta, phi)

    def elsewhere(self, psi: Floats) -> Iterator[Floats]:
        """Yield psi with the correlations of one effect reversed, each effect in turn, and one without correlations."""
        model = self.state.problem.model
        theta, beta, phi, *_ = model.estimates(psi)
        correlations = [p for p in self.map.parameters if p.kind == "cor"]
        for k, effect in sorted({(p.factor, p.row) for p in correlations}):
            turned = [p.factor == k and (p.row == effect) != (p.column == effect) for p in self._of_theta]
            yield self.state.problem.psi(np.where(turned, -theta, theta), beta, phi)
        if correlations:
            yield np.concatenate([self.diagonal[: len(theta)].astype(float), psi[len(theta) :]])

    @property
    def _of_theta(self) -> tuple[VarianceParameter, ...]:
        return self.map.parameters[: len(self.state.theta)]


def _point(c: float, found: tuple[Floats, float, float, bool]) -> Point | None:
    psi, deviance, slope, converged = found
    return Point(c, deviance, slope, psi) if converged else None
