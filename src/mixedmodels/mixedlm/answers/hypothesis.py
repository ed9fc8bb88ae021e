"""Linear hypotheses as statsmodels' users write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.inference.hypotheses import read_hypotheses


@dataclass(frozen=True)
class Hypothesis:
    """R b = q.

    Attributes
    ----------
    matrix, values
        R (n_rows, n_params) and q (n_rows,).
    names
        What each row says.
    """

    matrix: Floats
    values: Floats
    names: list[str]


def read_hypothesis(what: Any, names: Sequence[str]) -> Hypothesis:
    """Return a hypothesis from text, a list of texts, a mapping, an array or a pair of arrays (R, q).

    Parameters
    ----------
    what
        Such as ``"Time = 0"``, ``"Time = 0, Intercept = 2 * Time"``, ``[0, 1]``. Arrays may have any number of columns.
    names
        Of the parameters.

    Raises
    ------
    InferenceError
        If it cannot be read.
    """
    if isinstance(what, str):
        what = [part.strip() for part in re.split(r",(?![^(\[]*[)\]])", what) if part.strip()]
    if isinstance(what, tuple) and len(what) == 2 and not isinstance(what[0], str):
        R, q = np.atleast_2d(np.asarray(what[0], dtype=np.float64)), np.asarray(what[1], dtype=np.float64)
        return Hypothesis(R, np.broadcast_to(q.ravel(), (len(R),)).copy(), [f"c{i}" for i in range(len(R))])
    if isinstance(what, dict) or (isinstance(what, Sequence) and any(isinstance(row, str) for row in what)):
        read = read_hypotheses(what, names)
        return Hypothesis(read.L, read.rhs, list(read.labels))
    R = np.atleast_2d(np.asarray(what, dtype=np.float64))
    return Hypothesis(R, np.zeros(len(R)), [f"c{i}" for i in range(len(R))])
