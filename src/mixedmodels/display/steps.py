"""A model chosen by backward elimination, with the tables of what was taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True, repr=False)
class Steps:
    """What backward elimination took out, and what it left. It prints both tables and the formula that is left.

    Attributes
    ----------
    random
        ``eliminated`` (1, 2, ... in the order in which terms went; 0 for those that stay; none for the first fit) and
        the columns of ``ranova``: each term as it was tested when it went, or at the end.
    fixed
        ``eliminated`` and the columns of ``drop1``, likewise. Terms that others contain are not tested.
    fit
        The result that is left.
    """

    random: pd.DataFrame
    fixed: pd.DataFrame
    fit: Any

    def __repr__(self) -> str:
        return (
            f"Random terms, in the order of their elimination (0: left)\n{self.random}\n\n"
            f"Fixed terms, in the order of their elimination (0: left)\n{self.fixed}\n\n"
            f"Left: {self.fit.formula}"
        )
