"""What a fit is asked for: the arguments of ``MixedLM.fit``, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from mixedmodels.errors import DataError, nearest
from mixedmodels.fit.held import Holds
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.holds import read_holds
from mixedmodels.mixedlm.fitting.optimizers import METHODS, MIN_METHODS, taken_by
from mixedmodels.mixedlm.fitting.record import OURS
from mixedmodels.mixedlm.reading.arguments import (
    check_choice,
    check_penalty,
    check_tolerance,
    read_count,
    read_flag,
    read_numbers,
)
from mixedmodels.mixedlm.reading.params import MixedLMParams, as_params

OPTIONS = ("gtol", "maxiter", "eps", "maxcor", "ftol", "tol", "disp", "maxls", "min_method")
OF_NEWTON = ("maxiter", "gtol", "ftol", "tol")
"""What our Newton takes; it goes on until a step gains nothing that can be seen, which meets all tolerances."""


@dataclass(frozen=True)
class FitRequest:
    """The arguments of a fit.

    Attributes
    ----------
    start
        First parameters; the default ones where none were given.
    has_start
        Whether they were given.
    reml, niter_sa, niter_em, do_cg, fe_pen, cov_pen, free, full_output
        As for ``MixedLM.fit``.
    methods
        Optimisers to try, in order.
    holds
        What is held.
    options
        Of the optimisers.
    """

    start: MixedLMParams
    has_start: bool
    reml: bool
    niter_sa: int
    niter_em: int
    do_cg: bool
    fe_pen: Any
    cov_pen: Any
    free: MixedLMParams | None
    full_output: bool
    methods: tuple[str, ...]
    holds: Holds
    options: Mapping[str, Any]


def read_request(
    model: ModelDescription,
    start_params: Any = None,
    reml: bool = True,
    niter_sa: int = 0,
    do_cg: bool = True,
    fe_pen: Any = None,
    cov_pen: Any = None,
    free: MixedLMParams | None = None,
    full_output: bool = False,
    method: str | Sequence[str] | None = None,
    *,
    niter_em: int = 0,
    fixed: Mapping[str | int, float] | None = None,
    **options: Any,
) -> FitRequest:
    """Return the request; the arguments are those of ``MixedLM.fit``, unknown options being left out.

    Raises
    ------
    DataError
        If an argument is not what it should be.
    """
    methods = read_methods(method)
    niter_em, niter_sa = read_count("niter_em", niter_em, 0), read_count("niter_sa", niter_sa, 0)
    for name, penalty in (("fe_pen", fe_pen), ("cov_pen", cov_pen)):
        check_penalty(name, penalty)
    start = read_start(model, start_params)
    return FitRequest(
        start=start,
        has_start=start_params is not None,
        reml=read_flag("reml", reml),
        niter_sa=niter_sa,
        niter_em=niter_em,
        do_cg=read_flag("do_cg", do_cg),
        fe_pen=fe_pen,
        cov_pen=cov_pen,
        free=free,
        full_output=read_flag("full_output", full_output),
        methods=methods,
        holds=read_holds(model, free, start, fixed),
        options=read_options(options),
    )


ARGUMENTS = frozenset(signature(read_request).parameters)


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of optimisers, read; others are left out.

    Raises
    ------
    DataError
        If one is not what it should be.
    """
    found = {name: value for name, value in options.items() if name in OPTIONS and value is not None}
    for name, value in found.items():
        if name in ("maxiter", "maxcor", "maxls"):
            found[name] = read_count(name, value, 1)
        elif name in ("gtol", "ftol", "tol", "eps"):
            check_tolerance(name, value)
        elif name == "disp":
            found[name] = read_flag(name, value)
    if "min_method" in found:
        check_choice("min_method", found["min_method"], MIN_METHODS)
    return found


def unused_options(options: Mapping[str, Any], method: Any = None, is_penalized: bool = False) -> str | None:
    """Return the sentence that names options which nothing that runs takes, or None if there are none.

    Parameters
    ----------
    options, method
        As for ``MixedLM.fit``.
    is_penalized
        There is a penalty, so that BFGS runs where no method is named.
    """
    methods = read_methods(method)
    taken = {"disp"}
    for name in methods:
        taken |= set(taken_by("bfgs" if is_penalized else name, options) if name != OURS or is_penalized else OF_NEWTON)
    unused = sorted(set(options) - taken - ARGUMENTS)
    if not unused:
        return None
    return (
        f"Argument{'s' if len(unused) > 1 else ''} {', '.join(unused)} not used by MixedLM.fit with "
        f"method={', '.join(methods)!r}. It takes {', '.join(name for name in OPTIONS if name in taken)}."
    )


def read_methods(method: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the optimisers to try, in order.

    Raises
    ------
    DataError
        If one is unknown.
    """
    chosen = (OURS,) if method is None else tuple(method) if isinstance(method, list | tuple) else (method,)
    known = (OURS, *METHODS)
    if not chosen:
        raise DataError(f"method is empty; leave it out, or name some of {', '.join(known)}.")
    for name in chosen:
        if str(name).lower() not in known:
            raise DataError(f"method {name!r} is not available for MixedLM; there are {', '.join(known)}."
                            f"{nearest(name, known)}")  # fmt: skip
    return tuple(name.lower() for name in chosen)


def read_start(model: ModelDescription, start_params: Any) -> MixedLMParams:
    """Return the starting values: ratios to the residual variance; by default the identity.

    Raises
    ------
    DataError
        If a packed vector has another length, or holds anything but finite numbers.
    """
    if start_params is None:
        return MixedLMParams.from_components(np.zeros(model.k_fe), np.eye(model.k_re), vcomp=np.ones(model.k_vc))
    given = as_params("start_params", start_params, model.k_fe, model.k_re, model.k_vc)
    if given is not None:
        return given.copy()
    packed = read_numbers("start_params", start_params).ravel()
    n_cov = model.k_re2 + model.k_vc
    if len(packed) not in (n_cov, n_cov + model.k_fe):
        raise DataError(
            f"invalid start_params: {len(packed)} values; this model takes {n_cov} covariance parameters, "
            f"or {n_cov + model.k_fe} with the fixed effects before them."
        )
    if not np.isfinite(packed).all():
        raise DataError(f"start_params must be finite numbers; element {np.isfinite(packed).argmin()} is not.")
    return MixedLMParams.from_packed(packed, model.k_fe, model.k_re, model.use_sqrt, has_fe=len(packed) > n_cov)
