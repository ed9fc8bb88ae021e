"""The fit as pictures and as a page, whatever the responses are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.result.chapter import FixedChapter
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from typing import Any


class Pictures(FixedChapter):
    """The fit as pictures and as a page."""

    @refuses_unknown
    def plot(self, *, ax: Iterable[Any] | None = None) -> Any:
        """Draw residuals and their size against fitted values, and normal quantiles of residuals and random effects.

        Residuals are normalized ones where they are correlated, quantile residuals of generalised models.

        Parameters
        ----------
        ax
            Four matplotlib axes, three if there are no random effects; None for a new figure.

        Returns
        -------
        array of matplotlib Axes
            ``mixedmodels.plot`` has each of these and more.
        """
        from mixedmodels.plot.panel import panel  # noqa: PLC0415  # few fits are drawn

        return panel(self, ax=ax)

    @refuses_unknown
    def report(
        self,
        path: str | PathLike[str],
        *,
        title: str | None = None,
        ddf: str | None = None,
        level: float = 0.95,
    ) -> None:
        """Write one HTML page that needs nothing else: the model in mathematics, data, tables, checks and plots.

        Parameters
        ----------
        path
            Where to; the ending ``.html`` is usual.
        title
            Heading of the page; None names the response.
        ddf, level
            As for ``coef_table``; None: the degrees of freedom that the fit takes by itself.

        Raises
        ------
        MixedModelsError
            If matplotlib is not installed, ``ddf`` or ``level`` is not allowed, or the file cannot be written.
        """
        from mixedmodels.report.page import write_report  # noqa: PLC0415  # few fits are reported

        write_report(self, path, title=title, ddf=ddf, level=level)
