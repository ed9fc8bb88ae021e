"""The fixed effects and their covariance where no digits are lost to far origins.

A covariate far from zero, such as Unix time, makes the covariance of the raw coefficients a matrix of numbers that
cancel: l'cov(beta) l loses twice the digits of mean over spread. In an orthonormal basis of the columns, centred where
there is a constant, nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats


@dataclass(frozen=True)
class Basis:
    """A map of columns x to (x - mean x_first) T, orthonormal on the rows of the fit.

    Attributes
    ----------
    first
        The first column of each column's block, (n_columns,).
    mean
        Taken off each column, times that one, (n_columns,); zeros where that is no constant.
    to_basis
        T, upper triangular, (n_columns, n_columns).
    """

    first: npt.NDArray[np.int64]
    mean: Floats
    to_basis: Floats

    def coordinates(self, rows: Floats) -> Floats:
        """Return rows of the columns in the basis, (n_rows, n_columns)."""
        return np.asarray((rows - rows[:, self.first] * self.mean) @ self.to_basis)

    def coefficients(self, beta: Floats) -> Floats:
        """Return coefficients of the columns, or several side by side, as those of the columns in the basis."""
        moved = np.array(beta, dtype=np.float64)
        np.add.at(moved, self.first, (self.mean * moved.T).T)
        return np.asarray(solve_triangular(self.to_basis, moved))

    @property
    def map(self) -> Floats:
        """Map from coefficients in the basis to those of the columns, (n_columns, n_columns)."""
        out = np.array(self.to_basis)
        np.subtract.at(out, self.first, self.mean[:, None] * self.to_basis)
        return out

    def of_first(self, n_columns: int) -> Basis:
        """Return the basis of the first columns."""
        return Basis(self.first[:n_columns], self.mean[:n_columns], self.to_basis[:n_columns, :n_columns])


@dataclass(frozen=True)
class FixedRoot:
    """A root of (X'V0^-1X)^-1, V = sigma^2 V0, in a basis of the fixed columns that are kept.

    A combination l of the fixed effects, which is as a row of these columns, has the variance sigma^2 |whiten(l)|^2.

    Attributes
    ----------
    basis
        Of the columns.
    beta
        Fixed effects in the basis, (n_fixed,), units of the response.
    root
        K with (X'V0^-1X)^-1 = K K' in the basis, (n_fixed, n_fixed).
    """

    basis: Basis
    beta: Floats
    root: Floats

    def coordinates(self, L: Floats) -> Floats:
        """Return rows of the columns, or combinations of the fixed effects, in the basis, (n_rows, n_fixed)."""
        return self.basis.coordinates(L)

    def whiten(self, L: Floats) -> Floats:
        """Return rows l as w with l'(X'V0^-1X)^-1 m = w_l'w_m, (n_rows, n_fixed)."""
        return np.asarray(self.basis.coordinates(L) @ self.root)

    def from_estimate(self, beta: Floats) -> Floats:
        """Return K^-1 (b - beta) of other fixed effects b, (n_fixed,)."""
        return np.asarray(solve_triangular(self.root, self.basis.coefficients(beta) - self.beta))

    def pull(self, beta: Floats) -> Floats:
        """Return X'V0^-1X (beta - b), (n_fixed,), in the columns themselves: X'V0^-1 of the residual of b."""
        in_basis = solve_triangular(self.root, -self.from_estimate(beta), trans=1)
        pull = solve_triangular(self.basis.to_basis, in_basis, trans=1)
        return np.asarray(pull + self.basis.mean * pull[self.basis.first])

    def distance_to(self, other: FixedRoot) -> Floats:
        """Return K^-1 (beta - other's beta), (n_fixed,), for a fit of some of the rows, which has its own basis."""
        slopes = other.basis.to_basis @ other.beta
        slopes[:1] += (self.basis.mean - other.basis.mean) @ slopes
        away = self.beta - solve_triangular(self.basis.to_basis, slopes)
        return np.asarray(solve_triangular(self.root, away))


def root_at(found: tuple[Floats, Floats, Floats, Floats] | None, scale: float) -> FixedRoot:
    """Return the fixed effects of a model with correlated residuals, as its engine gives them, and a root.

    Parameters
    ----------
    found
        Means m (p,) and map T (p, p) of the basis (x - m x_1) T, beta (p,) in it, and a root (p, p); None where there
        are none.
    scale
        What the root is multiplied by.

    Raises
    ------
    InferenceError
        If there are none.
    """
    if found is None:
        raise InferenceError("There are no estimates where a covariance is singular.")
    mean, to_basis, beta, root = found
    return FixedRoot(Basis(np.zeros(len(mean), dtype=np.int64), mean, to_basis), beta, scale * root)
