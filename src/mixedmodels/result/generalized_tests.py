"""Tests of a generalised model's coefficients, terms, means and slopes: normal, on the link scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixedmodels.families.ordinal import Ordinal
from mixedmodels.inference.category_margins import CATEGORY_SCALES, category_margins
from mixedmodels.inference.contrast import contrast
from mixedmodels.inference.degrees import wald_tests
from mixedmodels.inference.generalized import chi_squared_joint_tests, chi_squared_table, z_table
from mixedmodels.inference.link_scale import link_view
from mixedmodels.inference.margins import margins
from mixedmodels.inference.slopes import slopes
from mixedmodels.inference.zero_margins import zero_margins
from mixedmodels.result.chapter import MixedChapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from mixedmodels.fit.generalized import GlmmState


class GeneralizedTests(MixedChapter):
    """Tests of a generalised model's coefficients, terms, means and slopes."""

    state: GlmmState
    ddf = "normal"

    @refuses_unknown
    def coef_table(self, level: float = 0.95, *, exponentiate: bool = False) -> pd.DataFrame:
        """Return the fixed effects: ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``.

        Parameters
        ----------
        level
            Coverage of the intervals.
        exponentiate
            Show exp of estimates and bounds, which are ratios of odds (logit) or of means (log); the statistic stays
            that of the coefficient.
        """
        return show_notes(z_table(self.state, level, exponentiate))

    @refuses_unknown
    def anova(self, type: int = 3) -> pd.DataFrame:
        """Return Wald's chi-squared tests by term: ``chisq, df, p_value``.

        Parameters
        ----------
        type
            As for ``LmmResult.anova``.
        """
        return show_notes(chi_squared_table(self.state, type))

    @refuses_unknown
    def contrast(self, L: object, level: float = 0.95, joint: bool = False) -> pd.DataFrame:
        """Return tests and intervals of combinations of the fixed effects, on the link scale, a row each.

        Parameters
        ----------
        L
            As for ``LmmResult.contrast``.
        level
            Coverage of the intervals.
        joint
            Add a last row with the test of all rows together.

        Raises
        ------
        InferenceError
            If a contrast cannot be read or estimated.
        """
        return show_notes(contrast(self.state, L, wald_tests(self.state), level, joint))

    @refuses_unknown
    def margins(
        self,
        specs: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
        *,
        scale: str = "response",
        random_effects: str = "population",
        contrasts: object = None,
        control: object = None,
        weights: str = "equal",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return estimated marginal means, or contrasts among them, a row each, in ``coef_table``'s columns.

        Means are formed and tested on the link scale, and brought back from there with their intervals. Chances of
        ordered categories are averaged over other variables as chances.

        Parameters
        ----------
        specs, by, at, pairwise, adjust
            As for ``LmmResult.margins``. For means of counts whose zeros have a chance of their own, which are averages
            over both formulas, variables of either.
        scale
            ``"response"``: chances or means, and of differences ratios of odds (logit) or means (log); ``"link"``. Of
            ordered categories the chance of each, and differences of these; or ``"mean_class"``: means of the
            categories' positions 1, 2, ... weighted by their chances.
        random_effects
            ``"population"``: of a level without random effects; ``"averaged"``: the mean over new levels.
        contrasts, control, weights, null, side, delta, level
            As for ``LmmResult.margins``; ``null`` and ``delta`` are on the link scale, for chances on theirs, for means
            of counts whose zeros have a chance of their own on the log scale.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or a variable is continuous.
        """
        options: dict[str, Any] = {
            "contrasts": contrasts,
            "adjust": adjust,
            "control": control,
            "weights": weights,
            "null": null,
            "side": side,
            "delta": delta,
            "level": level,
        }
        if isinstance(self.state.family, Ordinal) and scale in CATEGORY_SCALES:
            options |= {"scale": scale, "random_effects": random_effects}
            return show_notes(category_margins(self.state, specs, by, at, pairwise, **options))
        if self.state.problem.zeros is not None and scale == "response":
            options |= {"random_effects": random_effects}
            return show_notes(zero_margins(self.state, specs, by, at, pairwise, **options))
        is_comparison = bool(pairwise) or contrasts is not None or control is not None
        view = link_view(self.state, scale, random_effects, is_comparison)
        options |= {"ddf": wald_tests(self.state), "view": view}
        return show_notes(margins(self.state, specs, by, at, pairwise, **options))

    @refuses_unknown
    def joint_tests(
        self,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        *,
        weights: str = "equal",
    ) -> pd.DataFrame:
        """Return chi-squared tests of each term's effects on marginal means, within levels: ``chisq, df, p_value``.

        Parameters
        ----------
        by, at, weights
            As for ``LmmResult.joint_tests``.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or nothing is left to test.
        """
        return show_notes(chi_squared_joint_tests(self.state, by, at, weights))

    @refuses_unknown
    def slopes(
        self,
        variable: str,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
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
        """Return slopes of a numeric variable on the link scale, or contrasts among them, a row each.

        Parameters
        ----------
        variable, by, at, pairwise, adjust, within, contrasts, control, weights, null, side, delta, level
            As for ``LmmResult.slopes``.

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
            ddf=wald_tests(self.state),
            weights=weights,
            null=null,
            side=side,
            delta=delta,
            level=level,
        )
        return show_notes(table)
