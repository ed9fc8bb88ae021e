"""Penalised fixed effects with the covariances of the unpenalised fit, and Penalty objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, nearest
from mixedmodels.fit.given import Search, penalized_state, with_open_covariances
from mixedmodels.fit.regularized import LeastSquares, coordinate_descent, scad
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.convergence import advised
from mixedmodels.mixedlm.fitting.fit import fit_model, hold
from mixedmodels.mixedlm.fitting.record import Fit
from mixedmodels.mixedlm.fitting.request import read_request
from mixedmodels.mixedlm.reading.arguments import check_tolerance, read_count, read_number, read_numbers, shown

METHODS = ("l1", "l2", "elastic_net", "scad")
SMALLEST_REPORTED = 1e-4
"""Fixed effect, in size, below which ``"scad"`` reports zero where nothing else is said."""


@dataclass(frozen=True)
class RegularizedFit:
    """A penalised fit.

    Attributes
    ----------
    plain
        The unpenalised fit, whose covariances it has; None if a Penalty object moved both.
    fit
        The penalised one.
    """

    plain: Fit | None
    fit: Fit

    @property
    def complaint(self) -> str | None:
        """Why the penalised fixed effects are not at the minimum; None if they are."""
        asked = self.fit.record.regularized
        return None if asked is None or self.fit.state.optimum.converged else not_converged(asked["maxit"])


def fit_regularized(
    model: ModelDescription,
    *,
    start_params: Any,
    method: Any,
    alpha: Any,
    ceps: float,
    ptol: float,
    maxit: int,
    L1_wt: float | None,
    options: dict[str, Any],
) -> RegularizedFit:
    """Return the penalised fit; the arguments are those of ``MixedLM.fit_regularized``.

    Raises
    ------
    DataError
        If the method is unknown, or alpha is negative or has another length.
    """
    maxit = read_count("maxit", maxit, 1)
    check_tolerance("ptol", ptol)
    if read_number("ceps", ceps) < 0:
        raise DataError(f"ceps is {ceps!r}; it must not be negative.")
    if not isinstance(method, str) and hasattr(method, "func"):
        penalty = copy.copy(method)
        penalty.alpha = alpha
        asked_of_fit = read_request(model, start_params=start_params, fe_pen=penalty, **options)
        return RegularizedFit(None, fit_model(model, asked_of_fit))
    weights = read_alpha(alpha, model.k_fe)
    solver = read_method(method, L1_wt)
    plain = fit_model(model, read_request(model, **options))
    free = plain.record.holds.estimated
    start = _read_start(start_params, model, free)
    b, converged = solver(least_squares(model, plain), weights[free], start, ptol, maxit)
    if method.lower() == "scad":
        b = np.where(np.abs(b) < ceps, 0.0, b)
    asked = {"start_params": start_params, "method": method, "alpha": alpha, "ceps": ceps, "ptol": ptol, "maxit": maxit}
    return RegularizedFit(plain, at_fixed(model, plain, b, converged, {**asked, "L1_wt": L1_wt, **options}))


def refit_regularized(model: ModelDescription, asked: Mapping[str, Any]) -> Fit:
    """Return the penalised fit of a model as another was asked for.

    Parameters
    ----------
    model
        The model.
    asked
        Arguments of ``MixedLM.fit_regularized``, as a ``FitRecord`` keeps them.
    """
    of_path = {"start_params": None, "ceps": SMALLEST_REPORTED}  # which a path does not ask for
    given = {**of_path, **asked}
    own = {name: given.pop(name) for name in ("start_params", "method", "alpha", "ceps", "ptol", "maxit", "L1_wt")}
    return fit_regularized(model, **own, options=given).fit


def not_converged(maxit: int) -> str:
    """Return the sentence for penalised fixed effects that still move."""
    return f"Not converged: the penalised fixed effects still move after maxit={maxit} iterations. Raise maxit."


def _read_start(start_params: Any, model: ModelDescription, free: list[int]) -> Floats | None:
    """Return the first values of the fixed effects that are not held; None where none are given."""
    if start_params is None:
        return None
    start = read_numbers("start_params", start_params)
    if start.shape != (model.k_fe,) or not np.isfinite(start).all():
        raise DataError(
            f"start_params is {shown(start_params)}; it must be {model.k_fe} finite numbers, one a fixed effect."
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
    if not isinstance(method, str):
        raise DataError(f"method is {shown(method)}; it must be one of {', '.join(METHODS)}, or a Penalty object.")
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
    share = {"l1": 1.0, "l2": 0.0}.get(name, 0.5 if L1_wt is None else read_number("L1_wt", L1_wt))
    if not 0 <= share <= 1:
        raise DataError(f"L1_wt is {L1_wt}; it must lie between 0 and 1.")
    ridge = 1.0 if name == "l2" else 0.5 * (1 - share)

    def solve(
        squares: LeastSquares, weights: Floats, start: Floats | None, tol: float, maxit: int
    ) -> tuple[Floats, bool]:
        return coordinate_descent(squares, share * weights, ridge * weights, start, tol=tol, maxit=maxit)

    return solve


def least_squares(model: ModelDescription, fit: Fit) -> LeastSquares:
    """Return the criterion at a fit's covariances and residual variance, in the fixed effects that are not held."""
    record = fit.record
    likelihood = model.likelihood(fit.state.reml, record.holds.beta)
    return LeastSquares.at(likelihood, record.params.get_packed(use_sqrt=False), record.scale)


