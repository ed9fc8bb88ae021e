"""Simulated data of four shapes, and what a change of units does to a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

import mixedmodels as mm

Floats = npt.NDArray[np.float64]


def labels(prefix: str, codes: npt.NDArray[np.int64]) -> list[str]:
    """Return names of levels that sort as the codes do."""
    return [f"{prefix}{code:02d}" for code in codes]


def one_factor(rng: np.random.Generator) -> pd.DataFrame:
    """15 groups of 3 to 9 rows; intercept and slope of x vary."""
    g = np.repeat(np.arange(15), rng.integers(3, 10, 15))
    x = rng.normal(size=len(g))
    b = rng.normal(size=(15, 2)) @ [[0.8, 0.3], [0.0, 0.5]]
    y = 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "g": labels("g", g)})


def nested(rng: np.random.Generator) -> pd.DataFrame:
    """8 schools of 4 classes of 2 to 5 rows; the slope of x varies between schools."""
    b = np.repeat(np.arange(32), rng.integers(2, 6, 32))
    a = b // 4
    x = rng.normal(size=len(b))
    y = 2 + x + rng.normal(size=8)[a] + 0.6 * rng.normal(size=8)[a] * x + 0.7 * rng.normal(size=32)[b]
    return pd.DataFrame({"y": y + rng.normal(size=len(b)), "x": x, "a": labels("a", a), "b": labels("b", b % 4)})


def crossed(rng: np.random.Generator) -> pd.DataFrame:
    """16 subjects and 9 items, a quarter of the cells missing; the slope of x varies between subjects."""
    s, i = np.divmod(rng.permutation(16 * 9)[:108], 9)
    x = rng.normal(size=len(s))
    y = x + rng.normal(size=16)[s] + 0.5 * rng.normal(size=16)[s] * x + 0.7 * rng.normal(size=9)[i]
    return pd.DataFrame({"y": y + rng.normal(size=len(s)), "x": x, "s": labels("s", s), "i": labels("i", i)})


def two_slopes(rng: np.random.Generator) -> pd.DataFrame:
    """20 groups of 8 rows; intercept and slopes of x and z vary."""
    g = np.repeat(np.arange(20), 8)
    x, z = rng.normal(size=(2, len(g)))
    b = rng.normal(size=(20, 3)) @ np.array([[0.8, 0.3, -0.2], [0.0, 0.6, 0.3], [0.0, 0.0, 0.5]])
    y = x - z + b[g, 0] + b[g, 1] * x + b[g, 2] * z + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": labels("g", g)})


@dataclass(frozen=True)
class Shape:
    """A formula, the same one with its terms in another order, and a simulation of its data."""

    formula: str
    reordered: str
    simulate: Callable[[np.random.Generator], pd.DataFrame]

    def data(self, seed: int) -> pd.DataFrame:
        """Return one simulated data set."""
        return self.simulate(np.random.default_rng(seed))


SHAPES = {
    "one_factor": Shape("y ~ x + (x | g)", "y ~ (1 + x | g) + x", one_factor),
    "nested": Shape("y ~ x + (x | a) + (1 | a:b)", "y ~ (1 | a:b) + (x | a) + x", nested),
    "crossed": Shape("y ~ x + (x | s) + (1 | i)", "y ~ (1 | i) + (x | s) + x", crossed),
    "two_slopes": Shape("y ~ x + z + (x + z | g)", "y ~ z + x + (z + x | g)", two_slopes),
}


@dataclass(frozen=True)
class Units:
    """x becomes ``scale * x + shift`` and y ``y_scale * y + y_shift``."""

    scale: float = 1.0
    shift: float = 0.0
    y_scale: float = 1.0
    y_shift: float = 0.0

    def apply(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the data in these units."""
        return data.assign(x=self.scale * data["x"] + self.shift, y=self.y_scale * data["y"] + self.y_shift)

    def back(self, columns: Iterable[str]) -> Floats:
        """Return A with X' = X A, so that coefficients of the old columns are A times those of the new."""
        names = list(columns)
        A = np.eye(len(names))
        if "x" in names:
            x = names.index("x")
            A[x, x] = self.scale
            if self.shift:
                A[names.index("Intercept"), x] = self.shift
        return A

    def criterion_change(self, fit: mm.LmmResult) -> float:
        """Return what the units add to the criterion: the Jacobian of y, and of X under REML."""
        n_free = fit.df_resid if fit.reml else fit.nobs
        return 2 * n_free * np.log(self.y_scale) + 2 * fit.reml * np.log(self.scale)


AS_THEY_ARE = Units()


def assert_same(before: mm.LmmResult, after: mm.LmmResult, units: Units = AS_THEY_ARE) -> None:
    """Assert that two fits are one optimum, the second in other units: criterion to 1e-6, everything else mapped."""
    assert before.converged
    assert after.converged
    expected = before.deviance + units.criterion_change(before)
    assert abs(after.deviance - expected) < 1e-6
    assert after.is_singular == before.is_singular
    k = units.y_scale
    assert abs(after.sigma / (k * before.sigma) - 1) < 1e-5

    names = list(before.fe_params.index)
    A = units.back(names)
    beta = A @ after.fe_params[names].to_numpy() / k
    beta[names.index("Intercept")] -= units.y_shift / k
    se = before.bse_fe.to_numpy()
    assert np.abs((beta - before.fe_params.to_numpy()) / se).max() < 1e-4
    cov = A @ after.cov_fe.loc[names, names].to_numpy() @ A.T / k**2
    assert np.abs((cov - before.cov_fe.to_numpy()) / np.outer(se, se)).max() < 1e-4

    for group in before.n_groups:
        ours, theirs = before.varcorr[group], after.varcorr[group]
        effects = list(ours.index)
        A = units.back(effects)
        S = A @ theirs.loc[effects, effects].to_numpy() @ A.T / k**2
        sd = np.sqrt(np.diag(ours)) + 1e-3 * before.sigma
        assert np.abs((S - ours.to_numpy()) / np.outer(sd, sd)).max() < 1e-4
