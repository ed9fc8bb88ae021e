"""Penalised fixed effects with the covariances of the unpenalised fit, and Penalty objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.errors import ConvergenceWarning, DataError, nearest
from mixedmodels.mixedlm import alerts
from mixedmodels.mixedlm.fitting.fit import Task, _Report, make_task, penalized_state
from mixedmodels.mixedlm.reading.arguments import check_tolerance, read_count, read_numbers

if TYPE_CHECKING:
    from mixedmodels.mixedlm.model import MixedLM
    from mixedmodels.mixedlm.results import MixedLMResults

METHODS = ("l1", "l2", "elastic_net", "scad")
SCAD_A = 3.7
"""The second constant of SCAD that Fan and Li (2001) recommend."""


@dataclass(frozen=True)
class LeastSquares:
    """(b - b^)' A (b - b^), the generalised least squares criterion in the fixed effects.

    Attributes
    ----------
    estimate
        b^, (k_fe,).
    information
        A = X' V^-1 X, (k_fe, k_fe).
    """

    estimate: Floats
    information: Floats

    @property
    def units(self) -> Floats:
        """Standard errors of each fixed effect, the others known, (k_fe,)."""
        return 1 / np.sqrt(np.diag(self.information))


def fit_regularized(
    model: MixedLM,
    *,
    start_params: Any,
    method: Any,
    alpha: Any,
    ceps: float,
    ptol: float,
    maxit: int,
    L1_wt: float | None,
    options: dict[str, Any],
) -> MixedLMResults:
    """Return the penalised fit; the arguments are those of ``MixedLM.fit_regularized``.

    Raises
    ------
    DataError
        If the method is unknown, or alpha is negative or has another length.
    """
    maxit = read_count("maxit", maxit, 1)
    check_tolerance("ptol", ptol)
    if not isinstance(method, str):
        if method is None or not hasattr(method, "func"):
            raise DataError(f"method is {method!r}; it must be one of {', '.join(METHODS)}, or a Penalty object.")
        penalty = copy.copy(method)
        penalty.alpha = alpha
        return model.fit(start_params=start_params, fe_pen=penalty, **options)
    weights = read_alpha(alpha, model.k_fe)
    solver = read_method(method, L1_wt)
    plain = model.fit(**options)
    free = plain._estimated
    b, converged = solver(least_squares(plain), weights[free], _read_start(start_params, model, free), ptol, maxit)
    if method.lower() == "scad":
        b = np.where(np.abs(b) < ceps, 0.0, b)
    asked = {"start_params": start_params, "method": method, "alpha": alpha, "ceps": ceps, "ptol": ptol, "maxit": maxit}
    if not converged:
        alerts.warn(_not_converged(maxit), ConvergenceWarning, stacklevel=3)
    return at_fixed(plain, b, converged, {**asked, "L1_wt": L1_wt, **options})


def _not_converged(maxit: int) -> str:
    return f"Not converged: the penalised fixed effects still move after maxit={maxit} iterations. Raise maxit."


def _read_start(start_params: Any, model: MixedLM, free: list[int]) -> Floats | None:
    """Return the first values of the fixed effects that are not held; None where none are given."""
    if start_params is None:
        return None
    start = read_numbers("start_params", start_params)
    if start.shape != (model.k_fe,) or not np.isfinite(start).all():
        raise DataError(
            f"start_params is {start_params!r}; it must be {model.k_fe} finite numbers, one a fixed effect."
        )
    return start[free]


def read_alpha(alpha: Any, k_fe: int) -> Floats:
    """Return one weight for each fixed effect, (k_fe,).

    Raises
    ------
    DataError
        If one is negative, or there is another number of them.
    """
    weights = read_numbers("alpha", alpha)
    if weights.ndim > 1 or (weights.ndim == 1 and len(weights) != k_fe):
        raise DataError(f"alpha has shape {weights.shape}; pass one number, or one for each of {k_fe} fixed effects.")
    if not (weights >= 0).all():
        raise DataError("alpha must not be negative.")
    return np.broadcast_to(weights, (k_fe,)).copy()


Solver = Callable[[LeastSquares, Floats, "Floats | None", float, int], tuple[Floats, bool]]


def read_method(method: str, L1_wt: float | None) -> Solver:
    """Return what minimises the criterion plus a penalty.

    Raises
    ------
    DataError
        If the method is unknown, or the weight of the elastic net is not between 0 and 1.
    """
    name = method.lower()
    if name not in METHODS:
        raise DataError(
            f"Invalid regularization method {method!r}; there are {', '.join(METHODS)} and Penalty objects."
            f"{nearest(name, METHODS)}"
        )
    if L1_wt is not None and name != "elastic_net":
        raise DataError(f"L1_wt belongs to method='elastic_net', not to {method!r}.")
    if name == "scad":
        return scad
    share = {"l1": 1.0, "l2": 0.0}.get(name, 0.5 if L1_wt is None else L1_wt)
    if not 0 <= share <= 1:
        raise DataError(f"L1_wt is {L1_wt}; it must lie between 0 and 1.")
    ridge = 1.0 if name == "l2" else 0.5 * (1 - share)

    def solve(
        squares: LeastSquares, weights: Floats, start: Floats | None, tol: float, maxit: int
    ) -> tuple[Floats, bool]:
        return coordinate_descent(squares, share * weights, ridge * weights, start, tol, maxit)

    return solve


def least_squares(result: MixedLMResults) -> LeastSquares:
    """Return the criterion at a fit's covariances and residual variance."""
    solution = result._likelihood.solve(result.record.params.cov_re, result.record.params.vcomp)
    return LeastSquares(solution.beta, np.asarray(np.linalg.inv(solution.unscaled_cov) / result.scale))


