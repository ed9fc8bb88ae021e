"""Responses drawn from a fitted model, for the rows of the fit or a new design."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.expression import columns_in
from mixedmodels.design.frame import open_frame
from mixedmodels.errors import InferenceError
from mixedmodels.predict.predict import predicted_mean
from mixedmodels.predict.rows import Rows, fitted_rows, new_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FitState

CHOICES = ("new", "conditional")


def simulate(
    state: FitState, n: int = 1, *, seed: int | None = None, random_effects: str = "new", data: object = None
) -> Floats:
    """Return simulated responses, one a column.

    Parameters
    ----------
    state
        The fit, whose parameters are taken as true.
    n
        Responses.
    seed
        Of NumPy's generator; draws are, for each response, the effects of each grouping factor and then the residuals.
    random_effects
        ``"new"``: drawn for every level; ``"conditional"``: the modes of the fit where it had the level, drawn for
        others.
    data
        New data; None for the rows of the fit. Residual weights are one for new data.

    Returns
    -------
    ndarray, shape (n_rows, n)
        In units of the response; nan for rows with missing values.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    DataError
        If new data lack a column or have a level of a fixed factor that the fit did not have.
    """
    if random_effects not in CHOICES:
        raise InferenceError(f"random_effects={random_effects!r} is not available; it must be 'new' or 'conditional'.")
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of responses must be a positive integer.")
    rows = fitted_rows(state) if data is None else new_rows(state, data, (True,) * len(state.b), "population")
    levels = [_levels(state, rows, data, k) for k in range(len(state.b))]
    own = state.design.weights if data is None else None
    sd = state.sigma * np.ones(rows.n_rows) if own is None else state.sigma / np.sqrt(own)
    known = random_effects == "conditional"
    mean = predicted_mean(state, rows, (known,) * len(state.b))
    drawn = [c < 0 if known else np.ones(rows.n_rows, dtype=bool) for c in rows.codes]
    roots = _roots(state)
    rng = np.random.default_rng(seed)
    out = np.empty((rows.n_rows, n))
    for j in range(n):
        y = mean.copy()
        for k, (codes, root) in enumerate(zip(levels, roots, strict=True)):
            b = rng.standard_normal((int(codes.max(initial=-1)) + 1, len(root))) @ root.T
            at = drawn[k] & ~rows.missing
            y[at] += np.einsum("ij,ij->i", rows.columns(k)[at], b[codes[at]])
        out[:, j] = y + sd * rng.standard_normal(rows.n_rows)
    out[rows.missing] = np.nan
    return out


def with_fixed_effects(state: FitState, effects: dict[str, float]) -> FitState:
    """Return the state with some fixed effects set to other values, to simulate from."""
    beta = state.beta.copy()
    for name, value in effects.items():
        beta[state.fixed_names.index(name)] = value
    return replace(state, beta=beta)


def _roots(state: FitState) -> list[Floats]:
    factors = state.design.factors
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    return [state.sigma * relative_factor(part, f.block_sizes) for part, f in zip(parts, factors, strict=True)]


def _levels(state: FitState, rows: Rows, data: object, k: int) -> Codes:
    """Return codes of the levels that the rows have, of which those of the fit keep no trace."""
    if data is None:
        return rows.codes[k]
    frame = open_frame(data)
    variables = state.design.recipe.factors[k].grouping.variables
    names = [name for variable in variables for name in columns_in(variable, frame.names)]
    labels = pd.DataFrame({name: frame.read(name).to_series().astype(object).to_numpy() for name in names})
    return np.asarray(labels.groupby(names, sort=False, dropna=False).ngroup(), dtype=np.int32)
