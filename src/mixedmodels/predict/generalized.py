"""Predictions and simulations of generalised linear mixed models.

An average over new levels integrates over z'b ~ N(0, s^2), one normal number a row: in closed form for the log and the
probit link, by 40 nodes of Gauss and Hermite for others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.inference.bootstrap import check_seed
from mixedmodels.inference.covariances import factor_roots
from mixedmodels.inference.wald import check_level
from mixedmodels.predict.categories import as_categories, predict_categories
from mixedmodels.predict.choice import chosen_columns
from mixedmodels.predict.predict import predicted_mean
from mixedmodels.predict.rows import NEW_LEVELS, Rows, fitted_rows, level_table, new_rows, with_columns

if TYPE_CHECKING:
    from mixedmodels.design.records import Codes, Floats
    from mixedmodels.families.family import Family
    from mixedmodels.fit.generalized import GlmmState

SCALES = ("response", "link")
AVERAGED = "averaged"
N_NODES = 40
LEVEL = 0.95
CHOICES = ("new", "conditional")


def predict_generalized(
    state: GlmmState,
    data: object = None,
    *,
    scale: str = "response",
    random_effects: str | Iterable[str] = "conditional",
    new_levels: str = "raise",
    interval: str | None = None,
    level: float = LEVEL,
) -> pd.Series[float] | pd.DataFrame:
    """Return predictions for the rows of the fit or for new data.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.
    scale
        ``"response"``: the mean, a chance of success for the binomial, the chance of each category for the ordinal;
        ``"link"``: the linear predictor.
    random_effects
        ``"conditional"``, ``"population"`` (all effects zero), ``"averaged"`` (the mean over new levels of all
        factors), or names of grouping factors and texts of terms.
    new_levels
        As for linear models, or ``"averaged"``: the mean over the effects of a new level.
    interval
        ``"confidence"``; None for none. Formed on the link scale.
    level
        Coverage.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        With an interval ``mean, se, lower, upper``; se by the delta method on the response scale.

    Raises
    ------
    DataError, InferenceError
        As for linear models.
    """
    check_level(level)
    if scale not in SCALES:
        raise InferenceError(f"scale={scale!r} is not available; it must be 'response' or 'link'.")
    averaged = isinstance(random_effects, str) and random_effects == AVERAGED
    if averaged and scale == "link":
        raise InferenceError("An average over random effects is one of means; on the link scale it is 'population'.")
    if interval is not None:
        _check_interval(interval)
    new_averaged = _are_averaged(new_levels, scale, interval)
    chosen = chosen_columns(state.design, "population" if averaged else random_effects)
    used = tuple(bool(columns.any()) for columns in chosen)
    of_rows = "population" if new_averaged else new_levels
    rows = fitted_rows(state) if data is None else new_rows(state, data, used, of_rows, spread=averaged)
    variance = effect_variance(state, rows) if averaged else None
    if new_averaged and not averaged:
        variance = effect_variance(state, with_columns(rows, chosen), of_new_levels=True)
    eta = predicted_mean(state, with_columns(rows, chosen), used)
    family = state.family if scale == "link" else rows_family(state, data)
    if isinstance(family, Ordinal):
        of_chances = None
        if interval is not None and scale == "response" and (averaged or any(used)):
            shown = rows if averaged else with_columns(rows, chosen)
            of_chances = partial(category_errors, state, shown, eta, used, variance)
        coverage = None if interval is None else level
        if coverage is not None and scale == "link" and any(used):
            raise InferenceError(
                "Intervals of ordered categories with the effects of levels are those of their chances, "
                "scale='response'; on the link scale they are there for random_effects='population'."
            )
        return predict_categories(state, rows, eta, variance, scale=scale, level=coverage, errors=of_chances)
    mean = eta if scale == "link" else family.mean(eta) if variance is None else mean_over(family, eta, variance)
    mean = np.where(rows.missing, np.nan, mean)
    if interval is None:
        return pd.Series(mean, index=rows.index, name="predicted")
    if scale == "response" and state.problem.zeros is not None:
        shown = rows if averaged else with_columns(rows, chosen)
        se = mean_errors(state, shown, _zero_columns(state, data), eta, used, averaged=averaged)
        span = np.exp(special.ndtri(0.5 + level / 2) * se / mean)
        return pd.DataFrame({"mean": mean, "se": se, "lower": mean / span, "upper": mean * span}, index=rows.index)
    # averages have their intervals on the link scale too, where they are about symmetric
    eta = family.predictor(mean) if averaged else eta
    se = (
        averaged_error(state, rows, eta, family)
        if averaged
        else predictor_error(state, with_columns(rows, chosen), used)
    )
    se = np.where(rows.missing, np.nan, se)
    half = special.ndtri(0.5 + level / 2) * se
    if scale == "link":
        columns = {"mean": mean, "se": se, "lower": mean - half, "upper": mean + half}
    else:
        bounds = family.mean(eta - half), family.mean(eta + half)
        columns = {"mean": mean, "se": family.slope(eta) * se, "lower": bounds[0], "upper": bounds[1]}
    return pd.DataFrame(columns, index=rows.index)


def _are_averaged(new_levels: object, scale: str, interval: str | None) -> bool:
    """Return whether the effects of new levels are averaged over, checked."""
    allowed = (*NEW_LEVELS, AVERAGED)
    if not isinstance(new_levels, str) or new_levels not in allowed:
        known = ", ".join(map(repr, allowed))
        raise InferenceError(
            f"new_levels={new_levels!r} is not available; it must be one of {known}.{nearest(str(new_levels), allowed)}"
        )
    if new_levels == AVERAGED and (scale == "link" or interval is not None):
        raise InferenceError(
            "new_levels='averaged' is of means without intervals; with an interval, or on the link scale, it is "
            "'raise' or 'population'."
        )
    return new_levels == AVERAGED


def rows_family(state: GlmmState, data: object) -> Family:
    """Return the family as estimated, with the chances of zeros of the rows where these have their own.

    Parameters
    ----------
    state
        The fit.
    data
        New data; None for the rows of the fit.

    Raises
    ------
    DataError
        If new data lack a column.
    """
    if data is None or state.problem.zeros is None:
        return state.fitted_family
    return state.family_at(_zero_columns(state, data))


def _zero_columns(state: GlmmState, data: object) -> Floats:
    """Return the covariates of the chance of a zero at rows, (n_rows, n_columns)."""
    zeros = state.problem.zeros
    assert zeros is not None
    return zeros.X if data is None else zeros.recipe.fixed_matrix(data)


def _check_interval(interval: object) -> None:
    if interval != "confidence":
        raise InferenceError(
            f"interval={interval!r} is not available for generalised models; it must be 'confidence' or None."
            f"{nearest(str(interval), ('confidence',))}"
        )


def predictor_error(state: GlmmState, rows: Rows, used: tuple[bool, ...]) -> Floats:
    """Return the standard error of x'beta + z'b, (n_rows,), of b as the modes are predicted.

    Var(b | y) at the estimates, and what their error adds: J Var(psi) J' with J = d(x'beta + z'b^) / dpsi, b^ moving
    with psi (Kackar and Harville 1984; Kristensen et al. 2016, equation 10). Levels that the fit did not have count as
    their mean, without effect.

    Parameters
    ----------
    state
        The fit.
    rows
        With the columns of the effects that are chosen.
    used
        Which grouping factors have any.

    Raises
    ------
    InferenceError
        If several grouping factors are used, whose levels' errors are correlated.
    """
    jacobian, variance = _shifts(state, rows, used)
    return np.asarray(np.sqrt(variance + _error(jacobian, state) ** 2))


def predictor_slopes(state: GlmmState, rows: Rows, used: tuple[bool, ...]) -> tuple[Floats, Floats]:
    """Return J, (n_rows, n_psi), and z'Var(b | y)z, (n_rows,), of ``predictor_error`` with the effects of one factor.

    Raises
    ------
    InferenceError
        If several grouping factors are used.
    """
    if sum(used) > 1:
        raise InferenceError(
            "Intervals of predictions with the effects of several grouping factors are not available: errors of their "
            "levels are correlated. Name one of them in random_effects, or take 'population' or 'averaged'."
        )
    jacobian = np.zeros((rows.n_rows, len(state.psi)))
    jacobian[:, state.beta_in_psi] = state.fixed_root.coordinates(rows.X)
    which = used.index(True)
    Z, codes = rows.columns(which), rows.codes[which]
    known = codes >= 0
    variance = np.zeros(rows.n_rows)
    variance[known] = np.einsum("ij,ijk,ik->i", Z[known], state.cov_b[which][codes[known]], Z[known])
    for j, (up, down, step) in enumerate(_moved(state)):
        change = (state.problem.model.estimates(up)[3][which] - state.problem.model.estimates(down)[3][which]) / step
        jacobian[known, j] += np.einsum("ij,ij->i", Z[known], change[codes[known]])
    return jacobian, variance


def category_errors(
    state: GlmmState, rows: Rows, eta: Floats, used: tuple[bool, ...], variance: Floats | None
) -> Floats:
    """Return standard errors of the chances of ordered categories, (n_rows, n_categories).

    By the delta method in all parameters, variances that are averaged over and the predicted effects of levels among
    them; with Var(b | y) of these beside it, as ``predictor_error`` has them.

    Parameters
    ----------
    state
        The fit.
    rows
        With the columns of the effects that are chosen, or averaged over.
    eta
        The engine's linear predictor with what is chosen, (n_rows,).
    used
        Which grouping factors have effects that are chosen.
    variance
        Of the effects that are averaged over, (n_rows,); None for no average.
    """
    family = state.family
    assert isinstance(family, Ordinal)
    own = state.beta_in_psi
    shift, around = _shifts(state, rows, used)

    def chances(eta: Floats, phi: Floats, variance: Floats | None) -> Floats:
        return family.chances(eta, phi) if variance is None else family.averaged_chances(eta, phi, variance)

    slopes = []
    for j, (up, down, step) in enumerate(_moved(state)):
        ends = []
        for psi, sign in ((up, 0.5), (down, -0.5)):
            spread = None if variance is None else effect_variance(_at(state, psi), rows)
            ends.append(chances(eta + sign * step * shift[:, j], psi[own.stop :], spread))
        slopes.append((ends[0] - ends[1]) / step)
    jacobian = np.stack(slopes, axis=-1)
    total = np.einsum("rcj,jk,rck->rc", jacobian, state.cov_psi, jacobian)
    by_eta = (chances(eta + STEP, state.phi, variance) - chances(eta - STEP, state.phi, variance)) / (2 * STEP)
    return np.asarray(np.sqrt(np.maximum(total + by_eta**2 * around[:, None], 0.0)))


def mean_errors(
    state: GlmmState, rows: Rows, zeros: Floats, eta: Floats, used: tuple[bool, ...], *, averaged: bool
) -> Floats:
    """Return standard errors of means of counts whose zeros have a chance of their own, (n_rows,).

    By the delta method in all parameters, effects on the chance among them; else as ``category_errors``.

    Parameters
    ----------
    state
        The fit.
    rows
        With the columns of the effects that are chosen, or averaged over.
    zeros
        Covariates of the chance, (n_rows, n_columns).
    eta
        The linear predictor with what is chosen, (n_rows,).
    used
        Which grouping factors have effects that are chosen.
    averaged
        Whether means are averaged over new levels.
    """
    shift, around = _shifts(state, rows, used)

    def mean(at: GlmmState, eta: Floats) -> Floats:
        family = at.family_at(zeros)
        return averaged_mean(at, rows, eta, family) if averaged else family.mean(eta)

    jacobian = np.empty((rows.n_rows, len(state.psi)))
    for j, (up, down, step) in enumerate(_moved(state)):
        half = 0.5 * step * shift[:, j]
        jacobian[:, j] = (mean(_at(state, up), eta + half) - mean(_at(state, down), eta - half)) / step
    by_eta = 0.0 if averaged else state.family_at(zeros).slope(eta)
    return np.asarray(np.sqrt(by_eta**2 * around + _error(jacobian, state) ** 2))


def _shifts(state: GlmmState, rows: Rows, used: tuple[bool, ...]) -> tuple[Floats, Floats]:
    """Return what ``predictor_slopes`` returns, also where no effects of levels are used."""
    if any(used):
        return predictor_slopes(state, rows, used)
    shift = np.zeros((rows.n_rows, len(state.psi)))
    shift[:, state.beta_in_psi] = state.fixed_root.coordinates(rows.X)
    return shift, np.zeros(rows.n_rows)


def averaged_error(state: GlmmState, rows: Rows, eta: Floats, family: Family) -> Floats:
    """Return the standard error of the linear predictor of an average over new levels, (n_rows,).

    By the delta method in all parameters: fixed effects, and the variances that are averaged over.

    Parameters
    ----------
    state
        The fit.
    rows
        The rows, with the columns of their random effects.
    eta
        The linear predictor of their averages, (n_rows,).
    family
        That of the rows.
    """
    jacobian = np.empty((rows.n_rows, len(state.psi)))
    slope = family.slope(eta)
    for j, (up, down, step) in enumerate(_moved(state)):
        ends = []
        for psi in (up, down):
            moved = _at(state, psi)
            fixed = rows.offset + state.fixed_root.coordinates(rows.X) @ psi[len(state.theta) :][: state.n_fixed]
            ends.append(averaged_mean(moved, rows, fixed, family))
        jacobian[:, j] = (ends[0] - ends[1]) / (step * slope)
    return _error(jacobian, state)


STEP = 1e-4
"""Of psi, which has no units, in differences."""


def _moved(state: GlmmState) -> Iterator[tuple[Floats, Floats, float]]:
    for j in range(len(state.psi)):
        step = np.zeros(len(state.psi))
        step[j] = STEP
        yield state.psi + step, state.psi - step, 2 * STEP


def _at(state: GlmmState, psi: Floats) -> GlmmState:
    theta = state.problem.model.estimates(psi)[0]
    return replace(state, theta=theta, psi=psi, phi=psi[state.phi_in_psi.start :])


def _error(jacobian: Floats, state: GlmmState) -> Floats:
    return np.asarray(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", jacobian, state.cov_psi, jacobian), 0.0)))


def averaged_mean(state: GlmmState, rows: Rows, eta: Floats, family: Family) -> Floats:
    """Return E mean(eta + z'b) over levels drawn anew, (n_rows,).

    Parameters
    ----------
    state
        The fit.
    rows
        The rows, with the columns of their random effects.
    eta
        Their linear predictor without random effects, (n_rows,).
    family
        That of the rows.
    """
    return mean_over(family, eta, effect_variance(state, rows))


def mean_over(family: Family, eta: Floats, variance: Floats) -> Floats:
    """Return E mean(eta + e), e ~ N(0, variance), (n_rows,).

    Parameters
    ----------
    family
        That of the rows.
    eta, variance
        (n_rows,).
    """
    match family.link:
        case "log" if not family.name.startswith("hurdle"):
            return family.mean(eta + 0.5 * variance)
        case "probit":
            return family.mean(eta / np.sqrt(1 + variance))
        case _:
            nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
            shares = weights / weights.sum()
            spread = np.sqrt(variance)
            return np.asarray(sum(w * family.mean(eta + z * spread) for z, w in zip(nodes, shares, strict=True)))


def effect_variance(state: GlmmState, rows: Rows, *, of_new_levels: bool = False) -> Floats:
    """Return the variance of z'b of levels drawn anew, (n_rows,); of those levels alone that the fit did not have."""
    variance = np.zeros(rows.n_rows)
    for k, root in enumerate(factor_roots(state)):
        own = ((rows.columns(k) @ root) ** 2).sum(axis=1)
        variance += np.where(rows.codes[k] < 0, own, 0.0) if of_new_levels else own
    return variance


def simulate_generalized(
    state: GlmmState,
    n: int = 1,
    *,
    seed: int | None = None,
    random_effects: str = "new",
    data: object = None,
    trials: object = None,
) -> Floats:
    """Return simulated responses, (n_rows, n); numbers of successes for the binomial, categories for the ordinal.

    Parameters
    ----------
    state
        The fit, whose parameters are taken as true.
    n
        Responses.
    seed
        Of NumPy's generator; draws are, for each response, the effects of each grouping factor and then the rows.
    random_effects
        ``"new"``: drawn for every level; ``"conditional"``: the modes of the fit.
    data
        New data; None for the rows of the fit.
    trials
        Of new rows, for the binomial: a number, (n_rows,) or the name of a column; None: one each.

    Raises
    ------
    InferenceError
        If an argument is not allowed.
    """
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of responses must be a positive integer.")
    draws = generalized_responses(state, seed=seed, random_effects=random_effects, data=data, trials=trials)
    drawn = np.column_stack([next(draws) for _ in range(n)])
    return as_categories(state, drawn) if isinstance(state.family, Ordinal) else drawn


def generalized_responses(
    state: GlmmState,
    *,
    seed: int | None = None,
    random_effects: str = "new",
    data: object = None,
    trials: object = None,
) -> Iterator[Floats]:
    """Yield simulated responses without end, (n_rows,) each, as the engine takes them.

    Arguments are as for ``simulate_generalized``.
    """
    if random_effects not in CHOICES:
        raise InferenceError(f"random_effects={random_effects!r} is not available; it must be 'new' or 'conditional'.")
    check_seed(seed)
    known = random_effects == "conditional"
    used = (True,) * len(state.b)
    rows = fitted_rows(state) if data is None else new_rows(state, data, used, "raise" if known else "population")
    eta = predicted_mean(state, rows, tuple(known and one for one in used))
    of_rows = _trials(state, rows, data, trials)
    roots, levels = factor_roots(state), [_levels(state, rows, data, k) for k in range(len(state.b))]
    family = rows_family(state, data)
    rng = np.random.default_rng(seed)
    while True:
        drawn = eta.copy()
        for k, (root, codes) in enumerate(zip(roots, levels, strict=True)):
            if not known:
                b = rng.standard_normal((int(codes.max(initial=-1)) + 1, len(root))) @ root.T
                drawn += (rows.columns(k) * b[codes]).sum(axis=1)
        y = family.draw(drawn, of_rows, state.phi, rng)
        y[rows.missing] = np.nan
        yield y


def _trials(state: GlmmState, rows: Rows, data: object, trials: object) -> Floats:
    if trials is not None and state.family.responses != "successes":
        raise InferenceError(f"trials are for binomial responses; these are of the family {state.family.name!r}.")
    if trials is None:
        return state.trials if data is None else np.ones(rows.n_rows)
    if isinstance(trials, str):
        frame = open_frame({} if data is None else data)
        if trials not in frame.names:
            raise unknown_column(trials, frame.names)
        trials = frame.read(trials).values
    try:
        values = np.asarray(trials, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in {(), (rows.n_rows,)} or not ((values >= 0) & (values == np.round(values))).all():
        raise InferenceError(f"trials must be whole: one number, or one for each of the {rows.n_rows} rows.")
    return np.broadcast_to(values, rows.n_rows)


def _levels(state: GlmmState, rows: Rows, data: Any, k: int) -> Codes:
    """Return codes of the levels of the rows, known to the fit or not, (n_rows,)."""
    if data is None:
        return rows.codes[k]
    labels = level_table(state, data, k).astype(object)
    return np.asarray(labels.groupby(list(labels), sort=False, dropna=False).ngroup(), dtype=np.int32)
