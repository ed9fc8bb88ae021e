"""What does not depend on the origin of a covariate is the same a billion spreads away, by the statsmodels door too."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm

Floats = npt.NDArray[np.float64]

ORIGINS = (1e3, 1e5, 1e6, 1e7, 1e8, 1e9)
LARGEST_CHANGE = 1e-6
"""Relative to the largest number of an answer. A double 1e9 spreads away resolves 1e-7 of the spread."""
MODELS: dict[str, dict[str, Any]] = {
    "intercepts": {"formula": "y ~ x + f"},
    "slopes": {"formula": "y ~ x + f", "re_formula": "~x"},
    "interaction": {"formula": "y ~ x * f"},
    "components": {"formula": "y ~ x + f", "re_formula": "~x", "vc_formula": {"h": "0 + C(h)"}},
}

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


@cache
def data() -> pd.DataFrame:
    """Return 20 groups of unequal size, x in steps that remain exact 1e9 away from zero."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), rng.integers(8, 15, 20))
    n = len(g)
    x = np.round(rng.normal(size=n) * 2**20) / 2**20
    f, h = rng.integers(0, 3, n), rng.integers(0, 4, n)
    b, u = rng.normal(size=(20, 2)) * [1.0, 0.5], 0.8 * rng.normal(size=(20, 4))
    y = 1 + 0.5 * x + 0.3 * f + b[g, 0] + b[g, 1] * x + u[g, h] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "f": np.array(list("abc"))[f], "h": h})


def moved(origin: float) -> pd.DataFrame:
    return data().assign(x=data()["x"] + origin)


@cache
def fitted(model: str, origin: float, reml: bool) -> mm.MixedLMResults:
    return mm.mixedlm(data=moved(origin), groups="g", **MODELS[model]).fit(reml=reml)


def row(fit: mm.MixedLMResults, **coefficients: float) -> Floats:
    """Return a combination of the fixed effects."""
    names = fit.model.exog_names
    out = np.zeros(len(names))
    for name, value in coefficients.items():
        out[names.index(name)] = value
    return out


def height_and_slope(fit: mm.MixedLMResults, origin: float) -> Floats:
    return np.array([row(fit, Intercept=1.0, x=origin + 1.0), row(fit, x=1.0)])


def in_columns(results: Any) -> Floats:
    return np.column_stack([results.effect, np.ravel(results.sd), np.ravel(results.statistic)])


def at_group_means(fit: mm.MixedLMResults) -> Floats:
    """Return conditional variances of what does not move: slopes where there are, else intercepts, and components."""
    first = "x" if fit.k_re == 2 else "g"
    return np.concatenate([np.diag(C.loc[first:, first:]) for C in fit.random_effects_cov.values()])


def of_slopes(fit: mm.MixedLMResults, values: Any) -> Floats:
    """Return what is about variances of slopes, of intercepts without slopes, and of components."""
    names = fit.model.data.param_names[fit.k_fe :]
    moves = ("g Var", "g x x Cov") if fit.k_re == 2 else ()
    return np.asarray(values)[-len(names) :][[name not in moves for name in names]]


