"""Residuals, predictions and draws of models with correlated residuals.

A subject's own rows tell of its residual at a visit v: with O these rows, E[e_v | y] = S_vO V_O^-1 r_O.
The error of the prediction has the variance x*'Phi x* + S_vv - S_vO V_O^-1 S_Ov with x* = x - X_O'V_O^-1 S_Ov.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.design.grouping import look_up
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.subjects import draw_residuals, normalized, sds
from mixedmodels.inference.bootstrap import check_seed
from mixedmodels.inference.degrees import approximation, estimate_rows
from mixedmodels.inference.wald import check_level, t_quantile
from mixedmodels.predict.correlated import known_of_blocks
from mixedmodels.predict.rows import fitted_rows, new_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.inference.approximation import Approximation
    from mixedmodels.predict.rows import Rows

KINDS = ("response", "marginal", "pearson", "normalized")
INTERVALS = ("confidence", "prediction")
SATTERTHWAITE = "satterthwaite"


def marginal_residuals(state: MarginalState, kind: str = "response") -> Floats:
    """Return residuals, (n_obs,).

    Parameters
    ----------
    state
        The fit.
    kind
        ``"response"``: y - X beta - offset, less what random effects add; ``"marginal"``: without the latter;
        ``"pearson"``: over its standard deviation; ``"normalized"``: L^-1 r by subject, R = L L' the covariance of the
        residuals (Pinheiro and Bates 2000, section 5.1.3).

    Raises
    ------
    InferenceError
        If there is no such kind.
    """
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise InferenceError(f"There are no {kind!r} residuals; there are {known}.{nearest(str(kind), KINDS)}")
    if isinstance(state, CorrelatedState) and kind != "marginal":
        fitted = conditional_fitted(state)
    else:
        fitted = marginal_fitted(state)
    residual = np.asarray(state.design.y - fitted)
    if kind == "pearson":
        return np.asarray(residual / sds(state))
    return normalized(state, residual) if kind == "normalized" else residual


def simulate_marginal(state: MarginalState, n: int = 1, seed: int | None = None) -> Floats:
    """Return n responses drawn from the fitted model, (n_obs, n).

    Raises
    ------
    InferenceError
        If ``n`` or ``seed`` is not allowed.
    """
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise InferenceError(f"n is {n!r}; it must be a whole number of draws, 1 or more.")
    check_seed(seed)
    return marginal_fitted(state)[:, None] + draw_residuals(state, int(n), np.random.default_rng(seed))


@dataclass(frozen=True)
class _Known:
    """What subjects' own rows add: to the mean, (n,), to the rows x, (n, n_fixed), and to the variance, (n,)."""

    mean: Floats
    X: Floats
    variance: Floats


