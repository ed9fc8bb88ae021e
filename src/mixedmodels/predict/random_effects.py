"""Conditional modes of the random effects and their covariances."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
import pandas as pd
from scipy.special import ndtri

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.errors import InferenceError, unknown_group
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import MixedFit


T = TypeVar("T")


class ByGroup(dict[str, T]):
    """A dict by grouping factor that names those there are when asked for another."""

    def __missing__(self, group: object) -> NoReturn:
        raise unknown_group(group, self)


def random_effects(state: MixedFit) -> dict[str, pd.DataFrame]:
    """Return E(b | y) (Henderson 1975) of each grouping factor, level x effect, in units of the response per column."""
    return ByGroup(
        (factor.name, pd.DataFrame(b, index=factor.levels.rename(factor.name), columns=list(factor.columns), copy=True))
        for factor, b in zip(state.design.factors, state.b, strict=True)
    )


def random_effects_cov(state: MixedFit) -> dict[str, Floats]:
    """Return Var(b | y) of each grouping factor at the estimated parameters, shape (n_levels, n_effects, n_effects).

    Given the data, theta, sigma and beta: the diagonal blocks of sigma^2 Lambda M^-1 Lambda' (Bates, Maechler, Bolker
    and Walker 2015). The uncertainty of beta is not part of it, as in lme4.
    """
    blocks = state.conditional_covariance()
    return ByGroup((factor.name, block) for factor, block in zip(state.design.factors, blocks, strict=True))


def random_effects_frame(state: MixedFit, level: float = 0.95) -> pd.DataFrame:
    """Return the conditional modes in one long frame, a row for each effect of each level.

    Parameters
    ----------
    state
        The fit.
    level
        Coverage of the intervals, which are normal ones.

    Returns
    -------
    pandas.DataFrame
        ``group, level, effect, estimate, std_error, lower, upper``, in units of the response per column. The standard
        error is the root of the diagonal of ``random_effects_cov``, lme4's ``condsd``.

    Raises
    ------
    InferenceError
        If ``level`` is not a coverage, or there are no random effects.
    """
    check_level(level)
    _check_random(state)
    quantile = float(ndtri(0.5 + level / 2))
    tables = []
    for factor, b, cov in zip(state.design.factors, state.b, random_effects_cov(state).values(), strict=True):
        estimate, se = b.ravel(), np.sqrt(np.diagonal(cov, axis1=1, axis2=2)).ravel()
        columns = {
            "group": factor.name,
            "level": factor.levels.repeat(factor.n_effects),
            "effect": np.tile(np.array(factor.columns, dtype=object), factor.n_levels),
            "estimate": estimate,
            "std_error": se,
            "lower": estimate - quantile * se,
            "upper": estimate + quantile * se,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def absorbed_effects(state: MixedFit) -> dict[str, pd.Series[float]]:
    """Return the fixed effects of absorbed levels, factor -> Series by level, zero for reference levels.

    Raises
    ------
    InferenceError
        If nothing is absorbed.
    """
    absorbed = state.design.absorbed
    if absorbed is None:
        raise InferenceError(
            "No fixed effects are absorbed in this fit; fe(firm) in the formula absorbs those of firm."
        )
    pairs = zip(absorbed.factors, state.absorbed_effects, strict=True)
    return {f.name: pd.Series(effects, index=f.levels, name=f"fe({f.name})", copy=True) for f, effects in pairs}


def coef_by_level(state: MixedFit, group: str | None = None) -> pd.DataFrame:
    """Return the coefficients of each level of a grouping factor: fixed effects plus the level's conditional modes.

    As lme4's ``coef``: every fixed effect is a column, the same for all levels where no random effect has its name; a
    random effect without a fixed one is a column of its own, after them, the modes alone.

    Parameters
    ----------
    state
        The fit.
    group
        The factor; None if there is one only.

    Raises
    ------
    InferenceError
        If there is no such factor, or None and several or none at all.
    """
    refuse_absorbed(state.design.absorbed, "coef_by_level()")
    _check_random(state)
    modes = random_effects(state)
    if group is None and len(modes) > 1:
        raise InferenceError(f"There are several grouping factors: {', '.join(modes)}. Name one of them.")
    if group is not None and group not in modes:
        raise unknown_group(group, modes)
    own = modes[next(iter(modes)) if group is None else group]
    fixed = dict(zip(state.fixed_names, state.beta.tolist(), strict=True))
    own = own.rename(columns=fixed_counterparts(state, own.columns))
    return pd.DataFrame(
        {name: fixed.get(name, 0.0) + own.get(name, 0.0) for name in dict.fromkeys([*fixed, *own])}, index=own.index
    )


def _check_random(state: MixedFit) -> None:
    if not state.design.factors:
        raise InferenceError(
            f"{state.design.formula.text!r} has no random effects, (... | g), whose levels could differ."
        )


def fixed_counterparts(state: MixedFit, columns: Iterable[str]) -> dict[str, str]:
    """Return the fixed effects that random effects vary around; of an interaction the order does not matter.

    Parameters
    ----------
    state
        The fit.
    columns
        Names of random effects, those without a fixed one among them.
    """
    fixed = {tuple(sorted(name.split(":"))): name for name in state.fixed_names}
    parts = {name: tuple(sorted(name.split(":"))) for name in columns}
    return {name: fixed[key] for name, key in parts.items() if key in fixed}
