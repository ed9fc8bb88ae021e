"""How much is explained, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference.effect_sizes import effect_sizes
from mixedmodels.inference.icc import icc
from mixedmodels.inference.part_r2 import part_r2
from mixedmodels.inference.r2 import r2
from mixedmodels.inference.re_pca import re_pca
from mixedmodels.inference.standardized import standardized
from mixedmodels.inference.variance_shares import variance_shares
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.inference.approximation import Approximation


class Sizes(Chapter):
    """How much is explained, and by what."""

    def icc(self) -> dict[str, float]:
        """Return intraclass correlations: ``adjusted`` and ``unadjusted`` (for the fixed part)."""
        return icc(self.state)

    def r2(self) -> dict[str, float]:
        """Return Nakagawa and Schielzeth's R-squared: ``marginal`` (fixed part) and ``conditional`` (with random)."""
        return r2(self.state)

    @refuses_unknown
    def variance_shares(self, by: str = "term") -> pd.DataFrame:
        """Return the variance of the fixed part, of what is random and of the residual, with their shares of the whole.

        Parameters
        ----------
        by
            ``"term"``: each random term; ``"factor"``: each grouping factor, both with ``icc``, the share of what the
            fixed part leaves; ``"level"``: parted within and between the levels of the one grouping factor (Rights and
            Sterba 2019).

        Raises
        ------
        InferenceError
            If ``by`` is not allowed, or there are several grouping factors to be within and between.
        """
        return show_notes(variance_shares(self.state, by))

    def part_r2(self) -> pd.DataFrame:
        """Return what the marginal R-squared loses without each term: ``df, part_r2, without``, terms as in ``drop1``.

        The models without a term are fitted to the same rows; what terms explain together is in none of the parts.
        """
        return show_notes(part_r2(self.state))

    @refuses_unknown
    def effect_sizes(
        self,
        kind: str = "eta",
        type: int = 3,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return partial effect sizes by term, with intervals from the noncentral F law.

        Parameters
        ----------
        kind
            ``"eta"``: eta squared; ``"epsilon"`` or ``"omega"``: less biased ones.
        type, ddf
            Of the F tests that they are made of, as for ``anova``.
        level
            Coverage of the intervals, which leave out the same share on both sides.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit or is infinite.
        """
        return show_notes(effect_sizes(self.state, kind, type, ddf, level))

    @refuses_unknown
    def standardized(
        self, method: str = "refit", ddf: str | Approximation = "satterthwaite", level: float = 0.95
    ) -> pd.DataFrame:
        """Return fixed effects in standard deviations of the response, in the columns of ``coef_table``.

        Parameters
        ----------
        method
            ``"refit"``: the model of z-scores of the response and of the numeric variables, products being formed of
            them; categories keep their coding. ``"basic"``: times the standard deviation of the column of the
            coefficient over that of the response. ``"pseudo"``: by standard deviations within groups for what varies
            within them, and between them for what does not (Hoffman 2015).
        ddf, level
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or the method does not apply to this fit.
        """
        return show_notes(standardized(self.state, method, ddf, level))

    def re_pca(self) -> dict[str, pd.DataFrame]:
        """Return the principal components of each factor's random-effects covariance."""
        by_group = re_pca(self.state)
        return type(by_group)((name, show_notes(frame)) for name, frame in by_group.items())
