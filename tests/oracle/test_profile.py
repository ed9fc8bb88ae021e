"""Profiles against the textbook criterion with a dense V, searched from several starts by a general method.

Nothing here uses the engine: sds, correlations and sigma make V, the criterion is Lindstrom and Bates's (1988), and
scipy minimises it over everything but the profiled parameter, which is held by substitution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
import scipy.linalg as sl
from scipy.optimize import minimize

import mixedmodels as mm
from data_loader import load

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")

QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class Twin:
    """The data of a model: effects with one design block each, ``(labels, z)``; correlated if ``correlated``."""

    y: np.ndarray
    X: np.ndarray
    effects: tuple[tuple[np.ndarray, np.ndarray], ...]
    correlated: bool
    reml: bool

    @cached_property
    def products(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Z Z' of each effect, and what a covariance of the first and the last adds, (n, n) each."""
        Z = [z[:, None] * (labels[:, None] == np.unique(labels)) for labels, z in self.effects]
        cross = Z[0] @ Z[-1].T if self.correlated else np.zeros((len(self.y), len(self.y)))
        return [z @ z.T for z in Z], cross + cross.T

    def criterion(self, sds: np.ndarray, cor: float, sigma: float, held: tuple[int, float] | None) -> float:
        """Return -2 log-likelihood (restricted if ``reml``), the fixed effects free but for one that may be held."""
        squares, cross = self.products
        V = sigma**2 * np.eye(len(self.y)) + sum(s**2 * square for s, square in zip(sds, squares, strict=True))
        if self.correlated:
            V += cor * sds[0] * sds[1] * cross
        L = np.linalg.cholesky(V)
        X, y = (sl.solve_triangular(L, a, lower=True) for a in (self.X, self.y))
        free = X
        if held is not None:
            y, free = y - X[:, held[0]] * held[1], np.delete(X, held[0], axis=1)
        if free.shape[1]:
            y = y - free @ np.linalg.lstsq(free, y, rcond=None)[0]
        value = 2 * np.log(np.diag(L)).sum() + y @ y
        dof = len(self.y)
        if self.reml:
            value += np.linalg.slogdet(X.T @ X)[1]
            dof -= X.shape[1]
        return float(value + dof * np.log(2 * np.pi))

    def lowest(self, unpack: Callable[[np.ndarray], tuple], n_free: int, starts: np.ndarray) -> float:
        """Return the lowest criterion over the free parameters, all on unbounded scales."""

        def objective(free: np.ndarray) -> float:
            try:
                return self.criterion(*unpack(np.clip(free, -30, 30)))
            except np.linalg.LinAlgError:
                return 1e10

        if n_free == 0:
            return objective(np.empty(0))
        options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
        return min(minimize(objective, start, method="Nelder-Mead", options=options).fun for start in starts)


def intercepts(name: str, response: str, groups: tuple[str, ...], reml: bool) -> Twin:
    data = load(name)
    ones = np.ones(len(data))
    return Twin(
        data[response].to_numpy(float),
        ones[:, None],
        tuple((data[g].astype(str).to_numpy(), ones) for g in groups),
        False,
        reml,
    )


def slopes(data: pd.DataFrame, columns: tuple[str, str, str], X: np.ndarray) -> Twin:
    """Return the REML twin of correlated intercepts and slopes, given the response, the covariate and the group."""
    response, x, group = columns
    labels, values = data[group].astype(str).to_numpy(), data[x].to_numpy(float)
    effects = ((labels, np.ones(len(data))), (labels, values))
    return Twin(data[response].to_numpy(float), X, effects, True, True)


def rise(twin: Twin, fit: mm.LmmResult, parameter: str, value: float) -> float:
    """Return the criterion minimised with one parameter held, less the criterion of the fit."""
    table = fit.variance_parameters("sd")["estimate"]
    n_effects = len(twin.effects)
    names = [n for n in table.index if n.startswith("sd_")]
    cors = [n for n in table.index if n.startswith("cor_")]
    order = [*names, *cors, "sigma"]
    floor = 0.05 * table["sigma"]
    guess = {n: np.log(max(table[n], floor)) for n in [*names, "sigma"]}
    guess |= {n: np.arctanh(np.clip(np.nan_to_num(table[n]), -0.9, 0.9)) for n in cors}
    free = [n for n in order if n != parameter]
    held = None
    if parameter in fit.fe_params.index:
        held = (list(fit.fe_params.index).index(parameter), value)

    def unpack(z: np.ndarray) -> tuple:
        at = dict(zip(free, z, strict=True))
        natural = {n: np.tanh(v) if n in cors else np.exp(v) for n, v in at.items()} | {parameter: value}
        cor = natural[cors[0]] if cors else 0.0
        return np.array([natural[n] for n in names[:n_effects]]), cor, natural["sigma"], held

    starts = [np.array([guess[n] for n in free])]
    if cors and parameter != cors[0]:  # a correlation may have an optimum at either end
        for end in (-2.5, 2.5):
            starts.append(np.array([end if n in cors else guess[n] for n in free]))
    return twin.lowest(unpack, len(free), np.array(starts)) - fit.deviance


