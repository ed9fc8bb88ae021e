"""Tests of terms, of means and slopes, and of combinations of fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display.steps import Steps
from mixedmodels.inference.drop1 import drop1
from mixedmodels.inference.ranova import ranova
from mixedmodels.inference.step import step
from mixedmodels.predict.level_slopes import level_slopes
from mixedmodels.result.chapter import Chapter
from mixedmodels.result.fixed_tests import FixedTests
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import pandas as pd

    from mixedmodels.inference.approximation import Approximation


class Tests(FixedTests, Chapter):
    """Tests of terms, of means and slopes, and of combinations of fixed effects."""

    @refuses_unknown
    def drop1(self, test: str = "F", ddf: str | Approximation = "satterthwaite") -> pd.DataFrame:
        """Return tests of the fixed-effect terms that can be taken out, one at a time.

        Those that others contain are not among them: ``a`` is contained in ``a:b``, which has all of its variables.

        Parameters
        ----------
        test
            ``"F"``: F tests of this fit, in the columns of ``anova``; ``"LRT"``: likelihood ratios of fits by ML to the
            same rows, ``n_params, aic, deviance, chisq, df, p_value``, this model first.
        ddf
            Of F tests, as for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit.
        KeyboardInterrupt
            On Ctrl-C while models are fitted; its ``partial`` is the table of the terms that were tested, None if there
            are none.
        """
        return drop1(self.state, test, ddf)

    @refuses_unknown
    def step(
        self,
        *,
        alpha_random: float = 0.1,
        alpha_fixed: float = 0.05,
        keep: str | Iterable[str] = (),
        ddf: str = "satterthwaite",
    ) -> Steps:
        """Return what backward elimination leaves: ``.random`` and ``.fixed``, tables of what went, and ``.fit``.

        Random terms go first, by ``ranova``, then fixed ones, by ``drop1``, each time the one with the largest p-value.
        All models are fitted to the rows of this one. P-values and intervals of the model that is left do not know that
        it was chosen.

        Parameters
        ----------
        alpha_random, alpha_fixed
            Terms with a p-value up to this stay; 1 leaves that part as it is. Of random terms it is the naive one.
        keep
            Fixed terms that stay, and with them the terms that they contain.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or this result does not know its data.
        """
        left = step(
            self.state,
            self._call_or_refuse("step"),
            alpha_random=alpha_random,
            alpha_fixed=alpha_fixed,
            keep=keep,
            ddf=ddf,
        )
        return Steps(show_notes(left.random), show_notes(left.fixed), type(self)(left.state, left.call))

    @refuses_unknown
    def ranova(self, n_exact: int = 0, seed: int | np.random.Generator | None = None) -> pd.DataFrame:
        """Return likelihood-ratio tests of each random term: ``n_params, llf, aic, chisq, df, p_value, p_boundary``.

        ``p_value`` is the naive one; ``p_boundary`` knows that variances cannot be negative. A term with slopes is
        reduced: ``(x | g)`` is compared with ``(1 | g)``.

        Parameters
        ----------
        n_exact
            Simulations of the exact law, for REML fits with one variance parameter; adds ``p_exact``.
        seed
            Of the simulations.

        Raises
        ------
        InferenceError
            If the exact law is not known for this fit.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` is the table of the terms that were tested, None if there are none.
        """
        return ranova(self.state, n_exact, seed)

    @refuses_unknown
    def slopes_by_level(
        self,
        variable: str,
        group: str | None = None,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        *,
        ddf: str = "satterthwaite",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the slope of each level of a grouping factor, fixed and predicted parts, in ``coef_table``'s columns.

        Variables that do not change within levels have each level's own values. Standard errors count the estimation of
        the fixed effects and the prediction of the random ones together, at the estimated variance parameters.

        Parameters
        ----------
        variable
            The numeric variable.
        group
            The grouping factor; None if there is one only.
        by, at
            As for ``slopes``.
        ddf
            ``"satterthwaite"`` or ``"normal"``.
        null, side, delta, level
            As for ``margins``.

        Raises
        ------
        InferenceError
            If a variable, group, level or argument is not allowed, or the variable is not numeric.
        """
        table = level_slopes(
            self.state, variable, group, by, at, ddf=ddf, null=null, side=side, delta=delta, level=level
        )
        return show_notes(table)
