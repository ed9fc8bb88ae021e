"""What the chapters of a result share: the fit as numbers, and what made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.call import Call
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit


class FixedChapter:
    """A part of a result's methods that asks of the fixed effects alone, whatever is random beside them.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    """

    state: FixedFit
    ddf: str = "satterthwaite"
    """Degrees of freedom that tests have where none are named."""

    def __init__(self, state: FixedFit, call: Call | None = None) -> None:
        self.state = state
        self.call = call

    def check_estimated(self, what: str) -> None:
        """Do nothing: all parameters of this fit are estimates by likelihood. ``MixedLMResults`` may refuse.

        Parameters
        ----------
        what
            The question that takes them for that.
        """

    def _by_row(self, values: Floats, name: str) -> pd.Series[float]:
        return pd.Series(values, index=self.state.design.row_labels, name=name)

    def _call_or_refuse(self, what: str) -> Call:
        if self.call is None:
            raise InferenceError(
                f"{what} needs the data of the fit, which this result does not hold (refit and save(data=False) leave "
                "them behind). Fit the model with lmer to the data you mean."
            )
        return self.call


class MixedChapter(FixedChapter):
    """A part of a result's methods that asks of the random effects too, whatever the responses are.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    """

    state: MixedFit

    def __init__(self, state: MixedFit, call: Call | None = None) -> None:
        super().__init__(state, call)


class Chapter(MixedChapter):
    """A part of the methods of a mixed model's result. A result is made of chapters, and none knows the others.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    """

    state: FitState

    def __init__(self, state: FitState, call: Call | None = None) -> None:
        super().__init__(state, call)
