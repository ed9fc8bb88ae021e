"""What the chapters of a result share: the fit as numbers, and what made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.call import Call
    from mixedmodels.fit.records import FitState


class Chapter:
    """A part of a result's methods. A result is made of chapters, and none of them knows the others.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    """

    def __init__(self, state: FitState, call: Call | None = None) -> None:
        self.state = state
        self.call = call

    @staticmethod
    def _of(state: FitState) -> Any:
        """Return a whole result of another fit, for statistics of the bootstrap."""
        raise NotImplementedError

    def _by_row(self, values: Floats, name: str) -> pd.Series[float]:
        return pd.Series(values, index=self.state.design.row_labels, name=name)

    def _call_or_refuse(self, what: str) -> Call:
        if self.call is None:
            raise InferenceError(
                f"{what} needs the data of the fit, which this result does not hold (refit and save(data=False) leave "
                "them behind). Fit the model with lmer to the data you mean."
            )
        return self.call
