"""A user's function of the variance parameters, such as an intraclass correlation, with its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.variance_parameters import ParameterMap

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats

Parameters = Mapping[str, float]
SMALL_DIFFERENCE, BEND_DIFFERENCE = 1e-5, 1e-3


class Measure:
    """A user's function of the variance parameters, with its derivatives in psi by differences."""

    def __init__(self, name: str, function: Callable[[Parameters], float], covariance_map: ParameterMap) -> None:
        self.name, self.function, self.map = name, function, covariance_map
        self.names = [p.name for p in covariance_map.parameters]

    def value(self, psi: Floats) -> float:
        return float(self._values(psi[None])[0])

    def slope(self, psi: Floats) -> Floats:
        steps = np.eye(len(psi)) * SMALL_DIFFERENCE
        up, down = np.split(self._values(np.vstack([psi + steps, psi - steps])), 2)
        return (up - down) / (2 * SMALL_DIFFERENCE)

    def __call__(self, psi: Floats) -> tuple[float, Floats, Floats]:
        k = len(psi)
        row, column = np.triu_indices(k)
        steps = np.eye(k) * BEND_DIFFERENCE
        pairs = steps[row] + steps[column]
        values = self._values(np.vstack([psi, psi + steps, psi - steps, psi + pairs, psi - pairs]))
        centre, single, double = values[0], values[1 : 2 * k + 1], values[2 * k + 1 :]
        alone = single[:k] + single[k:] - 2 * centre
        both = double[: len(row)] + double[len(row) :] - 2 * centre
        bend = np.empty((k, k))
        bend[row, column] = bend[column, row] = (both - alone[row] - alone[column]) / (2 * BEND_DIFFERENCE**2)
        return float(centre), self.slope(psi), bend

    def _values(self, psi: Floats) -> Floats:
        try:
            return np.array(
                [float(self.function(dict(zip(self.names, row, strict=True)))) for row in self.map.values(psi).tolist()]
            )
        except KeyError as error:
            unknown = str(error.args[0])
            raise InferenceError(
                f"The function {self.name!r} asks for {unknown!r}, which is no variance parameter; there are "
                f"{', '.join(self.names)}.{nearest(unknown, self.names)}"
            ) from error
        except MemoryError:
            raise
        except Exception as error:
            raise InferenceError(
                f"The function {self.name!r} raised {type(error).__name__}: {error}. It must return a number."
            ) from error
