"""Profiles with several optima: at a limit the lowest criterion of a dense V is the quantile above the estimate's."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import mixedmodels as mm

DATA = Path(__file__).resolve().parents[2] / "data"
QUANTILE = 1.959964**2

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.MixedModelsWarning")


def simulated() -> pd.DataFrame:
    """The 387th of a series of data sets of 12 groups with slopes: a second optimum half a unit above the best."""
    rng = np.random.default_rng(11)
    sizes = np.resize([4, 9, 6], 12)
    g = np.repeat(np.arange(12), sizes)
    x = np.concatenate([np.arange(n) - (n - 1) / 2 for n in sizes])
    root = np.linalg.cholesky([[1.0, 0.1], [0.1, 0.25]])
    for _ in range(387):
        b = rng.standard_normal((12, 2)) @ root.T
        y = 1 + b[g, 0] + b[g, 1] * x + rng.standard_normal(len(g))
    return pd.DataFrame({"y": y, "x": x, "g": g})


def lowest(data: pd.DataFrame, X: np.ndarray, held: tuple[str, float]) -> float:
    """Return the lowest REML criterion of (x | g), and of (1 | h) where there is an h, with a parameter held."""
    name, value = held
    slopes = np.column_stack([np.ones(len(data)), data["x"]])
    same = data["g"].to_numpy()[:, None] == data["g"].to_numpy()
    crossed = "h" in data and (data["h"].to_numpy()[:, None] == data["h"].to_numpy())
    n, p = X.shape

    def criterion(free: np.ndarray) -> float:
        sds = np.exp(np.clip(free[:4], -12, 12))
        if name.startswith("sd_"):
            sds[["sd_Intercept|g", "sd_x|g"].index(name)] = value
        rho = np.tanh(free[4])
        Sigma = np.array([[sds[0] ** 2, rho * sds[0] * sds[1]], [rho * sds[0] * sds[1], sds[1] ** 2]])
        V = sds[2] ** 2 * np.eye(n) + same * (slopes @ Sigma @ slopes.T) + sds[3] ** 2 * crossed
        L = np.linalg.cholesky(V)
        A, u = np.linalg.solve(L, X), np.linalg.solve(L, data["y"])
        dets = 2 * np.log(np.diag(L)).sum() + np.linalg.slogdet(A.T @ A)[1]
        if name == "Intercept":
            A, u = A[:, 1:], u - value * A[:, 0]
        r = u - A @ np.linalg.lstsq(A, u, rcond=None)[0]
        return float(dets + r @ r + (n - p) * np.log(2 * np.pi))

    starts = [np.array([a, b, 0.0, -0.5, z]) for a, b, z in product((1.3, 0.0), (0.3, -2.0), (-3.0, 1.5))]
    options = {"maxiter": 4000, "xatol": 1e-5, "fatol": 1e-8}
    return min(optimize.minimize(criterion, s, method="Nelder-Mead", options=options).fun for s in starts)


@pytest.mark.parametrize(
    ("source", "formula", "name", "side"),
    [
        (None, "y ~ x + (x | g)", "sd_Intercept|g", "upper"),
        ("profile_branch_slopes.csv", "y ~ x + f + (x | g) + (1 | h)", "sd_x|g", "upper"),
        ("profile_branch_intercept.csv", "y ~ x + f + (x | g)", "Intercept", "lower"),
    ],
)
def test_a_limit_lies_on_the_lowest_branch(source: str | None, formula: str, name: str, side: str) -> None:
    data = simulated() if source is None else pd.read_csv(DATA / source)
    fit = mm.lmer(formula, data)
    limit = float(fit.conf_int("profile", which=name).loc[name, side])
    rise = lowest(data, fit.state.design.X, (name, limit)) - fit.deviance
    assert rise == pytest.approx(QUANTILE, abs=3e-3)


def test_a_function_is_followed_however_many_standard_errors_it_takes() -> None:
    """Where the sd of slopes is nearly zero so is its share, whose standard error tells nothing of its range."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        g = np.repeat(np.arange(8), 5)
        x = rng.normal(size=40)
        y = rng.normal(size=8)[g] + 0.02 * rng.normal(size=8)[g] * x + rng.normal(size=40)
        fit = mm.lmer("y ~ x + (x | g)", {"y": y, "x": x, "g": g})
        if 0 < fit.varcorr["g"].loc["x", "x"] < 1e-3 * fit.scale:
            break
    shares = fit.profile({"share": lambda p: p["sd_x|g"] ** 2 / (p["sd_x|g"] ** 2 + p["sigma"] ** 2)}).conf_int()
    sd, sigma = fit.conf_int("profile", which="sd_x|g").loc["sd_x|g", "upper"], np.sqrt(fit.scale)
    assert shares.loc["share", "upper"] == pytest.approx(sd**2 / (sd**2 + sigma**2), rel=0.3)
