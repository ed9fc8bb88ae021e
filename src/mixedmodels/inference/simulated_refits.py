"""Tests of an effect in simulated responses that are fitted one by one, each from a random stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import MixedModelsError
from mixedmodels.inference.bootstrap import failure_of
from mixedmodels.inference.replicated_generalized import generalized_draw, generalized_refit
from mixedmodels.inference.replicated_marginal import marginal_draw, marginal_refit
from mixedmodels.inference.simulated_tests import SimulatedTests, tested, true_size

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.bootstrap import Draw


class RefitStudy:
    """A fitted design whose responses are drawn from known parameters, fitted and tested one by one.

    A fit without a finite standard error, as where the drawn responses are separated, is one that finds nothing.

    Parameters
    ----------
    truth
        The parameters, and the design.
    draw
        Draws a response.
    refit
        Makes a fit to a response.
    L
        The combinations of the fixed effects that the test says are zero, (n_rows, n_fixed); several are tested
        together.
    ddf
        As for ``coef_table``.
    key
        Of the random streams: the entropy, and the number of the design.
    """

    def __init__(
        self,
        truth: FixedFit,
        draw: Draw,
        refit: Callable[[Floats], FixedFit],
        *,
        L: Floats,
        ddf: str,
        key: tuple[int, int],
    ) -> None:
        self.truth, self.draw, self.refit = truth, draw, refit
        self.L, self.ddf, self.key = L, ddf, key

    @property
    def size(self) -> float:
        """The true value of what is tested; nan for a joint test."""
        return true_size(self.truth, self.L)

    def tests(self, first: int, end: int) -> Iterator[SimulatedTests]:
        """Yield the tests of the responses first, ..., end - 1, one at a time."""
        entropy, cell = self.key
        for j in range(first, end):
            stream = np.random.SeedSequence(entropy, spawn_key=(cell, j))
            yield self._test(self.draw(np.random.default_rng(stream)))

    def _test(self, y: Floats) -> SimulatedTests:
        """Return the test in a response; one that cannot be made, as where Sigma is singular, is missing."""
        test = SimulatedTests.missing(1)
        try:
            state = self.refit(y)
            if failure_of(state, self.truth) is None:
                test.estimate[0], test.p_value[0] = tested(state, self.L, self.ddf)
                test.singular[0], test.fitted[0] = state.is_singular, True
        except MemoryError:
            raise
        except MixedModelsError:
            return SimulatedTests.missing(1)
        return test


def generalized_study(truth: GlmmState, L: Floats, key: tuple[int, int]) -> RefitStudy:
    """Return the study of a generalised model, whose tests are Wald's."""
    return RefitStudy(truth, generalized_draw(truth), partial(generalized_refit, truth), L=L, ddf="normal", key=key)


def marginal_study(truth: MarginalState, L: Floats, ddf: str, key: tuple[int, int]) -> RefitStudy:
    """Return the study of a model with correlated residuals, drawn by subject at the visits that each has."""
    return RefitStudy(truth, marginal_draw(truth), partial(marginal_refit, truth), L=L, ddf=ddf, key=key)
