"""The profile log-likelihood of one variance, covariance or variance component, in natural units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import check_level
from mixedmodels.mixedlm.fitting.fit import OPTIONS

if TYPE_CHECKING:
    from mixedmodels.mixedlm.results import MixedLMResults


def parameter_index(result: MixedLMResults, re_ix: Any, vtype: str) -> int:
    """Return the position among the packed covariances that a caller names.

    Parameters
    ----------
    result
        The fit.
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
    model = result.model
    if vtype not in ("re", "vc"):
        raise InferenceError(f"vtype={vtype!r} must be 're' for random coefficients or 'vc' for a variance component.")
    if vtype == "vc":
        names = list(model.exog_vc.names)
        if re_ix not in names:
            raise InferenceError(
                f"There is no variance component {re_ix!r}.{nearest(str(re_ix), names)} There are: {', '.join(names)}."
            )
        return model.k_re2 + names.index(re_ix)
    pair = re_ix if isinstance(re_ix, tuple) else (re_ix, re_ix)
    i, j = sorted((_effect(result, one) for one in pair), reverse=True)
    return i * (i + 1) // 2 + j


def _effect(result: MixedLMResults, one: Any) -> int:
    names = result.model.data.exog_re_names
    if isinstance(one, str):
        if one not in names:
            raise InferenceError(
                f"There is no random coefficient {one!r}.{nearest(one, names)} There are: {', '.join(names)}."
            )
        return names.index(one)
    if not 0 <= int(one) < len(names):
        raise InferenceError(f"There is no random coefficient {one}; there are {len(names)}, counted from 0.")
    return int(one)


class Profile:
    """The log-likelihood with one covariance parameter held, all others at their best.

    Parameters
    ----------
    result
        The fit.
    index
        The parameter's position among the packed covariances.
    fit_kwargs
        Passed to the fits.
    """

    def __init__(self, result: MixedLMResults, index: int, fit_kwargs: dict[str, Any]) -> None:
        model = result.model
        self.name = model.data.param_names[model.k_fe + index]
        if any(hold.index == index for hold in result.record.holds.covariances):
            raise InferenceError(f"{self.name!r} is held, so it has no profile. Fit without holding it.")
        if result.cov_pen is not None:
            raise InferenceError("A fit with cov_pen holds no covariances, so they have no profile.")
        if result.record.regularized is not None:
            raise InferenceError(
                "fit_regularized keeps the covariances of the unpenalised fit, so they have no profile. Profile that "
                "fit, or penalise with fe_pen, which fits both."
            )
        _check_options(fit_kwargs)
        self.result, self.index, self.fit_kwargs = result, index, fit_kwargs
        self.estimate = float(result._natural[index])
        row, column = np.tril_indices(model.k_re)
        self.is_variance = index >= model.k_re2 or bool(row[index] == column[index])

    def llf(self, value: float) -> float:
        """Return the profile log-likelihood at a value of the parameter, less a penalty on the fixed effects."""
        result = self.result
        if value == self.estimate:
            return _less_penalty(result)
        return _less_penalty(result._again(result.model, {result.model.k_fe + self.index: value}, **self.fit_kwargs))

    def interval(self, level: float) -> tuple[float, float]:
        """Return where twice the log-likelihood falls by the quantile of chi-squared with one degree of freedom.

        A variance's lower limit is zero where the log-likelihood at zero has not fallen so far.
        """
        check_level(level)
        drop = 0.5 * float(special.chdtri(1, 1 - level))
        return self._limit(-1, drop), self._limit(1, drop)

    def _limit(self, sign: int, drop: float) -> float:
        def above(value: float) -> float:
            return self.llf(value) - _less_penalty(self.result) + drop

        step = sign * max(float(np.nan_to_num(self.result._natural_se[self.index])), 1e-3 * abs(self.estimate))
        if step == 0:
            step = 1e-3 * sign * self.result.scale
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


def _check_options(fit_kwargs: Mapping[str, Any]) -> None:
    known = ("method", "full_output", "niter_em", "niter_sa", "do_cg", *OPTIONS)
    for name in fit_kwargs:
        if name not in known:
            raise InferenceError(
                f"profile_re does not take {name!r}; the fits of a profile take {', '.join(known)}."
                f"{nearest(name, known)}"
            )


def _less_penalty(result: MixedLMResults) -> float:
    """Return the log-likelihood of a fit less the penalty on its fixed effects."""
    penalty = 0.0 if result.fe_pen is None else float(result.fe_pen.func(result.record.params.fe_params))
    return result.llf - penalty


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
        return float(given)
    se = float(np.nan_to_num(profile.result._natural_se[profile.index]))
    reach = 2 * se if se > 0 else profile.result.scale
    return min(reach, 0.9 * profile.estimate) if sign < 0 and profile.is_variance else reach


def profile_interval(result: MixedLMResults, index: int, level: float) -> pd.Series[float]:
    """Return the profile interval of a covariance parameter: ``lower, upper``."""
    profile = Profile(result, index, {})
    lower, upper = profile.interval(level)
    return pd.Series({"lower": lower, "upper": upper}, name=profile.name)
