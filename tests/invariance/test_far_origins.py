"""What does not depend on the origin of a covariate is the same a billion spreads away, by every method."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm

Floats = npt.NDArray[np.float64]

ORIGINS = (1e3, 1e5, 1e6, 1e7, 1e8, 1e9)
FORMULAS = (
    "y ~ x + f + (1 | g)",
    "y ~ x + f + (x | g)",
    "y ~ x * f + (1 | g)",
    "y ~ x + f + (x | g) + (1 | h)",
)
LARGEST_CHANGE = 1e-6
"""Relative to the largest number of an answer. A double 1e9 spreads away resolves 1e-7 of the spread."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning"),
    pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning"),
]


@cache
def data() -> pd.DataFrame:
    """Return 20 groups of unequal size with two covariates, x in steps that remain exact 1e9 away from zero."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), rng.integers(5, 15, 20))
    n = len(g)
    x = np.round(rng.normal(size=n) * 2**20) / 2**20
    h, f = rng.integers(0, 8, n), rng.integers(0, 3, n)
    b = rng.normal(size=(20, 2)) * [1.0, 0.5]
    y = 1 + 0.5 * x + 0.3 * f + b[g, 0] + b[g, 1] * x + 0.6 * rng.normal(size=8)[h] + rng.normal(size=n)
    w = rng.uniform(0.5, 2, n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "f": np.array(list("abc"))[f], "w": w})


@cache
def fitted(formula: str, origin: float, weighted: bool = False) -> mm.LmmResult:
    return mm.lmer(formula, data().assign(x=data()["x"] + origin), weights="w" if weighted else None)


def numbers(table: pd.DataFrame | pd.Series[float]) -> Floats:
    """Return what a table holds, but for p-values, which multiply a change of the statistic behind them."""
    if isinstance(table, pd.DataFrame):
        return table.drop(columns="p_value", errors="ignore").select_dtypes("number").to_numpy(float)
    return table.to_numpy(float)


def slopes(table: pd.DataFrame) -> Floats:
    """Return the rows that are not about the height at x = 0, nor about differences there."""
    return numbers(table.drop(index=[name for name in table.index if "x" not in str(name).split(":")]))


def at_points(fit: mm.LmmResult, origin: float) -> dict[str, list[float]]:
    return {"x": [origin - 1.0, origin, origin + 2.0]}


def rows_of_x(table: pd.DataFrame) -> Floats:
    return numbers(table.loc[[name for name in table.index if "x" in name]])


def at_the_origin(fit: mm.LmmResult, origin: float, ddf: str) -> Floats:
    """Return a height, a slope and a difference of two categories, and their joint test."""
    difference = {"f[T.b]": 1.0, "f[T.c]": -1.0}
    if "*" in fit.formula:
        difference |= {"x:f[T.b]": origin, "x:f[T.c]": -origin}
    rows = [{"Intercept": 1.0, "x": origin + 1.0}, {"x": 1.0}, difference]
    return numbers(fit.contrast(rows, ddf=ddf, joint=True))


DDF = ("satterthwaite", "kenward-roger", "residual", "normal", "CR0", "CR1", "CR2", "CR3")
ANSWERS: dict[str, Callable[[mm.LmmResult, float], Floats]] = {
    **{f"coefficients, {ddf}": lambda r, c, ddf=ddf: slopes(r.coef_table(ddf)) for ddf in DDF},
    **{f"anova, {ddf}": lambda r, c, ddf=ddf: rows_of_x(r.anova(ddf=ddf)) for ddf in DDF},
    **{f"anova {k}": lambda r, c, k=k: rows_of_x(r.anova(k)) for k in (1, 2, 3)},
    "effect sizes": lambda r, c: rows_of_x(r.effect_sizes("omega")),
    "standardised coefficients": lambda r, c: numbers(r.standardized()),
    "shares of variance": lambda r, c: numbers(r.variance_shares()),
    "part R2": lambda r, c: numbers(r.part_r2()),
    "terms taken out": lambda r, c: numbers(r.drop1()),
    "terms taken out by likelihood": lambda r, c: numbers(r.drop1("LRT")),
    **{f"contrasts, {ddf}": lambda r, c, ddf=ddf: at_the_origin(r, c, ddf) for ddf in DDF},
    "margins": lambda r, c: numbers(r.margins("f")),
    "margins at points": lambda r, c: numbers(r.margins(["x", "f"], at=at_points(r, c)).reset_index(drop=True)),
    "consecutive means": lambda r, c: numbers(r.margins("f", contrasts="consecutive")),
    "joint tests": lambda r, c: numbers(r.joint_tests()),
    "slopes": lambda r, c: numbers(r.slopes("x", by="f")),
    "slopes compared": lambda r, c: numbers(r.slopes("x", by="f", pairwise=True, adjust="mvt")),
    "slopes of levels": lambda r, c: numbers(r.slopes_by_level("x", "g")),
    "criterion": lambda r, c: np.array([r.deviance, r.sigma]),
    "criteria": lambda r, c: numbers(r.criteria()),
    "fitted values": lambda r, c: numbers(r.fittedvalues),
    **{
        f"{kind} residuals": lambda r, c, kind=kind: numbers(r.residuals(kind))
        for kind in ("conditional", "marginal", "standardized", "cholesky")
    },
    "r2": lambda r, c: np.array(list(r.r2().values())),
    "icc": lambda r, c: np.array(list(r.icc().values())),
    "vif": lambda r, c: numbers(r.vif()),
    "check": lambda r, c: findings(r.check()),
    "hat values": lambda r, c: numbers(r.hat_values()),
    "Cook's distance": lambda r, c: numbers(r.cooks_distance()),
    "influence of levels": lambda r, c: numbers(r.influence("g", progress=False).cooks_distance),
    "dfbetas of levels": lambda r, c: numbers(r.influence("g", progress=False).dfbetas["x"]),
    "influence of levels in one step": lambda r, c: numbers(r.influence("g", "one-step").cooks_distance),
    "influence of rows in one step": lambda r, c: numbers(r.influence(method="one-step").cooks_distance),
    "dfbetas of rows": lambda r, c: numbers(r.influence(method="one-step").dfbetas["x"]),
    **{
        f"{kind} predictions": lambda r, c, kind=kind: numbers(
            r.predict(new_data(c), random_effects=kind, interval="prediction", weights=1.0)
        )
        for kind in ("conditional", "population")
    },
    "corrected predictions": lambda r, c: numbers(
        r.predict(new_data(c), interval="confidence", correction="kackar-harville")
    ),
    "predictions of the mean": lambda r, c: numbers(
        r.predict(new_data(c), random_effects="population", interval="confidence")
    ),
    "wald intervals": lambda r, c: numbers(r.conf_int("wald").loc[["x", "sigma"]]),
    "profile intervals": lambda r, c: numbers(r.conf_int("profile", which=["x", "sigma"])),
    "random effects' tests": lambda r, c: numbers(r.ranova()),
}


def findings(check: pd.DataFrame) -> Floats:
    """Return what was found, as numbers, but of effects: those of the height at x = 0 depend on where that is."""
    found = check.loc[~check.index.str.startswith("effects of"), "found"]
    return found.str.extract(r"(-?\d+\.?\d*)", expand=False).astype(float).to_numpy()


def new_data(origin: float) -> pd.DataFrame:
    rows = data().iloc[[0, 30, 60, 90, 120]]
    return rows.assign(x=rows["x"] * 2 + origin)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", ANSWERS)
def test_far_origins(name: str, formula: str, weighted: bool) -> None:
    if "h" in formula and "CR" in name:
        pytest.skip("crossed levels leave no clusters")
    answer = ANSWERS[name]
    here = answer(fitted(formula, 0.0, weighted), 0.0)
    assert np.isfinite(here).any()
    largest = np.where(np.isfinite(here), np.abs(here), 0.0).max(axis=0)
    size = np.where(largest > 0, largest, 1.0)
    for origin in ORIGINS:
        far = answer(fitted(formula, origin, weighted), origin)
        np.testing.assert_allclose(far / size, here / size, rtol=0, atol=LARGEST_CHANGE)


@pytest.mark.parametrize("ddf", DDF)
@pytest.mark.parametrize("origin", ORIGINS)
def test_without_an_intercept(origin: float, ddf: str) -> None:
    """Heights at x = 0 are all but one number there, and have their joint test."""
    formula = "y ~ 0 + f + x + (1 | g)"
    here, far = fitted(formula, 0.0).anova(ddf=ddf), fitted(formula, origin).anova(ddf=ddf)
    np.testing.assert_allclose(far.loc["x", "f_value":"p_value"], here.loc["x", "f_value":"p_value"], rtol=1e-6)
    assert np.isfinite(far.loc["f", "f_value"])
    means = [fit.margins("f", ddf=ddf)["std_error"] for fit in (fitted(formula, 0.0), fitted(formula, origin))]
    np.testing.assert_allclose(means[1], means[0], rtol=1e-6)
