"""Estimates as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display import broom, marginaleffects, plain
from mixedmodels.display.summary import summarize
from mixedmodels.inference.conditional_aic import criteria_table
from mixedmodels.result.chapter import Chapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import pandas as pd

    from mixedmodels.display.summary import Summary
    from mixedmodels.inference.approximation import Approximation


class Tables(Chapter):
    """Estimates as tables."""

    @refuses_unknown
    def summary(
        self,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
        correlation: bool = False,
        *,
        width: int | None = None,
    ) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        correlation
            Show the correlations of the fixed effects.
        width
            Columns of a line, 60 or more; None for the environment's COLUMNS or the terminal's, 80 where there is none.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit.
        """
        return summarize(self.state, ddf, level, correlation, width=width)

    def criteria(self) -> pd.DataFrame:
        """Return AIC, AICc, BIC and the conditional AIC: ``value, deviance, n_params, penalty, counted``.

        ``counted`` says in words what each takes for the number of parameters.
        """
        return show_notes(criteria_table(self.state))

    @refuses_unknown
    def tidy(
        self,
        effects: str | Iterable[str] = broom.EFFECTS,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return one row a parameter, fixed effects and then variance parameters, in broom's columns.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (standard deviations and correlations) or both.
        ddf, level
            As for ``coef_table``.
        """
        return show_notes(broom.tidy(self.state, effects, ddf, level))

    def glance(self) -> pd.DataFrame:
        """Return the fit in one row: number of rows, sigma, likelihood, criteria, degrees of freedom, status."""
        return show_notes(broom.glance(self.state))

    @refuses_unknown
    def to_dict(self, ddf: str | Approximation = "satterthwaite", level: float = 0.95) -> dict[str, Any]:
        """Return everything as plain Python data, fit for JSON.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        """
        return plain.to_dict(self.state, ddf, level)

    @refuses_unknown
    def to_marginaleffects(self, ddf: str | Approximation = "satterthwaite") -> Any:
        """Return a model for the functions of the Python package marginaleffects, with population predictions.

        Its ``with_df(result)`` gives every row of a result its own degrees of freedom:
        ``model.with_df(avg_slopes(model, eps_vcov=1.0))``. Without it all rows have the smallest of the fixed effects.

        Parameters
        ----------
        ddf
            As for ``coef_table``.

        Raises
        ------
        MixedModelsError
            If marginaleffects is not installed, or ``ddf`` does not apply to this fit.
        """
        return marginaleffects.adapt(self.state, ddf)