ONE_WAY = {"Dyestuff": ("Yield", ("Batch",)), "Dyestuff2": ("Yield", ("Batch",))}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", list(ONE_WAY))
def test_one_way(name: str, reml: bool) -> None:
    twin = intercepts(name, *ONE_WAY[name], reml)
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", load(name), reml=reml)
    for parameter, limits in fit.conf_int("profile").iterrows():
        for limit in limits:
            if limit > 0:
                assert rise(twin, fit, str(parameter), limit) == pytest.approx(QUANTILE**2, abs=1e-4), parameter


def test_crossed_factors_under_reml() -> None:
    twin = intercepts("Penicillin", "diameter", ("plate", "sample"), True)
    fit = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", load("Penicillin"))
    limits = fit.conf_int("profile")
    for parameter, side in (("sd_Intercept|sample", "upper"), ("sd_Intercept|plate", "lower"), ("Intercept", "upper")):
        assert rise(twin, fit, parameter, limits.loc[parameter, side]) == pytest.approx(QUANTILE**2, abs=1e-4)


@pytest.mark.parametrize(
    ("parameter", "side"),
    [("sd_Days|Subject", "lower"), ("cor_Days.Intercept|Subject", "lower"), ("Days", "upper"), ("sigma", "upper")],
)
def test_slopes_under_reml(parameter: str, side: str) -> None:
    data = load("sleepstudy")
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    twin = slopes(data, ("Reaction", "Days", "Subject"), X)
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    limit = fit.conf_int("profile", which=parameter).loc[parameter, side]
    assert rise(twin, fit, parameter, limit) == pytest.approx(QUANTILE**2, abs=2e-4)


def test_the_better_of_two_optima_is_followed() -> None:
    """Orthodont, REML: at a small sd of the intercepts there is an optimum at either end of the correlation."""
    data = load("Orthodont")
    fit = mm.lmer("distance ~ age * Sex + (age | Subject)", data)
    twin = slopes(data, ("distance", "age", "Subject"), fit.state.design.X)
    name = "sd_Intercept|Subject"
    profile = fit.profile(name)
    for _, point in profile.zeta.iterrows():
        if 0.05 < point["value"] < 1.0:
            assert point["zeta"] ** 2 == pytest.approx(rise(twin, fit, name, point["value"]), abs=1e-4)
    assert profile.zeta["zeta"].is_monotonic_increasing
    lower = profile.conf_int().loc[name, "lower"]
    assert rise(twin, fit, name, lower) == pytest.approx(QUANTILE**2, abs=1e-3)


def test_a_correlation_is_not_bounded_where_lme4_follows_a_local_optimum() -> None:
    """Orthodont, ML: at lme4's lower limit the criterion is only 0.83 above the fit's, with slopes of no variance."""
    data = load("Orthodont")
    fit = mm.lmer("distance ~ age * Sex + (age | Subject)", data, reml=False)
    twin = replace(slopes(data, ("distance", "age", "Subject"), fit.state.design.X), reml=False)

    def at(z: np.ndarray) -> tuple:
        return np.exp(z[:2]), -0.913362020485813, np.exp(z[2]), None

    found = twin.lowest(at, 3, np.log([[2.1, 0.15, 1.3], [1.7, 0.02, 1.4]])) - fit.deviance
    assert found == pytest.approx(0.8331, abs=1e-3)
    assert fit.conf_int("profile", which="cor_age.Intercept|Subject").to_numpy().tolist() == [[-1, 1]]


@pytest.mark.parametrize("name", list(ONE_WAY))
def test_an_intraclass_correlation(name: str) -> None:
    twin = intercepts(name, *ONE_WAY[name], True)
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", load(name))
    share = {"icc": lambda p: p["sd_Intercept|Batch"] ** 2 / (p["sd_Intercept|Batch"] ** 2 + p["sigma"] ** 2)}
    for limit in fit.profile(share).conf_int().loc["icc"]:
        if limit == 0:
            continue

        def at(log_sigma: np.ndarray, ratio: float = np.sqrt(limit / (1 - limit))) -> tuple:
            sigma = np.exp(log_sigma[0])
            return np.array([ratio * sigma]), 0.0, sigma, None

        starts = np.log(fit.sigma) + np.linspace(-1, 1, 5)[:, None]
        assert twin.lowest(at, 1, starts) - fit.deviance == pytest.approx(QUANTILE**2, abs=1e-4)


@pytest.mark.parametrize("reml", [True, False])
def test_a_correlation_has_a_ceiling_where_its_effect_has_no_variance(reml: bool) -> None:
    """Hsb82: leaving the slopes out costs less than the quantile, so the data do not bound their correlation."""
    data = load("Hsb82")
    fixed = "mAch ~ meanses * cses + sector * cses"
    fit = mm.lmer(f"{fixed} + (cses | school)", data, reml=reml)
    without = mm.lmer(f"{fixed} + (1 | school)", data, reml=reml)
    profile = fit.profile("cor_cses.Intercept|school")
    ceiling = np.sqrt(without.deviance - fit.deviance)
    assert ceiling < QUANTILE
    assert profile.zeta["zeta"].abs().max() == pytest.approx(ceiling, abs=1e-5)
    assert profile.conf_int().loc["cor_cses.Intercept|school"].to_list() == [-1, 1]
    narrow = profile.conf_int(0.5).loc["cor_cses.Intercept|school"]  # below the ceiling on the lower side
    assert -1 < narrow["lower"] < narrow["upper"] == 1
