"""Which covariance parameters the data cannot tell apart, in the user's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import theta_elements

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.problem import Problem

INVOLVED = 1e-7
"""Share of a flat direction, free of units, from which a covariance has part in it."""


@dataclass(frozen=True)
class Undetermined:
    """Which elements of the covariances have part in a direction along which the criterion is flat.

    Attributes
    ----------
    covariances
        One (n_effects, n_effects) a factor, symmetric.
    residual
        Whether the residual variance has.
    """

    covariances: tuple[npt.NDArray[np.bool_], ...]
    residual: bool

    def __bool__(self) -> bool:
        return self.residual or any(C.any() for C in self.covariances)

    def has(self, factor: int, row: int, column: int) -> bool:
        """Return whether a standard deviation (row = column) or a correlation of a factor is undetermined."""
        C = self.covariances[factor]
        return bool(C[row, column] or C[row, row] or C[column, column])


def undetermined(problem: Problem, reml: bool) -> Undetermined:
    """Return the covariance parameters that these data cannot tell apart.

    Parameters
    ----------
    problem
        The model.
    reml
        Whether the criterion is that of REML.
    """
    factors = problem.design.factors
    residual, covariances = flat_directions(problem, reml)
    if not len(residual):
        return Undetermined(tuple(np.zeros((f.n_effects,) * 2, dtype=bool) for f in factors), False)
    parts = []
    for D, T in zip(covariances, problem.model.basis(), strict=True):
        size = np.linalg.norm(T, axis=1)
        parts.append(np.linalg.norm(D, axis=0) / np.outer(size, size))
    of_residual = float(np.linalg.norm(residual))
    least = INVOLVED * max(of_residual, *(part.max() for part in parts))
    return Undetermined(tuple(part > least for part in parts), bool(of_residual > least))


def flat_directions(problem: Problem, reml: bool) -> tuple[Floats, tuple[Floats, ...]]:
    """Return directions along which the criterion is flat, of the residual variance and of the covariances.

    Parameters
    ----------
    problem, reml
        As for `undetermined`.

    Returns
    -------
    ndarray, shape (m,), and one (m, n_effects, n_effects) a factor
        In the user's units.
    """
    flat = problem.identification.flat(reml)
    covariances = []
    first = 1
    for factor, T in zip(problem.design.factors, problem.model.basis() if len(flat) else [], strict=False):
        D = np.zeros((len(flat), factor.n_effects, factor.n_effects))
        for theta, elements in enumerate(theta_elements(factor.block_sizes)):
            for row, column in elements:
                D[:, row, column] = D[:, column, row] = flat[:, first + theta]
        first += factor.n_theta
        covariances.append(T @ D @ T.T)
    return flat[:, 0], tuple(covariances)