def coordinate_descent(
    squares: LeastSquares, lasso: Floats, ridge: Floats, start: Floats | None, tol: float, maxit: int
) -> tuple[Floats, bool]:
    """Return the minimum of the criterion + sum lasso |b| + sum ridge b^2, exact in each coordinate, and if it is one.

    Friedman, Hastie and Tibshirani (2010), on X' V^-1 X and the least squares estimate, which hold all that the data
    say: a sweep costs k_fe^2 whatever the number of rows. When the set of zeros has settled, the others are solved for.

    Parameters
    ----------
    squares
        The criterion.
    lasso, ridge
        Weights, (k_fe,).
    start
        First values; None starts at least squares.
    tol
        Largest change in a sweep, in standard errors, at which it stops.
    maxit
        Most sweeps.
    """
    A, target = squares.information, squares.information @ squares.estimate
    b = squares.estimate.copy() if start is None else start.copy()
    for _ in range(maxit):
        before = b.copy()
        for j in range(len(b)):
            rest = target[j] - A[j] @ b + A[j, j] * b[j]
            b[j] = np.sign(rest) * max(abs(rest) - 0.5 * lasso[j], 0.0) / (A[j, j] + ridge[j])
        if (np.abs(b - before) <= tol * squares.units).all():
            return _settled(squares, lasso, ridge, b), True
    return b, False


def _settled(squares: LeastSquares, lasso: Floats, ridge: Floats, b: Floats) -> Floats:
    """Return the exact minimum with the signs that b has, or b itself if a sign would change."""
    active = np.flatnonzero(b)
    A = squares.information[np.ix_(active, active)] + np.diag(ridge[active])
    target = (squares.information @ squares.estimate)[active] - 0.5 * lasso[active] * np.sign(b[active])
    exact = np.zeros_like(b)
    exact[active] = np.linalg.solve(A, target) if len(active) else 0.0
    return exact if (np.sign(exact) == np.sign(b)).all() else b


def scad(squares: LeastSquares, weights: Floats, start: Floats | None, tol: float, maxit: int) -> tuple[Floats, bool]:
    """Return a minimum of the criterion + 2 SCAD(b) by local linear approximation (Zou and Li 2008), and if it is one.

    Each step is a lasso with the weights alpha p'(|b|): alpha up to |b| = alpha, falling to zero at 3.7 alpha
    (Fan and Li 2001). Lengths are in standard errors, so that alpha does not depend on units.
    """
    units = squares.units
    b, converged = (squares.estimate.copy() if start is None else start.copy()), False
    for _ in range(maxit):
        size = np.abs(b) / units
        slope = np.where(size <= weights, 1.0, np.clip(SCAD_A * weights - size, 0, None) / ((SCAD_A - 1) * weights))
        slope = np.where(weights > 0, slope, 0.0)
        following, converged = coordinate_descent(squares, 2 * weights * slope / units, 0 * units, b, tol, maxit)
        if (np.abs(following - b) <= tol * units).all():
            return following, converged
        b = following
    return b, False


