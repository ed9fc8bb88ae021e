"""Intervals, by Wald, profile or bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.inference.bootstrap import bootstrap
from mixedmodels.inference.conf_int import conf_int
from mixedmodels.inference.profile import Profile, profile
from mixedmodels.inference.variance_parameters import variance_parameters
from mixedmodels.interrupted import warns_if_interrupted
from mixedmodels.result.chapter import FixedChapter
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from typing import Any

    import pandas as pd

    from mixedmodels.inference.bootstrap import Bootstrap, Replicated
    from mixedmodels.inference.conf_int import Ways


class FitProfile(Profile):
    """Profiles of some parameters of a fit, which can be drawn."""

    def _conf_int(self, level: float) -> pd.DataFrame:
        return show_notes(super()._conf_int(level))

    @refuses_unknown
    @warns_if_interrupted
    def plot(self, **arguments: Any) -> Any:
        """Draw zeta against the values, with intervals; see ``mixedmodels.plot.profile``."""
        from mixedmodels.plot.profile import profile as draw  # noqa: PLC0415  # few profiles are drawn

        return draw(self, **arguments)


class Intervals(FixedChapter):
    """Intervals, by Wald, profile or bootstrap."""

    def _ways(self) -> Ways:
        """Return what intervals of this kind of fit are made of."""
        raise NotImplementedError

    def _replicated(self) -> Replicated:
        """Return this kind of fit as a bootstrap sees it."""
        raise NotImplementedError

    @refuses_unknown
    def conf_int(
        self, method: str = "wald", level: float = 0.95, which: str | Iterable[str] | None = None, **options: Any
    ) -> pd.DataFrame:
        """Return intervals ``lower, upper`` of fixed effects and, as sds and correlations, of variance parameters.

        Parameters
        ----------
        method
            ``"wald"``, ``"profile"`` or ``"bootstrap"``.
        level
            Coverage.
        which
            Names such as ``"Days"``, ``"sd_Days|Subject"``, ``"cor_Days.Intercept|Subject"``, ``"sigma"``; ``"beta"``
            for all fixed effects, ``"theta"`` or ``"variance"`` for all variance parameters (lme4's ``"beta_"`` and
            ``"theta_"`` too); None: all.
        **options
            Of ``"wald"``: ``ddf``. Of ``"bootstrap"``: ``n, seed, kind, path, progress`` as for ``bootstrap``, and
            ``interval``, ``"studentized"`` unless another is asked for.

        Raises
        ------
        InferenceError
            If an argument is not allowed or a name is not known.
        """
        return show_notes(conf_int(self._ways(), method, level, which, **options))

    @refuses_unknown
    def profile(
        self,
        which: str | Iterable[str] | Mapping[str, Callable[[Any], float]] | None = None,
        *,
        progress: bool = True,
    ) -> FitProfile:
        """Return profile likelihoods: ``.zeta`` (DataFrame), ``.conf_int(level)`` and ``.plot()``.

        Parameters
        ----------
        which
            As for ``conf_int``; or a mapping from a name to a function of the variance parameters, such as
            ``{"icc": lambda p: p["sd_Intercept|g"]**2 / (p["sd_Intercept|g"]**2 + p["sigma"]**2)}``.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If a name is unknown, or a correlation is on its boundary.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the parameters that were profiled, None if there are none.
        """
        return profile(self._ways().profiled, FitProfile, which, progress=progress)

    @refuses_unknown
    def bootstrap(
        self,
        n: int = 1000,
        *,
        seed: int | None = None,
        statistic: Callable[[Any], Any] | None = None,
        kind: str = "parametric",
        level_of: str | None = None,
        path: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> Bootstrap:
        """Return bootstrap replicates: ``.replicates``, ``.n_failed``, ``.n_singular``, ``.conf_int(kind)``.

        Parameters
        ----------
        n
            Replicates.
        seed
            Of the random streams, one a replicate.
        statistic
            Function of a result that returns numbers; None for all parameters, computed inside the engine.
        kind
            ``"parametric"``, ``"residual"`` or ``"cases"``.
        level_of
            For cases: the grouping factor whose levels are drawn.
        path
            A file that keeps what is done, written each second or so. If it is there, it is gone on with: what it lacks
            of n is made, with the numbers of an uninterrupted run; a run that was killed loses a second. It holds the
            fit too, and ``mixedmodels.load`` reads it.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or the file at ``path`` is of another bootstrap.
        DataError
            If the file cannot be read or written.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the replicates that were made, None if there are none.
        """
        options: dict[str, Any] = {"kind": kind, "level_of": level_of, "path": path, "progress": progress}
        return bootstrap(self._replicated(), n, seed=seed, statistic=statistic, **options)


class VarianceIntervals(Intervals):
    """Intervals, those of variance parameters on other scales too."""

    @refuses_unknown
    def variance_parameters(self, scale: str = "sd", level: float = 0.95) -> pd.DataFrame:
        """Return standard deviations, correlations and sigma with standard errors and intervals within their range.

        Parameters
        ----------
        scale
            ``"sd"``; ``"variance"``: variances and covariances; ``"log"``: log sd and Fisher's z.
        level
            Coverage of the intervals.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        """
        return show_notes(variance_parameters(self._ways().profiled, scale, level))
