"""Profile likelihood: the criterion minimised over all other parameters, as a function of one.

zeta(v) = sign(v - estimate) sqrt(d(v) - d(estimate)), d the criterion of the fit (-2 log-likelihood of an ML fit, REML
criterion of a REML fit), is close to a standard normal pivot; an interval holds the values with |zeta| below its
quantile (Venzon and Moolgavkar 1988; Bates, Maechler, Bolker and Walker 2015, section 5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mixedmodels.errors import InferenceError
from mixedmodels.fit.long_work import carry_out
from mixedmodels.inference.measure import Parameters
from mixedmodels.inference.profiler import Path, Profiled, Profiler, hermite
from mixedmodels.inference.selection import select
from mixedmodels.inference.wald import check_level
from mixedmodels.interrupted import warns_if_interrupted
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

FLAT_ZETA = 1e-2
"""Zeta at the end of a profile that counts as no rise of the criterion."""


@dataclass(frozen=True)
class Profile:
    """Profiles of some parameters.

    Attributes
    ----------
    zeta
        One row a point: ``parameter, value, zeta, slope`` (of zeta in the value) and the variance parameters there.
    bounds
        Lowest and highest possible value of each parameter.
    estimates
        Of each parameter.
    undetermined
        Those that the data cannot tell from others: where their profile stays flat an interval ends at the bound.
    missing
        Those that were asked for and not profiled, if the work was interrupted.
    """

    zeta: pd.DataFrame
    bounds: Mapping[str, tuple[float, float]]
    estimates: Mapping[str, float]
    undetermined: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What whoever uses the profiles is to know."""
        if not self.missing:
            return []
        return [f"The profile was interrupted: there is none of {', '.join(self.missing)}."]

    def __repr__(self) -> str:
        n = len(self.estimates)
        heading = f"Profile of {n} parameter{'s' if n != 1 else ''}, with 95 % intervals"
        try:
            return f"{heading}\n{self._conf_int(0.95)!r}"
        except InferenceError as error:
            return " ".join([f"Profile of {', '.join(self.estimates)}.", *self.notes, str(error)])

    @refuses_unknown
    @warns_if_interrupted
    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return intervals ``lower, upper`` by parameter; a bound of the parameter where zeta never reaches the level.

        Parameters
        ----------
        level
            Coverage.

        Raises
        ------
        InferenceError
            If the level is not between 0 and 1, or beyond what was profiled.

        Warns
        -----
        PartialResultWarning
            If the profile was interrupted.
        """
        return self._conf_int(level)

    def _conf_int(self, level: float) -> pd.DataFrame:
        check_level(level)
        cut = float(ndtri(0.5 + level / 2))
        rows = {name: (self._limit(name, -cut, level), self._limit(name, cut, level)) for name in self.estimates}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"]).rename_axis("parameter")
        table.attrs["notes"] = self.notes
        return show_notes(table)

    def _limit(self, name: str, cut: float, level: float) -> float:
        points = self.zeta[self.zeta["parameter"] == name]
        value, zeta, slope = (points[c].to_numpy() for c in ("value", "zeta", "slope"))
        low, high = self.bounds[name]
        if cut < 0 and cut < zeta[0]:
            return low if self._stays_flat(name, zeta[0]) else self._beyond(name, low, value[0], level)
        if cut > 0 and cut > zeta[-1]:
            return high if self._stays_flat(name, zeta[-1]) else self._beyond(name, high, value[-1], level)
        # the outermost crossing: where zeta turns, the interval holds the whole region
        at = int(np.argmax(zeta >= cut)) if cut < 0 else len(zeta) - int(np.argmax(zeta[::-1] <= cut))
        at = min(max(at, 1), len(zeta) - 1)
        from scipy.optimize import brentq  # noqa: PLC0415  # takes longer to import than most fits take

        curve = hermite(value, zeta, slope)
        ends = curve(value[at - 1]) - cut, curve(value[at]) - cut
        if ends[0] * ends[1] >= 0:
            return float(value[at] if abs(ends[1]) < abs(ends[0]) else value[at - 1])
        width = float(value[at] - value[at - 1])
        share = brentq(lambda s: float(curve(value[at - 1] + s * width)) - cut, 0.0, 1.0, xtol=1e-14)
        return float(value[at - 1] + share * width)

    def _stays_flat(self, name: str, zeta: float) -> bool:
        return name in self.undetermined and abs(zeta) < FLAT_ZETA

    def _beyond(self, name: str, bound: float, reached: float, level: float) -> float:
        if np.isfinite(bound) and abs(reached - bound) <= 1e-5 * max(1.0, abs(bound)):
            return bound
        raise InferenceError(
            f"The profile of {name} ends before the level {level}; levels up to 0.999 are covered."
            if level > 0.999
            else f"The profile of {name} could not be followed to the level {level}; it ends at {reached:.6g}. "
            "Use method='bootstrap'."
        )


P = TypeVar("P", bound=Profile)


def profile(
    fit: Profiled,
    make: type[P],
    which: str | Iterable[str] | Mapping[str, Callable[[Parameters], float]] | None = None,
    *,
    progress: bool = False,
) -> P:
    """Return the profile likelihood of some parameters.

    Parameters
    ----------
    fit
        What is profiled: its own criterion, of a linear model ML or REML.
    make
        The class of what is returned.
    which
        Names of fixed effects and variance parameters (``sd_Days|Subject``, ``cor_Days.Intercept|Subject``,
        ``sigma``) or words for all of them, ``"beta"`` and ``"theta"``; a mapping from new names to functions of the
        variance parameters, which get a mapping from their names to values; or None for all. Correlations on their
        boundary are profiled where they are named, which is refused.
    progress
        Show a progress bar if it takes long.

    Raises
    ------
    InferenceError
        If a name is unknown, or the parameter's estimate is on the boundary of a correlation, where it has no profile.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the parameters that were profiled, None if there are none.
    """
    engine = Profiler(fit)
    profiled: dict[str, Callable[[], Path]]
    if isinstance(which, Mapping):
        profiled = {str(name): partial(engine.function, name, function) for name, function in which.items()}
    else:
        names = _names(engine, which)
        for name in names:
            engine.check_name(name)
        profiled = {name: partial(engine.path, name) for name in names}
    if not profiled:
        raise InferenceError("There is nothing to profile: which is empty.")
    paths: list[Path] = []

    def blocks() -> Iterator[int]:
        for one in profiled.values():
            paths.append(one())
            yield 1

    def made() -> P | None:
        if not paths:
            return None
        frame = pd.concat([path.frame for path in paths], ignore_index=True)
        undetermined = frozenset(p.name for p in fit.map.parameters if fit.is_undetermined(p))
        bounds, estimates = ({p.name: getattr(p, what) for p in paths} for what in ("bounds", "estimate"))
        return make(frame, bounds, estimates, undetermined, tuple(profiled)[len(paths) :])

    return carry_out(blocks(), len(profiled), "profile", unit="parameter", shown=progress, made=made)


def _names(engine: Profiler, which: str | Iterable[str] | None) -> list[str]:
    """Return the parameters to profile; of groups and of all, those that have a profile."""
    fixed = engine.fit.fixed_names
    every = list(engine.profilable())
    return every if which is None else select(which, fixed, [name for name in every if name not in fixed])
