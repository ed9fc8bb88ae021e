"""Tests of terms, of means and slopes, and of combinations of fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display.steps import Steps
from mixedmodels.inference.anova import anova
from mixedmodels.inference.contrast import contrast
from mixedmodels.inference.drop1 import drop1
from mixedmodels.inference.joint_tests import joint_tests
from mixedmodels.inference.margins import margins
from mixedmodels.inference.ranova import ranova
from mixedmodels.inference.slopes import slopes
from mixedmodels.inference.step import step
from mixedmodels.predict.level_slopes import level_slopes
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import pandas as pd

    from mixedmodels.inference.approximation import Approximation


class Tests(Chapter):
    """Tests of terms, of means and slopes, and of combinations of fixed effects."""

    @refuses_unknown
    def anova(self, type: int = 3, ddf: str | Approximation = "satterthwaite") -> pd.DataFrame:
        """Return F tests by term: ``sum_sq, mean_sq, num_df, den_df, f_value, p_value``.

        Parameters
        ----------
        type
            1: each term after those before it; 2: after all terms that do not contain it; 3: after all other terms,
            averaged over the levels of those that contain it, under any coding.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If ``type`` or ``ddf`` is not allowed, or ``ddf`` does not apply to this fit.
        """
        return show_notes(anova(self.state, type, ddf))

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
    def contrast(
        self, L: object, ddf: str | Approximation = "satterthwaite", level: float = 0.95, joint: bool = False
    ) -> pd.DataFrame:
        """Return tests and intervals of combinations of the fixed effects, a row each, in ``coef_table``'s columns.

        Parameters
        ----------
        L
            A text such as ``"Days = 0"`` or ``"2 * A - B = 1"``, a mapping from names to coefficients, a matrix with
            one column a fixed effect, a list of these, or a mapping from names of your own to these:
            ``{"day 9": {"Intercept": 1, "Days": 9}, "slope": "Days = 10"}``. Tests are not adjusted for their number.
        ddf, level
            As for ``coef_table``.
        joint
            Add a last row with the F test of all rows together.

        Raises
        ------
        InferenceError
            If a contrast cannot be read or estimated, or an argument is not allowed.
        """
        return show_notes(contrast(self.state, L, ddf, level, joint))

    @refuses_unknown
    def margins(  # noqa: PLR0917 - the order of the public signature is promised
        self,
        specs: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
        ddf: str | Approximation = "satterthwaite",
        *,
        contrasts: object = None,
        control: object = None,
        weights: str = "equal",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        scale: str = "model",
        bias_adjust: bool | float = False,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return estimated marginal means, or contrasts among them, a row each, in ``coef_table``'s columns.

        Parameters
        ----------
        specs
            Variables whose combinations of levels have a mean each. Other categorical variables are averaged over,
            numeric ones are at their means. A variable that is nested in others, as B in A by ``A/B``, is averaged over
            within their levels and has its means within them.
        by
            Variables within whose levels means are compared.
        at
            Values of variables to use instead: ``{"Days": [0, 9]}``.
        pairwise
            True: return the differences of all pairs; or the name of a kind, as for ``contrasts``.
        adjust
            For contrasts, within each level of ``by``: ``"tukey"`` (all pairs), ``"dunnett"`` (against a control),
            ``"mvt"`` (any, by their correlations), ``"scheffe"``, ``"holm"``, ``"bonferroni"``, ``"sidak"``, ``"fdr"``
            or ``"none"``; None for what goes with them.
        ddf
            As for ``coef_table``.
        contrasts
            Return contrasts: ``"pairwise"``, ``"reverse-pairwise"``, ``"consecutive"``, ``"reverse-consecutive"``,
            ``"control"`` (from the first, or from ``control``), ``"mean"`` (from the mean of all), ``"others"`` (from
            that of the others), ``"polynomial"``, ``"helmert"`` (from the mean of those before); weights, as
            ``{"new": {"a": 1, "b": -0.5, "c": -0.5}}``, ``{"new": [1, -0.5, -0.5]}`` or a matrix with a row a contrast;
            or interaction contrasts, ``{"dose": "polynomial", "drug": "pairwise"}``.
        control
            Return the differences from this level of ``specs``; a tuple if there are several variables.
        weights
            Average with ``"equal"`` weights, ``"proportional"`` to rows, by products of each variable's proportions
            (``"outer"``), or by the rows of each mean's own levels (``"cells"``).
        null, side, delta
            Test against another value than 0; whether what is estimated differs from it (``"two-sided"``), is
            ``"greater"`` or ``"less"``; with a margin ``delta`` whether it is less than that away (equivalence), not
            that much below (``"greater"``) or not that much above (``"less"``). On the scale of the model.
        scale
            ``"response"`` brings means of a transformed response back, as exp of those of ``log(y)``, and differences
            of logarithms as ratios.
        bias_adjust
            True: means of the response itself rather than, about, its medians; or the standard deviation of an
            observation on the scale of the model, if not that of the fit.
        level
            Coverage of intervals; those of contrasts cover together where they are adjusted.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or a variable is continuous.
        """
        table = margins(
            self.state,
            specs,
            by,
            at,
            pairwise,
            contrasts=contrasts,
            adjust=adjust,
            ddf=ddf,
            control=control,
            weights=weights,
            null=null,
            side=side,
            delta=delta,
            scale=scale,
            bias_adjust=bias_adjust,
            level=level,
        )
        return show_notes(table)

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
    def joint_tests(
        self,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        *,
        ddf: str | Approximation = "satterthwaite",
        weights: str = "equal",
    ) -> pd.DataFrame:
        """Return F tests of each term's effects on marginal means, within levels: ``num_df, den_df, f_value, p_value``.

        Numeric variables count by their slopes at the mean.

        Parameters
        ----------
        by
            Variables within whose levels the others are tested: simple effects.
        at, weights
            As for ``margins``.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or nothing is left to test.
        """
        return show_notes(joint_tests(self.state, by, at, ddf=ddf, weights=weights))

    @refuses_unknown
    def slopes(  # noqa: PLR0917 - in the order of margins
        self,
        variable: str,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
        ddf: str | Approximation = "satterthwaite",
        *,
        within: str | Sequence[str] | None = None,
        contrasts: object = None,
        control: object = None,
        weights: str = "equal",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return slopes of a numeric variable, or contrasts among them, a row each, in ``coef_table``'s columns.

        The slope is the derivative of the fixed part, however the variable enters: by itself, in interactions, powers,
        logarithms or splines.

        Parameters
        ----------
        variable
            The numeric variable.
        by
            Variables whose combinations of levels have a slope each.
        at
            Values of variables to use, that of a curve's slope among them: ``{"Days": [0, 9]}`` with ``by="Days"``.
        pairwise, adjust, contrasts, control
            Return contrasts among the slopes, as for ``margins``.
        within
            Variables within whose levels slopes are compared.
        ddf
            As for ``coef_table``.
        weights, null, side, delta, level
            As for ``margins``.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or the variable is not numeric.
        """
        table = slopes(
            self.state,
            variable,
            by,
            at,
            pairwise,
            within=within,
            contrasts=contrasts,
            control=control,
            adjust=adjust,
            ddf=ddf,
            weights=weights,
            null=null,
            side=side,
            delta=delta,
            level=level,
        )
        return show_notes(table)

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
