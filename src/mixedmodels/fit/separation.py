"""Fixed effects that tell responses without error, so that their estimates are infinite (Albert and Anderson 1984).

A direction d of the fixed effects separates a binomial response if x'd >= 0 where all trials succeed, <= 0 where all
fail, = 0 elsewhere, and not everywhere; counts if x'd <= 0 at zeros and = 0 elsewhere (Correia, Guimaraes and Zylkin
2019); ordered categories if no row comes nearer to a threshold. A linear program over the distinct rows finds it (Konis
2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.records import Finding
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.generalized_findings import NO_CHANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.design.zero_part import ZeroPart
    from mixedmodels.families.family import Family
    from mixedmodels.fit.observed import Observed

FAR = 15.0
"""Size of a linear predictor from which on it is looked for."""
FAR_CHANCE = float(special.logit(1 - NO_CHANCE))
"""Size of the logit of a chance from which on it may be none, or one."""
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
    told, direction = _separated_rows(design.X[:, list(kept)], observed, family)
    if not told.any():
        return []
    names = [
        design.x_names[j]
        for j, d in zip(kept, direction, strict=True)
        if abs(d) > SEEN and not (design.categories and design.x_names[j] == INTERCEPT)
    ]
    listed = _listed(names)
    return [
        Finding(
            "separated",
            f"{listed} {'tells' if len(names) == 1 else 'together tell'} the response without error in "
            f"{np.count_nonzero(told)} of {design.n_obs} rows: estimates grow without bound along there, and those "
            "shown, with their standard errors, are where the search stopped. Leave out or merge what separates.",
            {"columns": tuple(names), "rows": tuple(np.flatnonzero(told).tolist())},
        )
    ]


def separated_zeros(zeros: ZeroPart, effects: Floats, y: Floats, is_hurdle: bool) -> list[Finding]:
    """Return the finding that chances of zeros are none, or one, in some rows whatever the data are elsewhere, if so.

    At a hurdle these are the rows of a binomial response, zero or not. Excess zeros have a chance that ends at none
    also where there are zeros, but no more than counts have: which rows do is seen at the estimates.

    Parameters
    ----------
    zeros
        Covariates of the chance.
    effects
        On its logit, (n_columns,).
    y
        Responses, (n_obs,).
    is_hurdle
        Whether the chance is that of any zero.
    """
    logit = zeros.X @ effects
    far = np.abs(logit) > FAR_CHANCE
    if not far.any():
        return []
    sign = np.where(y == 0, 1.0, -1.0) if is_hurdle else np.sign(logit) * far
    size = np.abs(zeros.X).max(axis=0)
    X = zeros.X / np.where(size > 0, size, 1.0)
    direction = _direction(X, sign)
    if direction is None:
        return []
    told = np.abs(X @ direction) > SEEN
    if told.all() and not is_hurdle and (logit < 0).all():
        return []  # what no_excess_zeros says
    names = [name for name, d in zip(zeros.names, direction, strict=True) if abs(d) > SEEN]
    counts = {end: np.count_nonzero(told & side) for end, side in ((0, logit < 0), (1, logit > 0))}
    ends = " and ".join(f"{end} in {count}" for end, count in counts.items() if count)
    return [
        Finding(
            "separated_zeros",
            f"The chance of a zero goes to {ends} of {len(y)} rows along {_listed(names)} in "
            f"zero_inflation={zeros.text!r}: the effects grow without bound, and have no standard errors. Leave out or "
            "merge what separates.",
            {"columns": tuple(names), "rows": tuple(np.flatnonzero(told).tolist())},
        )
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def _separated_rows(X: Floats, observed: Observed, family: Family) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which rows a direction of the fixed effects tells without error, (n_obs,), and its part in X's columns."""
    n, p = X.shape
    size = np.abs(X).max(axis=0)
    X = X / np.where(size > 0, size, 1.0)
    row = np.arange(n)
    if isinstance(family, Ordinal):
        X, row = _beside_thresholds(X, observed.y.astype(np.intp))
        sign = np.ones(len(X))
    else:
        trials = np.ones(n) if observed.trials is None else observed.trials
        sign = family.unbounded(observed.y, trials)
    told = np.zeros(n, dtype=bool)
    direction = _direction(X, sign) if sign.any() else None
    if direction is None:
        return told, np.zeros(p)
    told[row[np.abs(X @ direction) > SEEN]] = True
    return told, direction[:p]


def _beside_thresholds(X: Floats, category: npt.NDArray[np.intp]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return distances to the thresholds below and above each row, with one more column a threshold but the first.

    The likelihood grows without bound along directions that shorten none.
    """
    last = int(category.max())
    thresholds = np.vstack([np.zeros(last - 1), np.eye(last - 1)])
    below, above = np.flatnonzero(category > 0), np.flatnonzero(category < last)
    lower = np.hstack([X[below], -thresholds[category[below] - 1]])
    upper = np.hstack([-X[above], thresholds[category[above]]])
    return np.vstack([lower, upper]), np.concatenate([below, above])


def _direction(X: Floats, sign: Floats) -> npt.NDArray[np.float64] | None:
    from scipy.optimize import linprog  # noqa: PLC0415  # few fits need it

    rows = np.unique(np.column_stack([X, sign])[~np.isnan(sign)], axis=0)
    X, sign = rows[:, :-1], rows[:, -1]
    free, fixed = sign[sign != 0, None] * X[sign != 0], X[sign == 0]
    equal = {"A_eq": fixed, "b_eq": np.zeros(len(fixed))} if len(fixed) else {}
    found = linprog(-free.sum(axis=0), A_ub=-free, b_ub=np.zeros(len(free)), bounds=(-1, 1), **equal)
    return np.asarray(found.x) if found.status == 0 and -found.fun > SEEN * len(free) else None
