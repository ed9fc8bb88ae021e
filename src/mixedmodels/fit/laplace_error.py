"""How far Laplace's approximation is off: its next term, for models with one grouping factor.

With C = Var(b | y) of a level by the approximation, v_i = z_i'C z_i, and l3, l4 the third and fourth derivatives of a
row's log density in eta, the logarithm of the level's likelihood lacks (Shun and McCullagh 1995, equation 5)

    1/8 sum l4_i v_i^2 + 1/8 t'C t + 1/12 sum_ij l3_i l3_j (z_i'C z_j)^3,   t = sum l3_i v_i z_i.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

    Density = Callable[[Floats, Floats], Floats]

STEP = 1e-2
"""Of eta, to difference second derivatives of the log density, which vary over distances of one."""

MUCH = 0.5
"""Of -2 log-likelihood, from which on it matters."""

MANY_EFFECTS = 6
"""Effects of a level beyond which their products by three are not formed."""


def next_term(design: Design, log_density: Density, phi: Floats, eta: Floats, cov_b: Floats) -> float:
    """Return what the next term adds to -2 log-likelihood.

    Parameters
    ----------
    design
        Of one grouping factor.
    log_density
        Log density of the rows with its first two derivatives in eta, (3, n_obs), at eta and phi.
    phi, eta
        Extra parameters of the family, and the conditional linear predictor of the rows, (n_obs,).
    cov_b
        Var(b | y) of each level, (n_levels, n_effects, n_effects).
    """
    factor = design.factors[0]
    below, at, above = (log_density(np.ascontiguousarray(eta + step), phi)[2] for step in (-STEP, 0.0, STEP))
    third, fourth = (above - below) / (2 * STEP), (above - 2 * at + below) / STEP**2
    codes, n, q = factor.codes, factor.n_levels, factor.n_effects
    if factor.Z is None:
        v = cov_b[:, 0, 0]
        skew, kurt = np.bincount(codes, third, n), np.bincount(codes, fourth, n)
        return float(-2 * np.sum(kurt * v**2 / 8 + skew**2 * v**3 * (1 / 8 + 1 / 12)))
    Z = factor.Z
    v = np.einsum("ia,iab,ib->i", Z, cov_b[codes], Z)
    T = np.zeros((n, q, q, q))
    for a in range(q):
        for b in range(a, q):
            for c in range(b, q):
                found = np.bincount(codes, third * Z[:, a] * Z[:, b] * Z[:, c], n)
                for i, j, k in {(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)}:
                    T[:, i, j, k] = found
    t = np.einsum("labc,lbc->la", T, cov_b)
    turned = np.einsum("labc,lai,lbj,lck->lijk", T, cov_b, cov_b, cov_b, optimize=True)
    tails = float(np.sum(fourth * v**2)) / 8
    return -2 * (tails + float(np.einsum("la,lab,lb->", t, cov_b, t)) / 8 + float(np.sum(T * turned)) / 12)


def laplace_inaccurate(
    design: Design, log_density: Density, phi: Floats, eta: Floats, cov_b: tuple[Floats, ...]
) -> list[Finding]:
    """Return the finding that the approximation is off by more than chance would let pass, if so.

    Parameters
    ----------
    design, log_density, phi, eta
        As for ``next_term``; of several grouping factors nothing is said.
    cov_b
        By factor.
    """
    if len(cov_b) > 1 or design.factors[0].n_effects > MANY_EFFECTS:
        return []
    term = next_term(design, log_density, phi, eta, cov_b[0])
    if not abs(term) > MUCH:
        return []
    return [
        Finding(
            "laplace_inaccurate",
            f"Laplace's approximation of -2 log-likelihood is off by about {abs(term):.2g}: levels of "
            f"{design.factors[0].name!r} have few rows for the size of their effects, and variances may be off "
            "by tenths. Fit with n_agq=11 to see.",
            {"next_term": term},
        )
    ]
