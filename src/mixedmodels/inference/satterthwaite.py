"""Satterthwaite's degrees of freedom.

The variance of a combination l'beta is estimated by f = l' C(psi) l, C = cov(beta), psi = (theta~, log sigma). Its
degrees of freedom are those of the chi-squared variable with the same mean and variance, 2 f^2 / Var(f), with
Var(f) = g' A g, g = df/dpsi and A = 2 H^-1, H the Hessian of -2 log-likelihood in psi.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.findings import NEGLIGIBLE_SD_SCALED
from mixedmodels.inference.approximation import FTest

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.information import Information
    from mixedmodels.fit.records import FitState

    Mask = npt.NDArray[np.bool_]

FLAT_CURVATURE = 1e-7
"""Eigenvalue of the Hessian, scaled to a unit diagonal, that counts as none."""

EQUAL_DF = 1e-8
"""Relative difference of degrees of freedom that counts as none."""


@dataclass(frozen=True)
class Curvature:
    """The part of a Hessian that curves upwards, free of units: H = D E' diag(eigenvalues) E D on it, D = diag(scale).

    Attributes
    ----------
    scale
        (k,); infinite for parameters that are left out.
    directions
        E, (n_directions, k), orthonormal rows.
    eigenvalues
        (n_directions,), positive.
    """

    scale: Floats
    directions: Floats
    eigenvalues: Floats


def positive_curvature(hessian: Floats, regular: Mask) -> Curvature:
    """Return the positive eigenspace of a Hessian, scaled to a unit diagonal.

    Parameters
    ----------
    hessian
        (k, k).
    regular
        (k,), False for parameters to leave out.
    """
    diagonal = np.diag(hessian)
    scale = np.where(regular & (diagonal > 0), np.sqrt(np.abs(diagonal)), np.inf)
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    positive = values > FLAT_CURVATURE
    return Curvature(scale, vectors.T[positive], values[positive])


def has_first_order_effect(information: Information) -> Mask:
    """Return which theta~ move Lambda~ Lambda~' to first order, (n_theta,): those in columns that are not zero."""
    factor, _, column = information.parameters.T
    place = factor * (1 + column.max(initial=0)) + column
    length = np.sqrt(np.bincount(place, information.theta**2))
    return np.asarray(length[place] > NEGLIGIBLE_SD_SCALED)


def joint_df(nu: Floats) -> float:
    """Return the denominator degrees of freedom of the mean of q squared t variables (Fai and Cornelius 1996).

    E = sum nu_m / (nu_m - 2) is q times the mean of F(q, 2 E / (E - q)); where a nu_m is 2 or less there is no mean,
    and 2 is returned.

    Parameters
    ----------
    nu
        Their degrees of freedom, (q,).
    """
    if np.ptp(nu) <= EQUAL_DF * nu.min():
        return float(nu.mean())
    if nu.min() <= 2:
        return 2.0
    excess = float(np.sum(2 / (nu - 2)))
    return 2 * (len(nu) + excess) / excess


@dataclass(frozen=True)
class Satterthwaite:
    """The plain covariance of beta with Satterthwaite's degrees of freedom.

    Single rows after Giesbrecht and Burns (1985), several rows after Fai and Cornelius (1996).

    Parameters
    ----------
    state
        A fit by REML or ML.
    """

    state: FitState

    @property
    def covariance(self) -> Floats:
        """Covariance of beta, (n_fixed, n_fixed), not adjusted."""
        return self.state.cov_beta

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The method, and what a fit on the boundary means for it."""
        method = "Tests and intervals use Student's t with Satterthwaite's degrees of freedom."
        regular, curvature = self._regular, self._curvature
        notes = [method]
        if not regular.all():
            notes.append(
                "The degrees of freedom count a zero variance or a perfect correlation as known, "
                "and so may be too large."
            )
        if len(curvature.directions) < regular.sum() + 1:
            notes.append(
                "The likelihood is not curved downwards in every direction of the variance parameters; the others are "
                "left out of the degrees of freedom, which may be too large."
            )
        return tuple(notes)

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,), nan for a row of zeros."""
        whitened = L @ self.state.information.root
        with np.errstate(invalid="ignore"):
            return self._df(whitened / np.linalg.norm(whitened, axis=1, keepdims=True))

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return F of the rows of L with the degrees of freedom of Fai and Cornelius (1996).

        With U D U' the eigendecomposition of L C L', the q combinations U'L beta are uncorrelated, and F is the mean of
        their squared t. F has the expectation of an F variable with den_df where each t^2 has that of F(1, nu_m).
        """
        U, singular, rows = np.linalg.svd(L @ self.state.information.root, full_matrices=False)
        t = (U.T @ difference) / (self.state.sigma * singular)
        return FTest(float(t @ t) / len(t), len(t), joint_df(self._df(rows)))

    def _df(self, unit_rows: Floats) -> Floats:
        """Return 1 / sum_m (w_m'g)^2 / lambda_m of rows of length one in the coordinates of K."""
        gradient = np.empty((len(unit_rows), len(self._regular) + 1))
        gradient[:, :-1] = np.einsum("ma,iab,mb->mi", unit_rows, self.state.information.sensitivity, unit_rows)
        gradient[:, -1] = 2.0
        curvature = self._curvature
        along = (gradient / curvature.scale) @ curvature.directions.T
        return np.asarray(1.0 / np.sum(along**2 / curvature.eigenvalues, axis=1))

    @cached_property
    def _regular(self) -> Mask:
        return has_first_order_effect(self.state.information)

    @cached_property
    def _curvature(self) -> Curvature:
        return positive_curvature(self.state.information.hessian, np.append(self._regular, True))
