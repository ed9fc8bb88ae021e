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
    """The criterion, and theta, sigma and psi of the whole model there; psi is None where no random effect is left."""

    deviance: float
    sigma: float
    theta: Floats
    psi: Floats | None


def fit_without(state: FitState, factor: int, column: int) -> Without:
    """Return the fit without one random effect, and those tied with it.

    Parameters
    ----------
    state
        The whole fit.
    factor, column
        Place of the effect.
    """
    design = state.design
    dropped = _tied_with(design.factors[factor], column)
    reduced = _without_effects(design, factor, dropped)
    if reduced is None:
        deviance, sigma = _least_squares(state)
        return Without(deviance, sigma, np.zeros_like(state.theta), None)
    fit = fit_problem(Problem(reduced, n_threads=state.problem.n_threads), reml=state.reml, control=state.control)
    parts = iter(split_theta(fit.theta, [f.n_theta for f in reduced.factors]))
    left = iter(reduced.factors)
    thetas = []
    for k, f in enumerate(design.factors):
        Lambda = np.zeros((f.n_effects, f.n_effects))
        kept = [c for c in range(f.n_effects) if k != factor or c not in dropped]
        if kept:
            Lambda[np.ix_(kept, kept)] = relative_factor(next(parts), next(left).block_sizes)
        thetas.append(relative_theta(Lambda, f.block_sizes))
    theta = np.concatenate(thetas)
    psi = np.append(state.problem.model.to_engine(theta), np.log(fit.sigma))
    return Without(fit.optimum.deviance, fit.sigma, theta, psi)


def _tied_with(factor: RandomFactor, column: int) -> set[int]:
    """Return the columns that share a column's standard deviation, itself among them."""
    start = 0
    for size in factor.block_sizes:
        if size < 0 and start <= column < start - size:
            return set(range(start, start - size))
        start += abs(size)
    return {column}


def _without_effects(design: Design, factor: int, dropped: set[int]) -> Design | None:
    """Return the design without some effects of one factor, or None if no random effect is left."""
    old = design.factors[factor]
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
