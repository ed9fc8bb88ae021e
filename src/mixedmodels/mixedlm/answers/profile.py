"""The profile log-likelihood of one variance, covariance or variance component, in natural units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import check_level
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.record import FitRecord
from mixedmodels.mixedlm.fitting.request import OPTIONS
from mixedmodels.mixedlm.reading.arguments import read_count, read_number, shown


def parameter_index(model: ModelDescription, re_ix: Any, vtype: str) -> int:
    """Return the position among the packed covariances that a caller names.

    Parameters
    ----------
    model
        The model.
    re_ix
        For ``"re"`` the random coefficient, or a pair of them for their covariance, by position or name; for ``"vc"``
        the component, by name.
    vtype
        ``"re"`` or ``"vc"``.

    Raises
    ------
    InferenceError
        If there is no such parameter.
    """
    if not isinstance(vtype, str) or vtype not in ("re", "vc"):
        raise InferenceError(
            f"vtype={shown(vtype)} must be 're' for random coefficients or 'vc' for a variance component."
        )
    if vtype == "vc":
        names = list(model.data.vcomp_names)
        if not isinstance(re_ix, str) or re_ix not in names:
            raise InferenceError(
                f"There is no variance component {shown(re_ix)}.{nearest(re_ix, names)} There are: {', '.join(names)}."
            )
        return model.k_re2 + names.index(re_ix)
    pair = re_ix if isinstance(re_ix, tuple) and len(re_ix) == 2 else (re_ix, re_ix)
    i, j = sorted((_effect(model.data.exog_re_names, one) for one in pair), reverse=True)
    return i * (i + 1) // 2 + j


def _effect(names: list[str], one: Any) -> int:
    if isinstance(one, str):
        if one not in names:
            raise InferenceError(
                f"There is no random coefficient {one!r}.{nearest(one, names)} There are: {', '.join(names)}."
            )
        return names.index(one)
    if not isinstance(one, Integral) or isinstance(one, bool) or not 0 <= int(one) < len(names):
        raise InferenceError(f"There is no random coefficient {shown(one)}; there are {len(names)}, counted from 0.")
    return int(one)


def check_profiled(record: FitRecord, index: int, name: str, fit_kwargs: Mapping[str, Any]) -> None:
    """A covariance must have a profile, and the options of its fits must be known.

    Raises
    ------
    InferenceError
        If it is held, if the covariances were not fitted by likelihood, or an option is unknown.
    """
    if any(hold.index == index for hold in record.holds.covariances):
        raise InferenceError(f"{name!r} is held, so it has no profile. Fit without holding it.")
    if record.cov_pen is not None:
        raise InferenceError("A fit with cov_pen holds no covariances, so they have no profile.")
    if record.regularized is not None:
        raise InferenceError(
            "fit_regularized keeps the covariances of the unpenalised fit, so they have no profile. Profile that "
            "fit, or penalise with fe_pen, which fits both."
        )
    known = ("method", "full_output", "niter_em", "niter_sa", "do_cg", *OPTIONS)
    for option in fit_kwargs:
        if option not in known:
            raise InferenceError(
                f"profile_re does not take {option!r}; the fits of a profile take {', '.join(known)}."
                f"{nearest(option, known)}"
            )


def less_penalty(record: FitRecord) -> float:
    """Return the log-likelihood of a fit less the penalty on its fixed effects."""
    penalty = 0.0 if record.fe_pen is None else float(record.fe_pen.func(record.params.fe_params))
    return record.llf - penalty


@dataclass(frozen=True)
class Profile:
    """The log-likelihood with one covariance parameter held, all others at their best.

    Attributes
    ----------
    name
        Of the parameter.
    estimate, se
        In natural units.
    is_variance
        Whether it cannot be negative.
    scale
        Residual variance.
    best
        The log-likelihood at the estimate, less a penalty on the fixed effects.
    llf_held
        That with the parameter held at a value.
    """

    name: str
    estimate: float
    se: float
    is_variance: bool
    scale: float
    best: float
    llf_held: Callable[[float], float]

    def llf(self, value: float) -> float:
        """Return the profile log-likelihood at a value of the parameter, less a penalty on the fixed effects."""
        return self.best if value == self.estimate else self.llf_held(value)

    def interval(self, level: float) -> pd.Series[float]:
        """Return ``lower, upper``: where twice the log-likelihood falls by the quantile of chi-squared with one df.

        A variance's lower limit is zero where the log-likelihood at zero has not fallen so far.
        """
        check_level(level)
        drop = 0.5 * float(special.chdtri(1, 1 - level))
        return pd.Series({"lower": self._limit(-1, drop), "upper": self._limit(1, drop)}, name=self.name)

    def _limit(self, sign: int, drop: float) -> float:
        def above(value: float) -> float:
            return self.llf(value) - self.best + drop

        step = sign * max(self.se, 1e-3 * abs(self.estimate))
        if step == 0:
            step = 1e-3 * sign * self.scale
        inner = outer = self.estimate
        for _ in range(40):
            outer = inner + step
            if self.is_variance and outer <= 0:
                if above(0.0) >= 0:
                    return 0.0
                outer = 0.0
                break
            if above(outer) < 0:
                break
            inner, step = outer, 2 * step
        else:
            return sign * np.inf
        return float(optimize.brentq(above, inner, outer, xtol=1e-8 * abs(outer - inner), rtol=1e-10))


def profile_table(
    profile: Profile, num_low: int, dist_low: float | None, num_high: int, dist_high: float | None
) -> Floats:
    """Return values of the parameter and their profile log-likelihoods, (num_low + num_high + 1, 2).

    Raises
    ------
    InferenceError
        If the values would reach below zero for a variance.
    """
    low, high = (_distance(profile, given, sign) for given, sign in ((dist_low, -1), (dist_high, 1)))
    num_low, num_high = read_count("num_low", num_low, 0), read_count("num_high", num_high, 0)
    if profile.is_variance and profile.estimate < low and num_low:
        raise InferenceError(
            f"dist_low is too large: {profile.name!r} is estimated as {profile.estimate:.6g}, and less {low:.6g} it "
            "would be negative. Pass a smaller dist_low, or None to let the profile choose."
        )
    left = np.linspace(profile.estimate - low, profile.estimate, num_low + 1)
    right = np.linspace(profile.estimate, profile.estimate + high, num_high + 1)[1:]
    values = np.concatenate([left, right])
    return np.array([[value, profile.llf(float(value))] for value in values])


def _distance(profile: Profile, given: float | None, sign: int) -> float:
    if given is not None:
        distance = read_number("dist_low" if sign < 0 else "dist_high", given)
        if distance < 0:
            raise InferenceError(f"dist_{'low' if sign < 0 else 'high'} is {given!r}; it must not be negative.")
        return distance
    reach = 2 * profile.se if profile.se > 0 else profile.scale
    return min(reach, 0.9 * profile.estimate) if sign < 0 and profile.is_variance else reach