def predict_marginal(
    state: MarginalState,
    data: object = None,
    *,
    conditional: bool = False,
    interval: str | None = None,
    level: float = 0.95,
    ddf: str | Approximation = SATTERTHWAITE,
) -> pd.Series[float] | pd.DataFrame:
    """Return predictions of the rows of the fit or of new data.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.
    conditional
        Add what a subject's own rows tell of its residual.
    interval
        ``"confidence"``: of the mean; ``"prediction"``: of an observation of weight one.
    level
        Coverage.
    ddf
        Of confidence intervals of the fixed part, as for ``degrees.approximation``; others are normal.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        In units of the response; with an interval ``mean, se, lower, upper``.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    """
    check_level(level)
    _check_variance(state, interval)
    if interval is not None and interval not in INTERVALS:
        raise InferenceError(
            f"interval={interval!r} is not available; it must be 'confidence', 'prediction' or None."
            f"{nearest(str(interval), INTERVALS)}"
        )
    if not isinstance(conditional, bool | np.bool_):
        raise InferenceError(f"conditional is {conditional!r}; it must be True or False.")
    is_plain = interval == "confidence" and not conditional
    if ddf != SATTERTHWAITE and not is_plain:
        raise InferenceError("ddf is for confidence intervals of the fixed part; other intervals are normal.")
    used = (bool(conditional),) * len(state.design.factors)
    spread = interval == "prediction"
    rows = fitted_rows(state) if data is None else new_rows(state, data, used, "population", spread=spread)
    mean = rows.X @ state.beta + rows.offset
    X, variance = rows.X, np.zeros(rows.n_rows)
    if conditional or interval == "prediction":
        known = _known(state, rows, data, conditional=conditional)
        mean, X, variance = mean + known.mean, X + known.X, known.variance
    mean[rows.missing] = np.nan
    if interval is None:
        return pd.Series(mean, index=rows.index, name="predicted")
    if is_plain:
        found = estimate_rows(state, X, approximation(state, ddf))
        se, df = found.std_error, found.df
    else:
        of_fixed = state.sigma**2 * np.sum(state.fixed_root.whiten(X) ** 2, axis=1)
        se, df = np.sqrt(of_fixed + (variance if interval == "prediction" else 0.0)), np.full(len(X), np.inf)
    se = np.where(rows.missing, np.nan, se)
    half = t_quantile(df, 0.5 + level / 2) * se
    return pd.DataFrame({"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}, index=rows.index)


def _check_variance(state: MarginalState, interval: str | None) -> None:
    """Refuse intervals of observations where the variances of those of the fit are all that is known."""
    if interval == "prediction" and state.design.known_residual is not None:
        raise InferenceError(
            "interval='prediction' needs the variance of the new observation's error, and residual gave those of the "
            "rows of the fit alone. Take interval='confidence', and add the variance that the new error has."
        )


def _known(state: MarginalState, rows: Rows, data: object, *, conditional: bool) -> _Known:
    """Return what subjects' own rows tell; nothing but the variance where they are not to be asked."""
    if isinstance(state, CorrelatedState):
        return _Known(*known_of_blocks(state, rows, data, conditional=conditional))
    subject, visit, group = _places(state, rows, data)
    Sigma = state.residual_covariance
    out = _Known(np.zeros(rows.n_rows), np.zeros(rows.X.shape), Sigma[group, visit, visit])
    if not conditional:
        return out
    own = state.problem.rows
    residual = state.design.y - marginal_fitted(state)
    X = state.design.X[:, list(state.kept)]
    weights = state.design.weights
    by_subject = np.argsort(own.subject, kind="stable")
    first = np.searchsorted(own.subject[by_subject], np.arange(own.n_subjects + 1))
    for s in np.unique(subject[subject >= 0]).tolist():
        seen, asked = by_subject[first[s] : first[s + 1]], np.flatnonzero(subject == s)
        S = Sigma[own.group[seen[0]]]
        V = S[np.ix_(own.visit[seen], own.visit[seen])]
        crossed = S[np.ix_(own.visit[seen], visit[asked])]
        if weights is not None:
            root = np.sqrt(weights[seen])
            V, crossed = V / np.outer(root, root), crossed / root[:, None]
        share = np.linalg.solve(V, crossed)
        out.mean[asked] = share.T @ residual[seen]
        out.X[asked] = -share.T @ X[seen]
        out.variance[asked] = np.maximum(out.variance[asked] - np.sum(share * crossed, axis=0), 0.0)
    return out


def _places(state: MarginalState, rows: Rows, data: object) -> tuple[Codes, Codes, npt.NDArray[np.intp]]:
    """Return subject (-1 for one that the fit did not have), visit and group of each row.

    Raises
    ------
    InferenceError
        A visit or a group was not in the fit.
    """
    own = state.problem.rows
    if data is None:
        return own.subject, own.visit, own.group.astype(np.intp)
    frame = open_frame(data)
    for name in own.term.variables:
        if name not in frame.names:
            raise unknown_column(name, frame.names)
    subject = look_up(frame.read(own.term.subject), own.subjects)
    visit = own.grouping.codes(frame.read)
    if own.term.group is None:
        group = np.zeros(len(visit), dtype=np.intp)
    else:
        group = look_up(frame.read(own.term.group), own.groups).astype(np.intp)
    for codes, names in ((visit, own.term.visits), (group, (own.term.group or "",))):
        lost = (codes < 0) & ~rows.missing
        if lost.any():
            raise InferenceError(
                f"Row {int(lost.argmax())} (counted from 0) has a value of {', '.join(names)} that the fit did not "
                "have; the covariance of its residual is not known. Predict without an interval and conditional=False."
            )
    return subject, np.maximum(visit, 0), np.maximum(group, 0)
