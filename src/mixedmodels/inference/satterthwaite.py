"""Satterthwaite's degrees of freedom.

The variance of a combination l'beta is estimated by f = l' C(psi) l, C = cov(beta), psi = (theta~, log sigma). Its
degrees of freedom are those of the chi-squared variable with the same mean and variance, 2 f^2 / Var(f), with
Var(f) = g' A g, g = df/dpsi and A = 2 H^-1, H the Hessian of -2 log-likelihood in psi.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.inference.approximation import FTest
from mixedmodels.inference.curvature import flat_directions, has_first_order_effect, inverse_root

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit
    from mixedmodels.inference.curvature import Mask

METHOD = "Tests and intervals use Student's t with Satterthwaite's degrees of freedom."

NOT_CURVED = (
    "The likelihood is not curved downwards in every direction of the variance parameters; the others are left out of "
    "the degrees of freedom, which may be too large."
)

EQUAL_DF = 1e-8
"""Relative difference of degrees of freedom that counts as none."""


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
class SatterthwaiteMethod(ABC):
    """The plain covariance of beta with Satterthwaite's degrees of freedom, for any variance parameters psi.

    Single rows after Giesbrecht and Burns (1985), several rows after Fai and Cornelius (1996).

    Parameters
    ----------
    state
        A fit by REML or ML.
    """

    state: FixedFit

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """The method, and what to know about this fit."""

    @property
    @abstractmethod
    def _sensitivity(self) -> Floats:
        """s with dC / dpsi_i = K s_i K' sigma^2, (n_psi, n_fixed, n_fixed), K being ``FixedRoot.root``."""

    @property
    @abstractmethod
    def _root(self) -> Floats:
        """R with R R' = H^-1 on the directions with curvature, (n_psi, n_directions)."""

    @property
    def covariance(self) -> Floats:
        """Covariance of beta, (n_fixed, n_fixed), not adjusted."""
        return self.state.cov_beta

    @property
    def whitened_covariance(self) -> Floats:
        """sigma^2 I, (n_fixed, n_fixed)."""
        return self.state.sigma**2 * np.eye(self.state.n_fixed)

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,), nan for a row of zeros."""
        whitened = self.state.fixed_root.whiten(L)
        with np.errstate(invalid="ignore"):
            return self._df(whitened / np.linalg.norm(whitened, axis=1, keepdims=True))

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return F of the rows of L with the degrees of freedom of Fai and Cornelius (1996).

        With U D U' the eigendecomposition of L C L', the q combinations U'L beta are uncorrelated, and F is the mean of
        their squared t. F has the expectation of an F variable with den_df where each t^2 has that of F(1, nu_m).
        """
        U, singular, rows = np.linalg.svd(self.state.fixed_root.whiten(L), full_matrices=False)
        t = (U.T @ difference) / (self.state.sigma * singular)
        return FTest(float(t @ t) / len(t), len(t), joint_df(self._df(rows)))

    def _df(self, unit_rows: Floats) -> Floats:
        """Return 1 / (g'H^-1 g) of rows of length one in the coordinates of K."""
        gradient = np.einsum("ma,iab,mb->mi", unit_rows, self._sensitivity, unit_rows)
        with np.errstate(divide="ignore"):  # where no parameter is estimated there are infinitely many
            return np.asarray(1.0 / np.sum((gradient @ self._root) ** 2, axis=1))


@dataclass(frozen=True)
class Satterthwaite(SatterthwaiteMethod):
    """The method for a mixed model, psi = (theta~, log sigma).

    Parameters
    ----------
    state
        A fit by REML or ML.
    """

    state: FitState

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The method, and what a fit on the boundary means for it."""
        regular = self._regular
        notes = [METHOD]
        if not regular.all():
            notes.append(
                "The degrees of freedom count a zero variance or a perfect correlation as known, "
                "and so may be too large."
            )
        if self._root.shape[1] < regular.sum() + 1 - len(self._flat):
            notes.append(NOT_CURVED)
        return tuple(notes)

    @cached_property
    def _sensitivity(self) -> Floats:
        of_theta = self.state.information.sensitivity
        return np.concatenate([of_theta, 2.0 * np.eye(self.state.n_fixed)[None]])

    @cached_property
    def _regular(self) -> Mask:
        return has_first_order_effect(self.state.information)

    @cached_property
    def _flat(self) -> Floats:
        return flat_directions(self.state.problem, self.state.reml, self.state.information)

    @cached_property
    def _root(self) -> Floats:
        return inverse_root(self.state.information.hessian, self._flat, np.append(self._regular, True))
