"""Confidence intervals of all parameters by one of three methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixedmodels.errors import InferenceError, hand_over, nearest
from mixedmodels.inference.approximation import doubts
from mixedmodels.inference.bootstrap import Bootstrap, bootstrap, check_interval
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.profile import Profile, profile
from mixedmodels.inference.selection import select, unknown_parameter
from mixedmodels.inference.variance_parameters import list_parameters, undetermined_notes, variance_parameters
from mixedmodels.inference.wald import check_level, coef_table
from mixedmodels.vocabulary import OF_A_CALL

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState

METHODS = ("wald", "profile", "bootstrap")
BOOTSTRAP_OPTIONS = {"n", "seed", "kind", "path", "progress", "interval"}


def conf_int(
    state: FitState,
    wrap: Callable[[FitState], Any],
    method: str = "wald",
    level: float = 0.95,
    which: str | Iterable[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return intervals ``lower, upper`` of fixed effects, standard deviations, correlations and sigma.

    Parameters
    ----------
    state
        The fit.
    wrap
        Makes a result of a state, for the bootstrap.
    method
        ``"wald"``: fixed effects with Satterthwaite's degrees of freedom, variance parameters on the log scale and
        Fisher's z, nan where one is at the end of its range or not determined; ``"profile"``: likelihood, nan for a
        correlation at the end of its range; ``"bootstrap"``: studentized
        intervals of a parametric bootstrap.
    level
        Coverage.
    which
        Names of parameters, or a group of them, ``"beta"`` or ``"theta"``, as for ``select``; None for all.
    **options
        ``ddf`` for Wald; ``n``, ``seed``, ``kind``, ``path`` and ``progress`` for the bootstrap, and ``interval``, the
        kind of its intervals (``"studentized"``, ``"percentile"``, ``"basic"``, ``"bca"``).

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
    allowed_options = {"wald": {"ddf"}, "profile": set(), "bootstrap": BOOTSTRAP_OPTIONS}[method]
    for option in options:
        if option not in allowed_options:
            advice = f": {OF_A_CALL[option]}" if option in OF_A_CALL else ""
            raise InferenceError(f"{option}= does not go with method={method!r}{advice}.")
    known = [*state.fixed_names, *(p.name for p in list_parameters(state.design.factors))]
    names = known if which is None else select(which, state.fixed_names, known[state.n_fixed :])
    for name in names:
        if name not in known:
            raise unknown_parameter(name, known)
    if method == "profile":
        table = profile(state, Profile, which).conf_int(level)
        return table.reindex(pd.Index(names, name="parameter"))  # some correlations have none
    if method == "wald":
        method_of_tests = approximation(state, options.get("ddf", "satterthwaite"))
        table = _wald(state, level, method_of_tests)
        of_tests = doubts(method_of_tests) if set(names) & {*state.fixed_names} else ()
        table.attrs["notes"] = (*undetermined_notes(state), *of_tests)
    else:
        interval = options.pop("interval", "studentized")
        check_interval(interval)
        made: Bootstrap = bootstrap(state, wrap, **{"n": 1000, "progress": False, **options})
        try:
            table = made.conf_int(interval, level)
        except BaseException as error:  # BCa leaves out levels first, which takes long, and may find too few
            hand_over(error, made)
            raise
    return table if which is None else table.loc[names]


def _wald(state: FitState, level: float, ddf: Any) -> pd.DataFrame:
    parts = [coef_table(state, ddf, level), variance_parameters(state, "sd", level)]
    columns = {"ci_lower": "lower", "ci_upper": "upper"}
    tables = [part[list(columns)].rename(columns=columns) for part in parts]
    return pd.concat(tables).rename_axis("parameter")
