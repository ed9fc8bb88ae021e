"""What a generalised model's fit noticed beside what every fit may, in words and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.records import Finding

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.families.family import Family
    from mixedmodels.fit.records import Optimum

HUGE = 10.0
"""Standard deviation of an effect's part of the linear predictor from which on it is called huge."""


def huge_effects(design: Design, theta: Floats) -> list[Finding]:
    """Return a finding for each random effect that moves the linear predictor beyond what data can tell."""
    found = []
    parts = split_theta(theta, [f.n_theta for f in design.factors])
    for factor, part in zip(design.factors, parts, strict=True):
        root = relative_factor(part, factor.block_sizes)
        sizes = np.ones(1) if factor.Z is None else np.sqrt(np.mean(factor.Z**2, axis=0))
        for name, sd in zip(factor.columns, np.sqrt((root**2).sum(axis=1)) * sizes, strict=True):
            if sd > HUGE:
                found.append(
                    Finding(
                        "huge_effects",
                        f"The effects of {factor.name!r} on {name!r} move the linear predictor by a standard deviation "
                        f"of {sd:.3g}: levels answer nearly always the same, and the size of their variance is hardly "
                        "told by the data. Read predictions rather than this number.",
                        {"factor": factor.name, "effect": name, "sd": float(sd)},
                    )
                )
    return found


def no_minimum(optimum: Optimum, n_factors: int, n_agq: int) -> Finding:
    """Return the finding that the criterion falls without bound and no minimum was found before that.

    Parameters
    ----------
    optimum
        Where the search stopped.
    n_factors
        Grouping factors.
    n_agq
        Nodes of the quadrature an effect.
    """
    more = f"n_agq={max(15, 2 * n_agq + 1)} or " if n_factors == 1 else ""
    approximation = "Laplace's approximation" if n_agq == 1 else f"The quadrature with {n_agq} nodes"
    return Finding(
        "not_converged",
        f"Not converged: no minimum was found. {approximation} falls without bound where a zero may be one of the "
        "counts or one in excess, and the effects of a level are hardly told. These numbers are where the search "
        f"stopped and no estimates: use {more}fewer random effects.",
        {"status": optimum.status, "gradient_norm": optimum.gradient_norm},
    )


def no_overdispersion(family: Family, phi: Floats) -> list[Finding]:
    """Return the finding that responses vary no more than those of the family without a dispersion, if so."""
    if not (family.is_even and phi[0] ** 2 < NO_DISPERSION):
        return []
    simpler = "binomial" if family.responses == "successes" else "Poisson"
    return [
        Finding(
            "no_overdispersion",
            f"The responses vary no more than the {simpler} distribution says, given the effects: the dispersion is "
            f"estimated as zero, and family={simpler.casefold()!r} says the same.",
            {"dispersion": float(phi[0] ** 2)},
        )
    ]


def no_excess_zeros(chances: Floats) -> list[Finding]:
    """Return the finding that there are no more zeros than those of the counts, if so.

    Parameters
    ----------
    chances
        Of an excess zero, by rows.
    """
    if not (chances < NO_CHANCE).all():
        return []
    return [
        Finding(
            "no_excess_zeros",
            "There are no more zeros than the counts have: the chance of an excess zero is estimated as none in all "
            "rows, and the model without zero_inflation= says the same.",
            {"chance": float(chances.max())},
        )
    ]


NO_CHANCE = 1e-6
"""Of an excess zero, that counts as none."""

NO_DISPERSION = 1e-8
"""alpha of m + alpha m^2 that counts as none."""


def no_curvature() -> Finding:
    """Return the finding that there are no standard errors."""
    return Finding(
        "no_curvature",
        "The criterion is flat in a direction at its optimum, so that there are no standard errors: the data do not "
        "tell all parameters. Use fewer effects.",
    )
