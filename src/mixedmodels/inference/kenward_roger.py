"""Kenward and Roger's adjusted covariance, scaled F and degrees of freedom.

V = sigma^2 V0 is linear in the covariance parameters gamma = sigma^2 (1, S~_1, ..., S~_k): V = sum_i gamma_i G_i.
Nothing below depends on which parameters span the same matrices, so G_0 = V0 itself stands for W^-1: then P_0 = I and
Q_0j = P_j, and a large variance ratio costs no digits.

With P_i = K'X'V0^-1 G_i V0^-1 X K, Q_ij = K'X'V0^-1 G_i V0^-1 G_j V0^-1 X K, (X'V0^-1X)^-1 = K K' and
T_ij = tr(P0 G_i P0 G_j), the covariance of gamma is W = 2 sigma^4 T^-1, the inverse expected information.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.inference.approximation import FTest, rows_covariance, wald_f
from mixedmodels.inference.curvature import inverse_root

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit

METHOD = "Standard errors are Kenward and Roger's; tests and intervals use Student's t with their df."

NO_INFORMATION = 1e-10
"""Eigenvalue of the expected information, scaled to a unit diagonal, that counts as zero."""

TWO_DF = 1e-2
"""Distance from two, where an F variable has no mean, at which F is not scaled."""


@dataclass(frozen=True)
class KenwardRogerMethod(ABC):
    """Kenward and Roger's covariance of beta with their scaled F, for any variance parameters.

    Parameters
    ----------
    state
        A fit by REML.

    Raises
    ------
    InferenceError
        If the fit is by maximum likelihood.
    """

    state: FixedFit

    def __post_init__(self) -> None:
        if not self.state.reml:
            raise InferenceError(
                "Kenward-Roger needs a REML fit, and this one is by maximum likelihood. "
                "Refit with reml=True, or use ddf='satterthwaite'."
            )

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """The method, and what to know about this fit."""

    @property
    @abstractmethod
    def whitened_covariance(self) -> Floats:
        """The adjusted covariance in the coordinates of ``state.fixed_root.whiten``, (n_fixed, n_fixed)."""

    @property
    @abstractmethod
    def _p(self) -> Floats:
        """P_i = K'X'V0^-1 G_i V0^-1 X K of the directions G_i of V0, (n_directions, n_fixed, n_fixed)."""

    @property
    @abstractmethod
    def _inverse_information(self) -> Floats:
        """Half the covariance of the coefficients of the G_i, over sigma^4, (n_directions, n_directions)."""

    @cached_property
    def covariance(self) -> Floats:
        """Covariance of beta, (n_fixed, n_fixed), adjusted."""
        return rows_covariance(self, np.eye(self.state.n_fixed))

    def row_df(self, L: Floats) -> Floats:
        """Return the degrees of freedom of each row of L, (n_rows,): 2 / A1, to which those of F reduce for one row."""
        whitened = self.state.fixed_root.whiten(L)
        with np.errstate(invalid="ignore"):
            unit = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
        traces = np.einsum("ma,iab,mb->mi", unit, self._p, unit)
        return np.asarray(1.0 / np.einsum("mi,ij,mj->m", traces, self._inverse_information, traces))

    def f_test(self, L: Floats, difference: Floats) -> FTest:
        """Return the scaled F of the rows of L with its degrees of freedom (Kenward and Roger 1997, section 3)."""
        q = len(L)
        basis = np.linalg.qr(self.state.fixed_root.whiten(L).T)[0]
        projected = np.einsum("ar,iab,bs->irs", basis, self._p, basis, optimize=True)
        traces = np.einsum("irr->i", projected)
        inverse = self._inverse_information
        a1 = 2 * float(traces @ inverse @ traces)
        a2 = 2 * float(np.einsum("ij,irs,jsr->", inverse, projected, projected, optimize=True))
        scale, den_df = scaled_f(q, a1, a2)
        return FTest(scale * wald_f(self, L, difference), q, den_df, scale)


@dataclass(frozen=True)
class KenwardRoger(KenwardRogerMethod):
    """Kenward and Roger's (1997) method for a mixed model.

    V is linear in its parameters, so the second derivatives of V are zero, and with them the bias of the estimated
    parameters, which is what Kenward and Roger (2009) add: the two papers give the same numbers here.

    Parameters
    ----------
    state
        A fit by REML.
    """

    state: FitState

    @property
    def notes(self) -> tuple[str, ...]:
        """The method."""
        return (METHOD,)

    @cached_property
    def whitened_covariance(self) -> Floats:
        """sigma^2 (I + 4 sum_ij T^ij (Q_ij - P_i P_j)), (n_fixed, n_fixed) (Kenward and Roger 1997, section 2)."""
        terms = self.state.covariance_derivatives
        P, Q = terms.p_hat, terms.q_hat
        weights = self._inverse_information[1:, 1:]  # terms with G_0 = V0 vanish
        bias = np.einsum("ij,ijab->ab", weights, Q) - np.einsum("ij,iac,jcb->ab", weights, P, P, optimize=True)
        return np.asarray(self.state.sigma**2 * (np.eye(len(bias)) + 2 * (bias + bias.T)))

    @cached_property
    def _p(self) -> Floats:
        """P_0 = I, P_1, ..., P_k, (n_theta + 1, n_fixed, n_fixed)."""
        p_hat = self.state.covariance_derivatives.p_hat
        return np.concatenate([np.eye(p_hat.shape[1])[None], p_hat])

    @cached_property
    def _inverse_information(self) -> Floats:
        """T^-1 on the directions with information, (n_theta + 1, n_theta + 1)."""
        terms, state = self.state.covariance_derivatives, self.state
        T = np.empty((len(terms.trace1) + 1,) * 2)
        T[0, 0] = state.design.n_obs - state.fixed_rank
        T[0, 1:] = T[1:, 0] = terms.trace1
        T[1:, 1:] = terms.trace2
        # along phi = d the coefficients of G_0 = V0 and of G_i are d_0 and d_i - d_0 S~_i
        flat = state.problem.identification.flat(state.reml).copy()
        flat[:, 1:] -= np.outer(flat[:, 0], terms.covariance)
        root = inverse_root(T, flat, least=NO_INFORMATION)
        return root @ root.T


def scaled_f(q: int, a1: float, a2: float) -> tuple[float, float]:
    """Return the factor of F and its denominator degrees of freedom (Kenward and Roger 1997, section 3).

    Both are chosen so that F has mean and variance of an F variable, and is exact for Hotelling's T^2 and for balanced
    analysis of variance. For one row the factor is 1 and a1 = a2. Where no F variable has these moments, because hardly
    anything tells of the covariances, both are NaN.

    Parameters
    ----------
    q
        Independent rows of L.
    a1, a2
        sum_ij W_ij tr(Theta Phi P_i Phi) tr(Theta Phi P_j Phi) and sum_ij W_ij tr(Theta Phi P_i Phi Theta Phi P_j Phi).
    """
    if q == 1:
        return 1.0, 2 / a1
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    divisor = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / divisor, (q - g) / divisor, (q + 2 - g) / divisor
    inverse_mean = 1 - a2 / q
    q_rho = (1 + c1 * b) * (inverse_mean / (1 - c2 * b)) ** 2 / (1 - c3 * b)
    den_df = 4 + (q + 2) / (q_rho - 1)
    scale = 1.0 if abs(den_df - 2) < TWO_DF else inverse_mean * den_df / (den_df - 2)
    return (scale, den_df) if den_df > 0 and scale > 0 else (np.nan, np.nan)
