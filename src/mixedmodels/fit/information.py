"""Derivatives of a fit's criterion, from which its inference is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy.typing as npt

if TYPE_CHECKING:
    import numpy as np

    from mixedmodels.design.records import Floats


@dataclass(frozen=True)
class Information:
    """Second derivatives of the criterion, and how cov(beta) moves with the variance parameters.

    In the engine's parameters theta~, which have no units, with V = sigma^2 V0.

    Attributes
    ----------
    parameters
        (n_theta, 3): grouping factor, row and column in Lambda~ of each theta~.
    theta
        theta~, (n_theta,).
    hessian
        (n_theta + 1, n_theta + 1), of -2 log-likelihood in (theta~, log sigma), beta profiled out.
    sensitivity
        s with d (X'V0^-1X)^-1 / d theta~_i = K s_i K', (n_theta, n_fixed, n_fixed), K being ``FixedRoot.root``.
    """

    parameters: npt.NDArray[np.int64]
    theta: Floats
    hessian: Floats
    sensitivity: Floats


@dataclass(frozen=True)
class Identification:
    """What the data cannot tell of the variance parameters phi = sigma^2 (1, S~_1, ..., S~_k).

    In the engine's S~, which have no units; V = phi_0 W^-1 + sum_i phi_i G_i.

    Attributes
    ----------
    covariance
        Directions of phi along which V is constant, (m, n_theta + 1), independent.
    contrasts
        Directions along which A'VA is constant, A'X = 0, which is all that REML sees: those of ``covariance`` too.
    visible
        Sum over the levels of what the fixed effects leave of Z'WZ, (n_effects, n_effects) a factor.
    """

    covariance: Floats
    contrasts: Floats
    visible: tuple[Floats, ...]

    def flat(self, reml: bool) -> Floats:
        """Return the directions of phi along which the criterion is constant."""
        return self.contrasts if reml else self.covariance


@dataclass(frozen=True)
class CovarianceDerivatives:
    """What the Kenward-Roger method needs of V0 = W^-1 + sum_i S~_i G_i; the S~_i have no units.

    Attributes
    ----------
    covariance
        S~, (n_theta,).
    p_hat
        K'X'V0^-1 G_i V0^-1 X K, (n_theta, n_fixed, n_fixed), K being ``FixedRoot.root``.
    q_hat
        K'X'V0^-1 G_i V0^-1 G_j V0^-1 X K, (n_theta, n_theta, n_fixed, n_fixed).
    trace1, trace2
        tr(P0 G_i), (n_theta,), and tr(P0 G_i P0 G_j), (n_theta, n_theta), with
        P0 = V0^-1 - V0^-1 X (X'V0^-1X)^-1 X'V0^-1.
    """

    covariance: Floats
    p_hat: Floats
    q_hat: Floats
    trace1: Floats
    trace2: Floats
