"""Linear hypotheses as statsmodels' users write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError
from mixedmodels.inference.hypotheses import read_hypotheses
from mixedmodels.mixedlm.reading.arguments import read_numbers, shown


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
        R, q = _read_matrix(what[0]), read_numbers("q of r_matrix", what[1]).ravel()
        if len(q) not in {1, len(R)}:
            raise InferenceError(f"r_matrix has {len(R)} rows, but {len(q)} values that they shall have.")
        return Hypothesis(R, np.broadcast_to(q, (len(R),)).copy(), [f"c{i}" for i in range(len(R))])
    if isinstance(what, Mapping) or (
        isinstance(what, Sequence) and not isinstance(what, bytes) and any(isinstance(row, str) for row in what)
    ):
        read = read_hypotheses(what, names)
        return Hypothesis(read.L, read.rhs, list(read.labels))
    R = _read_matrix(what)
    return Hypothesis(R, np.zeros(len(R)), [f"c{i}" for i in range(len(R))])


def _read_matrix(given: Any) -> Floats:
    R = np.atleast_2d(read_numbers("r_matrix", given))
    if R.ndim > 2 or not R.size or not np.isfinite(R).all():
        raise InferenceError(
            f"r_matrix is {shown(given)}; it must be a text such as 'x = 0', a mapping, or finite numbers, one row a "
            "hypothesis and one column a parameter."
        )
    return R
