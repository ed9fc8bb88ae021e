"""Tests of coefficients, of terms, of means and slopes, and of combinations of fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference import wald
from mixedmodels.inference.anova import anova
from mixedmodels.inference.contrast import contrast
from mixedmodels.inference.joint_tests import joint_tests
from mixedmodels.inference.margins import margins
from mixedmodels.inference.slopes import slopes
from mixedmodels.result.chapter import FixedChapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from mixedmodels.inference.approximation import Approximation


class FixedTests(FixedChapter):
    """Tests of coefficients, of terms, of means and slopes, and of combinations of fixed effects."""

    @refuses_unknown
    def coef_table(self, ddf: str | Approximation = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects: ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``.

        Parameters
        ----------
        ddf
            Degrees of freedom of the tests: ``"satterthwaite"``; ``"kenward-roger"`` (REML only), which also widens the
            standard errors; ``"residual"``, rows less fixed effects; ``"normal"``, infinite; ``"robust"``, what
            ``cov_fe_robust`` returns by default, or another of its results.
        level
            Coverage of the intervals.

        Raises
        ------
        InferenceError
            If ``ddf`` or ``level`` is not allowed, or ``ddf`` does not apply to this fit.
        """
        return show_notes(wald.coef_table(self.state, ddf, level))

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
