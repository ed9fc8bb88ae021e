"""What leaving out rows, levels or subjects does to the estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.diagnose.influence import influence
from mixedmodels.result.chapter import FixedChapter
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from os import PathLike

    from mixedmodels.diagnose.influence import Deletable, Influence


class Deletions(FixedChapter):
    """What leaving out rows, levels or subjects does to the estimates."""

    def _deleted(self) -> Deletable:
        """Return this kind of fit as influence sees it."""
        raise NotImplementedError

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

        ``.cooks_distance`` is that of the fixed effects; the method ``cooks_distance()`` of linear models is on the
        conditional fitted values, and the two are not comparable.

        Parameters
        ----------
        by
            A grouping factor, or the column that tells subjects apart where residuals are correlated; None for single
            rows.
        method
            ``"exact"`` refits, ``"one-step"`` holds the covariances, and the weights of rows in a generalised model.
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
        return influence(self._deleted(), by, method, path=path, progress=progress)
