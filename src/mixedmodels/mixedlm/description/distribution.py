"""Draws from a fitted or imagined model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.packed import cholesky_root
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.reading.arguments import read_matrix, read_number, read_numbers, shown
from mixedmodels.mixedlm.reading.params import MixedLMParams


class Distribution:
    """The distribution of the response.

    Parameters
    ----------
    model
        The model.
    params
        All parameters packed, covariances as ratios to ``scale``.
    scale
        Residual variance.
    exog
        Fixed-effect columns; None takes the model's.

    Raises
    ------
    DataError
        If one has another shape, or is not numeric.
    """

    def __init__(
        self, model: ModelDescription, params: npt.ArrayLike, scale: float, exog: npt.ArrayLike | None
    ) -> None:
        self.model, self.scale = model, read_number("scale", scale)
        if self.scale < 0:
            raise DataError(f"scale is {scale!r}; a variance must not be negative.")
        self.exog = model.exog if exog is None else read_matrix("exog", exog, (model.nobs, model.k_fe))
        packed, n_params = read_numbers("params", params).ravel(), len(model.param_names)
        if len(packed) != n_params:
            raise DataError(f"params has {len(packed)} values; this model has {n_params} parameters.")
        parts = MixedLMParams.from_packed(packed, model.k_fe, model.k_re, use_sqrt=False, has_fe=True)
        self.fe_params, self.cov_re, self.vcomp = parts.fe_params, self.scale * parts.cov_re, self.scale * parts.vcomp

    def rvs(self, n: int, rng: Any = None) -> Floats:
        """Return one draw of the response, (n_rows,).

        Draws come in the order random coefficients by group, each component by group, residuals.

        Parameters
        ----------
        n
            Rows, for callers that pass it; the model knows its own.
        rng
            Seed, ``numpy.random.Generator`` or ``RandomState``; None for fresh entropy.
        """
        model = self.model
        random = rng if hasattr(rng, "normal") else _generator(rng)
        y = self.exog @ self.fe_params
        if model.exog_re is not None:
            b = random.normal(size=(len(model.groups), model.k_re)) @ _root(self.cov_re).T
            y = y + (b[model.groups.codes] * model.exog_re).sum(axis=1)
        for component, variance in zip(model.components, self.vcomp, strict=True):
            eta = np.sqrt(max(variance, 0.0)) * random.normal(size=component.n_columns)
            if component.codes is not None:
                part = eta[component.codes]
                y = y + (part if component.values is None else part * component.values)
            else:
                assert component.Z is not None
                starts = np.cumsum(component.counts) - component.counts
                columns = starts[:, None] + np.arange(component.Z.shape[1])
                padded = np.append(eta, 0.0)[np.minimum(columns, len(eta))]
                y = y + (padded[model.groups.codes] * component.Z).sum(axis=1)
        return np.asarray(y + np.sqrt(self.scale) * random.normal(size=len(y)))


def _generator(seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise DataError(f"rng is {shown(seed)}; it must be a seed or a generator of NumPy's.") from error


def _root(covariance: Floats) -> Floats:
    """Return a root of the covariance; of the nearest positive semidefinite one if it is not (a draw may not be)."""
    root = cholesky_root(covariance)
    if root is not None:
        return root
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)))
