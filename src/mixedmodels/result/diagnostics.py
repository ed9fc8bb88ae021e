"""Whether the model can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.diagnose.check import check
from mixedmodels.diagnose.influence import influence
from mixedmodels.diagnose.simulated_residuals import simulated_residuals
from mixedmodels.diagnose.vif import vif
from mixedmodels.display.check_frame import CheckFrame
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from mixedmodels.diagnose.influence import Influence
    from mixedmodels.diagnose.simulated_residuals import SimulatedResiduals


class Diagnostics(Chapter):
    """Whether the model can be believed."""

    @refuses_unknown
    def influence(
        self,
        by: str | None = None,
        method: str = "exact",
        *,
        path: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> Influence:
        """Return estimates without each row, or each level: ``.fe_params``, ``.cooks_distance``, ``.dfbetas``, ...

        ``.cooks_distance`` is that of the fixed effects; the method ``cooks_distance()`` is on the conditional fitted
        values, and the two are not comparable.

        Parameters
        ----------
        by
            A grouping factor; None for single rows.
        method
            ``"exact"`` refits, ``"one-step"`` holds theta and sigma.
        path
            A file that keeps what is done, which the same call goes on from, and ``mixedmodels.load`` reads.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If there is no such factor or method, or the file at ``path`` is of another fit or question.
        DataError
            If the file cannot be read or written.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the deletions that were made, None if there are none.
        """
        return influence(self.state, by, method, path=path, progress=progress)

    @refuses_unknown
    def simulated_residuals(
        self, n: int = 250, *, seed: int | None = None, random_effects: str = "new"
    ) -> SimulatedResiduals:
        """Return residuals scaled by simulation, uniform if the model is right: ``.scaled`` and ``.tests``.

        Parameters
        ----------
        n
            Simulations.
        seed
            Of the random numbers.
        random_effects
            As for ``simulate``.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` is from the simulations that were made, None if there are none.
        """
        return simulated_residuals(self.state, n, seed=seed, random_effects=random_effects)

    def vif(self) -> pd.DataFrame:
        """Return generalised variance-inflation factors by term: ``df, gvif, gvif_scaled`` (Fox and Monette 1992).

        A term is judged after those that it contains and without those that contain it, as in tests of type 2, so that
        interactions inflate nothing by the coding of categories or the origin of covariates.

        Raises
        ------
        InferenceError
            If there are fewer than two terms beside the intercept.
        """
        return show_notes(vif(self.state))

    def check(self) -> pd.DataFrame:
        """Return what is worth looking at after a fit: ``verdict, found, advice`` by check."""
        return CheckFrame(check(self.state))
