"""Confidence intervals of all parameters by one of three methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixedmodels.errors import InferenceError, hand_over, nearest
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.bootstrap import Bootstrap, check_interval
from mixedmodels.inference.profile import Profile, profile
from mixedmodels.inference.selection import select, unknown_parameter
from mixedmodels.inference.variance_parameters import undetermined_notes, variance_parameters
from mixedmodels.inference.wald import check_level, coef_table
from mixedmodels.vocabulary import OF_A_CALL

if TYPE_CHECKING:
    from mixedmodels.inference.approximation import Approximation
    from mixedmodels.inference.profiler import Profiled

METHODS = ("wald", "profile", "bootstrap")
BOOTSTRAP_OPTIONS = {"n", "seed", "kind", "path", "progress", "interval"}


@dataclass(frozen=True)
class Ways:
    """What intervals of a fit are made of.

    Attributes
    ----------
    profiled
        The fit as a profile sees it.
    tests
        How the fixed effects are distributed, given the options of Wald's method.
    options
        Their names.
    bootstrap
        Makes replicates.
    thresholds
        Wald's intervals of thresholds between ordered categories at a level; None where there are none.
    """

    profiled: Profiled
    tests: Callable[..., Approximation]
    options: frozenset[str]
    bootstrap: Callable[..., Bootstrap]
    thresholds: Callable[[float], pd.DataFrame] | None = None


def conf_int(
    ways: Ways,
    method: str = "wald",
    level: float = 0.95,
    which: str | Iterable[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return intervals ``lower, upper`` of fixed effects, standard deviations, correlations and sigma or dispersion.

    Parameters
    ----------
    ways
        What they are made of.
    method
        ``"wald"``: fixed effects by their tests, variance parameters on the log scale and
        Fisher's z, nan where one is at the end of its range or not determined; ``"profile"``: likelihood, nan for a
        correlation at the end of its range; ``"bootstrap"``: studentized
        intervals of a parametric bootstrap.
    level
        Coverage.
    which
        Names of parameters, or a group of them, ``"beta"`` or ``"theta"``, as for ``select``; None for all.
    **options
        Those of ``ways`` for Wald; ``n``, ``seed``, ``kind``, ``path`` and ``progress`` for the bootstrap, and
        ``interval``, the kind of its intervals (``"studentized"``, ``"percentile"``, ``"basic"``, ``"bca"``).

    Raises
    ------
    InferenceError
        If an argument is not allowed or a name is not known.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` is the profile or the bootstrap that there is, None if there is none.
    """
    check_level(level)
    if method not in METHODS:
        allowed = ", ".join(f'"{m}"' for m in METHODS)
        raise InferenceError(
            f"method={method!r} is not available; it must be one of {allowed}.{nearest(str(method), METHODS)}"
        )
    allowed_options = {"wald": ways.options, "profile": set(), "bootstrap": BOOTSTRAP_OPTIONS}[method]
    for option in options:
        if option not in allowed_options:
            advice = f": {OF_A_CALL[option]}" if option in OF_A_CALL else ""
            raise InferenceError(f"{option}= does not go with method={method!r}{advice}.")
    fit = ways.profiled
    known = [*fit.fixed_names, *(p.name for p in fit.map.parameters)]
    names = known if which is None else select(which, fit.fixed_names, known[len(fit.fixed_names) :])
    for name in names:
        if name not in known:
            raise unknown_parameter(name, known)
    if method == "profile":
        table = profile(fit, Profile, which).conf_int(level)
        return table.reindex(pd.Index(names, name="parameter"))  # some correlations have none
    if method == "wald":
        tests = ways.tests(**options)
        table = _wald(ways, level, tests)
        of_tests = doubts(tests) if set(names) & {*fit.fixed_names} else ()
        table.attrs["notes"] = (*undetermined_notes(fit), *of_tests)
    else:
        interval = options.pop("interval", "studentized")
        check_interval(interval)
        made = ways.bootstrap(**{"n": 1000, "progress": False, **options})
        try:
            table = made.conf_int(interval, level)
        except BaseException as error:  # BCa leaves out levels first, which takes long, and may find too few
            hand_over(error, made)
            raise
    return table if which is None else table.loc[names]


def _wald(ways: Ways, level: float, tests: Approximation) -> pd.DataFrame:
    parts = [] if ways.thresholds is None else [ways.thresholds(level)]
    parts += [coef_table(tests.state, tests, level), variance_parameters(ways.profiled, "sd", level)]
    columns = {"ci_lower": "lower", "ci_upper": "upper"}
    tables = [part[list(columns)].rename(columns=columns) for part in parts]
    return pd.concat(tables).rename_axis("parameter")
