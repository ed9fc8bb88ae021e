"""What the package maketables asks a result for, by names that it looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display import maketables
from mixedmodels.result.chapter import MixedChapter

if TYPE_CHECKING:
    import pandas as pd


class ForMaketables(MixedChapter):
    """What the package maketables asks a result for, by names that it looks for."""

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        return maketables.coefficients(self.state, self.ddf)

    @property
    def __maketables_depvar__(self) -> str:
        return self.state.design.response_name

    def __maketables_stat__(self, key: str) -> str | None:
        return maketables.statistics(self.state).get(key, (None, None))[1]

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        return {key: label for key, (label, _) in maketables.statistics(self.state).items()}

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return list(maketables.statistics(self.state))
