"""Tests of an effect in simulated responses of a generalised mixed model, each from a random stream of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import MixedModelsError
from mixedmodels.inference.bootstrap import failure_of
from mixedmodels.inference.replicated_generalized import generalized_draw, generalized_refit
from mixedmodels.inference.simulated_tests import SimulatedTests, tested, true_size

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState


class GeneralizedStudy:
    """A generalised model whose responses are drawn from known parameters, fitted and tested.

    A fit without a finite standard error, as where the drawn responses are separated, is one that finds nothing.

    Parameters
    ----------
    truth
        The parameters, and the design.
    L
        The combinations of the fixed effects that the test says are zero, (n_rows, n_fixed); several are tested
        together.
    key
        Of the random streams: the entropy, and the number of the design.
    """

    def __init__(self, truth: GlmmState, L: Floats, key: tuple[int, int]) -> None:
        self.truth, self.L, self.key = truth, L, key

    @property
    def size(self) -> float:
        """The true value of what is tested; nan for a joint test."""
        return true_size(self.truth, self.L)

    def tests(self, first: int, end: int) -> Iterator[SimulatedTests]:
        """Yield the tests of the responses first, ..., end - 1, one at a time."""
        entropy, cell = self.key
        draw = generalized_draw(self.truth)
        for j in range(first, end):
            stream = np.random.SeedSequence(entropy, spawn_key=(cell, j))
            yield self._test(draw(np.random.default_rng(stream)))

    def _test(self, y: Floats) -> SimulatedTests:
        """Return the test in a response."""
        test = SimulatedTests.missing(1)
        try:
            state = generalized_refit(self.truth, y)
        except MemoryError:
            raise
        except MixedModelsError:
            return test
        if failure_of(state, self.truth) is None:
            test.estimate[0], test.p_value[0] = tested(state, self.L, "normal")
            test.singular[0], test.fitted[0] = state.is_singular, True
        return test
