"""What structures of random effects must agree on: special cases, units, order of rows, names of levels."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import DATA
from mixedmodels.covariance.effect_kinds import CORRELATIONS
from mixedmodels.result.lmm import LmmResult

KINDS = (*CORRELATIONS, "rr")


def machines() -> pd.DataFrame:
    """Return Machines."""
    return pd.read_csv(DATA / "Machines.csv", dtype={"Worker": str})


def fit(formula: str, data: pd.DataFrame, **arguments: object) -> LmmResult:
    """Return a fit that may be at an end of a range."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.SingularFitWarning)
        return mm.lmer(formula, data, **arguments)  # type: ignore[arg-type]


def same(one: LmmResult, other: LmmResult, tol: float = 1e-6) -> None:
    """Two fits are one."""
    assert one.deviance == pytest.approx(other.deviance, abs=1e-8 * abs(one.deviance))
    np.testing.assert_allclose(one.fe_params, other.fe_params, rtol=tol)
    np.testing.assert_allclose(one.bse_fe, other.bse_fe, rtol=tol)
    assert one.sigma == pytest.approx(other.sigma, rel=tol)


SAME = [
    ("us(0 + Machine | Worker)", "(0 + Machine | Worker)"),
    ("rr(0 + Machine | Worker, d=3)", "(0 + Machine | Worker)"),
    ("diag(0 + Machine | Worker)", "(0 + Machine || Worker)"),
    ("homcs(0 + Machine | Worker)", "(1 | Worker) + (1 | Worker:Machine)"),  # correlations that are not negative
    ("homdiag(0 + Machine | Worker)", "(1 | Worker:Machine)"),
    ("cs(0 + Machine | Worker, hom=TRUE)", "homcs(0 + Machine | Worker)"),
    ("ar1(0 + Machine | Worker, hom=FALSE)", "hetar1(0 + Machine | Worker)"),
    ("homtoep(0 + two | Worker)", "homcs(0 + two | Worker)"),
    ("toep(0 + two | Worker)", "us(0 + two | Worker)"),
    ("hetar1(0 + two | Worker)", "cs(0 + two | Worker)"),
    ("cs(two | Worker)", "(two | Worker)"),
    ("homtoep(0 + Machine | Worker) + (0 + late || Worker)", "homtoep(0 + Machine | Worker) + (0 + late | Worker)"),
]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("one", "other"), SAME)
def test_special_cases(one: str, other: str, reml: bool) -> None:
    data = machines()
    data["two"] = np.where(data["Machine"] == "C", "C", "AB")
    data["late"] = np.arange(len(data)) % 3.0
    a, b = (fit(f"score ~ Machine + {term}", data, reml=reml) for term in (one, other))
    same(a, b)
    for ddf in ("satterthwaite", *(["kenward-roger"] if reml else [])):
        ours, theirs = a.coef_table(ddf=ddf), b.coef_table(ddf=ddf)
        np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-6)
        np.testing.assert_allclose(ours["df"], theirs["df"], rtol=2e-4)
    rows = data.head(7).assign(Worker=["1", "2", "3", "4", "5", "6", "new"])
    ours, theirs = (f.predict(rows, interval="prediction", new_levels="population") for f in (a, b))
    np.testing.assert_allclose(ours["mean"], theirs["mean"], rtol=1e-6)
    np.testing.assert_allclose(ours["se"], theirs["se"], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_units_order_and_names(kind: str) -> None:
    data = machines()
    formula = f"score ~ Machine + {kind}(0 + Machine | Worker)"
    first = fit(formula, data)
    far = data.assign(score=1e6 * data["score"] + 1e7)
    other = fit(formula, far)
    np.testing.assert_allclose(other.fe_params - [1e7, 0, 0], 1e6 * first.fe_params, rtol=1e-6)
    own, theirs = (f.variance_parameters()["estimate"] for f in (first, other))
    unit = np.where(own.index.str.startswith("cor"), 1.0, 1e6)
    np.testing.assert_allclose(theirs, own * unit, rtol=1e-5, atol=1e-6)
    shuffled = data.sample(frac=1.0, random_state=7).assign(Worker=lambda d: "w" + d["Worker"])
    same(first, fit(formula, shuffled))


@pytest.mark.parametrize("kind", ["cs", "hetar1", "toep"])
def test_units_of_columns_with_variances_of_their_own(kind: str) -> None:
    data = machines()
    data["x"] = np.cos(np.arange(len(data)))
    left = "x" if kind == "cs" else "0 + Machine"
    first = fit(f"score ~ Machine + {kind}({left} | Worker)", data)
    other = fit(f"score ~ Machine + {kind}({left} | Worker)", data.assign(x=1e-6 * data["x"]))
    assert first.deviance == pytest.approx(other.deviance, abs=1e-7)


def test_levels_that_are_numbers_are_as_far_apart_as_they_say() -> None:
    rng = np.random.default_rng(1)
    days = np.tile([0, 1, 2, 4], 30)
    data = pd.DataFrame({"day": days, "id": np.repeat(np.arange(30), 4)})
    C = 0.7 ** np.abs(np.subtract.outer([0, 1, 2, 4], [0, 1, 2, 4]))
    data["y"] = (rng.standard_normal((30, 4)) @ np.linalg.cholesky(2 * C).T).ravel() + 0.5 * rng.standard_normal(120)
    one = fit("y ~ 1 + ar1(0 + factor(day) | id)", data)
    other = fit("y ~ 1 + ar1(0 + factor(hour) | id)", data.assign(hour=24 * days + 5))
    same(one, other)
    S = one.varcorr["id"].to_numpy()
    rho = S[0, 1] / S[0, 0]
    assert S[2, 3] / S[0, 0] == pytest.approx(rho**2, rel=1e-12)
