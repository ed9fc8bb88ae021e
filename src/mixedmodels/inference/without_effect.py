"""The fit without one random effect: where the profile of its standard deviation ends at zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, relative_theta, split_theta
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FitState


@dataclass(frozen=True)
class Without:
    """The lowest criterion without an effect.

    Attributes
    ----------
    deviance
        The criterion.
    psi
        Of the whole model there.
    is_empty
        Whether no random effect is left.
    """

    deviance: float
    psi: Floats
    is_empty: bool


def fit_without(state: FitState, factor: int, column: int) -> Without:
    """Return the fit without one random effect, and those tied with it.

    Parameters
    ----------
    state
        The whole fit.
    factor, column
        Place of the effect.
    """
    reduced = design_without(state.design, factor, column)
    if reduced is None:
        deviance, sigma = _least_squares(state)
        return Without(deviance, np.append(np.zeros_like(state.theta), np.log(sigma)), is_empty=True)
    fit = fit_problem(Problem(reduced, n_threads=state.problem.n_threads), reml=state.reml, control=state.control)
    theta = theta_with_zero(state.design, reduced, fit.theta, factor, column)
    psi = np.append(state.problem.model.to_engine(theta), np.log(fit.sigma))
    return Without(fit.optimum.deviance, psi, is_empty=False)


def theta_with_zero(design: Design, reduced: Design, theta: Floats, factor: int, column: int) -> Floats:
    """Return theta of a whole model whose effect, and those tied with it, are zero, (n_theta,).

    Parameters
    ----------
    design, reduced
        The whole model, and what ``design_without`` left of it.
    theta
        Of the reduced model.
    factor, column
        Place of the effect.
    """
    parts = iter(split_theta(theta, [f.n_theta for f in reduced.factors]))
    left = iter(reduced.factors)
    dropped = tied_with(design.factors[factor], column)
    thetas = []
    for k, f in enumerate(design.factors):
        Lambda = np.zeros((f.n_effects, f.n_effects))
        kept = [c for c in range(f.n_effects) if k != factor or c not in dropped]
        if kept:
            Lambda[np.ix_(kept, kept)] = relative_factor(next(parts), next(left).block_sizes)
        thetas.append(relative_theta(Lambda, f.block_sizes))
    return np.concatenate(thetas)


def tied_with(factor: RandomFactor, column: int) -> set[int]:
    """Return the columns that share a column's standard deviation, itself among them."""
    start = 0
    for size in factor.block_sizes:
        if size < 0 and start <= column < start - size:
            return set(range(start, start - size))
        start += abs(size)
    return {column}


def design_without(design: Design, factor: int, column: int) -> Design | None:
    """Return the design without one random effect and those tied with it, or None if no random effect is left.

    Parameters
    ----------
    design
        The whole model's.
    factor, column
        Place of the effect.
    """
    old = design.factors[factor]
    dropped = tied_with(old, column)
    kept = [c for c in range(old.n_effects) if c not in dropped]
    factors = list(design.factors)
    if kept:
        sizes, start = [], 0
        for size in old.block_sizes:
            left = sum(c not in dropped for c in range(start, start + abs(size)))
            sizes += [left if size > 0 else -left] * (left > 0)
            start += abs(size)
        Z = np.ones((design.n_obs, 1)) if old.Z is None else old.Z
        factors[factor] = replace(
            old,
            columns=tuple(old.columns[c] for c in kept),
            Z=np.ascontiguousarray(Z[:, kept]),
            block_sizes=tuple(sizes),
        )
    else:
        del factors[factor]
    return replace(design, factors=tuple(factors)) if factors else None


def _least_squares(state: FitState) -> tuple[float, float]:
    """Return the criterion without any random effect, and sigma."""
    design = state.design
    X = design.X[:, list(state.kept)]
    y = design.y if design.offset is None else design.y - design.offset
    w = np.ones(design.n_obs) if design.weights is None else design.weights
    root = np.sqrt(w)[:, None]
    residual = root[:, 0] * y
    dof = design.n_obs
    value = -float(np.log(w).sum())
    if X.shape[1]:
        Q, R = np.linalg.qr(root * X)
        residual = residual - Q @ (Q.T @ residual)
        if state.reml:
            dof -= X.shape[1]
            value += 2 * float(np.log(np.abs(np.diag(R))).sum())
    s2 = float(residual @ residual) / dof
    return value + dof * (1 + float(np.log(2 * np.pi * s2))), float(np.sqrt(s2))
