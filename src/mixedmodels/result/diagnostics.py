"""Whether the model can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.diagnose.check import check
from mixedmodels.diagnose.simulated_residuals import simulated_residuals
from mixedmodels.diagnose.vif import vif
from mixedmodels.display.check_frame import show_checks
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.diagnose.simulated_residuals import SimulatedResiduals


class Diagnostics(Chapter):
    """Whether the model can be believed."""

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
        return show_checks(check(self.state))
