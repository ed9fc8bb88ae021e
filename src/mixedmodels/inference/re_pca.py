"""Principal components of the random effects (Bates, Kliegl, Vasishth and Baayen 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.inference.covariances import factor_covariances

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


def re_pca(state: FitState) -> dict[str, pd.DataFrame]:
    """Return the principal components of each factor's random-effects covariance relative to sigma^2.

    Returns
    -------
    dict
        Grouping factor -> frame, one row a component, largest first: ``sd`` (relative to sigma), ``proportion`` and
        ``cumulative`` share of the variance (nan if there is none), then the loadings of the effects.
    """
    out = {}
    for factor in factor_covariances(state):
        values, vectors = np.linalg.eigh(factor.covariance / state.sigma**2)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        values = np.where(values > 1e-12 * values.sum(), values, 0.0)
        signs = np.where(vectors[np.argmax(np.abs(vectors), axis=0), range(len(values))] < 0, -1.0, 1.0)
        total = values.sum()
        share = values / total if total > 0 else np.full(len(values), np.nan)
        frame = pd.DataFrame({"sd": np.sqrt(values), "proportion": share, "cumulative": np.cumsum(share)})
        frame[list(factor.effects)] = (vectors * signs).T
        frame.index = pd.Index([f"PC{i + 1}" for i in range(len(values))], name="component")
        out[factor.group] = frame
    return out
