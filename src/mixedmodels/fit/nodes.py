"""Nodes of adaptive Gauss-Hermite quadrature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import FitError

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats

LARGEST = 100
"""Nodes an effect."""
LARGEST_GRID = 2500
"""Nodes of all effects of a level together."""


def check_nodes(n_agq: object) -> int:
    """Return the number of nodes an effect.

    Raises
    ------
    FitError
        If it is no whole number of at least one.
    """
    if isinstance(n_agq, bool) or not isinstance(n_agq, int | np.integer) or not 1 <= n_agq <= LARGEST:
        raise FitError(
            f"n_agq is {n_agq!r}; it must be a whole number from 1, which is Laplace's approximation, to {LARGEST}."
        )
    return int(n_agq)


def quadrature_nodes(n_agq: int, design: Design) -> tuple[Floats, Floats] | None:
    """Return nodes and weights of the standard normal density, (n_agq,) each; None for Laplace's approximation.

    Parameters
    ----------
    n_agq
        Nodes an effect.
    design
        The model, which must have one grouping factor.

    Raises
    ------
    FitError
        If it has several, or so many effects that their nodes are too many.
    """
    if n_agq == 1:
        return None
    factors = design.factors
    if len(factors) > 1:
        names = ", ".join(repr(factor.name) for factor in factors)
        raise FitError(
            f"n_agq={n_agq} takes one grouping factor, and {design.formula.text!r} has {len(factors)}: {names}. Leave "
            "n_agq out, which is Laplace's approximation."
        )
    n_effects = factors[0].n_effects
    if n_agq**n_effects > LARGEST_GRID:
        most = int(LARGEST_GRID ** (1 / n_effects))
        advice = f"Take at most n_agq={most}" if most > 1 else "Leave n_agq out"
        raise FitError(
            f"n_agq={n_agq} makes {n_agq}**{n_effects} nodes for the {n_effects} effects of {factors[0].name!r}, more "
            f"than {LARGEST_GRID}. {advice}."
        )
    z, w = np.polynomial.hermite_e.hermegauss(n_agq)
    return z, w / w.sum()
