"""Minus the penalised log-likelihood per row, as a general optimiser sees it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mixedmodels.covariance.packed import CovarianceBlock, cholesky_root
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.fit.held import HeldModel
from mixedmodels.fit.likelihood import NOT_POSITIVE
from mixedmodels.fit.penalized import BetaPenalty, Penalty


class CovariancePenalty(Protocol):
    """A penalty on covariances."""

    def value(self, S: Floats) -> float:
        """Return the penalty at some ratios to the residual variance, packed."""

    def slope(self, S: Floats) -> Floats:
        """Return its derivative, (n_packed,)."""


class Objective:
    """A function of the roots of the free covariances: lower Cholesky factors by block, row by row.

    Parameters
    ----------
    held
        The model to fit. Held covariances must be variances of effects that are correlated with no other.
    beta_penalty, covariance_penalty
        Subtracted from the log-likelihood, or None.

    Raises
    ------
    DataError
        If a covariance is held that this function cannot hold.
    """

    def __init__(
        self, held: HeldModel, beta_penalty: Penalty | None, covariance_penalty: CovariancePenalty | None
    ) -> None:
        self.covariance_penalty = covariance_penalty
        self.penalty = None if beta_penalty is None else BetaPenalty(held, beta_penalty)
        self.likelihood, self.covariances = held.likelihood, held.covariances
        holds = {hold.index: hold for hold in held.rest}
        self.pinned: dict[int, float] = {}
        for block in self.covariances.blocks:
            for index in set(block.places) & set(holds):
                if block.size > 1 or not holds[index].is_ratio:
                    raise DataError(
                        "This optimiser can hold only variances of effects without covariances, as ratios to the "
                        "residual variance. Use the default method, without penalties."
                    )
                self.pinned[index] = holds[index].value
        self.free_blocks = [block for block in self.covariances.blocks if self.pinned.keys().isdisjoint(block.places)]

    def start(self, S: Floats) -> Floats:
        """Return the roots at some packed covariances.

        Raises
        ------
        DataError
            If they are not positive semidefinite.
        """
        parts: list[Floats] = []
        for block in self.free_blocks:
            root = cholesky_root(block.covariance(S))
            if root is None:
                raise DataError(NOT_POSITIVE)
            parts.append(root[np.tril_indices(block.size)])
        return np.concatenate(parts) if parts else np.zeros(0)

    @property
    def units(self) -> Floats:
        """The roots of effects as large as the residual, which the roots are measured by."""
        unit = self.likelihood.unit_covariances()
        parts = [np.sqrt(np.diag(block.covariance(unit)))[np.tril_indices(block.size)[0]] for block in self.free_blocks]
        return np.concatenate(parts)

    def theta(self, x: Floats) -> Floats:
        """Return the engine's parameters at some roots."""
        theta = self.covariances.theta(self.packed(x))
        assert theta is not None  # a product L L' is never negative
        return theta

    def packed(self, x: Floats) -> Floats:
        """Return the packed ratios of some roots, (n_packed,)."""
        packed = np.zeros(self.covariances.n_packed)
        packed[list(self.pinned)] = list(self.pinned.values())
        for block, L in self._roots(x):
            packed[list(block.places)] = (L @ L.T)[np.tril_indices(block.size)]
        return packed

    def _roots(self, x: Floats) -> list[tuple[CovarianceBlock, Floats]]:
        out, used = [], 0
        for block in self.free_blocks:
            L = np.zeros((block.size, block.size))
            L[np.tril_indices(block.size)] = x[used : used + len(block.places)]
            out.append((block, L))
            used += len(block.places)
        return out

    def _log_likelihood(self, S: Floats) -> float:
        """Return the log-likelihood without penalties, -inf where it cannot be evaluated."""
        try:
            return self.likelihood.value(S)
        except ValueError:
            return -np.inf

    def value(self, x: Floats) -> float:
        """Return -(log-likelihood - penalties) / n; infinite where the likelihood overflows."""
        S = self.packed(x)
        value = self._log_likelihood(S)
        if not np.isfinite(value):
            return np.inf
        if self.penalty is not None:
            beta = self.penalty.best(S)
            value = self.likelihood.value(S, beta) - self.penalty.value(beta)
        if self.covariance_penalty is not None:
            value -= self.covariance_penalty.value(S)
        return -value / self.likelihood.n_obs

    def gradient(self, x: Floats) -> Floats:
        """Return the derivative of ``value``, nan where that overflows; fixed effects, at their best, add nothing."""
        S = self.packed(x)
        if not np.isfinite(self._log_likelihood(S)):
            return np.full(len(x), np.nan)
        best = None if self.penalty is None else self.penalty.best(S)
        try:
            score = self.likelihood.profile_score(S) if best is None else self.likelihood.score(S, best)[1]
        except ValueError:  # the engine's, and singular systems
            return np.full(len(x), np.nan)
        if self.covariance_penalty is not None:
            score = score - self.covariance_penalty.slope(S)
        parts = []
        for block, L in self._roots(x):
            G = np.zeros_like(L)
            G[np.tril_indices(block.size)] = score[list(block.places)]
            parts.append(((G + G.T) @ L)[np.tril_indices(block.size)])
        return -(np.concatenate(parts) if parts else np.zeros(0)) / self.likelihood.n_obs
