"""Minus the penalised log-likelihood per row, as scipy's optimisers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.description.layout import Block, cholesky_root
from mixedmodels.mixedlm.fitting.constrained import unit_covariances
from mixedmodels.mixedlm.fitting.penalized import FixedPenalty

if TYPE_CHECKING:
    from mixedmodels.mixedlm.fitting.fit import Task
    from mixedmodels.mixedlm.reading.params import MixedLMParams


class Objective:
    """A function of the roots of the free covariances: lower Cholesky factors by block, roots of the components.

    Parameters
    ----------
    task
        The model to fit. Held covariances must be variances of effects that are correlated with no other.
    fe_pen, cov_pen
        Penalties, subtracted from the log-likelihood, or None.

    Raises
    ------
    DataError
        If a covariance is held that this function cannot hold.
    """

    def __init__(self, task: Task, fe_pen: Any, cov_pen: Any) -> None:
        self.cov_pen = cov_pen
        self.penalty = None if fe_pen is None else FixedPenalty(task, fe_pen)
        self.likelihood, self.layout = task.likelihood, task.layout
        held = {hold.index: hold for hold in task.rest}
        self.pinned: dict[int, float] = {}
        for block in self.layout.blocks:
            for index in self._indices(block):
                if index not in held:
                    continue
                hold = held[index]
                if len(block.effects) > 1 or not hold.is_ratio:
                    raise DataError(
                        "This optimiser can hold only variances of effects without covariances, as ratios to the "
                        "residual variance. Use the default method, without penalties."
                    )
                self.pinned[index] = hold.value
        self.free_blocks = [b for b in self.layout.blocks if not set(self._indices(b)) & set(self.pinned)]

    def _indices(self, block: Block) -> list[int]:
        """Return the packed positions of a block's covariances, its lower triangle row by row."""
        if block.component >= 0:
            return [self.layout.k_re2 + block.component]
        return [i * (i + 1) // 2 + j for i in block.effects for j in block.effects if j <= i]

    def start(self, params: MixedLMParams) -> Floats:
        """Return the roots at some parameters."""
        parts: list[Floats] = []
        for block in self.free_blocks:
            size = max(len(block.effects), 1)
            of_effects = params.cov_re[np.ix_(block.effects, block.effects)]
            root = cholesky_root(params.vcomp[[[block.component]]] if block.component >= 0 else of_effects)
            if root is None:
                raise DataError("start_params must have a positive semidefinite cov_re and non-negative vcomp.")
            parts.append(root[np.tril_indices(size)])
        return np.concatenate(parts) if parts else np.zeros(0)

    @property
    def units(self) -> Floats:
        """The roots of effects as large as the residual, which the roots are measured by."""
        cov_re, vcomp = unit_covariances(self.likelihood)
        parts = [
            np.sqrt(vcomp[[block.component]])
            if block.component >= 0
            else np.sqrt(np.diag(cov_re))[list(block.effects)][np.tril_indices(len(block.effects))[0]]
            for block in self.free_blocks
        ]
        return np.concatenate(parts)

    def theta(self, x: Floats) -> Floats:
        """Return the engine's parameters at some roots."""
        theta = self.layout.theta(*self.layout.unpack(self.packed(x)))
        assert theta is not None  # a product L L' is never negative
        return theta

    def packed(self, x: Floats) -> Floats:
        """Return the packed ratios of some roots, (k_re2 + k_vc,)."""
        packed = np.zeros(self.layout.k_re2 + self.layout.k_vc)
        packed[list(self.pinned)] = list(self.pinned.values())
        for indices, L in self._roots(x):
            packed[indices] = (L @ L.T)[np.tril_indices(len(L))]
        return packed

    def _roots(self, x: Floats) -> list[tuple[list[int], Floats]]:
        out, used = [], 0
        for block in self.free_blocks:
            indices = self._indices(block)
            size = 1 if block.component >= 0 else len(block.effects)
            L = np.zeros((size, size))
            L[np.tril_indices(size)] = x[used : used + len(indices)]
            out.append((indices, L))
            used += len(indices)
        return out

    def value(self, x: Floats) -> float:
        """Return -(log-likelihood - penalties) / n."""
        cov_re, vcomp = self.layout.unpack(self.packed(x))
        fixed = None if self.penalty is None else self.penalty.fixed(cov_re, vcomp)
        value = self.likelihood.value(cov_re, vcomp, fixed)
        if self.penalty is not None and fixed is not None:
            value -= self.penalty.value(fixed)
        if self.cov_pen is not None and len(cov_re):
            value -= float(self.cov_pen.func(cov_re, np.linalg.pinv(cov_re)))
        return -value / self.likelihood.n_obs

    def gradient(self, x: Floats) -> Floats:
        """Return the derivative of ``value``; the fixed effects, at their best, do not enter it."""
        packed = self.packed(x)
        cov_re, vcomp = self.layout.unpack(packed)
        if self.penalty is None:
            score = self.likelihood.profile_score(cov_re, vcomp)
        else:
            score = self.likelihood.score(cov_re, vcomp, self.penalty.fixed(cov_re, vcomp))[1]
        if self.cov_pen is not None and len(cov_re):
            score = score.copy()
            score[: self.layout.k_re2] -= self.cov_pen.deriv(cov_re, np.linalg.pinv(cov_re))
        parts = []
        for indices, L in self._roots(x):
            G = np.zeros_like(L)
            G[np.tril_indices(len(L))] = score[indices]
            parts.append(((G + G.T) @ L)[np.tril_indices(len(L))])
        return -(np.concatenate(parts) if parts else np.zeros(0)) / self.likelihood.n_obs
