"""Predictions and their uncertainty.

The predictor of x'beta + z'b + offset is x'beta^ + z'b^; its variance Var(x'(beta^ - beta) + z'(b^ - b)) comes from
Henderson's (1975) mixed-model equations, the joint covariance of fixed and random parts. A level that the fit did not
have adds z'Sigma z, a new observation sigma^2 / w. Intervals use Student's t with Satterthwaite's degrees of freedom
for that whole variance, taken as a function of (theta, sigma).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.variance_parameters import covariance_root, estimate
from mixedmodels.inference.wald import check_level, t_quantile
from mixedmodels.predict.rows import Rows, fitted_rows, new_rows

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

INTERVALS = ("confidence", "prediction")
DDF = ("satterthwaite", "normal")
STEP = 1e-4
"""Of the differences in the engine's theta, whose natural size is one."""


def predict(
    state: FitState,
    data: object = None,
    *,
    random_effects: str | Iterable[str] = "conditional",
    new_levels: str = "raise",
    interval: str | None = None,
    level: float = 0.95,
    ddf: str = "satterthwaite",
    weights: object = None,
) -> pd.Series[float] | pd.DataFrame:
    """Return predictions of the response for the rows of the fit or for new data.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.
    random_effects
        ``"conditional"``: with the effects of all grouping factors; ``"population"``: of none; or names of grouping
        factors.
    new_levels
        ``"raise"``, or ``"population"``: rows of a level that the fit did not have get none of its effects (but those
        of the factors whose level is known).
    interval
        ``"confidence"``: of the mean; ``"prediction"``: of a new observation; None for none.
    level
        Coverage.
    ddf
        ``"satterthwaite"`` or ``"normal"`` (much cheaper for very many rows).
    weights
        Weights of the new observations, a number or (n_rows,); None takes those of the fit for its own rows and one for
        new data.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        In units of the response, missing where a needed value is missing; with an interval ``mean, se, lower, upper``,
        where se is that of the mean or of a new observation.

    Raises
    ------
    DataError, InferenceError
        As for ``rows.new_rows``; if an argument is not allowed.
    """
    check_level(level)
    if interval is not None and interval not in INTERVALS:
        raise InferenceError(f"interval={interval!r} is not available; it must be 'confidence', 'prediction' or None.")
    if ddf not in DDF:
        raise InferenceError(f"ddf={ddf!r} is not available for predictions; it must be 'satterthwaite' or 'normal'.")
    used = used_factors(state, random_effects)
    everything = interval == "prediction"
    if data is None:
        rows = fitted_rows(state)
    else:
        needed = tuple(u or everything for u in used)
        rows = new_rows(state, data, needed, new_levels if any(used) else "population")
    mean = predicted_mean(state, rows, used)
    mean[rows.missing] = np.nan
    if interval is None:
        return pd.Series(mean, index=rows.index, name="predicted")
    residual = _residual_share(state, rows, data, weights) if everything else 0.0
    variance, df = _variance(state, rows, used, everything=everything, residual=residual, ddf=ddf)
    se = np.where(rows.missing, np.nan, np.sqrt(variance))
    half = t_quantile(df, 0.5 + level / 2) * se
    return pd.DataFrame({"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}, index=rows.index)


def used_factors(state: FitState, random_effects: str | Iterable[str]) -> tuple[bool, ...]:
    """Return which grouping factors a choice of random effects names.

    Raises
    ------
    InferenceError
        If it names one that is not there.
    """
    names = [f.name for f in state.design.factors]
    if isinstance(random_effects, str):
        if random_effects in {"conditional", "population"}:
            return (random_effects == "conditional",) * len(names)
        random_effects = [random_effects]
    wanted = list(random_effects)
    for name in wanted:
        if name not in names:
            raise InferenceError(
                f"random_effects names {name!r}; it must be 'conditional', 'population' or some of "
                f"{', '.join(names)}.{nearest(str(name), [*names, 'conditional', 'population'])}"
            )
    return tuple(name in wanted for name in names)


def predicted_mean(state: FitState, rows: Rows, used: tuple[bool, ...]) -> Floats:
    """Return X beta + Z b + offset with the effects of some factors, (n_rows,)."""
    mean = rows.X @ state.beta + rows.offset
    for k, b in enumerate(state.b):
        if not used[k]:
            continue
        effects = np.vstack([b, np.zeros((1, b.shape[1]))])[rows.codes[k]]  # -1 is the row of zeros
        Z = rows.Z[k]
        mean += effects[:, 0] if Z is None else np.einsum("ij,ij->i", Z, effects)
    return np.asarray(mean)


def _residual_share(state: FitState, rows: Rows, data: object, weights: object) -> Floats | float:
    if weights is None:
        own = state.design.weights
        return 1.0 if data is not None or own is None else 1.0 / own
    values = np.asarray(weights, dtype=np.float64)
    if values.shape not in {(), (rows.n_rows,)} or not (values > 0).all():
        raise InferenceError(f"weights must be positive: one number, or one for each of the {rows.n_rows} rows.")
    return np.asarray(1.0 / values)


def _variance(
    state: FitState, rows: Rows, used: tuple[bool, ...], *, everything: bool, residual: Floats | float, ddf: str
) -> tuple[Floats, Floats]:
    """Return the variance of each row's predictor (or of a new observation) and its degrees of freedom."""
    codes = [np.where(u, c, -1).astype(np.int32) for u, c in zip(used, rows.codes, strict=True)]
    adds = [
        np.ones(rows.n_rows, dtype=bool) if everything and not u else (c < 0) & (u or everything)
        for u, c in zip(used, codes, strict=True)
    ]
    model, design = state.problem.model, state.design

    def relative(theta: Floats) -> Floats:
        """Return the variance over sigma^2 at a theta."""
        total = model.quadratic_forms(theta, rows.X, codes, rows.Z) + residual
        parts = split_theta(theta, [f.n_theta for f in design.factors])
        for k, (factor, part, new) in enumerate(zip(design.factors, parts, adds, strict=True)):
            if new.any():
                root = rows.columns(k)[new] @ relative_factor(part, factor.block_sizes)
                total[new] += np.einsum("ij,ij->i", root, root)
        return np.asarray(total)

    theta = np.ascontiguousarray(state.theta)
    at = relative(theta)
    variance = state.sigma**2 * at
    if ddf == "normal":
        return variance, np.full(rows.n_rows, np.inf)
    psi, root = estimate(state), covariance_root(state)
    # Var(log variance) = g'Ag with g the gradient of log variance in psi; 2 in log sigma
    slopes = [2.0 * np.ones(rows.n_rows)]
    for h in np.eye(len(psi) - 1) * STEP:
        up, down = (relative(np.ascontiguousarray(model.to_user(psi[:-1] + sign * h))) for sign in (1, -1))
        slopes.insert(-1, (up - down) / (2 * STEP * np.maximum(at, 1e-300)))
    along = np.array(slopes).T @ root
    return variance, np.asarray(2.0 / np.sum(along**2, axis=1))