def at_fixed(plain: MixedLMResults, b: Floats, converged: bool, asked: Mapping[str, Any]) -> MixedLMResults:
    """Return the result with other fixed effects, covariances in their ratio as they were.

    Where some are held in natural units, the residual variance stays too.

    Parameters
    ----------
    plain
        The unpenalised fit.
    b
        Fixed effects that are not held.
    converged
        Whether they are at the minimum.
    asked
        Arguments of ``fit_regularized`` that make this fit.
    """
    from mixedmodels.mixedlm.results import MixedLMResults

    record, model = plain.record, plain.model
    params = record.params.copy()
    params.fe_params = params.fe_params.copy()
    params.fe_params[plain._estimated] = b
    if not np.any(asked["alpha"]):
        return plain
    task: Task = make_task(model, record.holds, plain.reml)
    status = "converged" if converged else "iteration limit"
    keeps_scale = any(not hold.is_ratio for hold in task.rest)
    state = penalized_state(task, plain.state.theta, b, _Report(status), record.scale if keeps_scale else None)
    state = alerts.advised(state, _not_converged(asked["maxit"]))
    changed = replace(
        record,
        params=params,
        scale=state.sigma**2,
        llf=-0.5 * state.optimum.deviance,
        selected=tuple(j for j in range(model.k_fe) if j in record.holds.fixed or params.fe_params[j] != 0),
        regularized=asked,
    )
    return MixedLMResults(state, model, changed)


@dataclass(frozen=True)
class RegularizationPath:
    """Penalised fixed effects over weights of the penalty.

    Attributes
    ----------
    coefficients
        A row for each weight, a column for each fixed effect.
    plain
        The unpenalised fit whose covariances serve all.
    converged
        For each weight.
    asked
        Arguments of ``fit_regularized`` beside the weight.
    """

    coefficients: pd.DataFrame
    plain: MixedLMResults
    converged: tuple[bool, ...]
    asked: Mapping[str, Any]

    @property
    def n_nonzero(self) -> pd.Series[int]:
        """Fixed effects that are not zero, at each weight."""
        return (self.coefficients != 0).sum(axis=1)

    def result(self, alpha: float) -> MixedLMResults:
        """Return the result at one of the weights."""
        place = int(self.coefficients.index.get_indexer(pd.Index([alpha]))[0])
        b = self.coefficients.iloc[place].to_numpy()[self.plain._estimated]
        return at_fixed(self.plain, b, self.converged[place], {**self.asked, "alpha": alpha})


def regularization_path(model: MixedLM, alphas: Floats, method: str, options: dict[str, Any]) -> RegularizationPath:
    """Return the path; each weight starts where the one before it ended."""
    ptol, maxit, L1_wt = options.pop("ptol", 1e-6), options.pop("maxit", 200), options.pop("L1_wt", None)
    maxit = read_count("maxit", maxit, 1)
    check_tolerance("ptol", ptol)
    if alphas.ndim != 1 or not len(alphas):
        raise DataError(f"alphas has the shape {alphas.shape}; pass a list of one or more weights.")
    solver = read_method(method, L1_wt)
    plain = model.fit(**options)
    squares = least_squares(plain)
    free = plain._estimated
    rows, flags = [], []
    b: Floats | None = None
    for alpha in alphas:
        b, converged = solver(squares, read_alpha(alpha, model.k_fe)[free], b, ptol, maxit)
        rows.append(plain.record.params.fe_params.copy())
        rows[-1][free] = b
        flags.append(converged)
    frame = pd.DataFrame(rows, index=pd.Index(alphas, name="alpha"), columns=model.exog_names)
    asked = {"method": method, "ptol": ptol, "maxit": maxit, "L1_wt": L1_wt, **options}
    return RegularizationPath(frame, plain, tuple(flags), asked)
