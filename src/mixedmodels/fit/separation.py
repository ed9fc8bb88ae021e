"""Fixed effects that tell responses without error, so that their estimates are infinite (Albert and Anderson 1984).

A direction d of the fixed effects separates a binomial response if x'd >= 0 where all trials succeed, <= 0 where all
fail, = 0 elsewhere, and not everywhere; counts if x'd <= 0 at zeros and = 0 elsewhere (Correia, Guimaraes and Zylkin
2019). A linear program over the distinct rows finds it (Konis 2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.records import Finding
from mixedmodels.families import Binomial, NegativeBinomial, Poisson

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.families import Family
    from mixedmodels.fit.observed import Observed

FAR = 15.0
"""Size of a linear predictor from which on it is looked for."""
SEEN = 1e-7
"""Of a direction whose largest element is one, in columns whose largest value is one."""
MAX_NAMED = 3


def separated(design: Design, kept: Sequence[int], observed: Observed, family: Family, eta: Floats) -> list[Finding]:
    """Return the finding that a direction of the fixed effects separates the response, if one does.

    Parameters
    ----------
    design
        The model's arrays.
    kept
        Columns of X that are estimated.
    observed, family
        The responses.
    eta
        Their linear predictor at the optimum, (n_obs,).
    """
    if not (np.abs(eta) > FAR).any():
        return []
    sign = _signs(observed, family)
    if sign is None or not sign.any():
        return []
    X = design.X[:, list(kept)]
    size = np.abs(X).max(axis=0)
    direction = _direction(X / np.where(size > 0, size, 1.0), sign)
    if direction is None:
        return []
    told = np.abs((X / size) @ direction) > SEEN
    names = [design.x_names[j] for j, d in zip(kept, direction, strict=True) if abs(d) > SEEN]
    listed = ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
    return [
        Finding(
            "separated",
            f"{listed} {'tells' if len(names) == 1 else 'together tell'} the response without error in "
            f"{np.count_nonzero(told)} of {design.n_obs} rows: estimates grow without bound along there, and those "
            "shown, with their standard errors, are where the search stopped. Leave out or merge what separates.",
            {"columns": tuple(names), "rows": tuple(np.flatnonzero(told).tolist())},
        )
    ]


def _signs(observed: Observed, family: Family) -> Floats | None:
    """Return 1 where eta may grow without bound, -1 where it may fall, 0 where neither, (n_obs,)."""
    y = observed.y
    if isinstance(family, Binomial):
        trials = np.ones(len(y)) if observed.trials is None else observed.trials
        return np.where(trials == 0, np.nan, np.where(y == trials, 1.0, np.where(y == 0, -1.0, 0.0)))
    if isinstance(family, Poisson | NegativeBinomial):
        return np.where(y == 0, -1.0, 0.0)
    return None


def _direction(X: Floats, sign: Floats) -> npt.NDArray[np.float64] | None:
    from scipy.optimize import linprog  # noqa: PLC0415  # few fits need it

    rows = np.unique(np.column_stack([X, sign])[~np.isnan(sign)], axis=0)
    X, sign = rows[:, :-1], rows[:, -1]
    free, fixed = sign[sign != 0, None] * X[sign != 0], X[sign == 0]
    equal = {"A_eq": fixed, "b_eq": np.zeros(len(fixed))} if len(fixed) else {}
    found = linprog(-free.sum(axis=0), A_ub=-free, b_ub=np.zeros(len(free)), bounds=(-1, 1), **equal)
    return np.asarray(found.x) if found.status == 0 and -found.fun > SEEN * len(free) else None
