"""Profile intervals and R-squared against lme4 and performance: fields of ``reference/lmm``.

lme4 profiles the ML criterion and interpolates by splines, good to 1e-4 of an interval's width at worst.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.problem import Problem
from mixedmodels.inference.variance_parameters import CovarianceMap, estimate
from reference.test_lmm import CASES, canonical, case

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")

# where lme4's points are far apart, and its spline with them off: the direct search below agrees with us
INTERPOLATED = {
    ("cbpp_weights", "sigma", "upper"),
    ("pixel_crossnest", "cor_day.(Intercept)|Dog", "lower"),
    ("pixel_crossnest", "cor_day.(Intercept)|Dog", "upper"),
}
# lme4 follows a local optimum, and its limit lies inside the region: tests/oracle/test_profile.py
LOCAL_OPTIMUM = {("orthodont_slope", "cor_age.(Intercept)|Subject", "lower")}
PROFILED = [name for name in CASES if case(name, "ML").file.get("profile_ci_95")]
WIDTH_TOL = 2e-4


def key(name: str) -> Any:
    """Return a parameter's name free of dialect: kind, effects and group of variance parameters."""
    if name == "sigma":
        return name
    found = re.fullmatch(r"(sd|cor)_(.*)\|([^|]*)", name)
    if found is None:
        return canonical(name)
    kind, effects, group = found.groups()
    return kind, frozenset(canonical(e) for e in effects.split(".")), group


@pytest.mark.parametrize("name", PROFILED)
def test_profile_intervals(name: str) -> None:
    theirs = case(name, "ML").file["profile_ci_95"]
    profile = case(name, "ML").fit.profile()
    ours = profile.conf_int(0.95)
    where = {key(parameter): parameter for parameter in ours.index}
    for parameter, lower, upper in zip(theirs["names"], theirs["lower"], theirs["upper"], strict=True):
        if key(parameter) not in where:
            assert parameter.startswith("cor_")  # on its boundary: no profile of ours
            continue
        if name == "cbpp_weights" and isinstance(key(parameter), frozenset):
            continue  # lme4 forgets the weights there: its interval of the intercept is 0.0014 wide, the se 0.03
        found = ours.loc[where[key(parameter)]]
        for limit, value in (("lower", lower), ("upper", upper)):
            if (
                value is not None
                and upper is not None
                and lower is not None
                and (name, parameter, limit) not in INTERPOLATED | LOCAL_OPTIMUM
            ):
                assert found[limit] == pytest.approx(value, abs=WIDTH_TOL * (upper - lower)), (parameter, limit)


@pytest.mark.parametrize("name", ["dyestuff_ri", "sleepstudy_slope", "penicillin_crossed", "cbpp_weights"])
def test_an_interval_ends_where_the_criterion_has_risen_by_the_quantile(name: str) -> None:
    """The definition, checked by refitting with the fixed effect moved to the response."""
    fit = case(name, "ML").fit
    limits = fit.conf_int("profile", which=["Intercept"]).loc["Intercept"]
    others = [column for column in fit.fe_params.index if column != "Intercept"]
    design = fit.state.design
    for value in limits:
        y = design.y - value
        X = np.ascontiguousarray(design.X[:, [design.x_names.index(c) for c in others]])
        held = fit_problem(Problem(replace(design, y=y, X=X, x_names=tuple(others))), reml=False)
        assert held.optimum.deviance - fit.deviance == pytest.approx(1.959963984540054**2, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("cbpp_weights", "sigma"),
        ("pixel_crossnest", "cor_day.Intercept|Dog"),
        ("pastes_nested", "sd_Intercept|cask:batch"),
        ("sleepstudy_slope", "sd_Days|Subject"),
        ("beets_kr", "sd_Intercept|block:harvest"),  # a variance nearly zero
        ("mmmec_two_optima", "sd_uvb|nation"),  # a better optimum at another correlation
    ],
)
@pytest.mark.parametrize("method", ["ML", "REML"])
def test_a_limit_is_where_a_general_search_finds_the_rise(name: str, parameter: str, method: str) -> None:
    """Minimise -2 log-likelihood in theta, sigma free, by scipy's SLSQP under the constraint, from two sides."""
    fit = case(name, method).fit
    state, covariance_map = fit.state, CovarianceMap(fit.state)
    wanted = next(p for p in CovarianceMap(state).parameters if p.name == parameter)
    dof = fit.nobs - (state.n_fixed if state.reml else 0)

    def criterion(psi: np.ndarray) -> float:
        deviance, s2, *_ = state.problem.model.evaluate(np.ascontiguousarray(psi[:-1]), state.reml)
        ratio = s2 / np.exp(2 * psi[-1])
        return deviance + dof * (ratio - 1 - np.log(ratio))

    for limit in fit.conf_int("profile", which=parameter).loc[parameter]:
        if limit in {0.0, 1.0, -1.0}:
            continue
        constraint = {"type": "eq", "fun": lambda psi, v=limit: covariance_map.value(psi, wanted) - v}
        start = estimate(state)
        start[:-1][start[:-1] == 0] = 0.1
        turned = start.copy()
        _, row, column = state.problem.model.parameters.T
        turned[:-1][row > column] *= -0.5
        options = {"ftol": 1e-12, "maxiter": 500}
        found = [
            minimize(criterion, x, method="SLSQP", constraints=constraint, options=options) for x in (start, turned)
        ]
        held = [f.fun for f in found if covariance_map.value(f.x, wanted) == pytest.approx(limit, rel=1e-5)]
        assert min(held) - fit.deviance == pytest.approx(1.959963984540054**2, abs=2e-4)


@pytest.mark.parametrize(
    ("name", "method"),
    # performance leaves the mean square of Days out of the slope's part of (Days || Subject): dense check below
    [
        (n, m)
        for n in CASES
        for m in ("ML", "REML")
        if case(n, m).theirs.get("r2_nakagawa") and n != "sleepstudy_uncorr"
    ],
)
def test_r2(name: str, method: str) -> None:
    theirs = case(name, method).theirs["r2_nakagawa"]
    ours = case(name, method).fit.r2()
    for kind in ("marginal", "conditional"):
        if theirs[kind] is not None:
            assert ours[kind] == pytest.approx(theirs[kind], rel=1e-5, abs=1e-8), kind


def test_r2_of_uncorrelated_slopes_averages_the_variance_over_rows() -> None:
    fit = case("sleepstudy_uncorr", "REML").fit
    covariance = fit.varcorr["Subject"].to_numpy()
    Z = fit.state.design.factors[0].Z
    assert Z is not None
    random = np.mean([z @ covariance @ z for z in Z])
    fixed = np.var(fit.state.design.X @ fit.fe_params.to_numpy(), ddof=1)
    total = fixed + random + fit.scale
    assert fit.r2()["conditional"] == pytest.approx((fixed + random) / total)
    assert fit.icc()["adjusted"] == pytest.approx(random / (random + fit.scale))
