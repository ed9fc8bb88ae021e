"""Satterthwaite's and Kenward and Roger's methods where covariances of random effects have a structure.

V = sigma^2 (W^-1 + sum_t S~_t(x) G_t) is linear in sigma^2 and in S~, and S~ is a function of the coordinates x. With V
itself for the direction of sigma^2, D = dS~ / dx and W the covariance of (log sigma^2, x),

    V_W = sum W_ij V_ij = sum_t w_t G_t sigma^2,    w_t = 2 sum_i W_0i D_ti + sum_ij W_ij d2S~_t / dx_i dx_j,

and the covariance of beta is that of ``marginal_degrees``, second derivatives and the bias of the estimates counted
(Kenward and Roger 2009), so that it does not depend on which coordinates are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.structured_fit import second_derivatives
from mixedmodels.inference.curvature import inverse_root
from mixedmodels.inference.kenward_roger import NO_INFORMATION, KenwardRogerMethod
from mixedmodels.inference.satterthwaite import METHOD, NOT_CURVED, SatterthwaiteMethod

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.structured_fit import StructuredState

KENWARD_ROGER = (
    "Standard errors are Kenward and Roger's (2009), whatever the parameters of the covariance; tests and intervals "
    "use Student's t with their df."
)


@dataclass(frozen=True)
class StructuredSatterthwaite(SatterthwaiteMethod):
    """Satterthwaite's degrees of freedom from the exact Hessian in the coordinates and log sigma.

    Parameters
    ----------
    state
        A fit by REML or ML.
    """

    state: StructuredState

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The method, and what to know about this fit."""
        is_short = self._root.shape[1] < len(self.state.information.hessian)
        return (METHOD, *([NOT_CURVED] if is_short else []))

    @cached_property
    def _sensitivity(self) -> Floats:
        return np.concatenate([self.state.information.sensitivity, 2.0 * np.eye(self.state.n_fixed)[None]])

    @cached_property
    def _root(self) -> Floats:
        return observed_root(self.state)


@dataclass(frozen=True)
class StructuredKenwardRoger(KenwardRogerMethod):
    """Kenward and Roger's method with the curvature of V and the bias of the estimates counted.

    Parameters
    ----------
    state
        A fit by REML.
    """

    state: StructuredState

    @property
    def notes(self) -> tuple[str, ...]:
        """The method."""
        return (KENWARD_ROGER,)

    @cached_property
    def _derivatives(self) -> tuple[Floats, Floats]:
        return second_derivatives(self.state.criterion, self.state.coordinates)

    @cached_property
    def _p(self) -> Floats:
        """P_0 = I, then those of the coordinates, (k + 1, n_fixed, n_fixed)."""
        P = np.einsum("ti,tab->iab", self._derivatives[0], self.state.covariance_derivatives.p_hat)
        return np.concatenate([np.eye(P.shape[1])[None], P])

    @cached_property
    def _traces(self) -> Floats:
        """tr(P V_i P G_t), (k + 1, n_theta), V itself in the first row."""
        terms = self.state.covariance_derivatives
        return np.vstack([terms.trace1, self._derivatives[0].T @ terms.trace2])

    @cached_property
    def _inverse_information(self) -> Floats:
        T = np.empty((len(self._traces),) * 2)
        T[:, 1:] = self._traces @ self._derivatives[0]
        T[1:, 0] = T[0, 1:]
        T[0, 0] = self.state.design.n_obs - self.state.fixed_rank
        root = inverse_root(T, np.zeros((0, len(T))), least=NO_INFORMATION)
        return np.asarray(root @ root.T)

    @cached_property
    def whitened_covariance(self) -> Floats:
        """The adjusted covariance in the coordinates of K, (n_fixed, n_fixed)."""
        terms, P, W = self.state.covariance_derivatives, self._p, 2.0 * self._inverse_information
        first, second = self._derivatives
        own = first @ W[1:, 1:] @ first.T
        of_squares = W[1:, 1:]
        products = np.einsum("st,stab->ab", own, terms.q_hat) - np.einsum(
            "ij,iac,jcb->ab", of_squares, P[1:], P[1:], optimize=True
        )
        w = 2.0 * first @ W[0, 1:] + np.einsum("ij,tij->t", of_squares, second)
        bend = np.einsum("t,tab->ab", w, terms.p_hat)
        bias = -W @ (self._traces @ w) / 4
        adjusted = 2.0 * products - 0.5 * bend - np.einsum("i,iab->ab", bias, P)
        return np.asarray(self.state.sigma**2 * (np.eye(len(adjusted)) + 0.5 * (adjusted + adjusted.T)))


def observed_root(state: StructuredState) -> Floats:
    """Return R with R R' the inverse of the Hessian of -2 log-likelihood in (x, log sigma), where it is curved."""
    hessian = state.information.hessian
    return inverse_root(hessian, np.zeros((0, len(hessian))))
