"""Variances of what predictions of a fit by sampling miss by: nothing of them is sampled, each row is solved for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.fit.sampled import TOGETHER, At

if TYPE_CHECKING:
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.sampled import Crossed, Solution

MOST_ROWS = 10_000
"""Rows of different random effects that are solved for."""


def error_forms(
    model: Crossed, Lambda: list[Floats], Q: Floats, codes: tuple[Codes, ...], Z: tuple[Floats, ...]
) -> Floats:
    """Return Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of rows, (m,).

    With t = Lambda'z it is t'M^-1 t + |K'(x - Z_x)|^2, K K' = (X'V0^-1X)^-1 and Z_x = X'W Z Lambda M^-1 t: Henderson's
    (1975) C^-1 by blocks.

    Parameters
    ----------
    model, Lambda
        Where, as for `At`.
    Q
        Fixed columns of the rows in their basis, (m, p).
    codes
        Level in each factor of the design, (m,); -1 where there is none.
    Z
        Columns of each factor in their basis, (m, n_effects).

    Raises
    ------
    InferenceError
        There are too many rows of different random effects.
    """
    at = At(model, Lambda)
    solution = at.solution()
    t = [z @ T for z, T in zip(Z, Lambda, strict=True)]
    rows = Q - _across(solution, codes, t)
    fixed = rows @ solution.root
    return np.asarray(np.einsum("ij,ij->i", fixed, fixed) + _random(at, codes, t))


def _across(solution: Solution, codes: tuple[Codes, ...], t: list[Floats]) -> Floats:
    """Return X'W Z Lambda M^-1 t of each row, in the basis of X, (m, p)."""
    p = len(solution.beta)
    out = np.zeros((len(codes[0]), p))
    for levels, of_factor, solved in zip(codes, t, solution.solved, strict=True):
        met = levels >= 0
        out[met] += np.einsum("ma,map->mp", of_factor[met], solved[levels[met]][:, :, :p])
    return out


def _random(at: At, codes: tuple[Codes, ...], t: list[Floats]) -> Floats:
    """Return t'M^-1 t of each row, (m,): one solution for all rows of the same t."""
    keys = np.column_stack([np.column_stack([levels, of_factor]) for levels, of_factor in zip(codes, t, strict=True)])
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    if len(first) > MOST_ROWS:
        raise InferenceError(
            f"Intervals after a fit by sampling solve for each row of different random effects, and there are "
            f"{len(first)}; at most {MOST_ROWS} are allowed. Predict fewer rows at a time."
        )
    forms = np.empty(len(first))
    for start in range(0, len(first), TOGETHER):
        rows = first[start : start + TOGETHER]
        forms[start : start + TOGETHER] = at.inverse_forms([c[rows] for c in codes], [part[rows] for part in t])
    return np.asarray(forms[which.ravel()])
