"""Responses drawn from a fitted model, for the rows of the fit or a new design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.inference.bootstrap import check_seed
from mixedmodels.predict.predict import predicted_mean, residual_share
from mixedmodels.predict.rows import Rows, fitted_rows, level_table, new_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixedmodels.covariance.relationship import Relationship
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.records import FitState

CHOICES = ("new", "conditional")


@dataclass(frozen=True)
class _Effects:
    """Effects of one grouping factor: a root of their covariance, the level of each row, their columns, and A."""

    root: Floats
    levels: Codes
    Z: Floats | None
    relationship: Relationship | None

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return Z b for a b drawn for every level, (n_rows,)."""
        if self.relationship is None:
            white = rng.standard_normal((int(self.levels.max(initial=-1)) + 1, len(self.root)))
        else:
            white = self.relationship.correlated(rng.standard_normal((len(self.relationship.levels), len(self.root))))
        b = white @ self.root.T
        if self.Z is None:
            return np.take(b[:, 0], self.levels)
        return np.asarray(np.einsum("ij,ij->i", self.Z, b[self.levels]))


def simulate(
    state: FitState,
    n: int = 1,
    *,
    seed: int | None = None,
    random_effects: str = "new",
    data: object = None,
    weights: object = None,
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
        New data; None for the rows of the fit.
    weights
        Weights of the rows: a number, (n_rows,) or the name of a column of new data; None takes those of the fit for
        its own rows, and the column that it took them from in new data.

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
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of responses must be a positive integer.")
    draws = responses(state, seed=seed, random_effects=random_effects, data=data, weights=weights)
    first = next(draws)
    out = np.empty((len(first), n), order="F")
    out[:, 0] = first
    for j in range(1, n):
        out[:, j] = next(draws)
    return out


def responses(
    state: FitState,
    *,
    seed: int | None = None,
    random_effects: str = "new",
    data: object = None,
    weights: object = None,
) -> Iterator[Floats]:
    """Yield simulated responses without end, (n_rows,) each; arguments as for ``simulate``.

    Raises
    ------
    InferenceError, DataError
        As ``simulate``.
    """
    if random_effects not in CHOICES:
        raise InferenceError(f"random_effects={random_effects!r} is not available; it must be 'new' or 'conditional'.")
    check_seed(seed)
    rows = fitted_rows(state) if data is None else new_rows(state, data, (True,) * len(state.b), "population")
    sd = state.sigma * np.sqrt(residual_share(state, rows, data, weights))
    known = random_effects == "conditional"
    mean = predicted_mean(state, rows, (known,) * len(state.b))
    factors = state.design.factors
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    effects = [
        _Effects(
            state.sigma * relative_factor(part, factor.block_sizes),
            _levels(state, rows, data, k),
            rows.Z[k],
            factor.relationship,
        )
        for k, (factor, part) in enumerate(zip(factors, parts, strict=True))
    ]
    rng = np.random.default_rng(seed)
    while True:
        y = mean.copy()
        for effect, codes in zip(effects, rows.codes, strict=True):
            drawn = effect.draw(rng)
            y += np.where(codes < 0, drawn, 0.0) if known else drawn
        y += sd * rng.standard_normal(rows.n_rows)
        y[rows.missing] = np.nan
        yield y


def _levels(state: FitState, rows: Rows, data: object, k: int) -> Codes:
    """Return codes of the levels of the rows, known to the fit or not, (n_rows,)."""
    if data is None:
        return rows.codes[k]
    factor = state.design.factors[k]
    if factor.relationship is not None:
        if ((rows.codes[k] < 0) & ~rows.missing).any():
            raise DataError(
                f"The data have levels of {factor.name!r} that its relationship has not, and there are no draws for "
                "them. Add them to the relationship, and fit again."
            )
        return rows.codes[k]
    labels = level_table(state, data, k).astype(object)
    return np.asarray(labels.groupby(list(labels), sort=False, dropna=False).ngroup(), dtype=np.int32)
