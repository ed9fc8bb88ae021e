"""Covariances of parameters and of linear combinations of them: ``MixedLMResults.cov_params``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError
from mixedmodels.inference.observed_information import ParameterCovariance
from mixedmodels.mixedlm.reading.arguments import read_matrix, read_number, read_numbers, read_positions

OfRows = Callable[[Floats, Floats], Floats]
"""The covariance of two sets of combinations of the parameters."""


def read_covariance(own: ParameterCovariance, scale: float, new_scale: Any, cov_p: Any, n_params: int) -> OfRows:
    """Return the covariance of combinations, of this fit or as it is given.

    Parameters
    ----------
    own, scale
        Those of the fit.
    new_scale
        In place of the fit's residual variance; None for that.
    cov_p
        In place of the covariance of all parameters; None for that.
    n_params
        Number of all parameters.

    Raises
    ------
    DataError
        If one is no number, or no matrix of this size.
    """
    if cov_p is not None:
        given = read_matrix("cov_p", cov_p, (n_params, n_params))
        return lambda rows, others: rows @ given @ others.T
    factor = 1.0 if new_scale is None else read_number("scale", new_scale) / scale
    return lambda rows, others: factor * (own.whiten(rows) @ own.whiten(others).T)


def covariance_of(covariance: OfRows, n_params: int, r_matrix: Any, column: Any, other: Any) -> Any:
    """Return the covariance of all parameters, of some, or of combinations of them.

    Parameters
    ----------
    covariance
        Of combinations.
    n_params
        Number of all parameters.
    r_matrix, column, other
        As for ``MixedLMResults.cov_params``.

    Raises
    ------
    InferenceError
        If they do not go together, or have other shapes.
    """
    if column is not None and (r_matrix is not None or other is not None):
        raise InferenceError("Pass either column or r_matrix, not both.")
    if other is not None and r_matrix is None:
        raise InferenceError("other needs r_matrix.")
    everything = np.eye(n_params)
    if column is not None:
        R = Q = everything[read_positions("column", column, n_params)]
    elif r_matrix is None:
        R = Q = everything
    else:
        R = _read_rows("r_matrix", r_matrix, n_params)
        Q = R if other is None else _read_rows("other", other, n_params)
    found = covariance(np.atleast_2d(R), np.atleast_2d(Q))
    return np.squeeze(found, axis=tuple(axis for axis, rows in enumerate((R, Q)) if rows.ndim == 1))[()]


def _read_rows(name: str, given: Any, n_params: int) -> Floats:
    rows = read_numbers(name, given)
    if rows.ndim not in (1, 2) or rows.shape[-1] != n_params:
        raise InferenceError(f"{name} has the shape {rows.shape}; rows must have {n_params} numbers, one a parameter.")
    return rows
