"""What was estimated of the random part, whatever the responses are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.display.varcorr import VarCorr
from mixedmodels.predict import random_effects
from mixedmodels.result.chapter import MixedChapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats


class RandomEstimates(MixedChapter):
    """What was estimated of the random part, whatever the responses are."""

    @property
    def theta(self) -> pd.Series[float]:
        """Relative covariance factors, lower triangles of Lambda by column, in lme4's order; diagonals >= 0."""
        return pd.Series(self.state.theta, index=list(self.state.design.theta_names), name="theta", copy=True)

    @property
    def varcorr(self) -> VarCorr:
        """Covariances of the random effects; ``varcorr["Subject"]`` is a DataFrame, ``.to_frame()`` is long."""
        return VarCorr.from_state(self.state)

    @property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Conditional modes (BLUPs), grouping factor -> level x effect."""
        by_group = random_effects.random_effects(self.state)
        return type(by_group)((name, show_notes(frame)) for name, frame in by_group.items())

    @property
    def random_effects_cov(self) -> dict[str, Floats]:
        """Conditional covariances of the random effects, grouping factor -> (level, effect, effect)."""
        return random_effects.random_effects_cov(self.state)

    @refuses_unknown
    def random_effects_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return the conditional modes in one long frame: ``group, level, effect, estimate, std_error, lower, upper``.

        Parameters
        ----------
        level
            Coverage of the intervals, normal ones given the variance parameters and the fixed effects, as in lme4.

        Raises
        ------
        InferenceError
            If ``level`` is not a coverage.
        """
        return show_notes(random_effects.random_effects_frame(self.state, level))

    @refuses_unknown
    def coef_by_level(self, group: str | None = None) -> pd.DataFrame:
        """Return the coefficients of each level of a grouping factor: fixed effects plus random ones of the same name.

        Parameters
        ----------
        group
            The grouping factor; None if there is one only.

        Raises
        ------
        InferenceError
            If there is no such factor, or None and several.
        """
        return show_notes(random_effects.coef_by_level(self.state, group))

    @property
    def n_groups(self) -> dict[str, int]:
        """Levels of each grouping factor."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    @property
    def is_singular(self) -> bool:
        """True if a variance is estimated as zero or a correlation as plus or minus one."""
        return self.state.is_singular
