"""A model with correlated residuals as a profile sees it: its criterion with something held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.fit.marginal_held import Held, minimize_beside, minimize_held
from mixedmodels.inference.marginal_parameters import MarginalParameters
from mixedmodels.inference.measure import Measure
from mixedmodels.inference.profiler import FixedEffect, Point

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.variance_parameter import VarianceParameter
    from mixedmodels.inference.without_effect import Without


@dataclass(frozen=True)
class MarginalProfiled(MarginalParameters):
    """A fit with correlated residuals as a profile sees it."""

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
        """No element of psi is one in which the criterion is even, (n_psi,)."""
        return np.zeros(self.state.n_covariance, dtype=bool)

    def fixed(self, j: int) -> FixedEffect:
        """Return one of the fixed effects."""
        state = self.state

        def solve(c: float, psi: Floats) -> Point | None:
            found = minimize_beside(
                state.problem, state.reml, self.map.point(psi), (j, c), state.control.max_iterations
            )
            return None if found is None else self._point(c, found)

        value, se = float(state.beta[j]), float(np.sqrt(state.cov_beta[j, j]))
        return FixedEffect(value, se, np.zeros(state.n_covariance), solve)

    def solve(self, held: VarianceParameter | Measure, c: float, psi: Floats) -> Point | None:
        """Return the lowest criterion with a parameter's free value held at c, from psi on."""
        if isinstance(held, Measure):
            raise InferenceError("Functions of the parameters of residuals have no profile; name the parameters.")
        state = self.state
        found = minimize_held(state.problem, state.reml, self.map.point(psi), self.map.surface(held), c)
        return None if found is None else self._point(c, found)

    def _point(self, c: float, found: Held) -> Point:
        constant = self.state.problem.model.constant(self.state.reml)
        return Point(c, found.value + constant, found.slope, self.map.psi(found.point))

    def without(self, parameter: VarianceParameter) -> Without | None:
        """Return None: no parameter may be zero at no price."""
        del parameter
        return None

    def put_back(self, without: Without, parameter: VarianceParameter, value: float) -> Floats:
        """Never asked for: nothing is left out that could be put back."""
        raise NotImplementedError

    def elsewhere(self, psi: Floats) -> Iterator[Floats]:
        """Yield nothing: the walk is the only branch that is looked for."""
        yield from ()
