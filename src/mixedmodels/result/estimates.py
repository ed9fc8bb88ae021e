"""What was estimated, and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference.robust import robust_covariance
from mixedmodels.predict import random_effects
from mixedmodels.result.chapter import Chapter
from mixedmodels.result.fixed_estimates import FixedEstimates
from mixedmodels.result.random_estimates import RandomEstimates
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from mixedmodels.inference.robust import RobustCovariance


class Estimates(RandomEstimates, FixedEstimates, Chapter):
    """What was estimated, and from what."""

    @refuses_unknown
    def absorbed_effects(self) -> dict[str, pd.Series[float]]:
        """Return the fixed effects of absorbed levels, ``fe(firm)``: factor -> Series by level.

        With the columns' part they make up the fixed part of each row; there is no intercept beside them. Levels whose
        effects are no more than combinations of others', such as the first of a second factor, are reference levels:
        their effects are zero, and the others' are differences from them.

        Raises
        ------
        InferenceError
            If nothing is absorbed.
        """
        return random_effects.absorbed_effects(self.state)

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
