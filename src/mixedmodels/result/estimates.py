"""What was estimated, and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.display.varcorr import VarCorr
from mixedmodels.inference.robust import robust_covariance
from mixedmodels.predict import random_effects
from mixedmodels.result.chapter import Chapter
from mixedmodels.result.fixed_estimates import FixedEstimates
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.inference.robust import RobustCovariance


class Estimates(FixedEstimates, Chapter):
    """What was estimated, and from what."""

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

    @refuses_unknown
    def cov_fe_robust(self, kind: str = "CR2", cluster: str | npt.ArrayLike | None = None) -> RobustCovariance:
        """Return the cluster-robust covariance of the fixed effects: ``.to_frame()``; any argument ``ddf`` takes it.

        Parameters
        ----------
        kind
            ``"CR0"``, ``"CR1"``, ``"CR2"`` (Bell and McCaffrey) or ``"CR3"`` (about the jackknife).
        cluster
            A grouping factor, a column of the fixed part, or the cluster of each row; None takes the coarsest grouping
            factor. All grouping factors must be nested in it.

        Raises
        ------
        InferenceError
            If there is no such kind or cluster, or a grouping factor is crossed with the clusters.
        """
        return robust_covariance(self.state, kind, cluster)

    @property
    def n_groups(self) -> dict[str, int]:
        """Levels of each grouping factor."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    @property
    def is_singular(self) -> bool:
        """True if a variance is estimated as zero or a correlation as plus or minus one."""
        return self.state.is_singular
