"""Satterthwaite's and Kenward and Roger's methods where residuals are correlated within subjects.

psi are a structure's coordinates, in which V is not linear. With W their covariance, V_i and V_ij derivatives of V, and
P_i, Q_ij as in ``kenward_roger``, Phi = K K' sigma^2 and all that is bracketed in the coordinates of K,

    V_A = Phi + K [2 sum W_ij (Q_ij - P_i P_j) - R_W / 2 - sum b_i P_i] K' sigma^2,   R_W = K'X'V^-1 V_W V^-1 X K,

with V_W = sum W_ij V_ij (Kenward and Roger 1997, 2009). b is the bias of the estimates, b = -W t / 4 with
t_j = tr(P V_j P V_W) (Cox and Snell 1968). Counted, the result does not depend on which coordinates are chosen, and
where V is linear in some it is that of 1997 in these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.marginal import diagonal_blocks
from mixedmodels.inference.curvature import inverse_root
from mixedmodels.inference.kenward_roger import NO_INFORMATION, KenwardRogerMethod
from mixedmodels.inference.satterthwaite import METHOD, NOT_CURVED, SatterthwaiteMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.covariance.jets import Jet
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.marginal_fit import MarginalState

VARIANTS = {
    "kenward-roger": "Kenward and Roger's (2009), whatever the parameters of the covariance",
    "kenward-roger-linear": "Kenward and Roger's without second derivatives, as SAS's DDFM=KR(FIRSTORDER)",
    "kenward-roger-sas": "Kenward and Roger's (1997) in SAS's parameters, as its DDFM=KR",
}
"""What the standard errors are, by the name of the method."""

FEW_SUBJECTS = 100
"""Below it Satterthwaite's joint tests of an unstructured covariance reject visibly too often."""

LIBERAL = "With {} subjects joint tests of several effects reject too often; ddf='kenward-roger' holds the level."


@dataclass(frozen=True)
class MarginalSatterthwaite(SatterthwaiteMethod):
    """Satterthwaite's degrees of freedom from the exact Hessian.

    Parameters
    ----------
    state
        A fit by REML or ML.
    """

    state: MarginalState

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The method, and what to know about this fit."""
        is_short = self._root.shape[1] < len(self.state.slopes.gradient)
        n, is_named = self.state.problem.n_subjects, self.state.design.residual is not None
        liberal = [LIBERAL.format(n)] if is_named and n < FEW_SUBJECTS and self.state.reml else []
        return (METHOD, *([NOT_CURVED] if is_short else []), *liberal)

    @property
    def _sensitivity(self) -> Floats:
        return self.state.slopes.sensitivity

    @cached_property
    def _root(self) -> Floats:
        return observed_root(self.state)


@dataclass(frozen=True)
class MarginalKenwardRoger(KenwardRogerMethod):
    """Kenward and Roger's method with the curvature of V and the bias of the estimates counted, by default.

    Parameters
    ----------
    state
        A fit by REML.
    variant
        ``"kenward-roger"``: expected information, second derivatives and bias (Kenward and Roger 2009);
        ``"kenward-roger-linear"``: observed information, as if V were linear in the coordinates, SAS's KR(FIRSTORDER);
        ``"kenward-roger-sas"``: 1997, with observed information and SAS's parameters, DDFM=KR.
    """

    state: MarginalState
    variant: str = "kenward-roger"

    @property
    def notes(self) -> tuple[str, ...]:
        """The method."""
        return (f"Standard errors are {VARIANTS[self.variant]}; tests and intervals use Student's t with their df.",)

    @property
    def _p(self) -> Floats:
        return self.state.slopes.sensitivity

    @cached_property
    def _inverse_information(self) -> Floats:
        if self.variant != "kenward-roger":
            root = observed_root(self.state)
            return np.asarray(root @ root.T)
        expected = self.state.slopes.expected
        root = inverse_root(expected, np.zeros((0, len(expected))), least=NO_INFORMATION)
        return np.asarray(root @ root.T)

    @cached_property
    def whitened_covariance(self) -> Floats:
        """The adjusted covariance in the coordinates of K, (n_fixed, n_fixed)."""
        state, P = self.state, self._p
        W = 2.0 * self._inverse_information
        more = state.problem.second_order(state.point, W)
        adjusted = 2 * (more.products - np.einsum("ij,iab,jbc->ac", W, P, P, optimize=True))
        natural = state.problem.structure.curved(state.point)
        if self.variant == "kenward-roger":
            t = more.trace + np.einsum("iab,ba->i", P, more.bend)
            adjusted = adjusted - 0.5 * more.bend + np.einsum("i,iab->ab", W @ t / 4, P)
        elif self.variant == "kenward-roger-sas" and natural is not None:
            adjusted = adjusted - 0.5 * (more.bend - np.einsum("i,iab->ab", _bend_of(natural, W), P))
        adjusted = 0.5 * (adjusted + adjusted.T)
        return np.asarray(state.sigma**2 * (np.eye(len(adjusted)) + adjusted))


def observed_root(state: MarginalState) -> Floats:
    """Return R with R R' the inverse of the Hessian of -2 log-likelihood in the coordinates, where it is curved."""
    hessian = state.slopes.hessian
    return inverse_root(hessian, np.zeros((0, len(hessian))))


def _bend_of(parameters: Sequence[Sequence[Jet]], W: Floats) -> Floats:
    """Return J^-1 sum W_ij eta_ij of parameters eta with derivatives J in the coordinates, (k,)."""
    out = []
    for found, own in zip(parameters, diagonal_blocks(W, len(parameters[0])), strict=True):
        J = np.array([eta.first for eta in found])
        out.append(np.linalg.solve(J, np.array([np.sum(own * eta.second) for eta in found])))
    return np.concatenate(out)