def at_fixed(model: ModelDescription, plain: Fit, b: Floats, converged: bool, asked: Mapping[str, Any]) -> Fit:
    """Return the fit with other fixed effects, covariances in their ratio as they were.

    Where some are held in natural units, the residual variance stays too.

    Parameters
    ----------
    model, plain
        The model and its unpenalised fit.
    b
        Fixed effects that are not held.
    converged
        Whether they are at the minimum.
    asked
        Arguments of ``fit_regularized`` that make this fit.
    """
    record = plain.record
    if not np.any(asked["alpha"]):
        return plain
    params = record.params.copy()
    params.fe_params[record.holds.estimated] = b
    held = hold(model, record.holds, plain.state.reml)
    keeps_scale = any(not one.is_ratio for one in held.rest)
    search = Search("converged" if converged else "iteration limit")
    state = penalized_state(held, plain.state.theta, b, search, record.scale if keeps_scale else None)
    changed = replace(
        record,
        params=params,
        scale=state.sigma**2,
        llf=-0.5 * state.optimum.deviance,
        selected=tuple(j for j in range(model.k_fe) if j in record.holds.beta or params.fe_params[j] != 0),
        regularized=asked,
    )
    return Fit(advised(with_open_covariances(state, held), not_converged(asked["maxit"])), changed)


@dataclass(frozen=True)
class FixedEffectPath:
    """Penalised fixed effects over weights of the penalty.

    Attributes
    ----------
    plain
        The unpenalised fit whose covariances serve all.
    fixed
        All fixed effects at each weight, (n_weights, k_fe).
    converged
        For each weight.
    asked
        Arguments of ``fit_regularized`` beside the weight.
    """

    plain: Fit
    fixed: Floats
    converged: tuple[bool, ...]
    asked: Mapping[str, Any]


def regularization_path(
    model: ModelDescription, alphas: Floats, method: str, options: dict[str, Any]
) -> FixedEffectPath:
    """Return the path; each weight starts where the one before it ended."""
    ptol, maxit, L1_wt = options.pop("ptol", 1e-6), options.pop("maxit", 200), options.pop("L1_wt", None)
    maxit = read_count("maxit", maxit, 1)
    check_tolerance("ptol", ptol)
    if alphas.ndim != 1 or not len(alphas):
        raise DataError(f"alphas has the shape {alphas.shape}; pass a list of one or more weights.")
    solver = read_method(method, L1_wt)
    plain = fit_model(model, read_request(model, **options))
    squares, free = least_squares(model, plain), plain.record.holds.estimated
    rows, flags = [], []
    b: Floats | None = None
    for alpha in alphas:
        b, converged = solver(squares, read_alpha(alpha, model.k_fe)[free], b, ptol, maxit)
        rows.append(plain.record.params.fe_params.copy())
        rows[-1][free] = b
        flags.append(converged)
    asked = {"method": method, "ptol": ptol, "maxit": maxit, "L1_wt": L1_wt, **options}
    return FixedEffectPath(plain, np.array(rows), tuple(flags), asked)
