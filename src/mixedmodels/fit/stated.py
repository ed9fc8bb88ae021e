"""A state at parameters that the user states, not estimated from a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from mixedmodels.covariance.unstructured import relative_factor, relative_theta, split_theta
from mixedmodels.design.planned import any_response
from mixedmodels.design.subset import take_rows
from mixedmodels.errors import InferenceError, nearest, unknown_group
from mixedmodels.fit.control import Control
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState, Optimum
from mixedmodels.fit.structured_fit import refuse_structures

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FixedFit

_Fixed = TypeVar("_Fixed", bound="GlmmState | MarginalState")

TOLERANCE = 1e-8
"""Size, relative to the largest variance, of what counts as rounding in a covariance."""


def unfitted_state(design: Design) -> FitState:
    """Return a state for REML whose fixed effects and covariances are zero and whose sigma is one.

    Parameters
    ----------
    design
        The model; its response is not used, and its rows may be fewer than the fixed effects need.
    """
    problem, kept = Problem(design), independent_columns(design)
    theta = np.zeros(len(design.theta_names))
    return FitState(
        problem=problem,
        design=design,
        reml=True,
        control=Control(),
        optimum=Optimum(theta, np.nan, "stated", np.nan, 0, 0, np.zeros((0, 6)), (), problem.seconds),
        fixed_names=tuple(design.x_names[j] for j in kept),
        kept=kept,
        beta=np.zeros(len(kept)),
        cov_beta=np.zeros((len(kept), len(kept))),
        sigma=1.0,
        theta=theta,
        b=tuple(np.zeros((f.n_levels, f.n_effects)) for f in design.factors),
        is_singular=True,
        findings=design.findings,
    )


def independent_columns(design: Design) -> tuple[int, ...]:
    """Return the columns of X that are estimated, whatever the response, and be there no rows to spare.

    Parameters
    ----------
    design
        The whole.
    """
    twice = take_rows(design, np.tile(np.arange(design.n_obs), 2))
    return tuple(with_any_response(twice).model.kept)


def with_any_response(design: Design) -> Problem:
    """Return the problem of a design for noise, to ask what does not depend on the response."""
    return Problem(replace(design, y=any_response(design.n_obs), offset=None))


def with_parameters(state: FitState, beta: object = None, varcorr: object = None, sigma: object = None) -> FitState:
    """Return the state at other parameters; what is None, and what the mappings do not name, stays.

    Covariances that stay are those in units of the response, whatever sigma is.

    Parameters
    ----------
    state
        The state to start from.
    beta
        Fixed effects: name -> value, or all of them, (n_fixed,).
    varcorr
        Grouping factor -> covariance of its effects: a variance, (n_effects,) variances of effects without
        correlations, or (n_effects, n_effects).
    sigma
        Residual standard deviation, of an observation with weight one.

    Raises
    ------
    InferenceError
        A name is unknown, or a value is not allowed.
    """
    refuse_structures(state.design, "Stating parameters")
    factors = state.design.factors
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    roots = {f.name: state.sigma * relative_factor(part, f.block_sizes) for f, part in zip(factors, parts, strict=True)}
    if varcorr is not None:
        roots |= _roots(factors, varcorr)
    scale = state.sigma if sigma is None else _positive(sigma)
    theta = [relative_theta(roots[f.name] / scale, f.block_sizes) for f in factors]
    return replace(
        state,
        beta=state.beta if beta is None else _fixed_effects(state, beta),
        sigma=scale,
        theta=np.concatenate(theta),
    )


def with_fixed_effects(state: _Fixed, beta: object) -> _Fixed:
    """Return a state at other fixed effects and the same covariance; what a mapping does not name stays.

    Parameters
    ----------
    state
        The state to start from, of a generalised model or one with correlated residuals.
    beta
        Fixed effects: name -> value, or all of them, (n_fixed,); None for those of the state.

    Raises
    ------
    InferenceError
        A name is unknown, or a value is not allowed.
    """
    if beta is None:
        return state
    changed = _fixed_effects(state, beta)
    if isinstance(state, MarginalState):
        return replace(state, beta=changed)
    psi = state.psi.copy()
    psi[state.beta_in_psi] = state.problem.psi(state.theta, changed, state.phi)[state.beta_in_psi]
    return replace(state, beta=changed, psi=psi)


def with_covariances(state: GlmmState, varcorr: object) -> GlmmState:
    """Return the state of a generalised model at other covariances of its random effects.

    Parameters
    ----------
    state
        The state to start from.
    varcorr
        As for ``with_parameters``, on the link scale; None for those of the state.

    Raises
    ------
    InferenceError
        A name is unknown, or a value is not allowed.
    """
    if varcorr is None:
        return state
    factors = state.design.factors
    parts = split_theta(state.theta, [f.n_theta for f in factors])
    roots = {f.name: relative_factor(part, f.block_sizes) for f, part in zip(factors, parts, strict=True)}
    roots |= _roots(factors, varcorr)
    theta = np.concatenate([relative_theta(roots[f.name], f.block_sizes) for f in factors])
    psi = state.psi.copy()
    psi[: len(theta)] = state.problem.psi(theta, state.beta, state.phi)[: len(theta)]
    return replace(state, theta=theta, psi=psi)


def at_design(state: GlmmState, design: Design) -> GlmmState:
    """Return the parameters of a generalised model at another design, whose columns are the same.

    Parameters
    ----------
    state
        The parameters.
    design
        With the responses that its rows came with, or any that the family may have.

    Raises
    ------
    DataError
        If the family may not have these.
    """
    problem = state.problem.with_design(design)
    return replace(state, design=design, problem=problem, psi=problem.psi(state.theta, state.beta, state.phi))


def check_complete(state: FitState, beta: object, varcorr: object, sigma: object) -> None:
    """All parameters of a model must be stated.

    Raises
    ------
    InferenceError
        One is not.
    """
    missing = [name for name, value in (("beta", beta), ("varcorr", varcorr), ("sigma", sigma)) if value is None]
    if missing:
        raise InferenceError(
            f"Without a fit the parameters must be stated, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: beta={dict.fromkeys(state.fixed_names, 0)}, "
            f"varcorr={{{', '.join(f'{f.name!r}: ...' for f in state.design.factors)}}}, sigma=..."
        )
    for what, given, known in (
        ("beta", beta, state.fixed_names),
        ("varcorr", varcorr, [f.name for f in state.design.factors]),
    ):
        if not isinstance(given, Mapping | pd.Series):
            continue
        lacking = [name for name in known if name not in given]
        unknown = [name for name in given.keys() if name not in known]  # noqa: SIM118  # a Series iterates over values
        if lacking:
            instead = f" It has one for {unknown[0]!r}, which the model does not have." if unknown else ""
            raise InferenceError(
                f"{what} has no value for {', '.join(map(repr, lacking))}; without a fit it needs one.{instead}"
            )


def _roots(factors: Sequence[RandomFactor], varcorr: object) -> dict[str, Floats]:
    by_name = {f.name: f for f in factors}
    if not isinstance(varcorr, Mapping | pd.Series):
        raise InferenceError(
            f"varcorr is {varcorr!r}; it must map grouping factors to covariances of their effects, such as "
            f"{{{next(iter(by_name))!r}: 1.0}}."
        )
    for name in varcorr.keys():  # noqa: SIM118  # a Series iterates over its values
        if name not in by_name:
            raise unknown_group(name, by_name)
    return {name: _root(by_name[name], varcorr[name]) for name in varcorr.keys()}  # noqa: SIM118


def _fixed_effects(state: FixedFit, beta: object) -> Floats:
    names = state.fixed_names
    if not isinstance(beta, Mapping | pd.Series):
        values = _numbers(beta)
        if values is None or values.shape != (len(names),):
            raise InferenceError(
                f"beta is {beta!r}; it must map fixed effects to numbers, or hold {len(names)}, one each for "
                f"{', '.join(names)}."
            )
        return values
    changed = state.beta.copy()
    for name in beta.keys():  # noqa: SIM118  # a Series iterates over its values
        if name not in names:
            raise InferenceError(
                f"There is no fixed effect {name!r}; there are {', '.join(names)}.{nearest(name, names)}"
            )
        value = _numbers(beta[name])
        if value is None or value.shape != ():
            raise InferenceError(f"beta has {beta[name]!r} for {name!r}; it must be a finite number.")
        changed[names.index(name)] = value
    return changed


def _root(factor: RandomFactor, value: object) -> Floats:
    """Return the lower triangular root of a covariance, (n_effects, n_effects), block by block."""
    covariance = _covariance(factor, value)
    root = np.zeros_like(covariance)
    first = 0
    for size in factor.block_sizes:
        block = slice(first, first + abs(size))
        part = covariance[block, block]
        if size < 0:
            part = part[0, 0] * np.eye(-size)
        values, vectors = np.linalg.eigh(part)
        if values[0] < -TOLERANCE * max(values[-1], 0.0):
            raise InferenceError(
                f"varcorr of {factor.name!r} is no covariance: a combination of its effects has the variance "
                f"{values[0]:.3g}. Variances must not be negative, nor correlations beyond -1 and 1."
            )
        upper = np.asarray(np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T, mode="r"))
        root[block, block] = (upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]).T
        first += abs(size)
    if np.abs(root @ root.T - covariance).max() > TOLERANCE * np.abs(covariance).max():
        raise InferenceError(
            f"The formula has effects of {factor.name!r} whose covariance is zero or whose variances are equal, and "
            f"varcorr has others. Its effects are {', '.join(factor.columns)}, in blocks of "
            f"{', '.join(str(abs(size)) for size in factor.block_sizes)}."
        )
    return root


def _covariance(factor: RandomFactor, value: object) -> Floats:
    """Return what was given for a factor as a symmetric matrix, (n_effects, n_effects)."""
    effects, n = list(factor.columns), factor.n_effects
    if isinstance(value, pd.DataFrame) and not isinstance(value.index, pd.RangeIndex):
        named = {*value.index} == {*value.columns} == {*effects}
        numbers = _numbers(value.loc[effects, effects]) if named else None
    else:
        numbers = _numbers(value)
    if numbers is not None and n == 1 and numbers.size == 1:
        numbers = numbers.reshape(1, 1)
    if numbers is not None and numbers.shape == (n,):
        numbers = np.diag(numbers)
    if numbers is None or numbers.shape != (n, n) or not np.allclose(numbers, numbers.T, rtol=TOLERANCE, atol=0):
        shape = "a variance" if n == 1 else f"{n} variances or a symmetric {n} x {n} matrix"
        raise InferenceError(
            f"varcorr has {value!r} for {factor.name!r}; it must be {shape}, for {', '.join(effects)}."
        )
    return numbers


def _positive(sigma: object) -> float:
    value = _numbers(sigma)
    if value is None or value.shape != () or value <= 0:
        raise InferenceError(f"sigma is {sigma!r}; the residual standard deviation must be a positive number.")
    return float(value)


def _numbers(value: Any) -> Floats | None:
    """Return finite numbers as an array, None for anything else."""
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    is_number = np.asarray(value).dtype.kind in "iuf" and np.isfinite(numbers).all()
    return numbers if is_number else None
