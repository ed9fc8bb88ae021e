"""A linear mixed model with structured covariances of random effects as a profile sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.fit.structured_held import away, minimize_beside_structured, minimize_with, minimize_without
from mixedmodels.inference.measure import Measure
from mixedmodels.inference.profiler import FixedEffect, Point
from mixedmodels.inference.structured_map import StructuredMap
from mixedmodels.inference.variance_parameters import LinearParameters
from mixedmodels.inference.without_effect import Without

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.structured_fit import StructuredState
    from mixedmodels.inference.variance_parameter import VarianceParameter

N_ELSEWHERE = 3
"""Starts of the fit at which other branches of a profile are looked for."""


@dataclass(frozen=True)
class StructuredProfiled(LinearParameters):
    """A linear mixed model with structured covariances as a profile sees it."""

    state: StructuredState

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
        """Which elements of psi are standard deviations, or of the diagonal of a root, (k + 1,)."""
        out = np.zeros(len(self.psi), dtype=bool)
        for term in self.state.criterion.terms:
            out[term.coordinates] = term.structure.even
        return out

    def fixed(self, j: int) -> FixedEffect:
        """Return one of the fixed effects."""
        state = self.state

        def solve(c: float, psi: Floats) -> Point | None:
            found = minimize_beside_structured(state, psi[:-1], j, c)
            if found is None:
                return None
            t, s, sigma = away(state, j, c, found.x)
            dof = state.design.n_obs - (state.fixed_rank if state.reml else 0)
            stretch = 1 + t**2 / dof
            return Point(
                c, found.value, 2 * t / (s * stretch), np.append(found.x, np.log(sigma) + 0.5 * np.log(stretch))
            )

        value, se = float(state.beta[j]), float(np.sqrt(state.cov_beta[j, j]))
        return FixedEffect(value, se, np.zeros_like(self.psi), solve)

    def solve(self, held: VarianceParameter | Measure, c: float, psi: Floats) -> Point | None:
        """Return the lowest criterion with a parameter's free value held at c, from psi on."""
        if isinstance(held, Measure):
            raise InferenceError("Functions of the parameters of structures have no profile; name the parameters.")
        found = minimize_with(self.state, psi, self._map.surface(held), c)
        return None if found is None else Point(c, found.value, found.slope, found.point)

    @property
    def _map(self) -> StructuredMap:
        own = self.map
        assert isinstance(own, StructuredMap)  # the map of a fit with structures
        return own

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return the lowest criterion where a standard deviation is zero; None for others."""
        if parameter.kind != "sd":
            return None
        effect, term = self._map.effect(parameter)
        k = len(self.psi) - 1
        own, kept = term.structure.without(effect), np.eye(k)
        basis = np.zeros((k, k - term.structure.n_coordinates + own.shape[1]))
        others = np.setdiff1d(np.arange(k), np.arange(k)[term.coordinates])
        basis[:, : len(others)] = kept[:, others]
        basis[term.coordinates, len(others) :] = own
        found = minimize_without(self.state, basis)
        if found is None:
            return None
        theta = np.ascontiguousarray(self.state.criterion.theta(found.x))
        sigma = self.state.problem.model.solve(theta, self.state.reml)[2]
        return Without(found.value, np.append(found.x, np.log(sigma)), is_empty=True)

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Never asked for: what is left without an effect is empty, and a profile goes on from where it is."""
        raise NotImplementedError

    def elsewhere(self, psi: Floats) -> Iterator[Floats]:
        """Yield psi with the coordinates that the fit began at."""
        for start in self.state.criterion.starts()[:N_ELSEWHERE]:
            yield np.append(start, psi[-1])
