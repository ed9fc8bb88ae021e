"""Tests of an effect in simulated responses, one after the other, each from a random stream of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.fit.problem import Problem, net_responses, row_arguments
from mixedmodels.inference.degrees import estimate_rows, joint_test
from mixedmodels.inference.replicated_linear import parametric_draw
from mixedmodels.inference.wald import two_sided_p

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState, FixedFit

BLOCK_VALUES = 2_000_000
"""Numbers held at once by a block of simulated responses."""
MAX_BLOCK = 100


@dataclass(frozen=True)
class SimulatedTests:
    """Tests in the order of their responses.

    Attributes
    ----------
    estimate
        Of what is tested, (m,); nan for a joint test, and where the model could not be fitted.
    p_value
        (m,); nan where the model could not be fitted.
    singular, fitted
        Of the fit, and whether there is one, (m,).
    """

    estimate: Floats
    p_value: Floats
    singular: npt.NDArray[np.bool_]
    fitted: npt.NDArray[np.bool_]

    @classmethod
    def missing(cls, m: int) -> SimulatedTests:
        """Return m tests that were not made."""
        return cls(np.full(m, np.nan), np.full(m, np.nan), np.zeros(m, dtype=bool), np.zeros(m, dtype=bool))

    def __len__(self) -> int:
        return len(self.fitted)

    def __add__(self, more: SimulatedTests) -> SimulatedTests:
        names = [field.name for field in fields(self)]
        return SimulatedTests(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in names))

    def first(self, n: int) -> SimulatedTests:
        """Return the tests of the first n responses."""
        return SimulatedTests(*(getattr(self, field.name)[:n] for field in fields(self)))


class Study:
    """A design whose responses are drawn from known parameters, fitted and tested.

    Parameters
    ----------
    truth
        The parameters.
    design
        The design; its response is not read.
    L
        The combinations of the fixed effects that the test says are zero, (n_rows, n_fixed); several are tested
        together.
    ddf
        As for ``coef_table``.
    key
        Of the random streams: the entropy, and the number of the design.
    """

    def __init__(self, truth: FitState, design: Design, L: Floats, ddf: str, key: tuple[int, int]) -> None:
        self.problem = Problem(design, n_threads=truth.problem.n_threads)
        self.truth = replace(truth, design=design, problem=self.problem)
        self.L, self.ddf, self.key = L, ddf, key

    @property
    def size(self) -> float:
        """The true value of what is tested; nan for a joint test."""
        return true_size(self.truth, self.L)

    def tests(self, first: int, end: int) -> Iterator[SimulatedTests]:
        """Yield the tests of the responses first, ..., end - 1 in blocks."""
        size = max(1, min(MAX_BLOCK, BLOCK_VALUES // self.truth.design.n_obs))
        for start in range(first, end, size):
            yield self._block(range(start, min(start + size, end)))

    def _block(self, numbers: range) -> SimulatedTests:
        entropy, cell = self.key
        streams = (np.random.SeedSequence(entropy, spawn_key=(cell, j)) for j in numbers)
        draw, truth = parametric_draw(self.truth), self.truth
        Y = np.array([draw(np.random.default_rng(stream)) for stream in streams])
        net = net_responses(truth.design, Y)
        _, _, _, thetas, _, status, singular = self.problem.model.refit_many(
            net, *row_arguments(truth.design), truth.reml, np.ascontiguousarray(truth.theta)
        )
        tests = SimulatedTests.missing(len(Y))
        for i in np.flatnonzero(status == 0):
            tests.estimate[i], tests.p_value[i] = self._test(Y[i], thetas[i], bool(singular[i]))
            tests.singular[i], tests.fitted[i] = singular[i], True
        return tests

    def _test(self, y: Floats, theta: Floats, singular: bool) -> tuple[float, float]:
        """Return estimate and p-value in a response."""
        problem = self.problem.with_response(y)
        beta, unscaled, sigma, b = problem.solve(theta, self.truth.reml)
        state = replace(
            self.truth,
            problem=problem,
            design=problem.design,
            beta=beta,
            cov_beta=sigma**2 * unscaled,
            sigma=sigma,
            theta=theta,
            b=tuple(b),
            is_singular=singular,
        )
        return tested(state, self.L, self.ddf)


def true_size(truth: FixedFit, L: Floats) -> float:
    """Return the true value of what is tested, L beta; nan for a joint test, of several rows."""
    return float((L @ truth.beta)[0]) if len(L) == 1 else np.nan


def tested(state: FixedFit, L: Floats, ddf: str) -> tuple[float, float]:
    """Return the estimate, nan for a joint test, and the p-value of L beta = 0 in a fit."""
    if len(L) > 1:
        return np.nan, joint_test(state, L, ddf).p_value
    row = estimate_rows(state, L, ddf)
    return float(row.estimate[0]), float(two_sided_p(row.df, row.estimate / row.std_error)[0])
