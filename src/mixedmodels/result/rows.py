"""What is known of the rows of the data, and of new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.diagnose.hat_values import cooks_distance, hat_values
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.display.added import LinearAdded
from mixedmodels.display.augment import augment
from mixedmodels.display.augmented import augmented_batches
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.predict.predict import predict
from mixedmodels.predict.simulate import simulate
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mixedmodels.design.records import Floats


class Rows(Chapter):
    """What is known of the rows of the data, and of new ones."""

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """Conditional fitted values X beta + Z b + offset of the rows used, by pandas index or position in the data."""
        return self._by_row(conditional_fitted(self.state), "fitted")

    @property
    def resid(self) -> pd.Series[float]:
        """Conditional residuals of the rows used, by pandas index or position in the data."""
        return self.residuals()

    @refuses_unknown
    def residuals(self, kind: str = "conditional") -> pd.Series[float]:
        """Return residuals of the rows used, by pandas index or position in the data.

        Parameters
        ----------
        kind
            ``"conditional"``: response less ``fittedvalues``; ``"marginal"``: response less X beta + offset;
            ``"pearson"``: conditional times sqrt(weight), so that all have standard deviation sigma;
            ``"standardized"``: pearson over sigma; ``"cholesky"``: marginal ones decorrelated.

        Raises
        ------
        InferenceError
            If there is no such kind.
        """
        return self._by_row(residuals(self.state, kind), "resid")

    @refuses_unknown
    def augment(
        self,
        data: object = None,
        *,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str = "satterthwaite",
        new_levels: str = "raise",
        weights: object = None,
        modes: bool = False,
    ) -> pd.DataFrame:
        """Return rows with ``.fitted`` (conditional), ``.resid`` and ``.fixed`` (the fixed part) added.

        Parameters
        ----------
        data
            New data, ``.resid`` where they have the response; or the data of the fit, of which the rows used are
            returned; None takes those given to ``lmer``.
        interval
            ``"confidence"`` or ``"prediction"`` adds ``.se``, ``.lower`` and ``.upper``, those of ``predict``.
        level, ddf, new_levels, weights
            As for ``predict``.
        modes
            Add the conditional modes of each row's levels, ``.b_Days|Subject``.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``; if this result does not know its data and gets none.
        """
        if data is None and self.state.design.stand_in is not None:
            self.state.design.y.refuse()  # type: ignore[attr-defined]  # it is left out
        data = self._call_or_refuse("augment").data if data is None else data
        options: dict[str, Any] = {"interval": interval, "level": level, "ddf": ddf}
        added = LinearAdded(self.state, **options, new_levels=new_levels, weights=weights, modes=modes)
        return show_notes(augment(added, data))

    @refuses_unknown
    def augment_batches(
        self,
        data: object = None,
        *,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str = "satterthwaite",
        new_levels: str = "raise",
        weights: object = None,
    ) -> Any:
        """Return rows with what `augment` adds as a stream, of data that are read in parts and never held.

        Parameters
        ----------
        data
            Files, datasets or streams, as for ``lmer``; None reads those given to ``lmer`` again.
        interval, level, ddf, new_levels, weights
            As for ``augment``; weights are a number or the name of a column.

        Returns
        -------
        pyarrow.RecordBatchReader
            All columns of the data, with ``.fitted``, ``.resid``, ``.fixed`` and what an interval adds, in the order of
            the rows. Rows in which a value is missing have none.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``, a part at a time; if the data are not read in parts, or have no rows.
        """
        data = self._call_or_refuse("augment_batches").data if data is None else data
        options: dict[str, Any] = {"interval": interval, "level": level, "ddf": ddf}
        return augmented_batches(self.state, data, **options, new_levels=new_levels, weights=weights)

    @refuses_unknown
    def predict(
        self,
        data: object = None,
        *,
        random_effects: str | Iterable[str] = "conditional",
        new_levels: str = "raise",
        interval: str | None = None,
        level: float = 0.95,
        ddf: str = "satterthwaite",
        weights: object = None,
        correction: str | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Return predictions for the rows of the fit or for new data: a Series, or ``mean, se, lower, upper``.

        Parameters
        ----------
        data
            New data; None for the rows of the fit.
        random_effects
            ``"conditional"``, ``"population"``, or names of grouping factors and texts of terms, ``"(1 | Subject)"``.
        new_levels
            ``"raise"``, or ``"population"``: a level that the fit did not have gets no effect.
        interval
            ``"confidence"``: of the mean; ``"prediction"``: of a new observation.
        level
            Coverage.
        ddf
            ``"satterthwaite"`` or ``"normal"``.
        weights
            Of new observations, for prediction intervals.
        correction
            ``"kackar-harville"`` widens intervals by what estimating the variance parameters adds.

        Raises
        ------
        DataError, InferenceError
            If the data lack a column or have a level that the fit did not have; if an argument is not allowed.
        """
        predicted = predict(
            self.state,
            data,
            random_effects=random_effects,
            new_levels=new_levels,
            interval=interval,
            level=level,
            ddf=ddf,
            weights=weights,
            correction=correction,
        )
        return show_notes(predicted) if isinstance(predicted, pd.DataFrame) else predicted

    @refuses_unknown
    def simulate(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        random_effects: str = "new",
        data: object = None,
        weights: object = None,
    ) -> Floats:
        """Return simulated responses, shape (n_rows, n).

        Parameters
        ----------
        n
            Responses.
        seed
            Of the random numbers.
        random_effects
            ``"new"``: drawn anew; ``"conditional"``: the modes of the fit.
        data
            New data; None for the rows of the fit.
        weights
            Of the rows of new data.

        Raises
        ------
        DataError, InferenceError
            If the data lack a column; if an argument is not allowed.
        """
        return simulate(self.state, n, seed=seed, random_effects=random_effects, data=data, weights=weights)

    def hat_values(self) -> pd.Series[float]:
        """Return the leverage of each row used: d fitted / d response at the estimated theta."""
        return self._by_row(hat_values(self.state), "hat")

    def cooks_distance(self) -> pd.Series[float]:
        """Return Cook's distance of each row used, on the conditional fitted values, at fixed theta and sigma.

        As in lme4, random effects included. ``influence().cooks_distance``, which ``check()`` shows, is another
        quantity, what leaving a row out does to the fixed effects alone, and usually much smaller.
        """
        return self._by_row(cooks_distance(self.state), "cooks_distance")