ANSWERS: dict[str, Callable[[mm.MixedLMResults, float], Any]] = {
    "standard error of a slope": lambda r, c: r.bse[["x"]],
    "test of a slope": lambda r, c: [r.tvalues["x"], r.t_test("x = 0").statistic.item()],
    "interval of a slope": lambda r, c: r.conf_int().loc["x"],
    "variance of a slope": lambda r, c: r.cov_params().loc["x", "x"],
    "heights and slopes": lambda r, c: in_columns(r.t_test(height_and_slope(r, c))),
    "heights and slopes, Student's t": lambda r, c: in_columns(r.t_test(height_and_slope(r, c), use_t=True)),
    "joint test of all": lambda r, c: r.wald_test(np.eye(r.k_fe), scalar=True).statistic,
    "joint test of a height and a slope": lambda r, c: r.wald_test(height_and_slope(r, c), scalar=True).statistic,
    "F test": lambda r, c: r.f_test("x = 0").fvalue,
    "test of a term": lambda r, c: r.wald_test_terms().table.loc["x", "statistic"],
    "combinations": lambda r, c: r.cov_params(
        r_matrix=np.hstack([height_and_slope(r, c), np.zeros((2, r.df_modelwc - r.k_fe))])
    ),
    "variances of effects": lambda r, c: of_slopes(
        r, r.cov_re.to_numpy()[np.tril_indices(r.k_re)].tolist() + r.vcomp.tolist()
    ),
    "their standard errors": lambda r, c: of_slopes(r, r.bse_re),
    "their ratios' standard errors": lambda r, c: of_slopes(r, r.bse),
    "predictions": lambda r, c: r.predict(moved(c).iloc[::20]),
    "conditional predictions": lambda r, c: r.predict(moved(c).iloc[::20], random_effects="conditional"),
    "intervals": lambda r, c: r.predict(moved(c).iloc[::20], interval="confidence"),
    "fitted values": lambda r, c: r.fittedvalues,
    "residuals": lambda r, c: r.resid,
    "conditional variances": lambda r, c: at_group_means(r),
    "criterion": lambda r, c: [r.llf, r.scale],
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ANSWERS)
def test_far_origins(name: str, model: str, reml: bool) -> None:
    answer = ANSWERS[name]
    here = np.asarray(answer(fitted(model, 0.0, reml), 0.0), dtype=np.float64)
    assert np.isfinite(here).all()
    size = np.abs(here).max(axis=0)
    for origin in ORIGINS:
        far = np.asarray(answer(fitted(model, origin, reml), origin), dtype=np.float64)
        np.testing.assert_allclose(far / size, here / size, rtol=0, atol=LARGEST_CHANGE)


@pytest.mark.parametrize("origin", ORIGINS)
def test_pairs_of_levels(origin: float) -> None:
    columns = ["coef", "std err", "z"]
    here, far = (fitted("slopes", c, True).t_test_pairwise("f").result_frame[columns] for c in (0.0, origin))
    np.testing.assert_allclose(far, here, rtol=0, atol=LARGEST_CHANGE)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("reml", [True, False])
def test_score_and_hessian(origin: float, reml: bool) -> None:
    """In x + c the height is b0 - c b1: derivatives follow by the chain rule, which multiplies by c."""
    here, far = (fitted("intercepts", c, reml) for c in (0.0, origin))
    k = len(here.params)
    back = np.eye(k)  # (height at c, slope, ...) of those at zero
    back[0, here.model.exog_names.index("x")] = -origin
    ours, theirs = here.model.hessian(here.params_object)[0], far.model.hessian(far.params_object)[0]
    size = np.sqrt(np.abs(np.diag(theirs)))
    expected = np.linalg.inv(back).T @ ours @ np.linalg.inv(back)
    np.testing.assert_allclose(theirs / np.outer(size, size), expected / np.outer(size, size), atol=LARGEST_CHANGE)
    params = here.params_object
    params.fe_params = params.fe_params + 0.1 * here.bse_fe.to_numpy()
    there = far.params_object
    there.fe_params = back[: here.k_fe, : here.k_fe] @ params.fe_params
    score, expected = far.model.score(there, profile_fe=False), here.model.score(params, profile_fe=False)
    expected[: here.k_fe] = np.linalg.inv(back[: here.k_fe, : here.k_fe]).T @ expected[: here.k_fe]
    scale = np.abs(expected)
    np.testing.assert_allclose(score / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize("origin", [1e3, 1e4, 1e5, 1e9])
def test_a_profile_is_right_or_refused(origin: float) -> None:
    here, far = fitted("slopes", 0.0, True), fitted("slopes", origin, True)
    if origin > 1e4:
        with pytest.raises(mm.FitError, match="Take a constant near its mean off it"):
            far.profile_re_interval("x", "re")
        return
    np.testing.assert_allclose(far.profile_re_interval("x", "re"), here.profile_re_interval("x", "re"), rtol=1e-5)
