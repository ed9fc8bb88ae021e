"""Absorbed fixed effects against the dense twin with a column a level: criterion and gradient at any theta."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from oracle import dense_engine

N, LEVELS = 160, {"firm": 24, "year": 6, "worker": 40, "shop": 9}


def data() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    codes = {name: np.concatenate([np.arange(n), rng.integers(n, size=N - n)]) for name, n in LEVELS.items()}
    return pd.DataFrame({**codes, "x": rng.normal(size=N), "y": rng.normal(size=N), "w": rng.uniform(0.5, 2, N)})


def dense(frame: pd.DataFrame, absorbed: list[str], random: dict[str, bool], weighted: bool) -> dense_engine.Model:
    """Return the twin of the model with dummies, in the order in which levels are absorbed."""
    dummies = [np.eye(LEVELS[name])[frame[name]] for name in absorbed]
    X = np.column_stack([dummies[0], *(columns[:, 1:] for columns in dummies[1:]), frame["x"]])
    slopes = np.column_stack([np.ones(N), frame["x"]])
    return dense_engine.Model(
        frame["y"].to_numpy(),
        X,
        frame["w"].to_numpy() if weighted else None,
        [frame[name].to_numpy(dtype=np.int32) for name in random],
        [LEVELS[name] for name in random],
        [slopes if has_slope else None for has_slope in random.values()],
        [(2,) if has_slope else (1,) for has_slope in random.values()],
    )


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("absorbed", [["firm"], ["firm", "year"], ["year", "firm"]])
@pytest.mark.parametrize(
    "random",
    [{"shop": False}, {"worker": False}, {"worker": True}, {"worker": False, "shop": True}],
    ids=["smaller", "larger", "slopes", "two"],
)
def test_criterion_and_gradient(absorbed: list[str], random: dict[str, bool], weighted: bool, reml: bool) -> None:
    frame = data()
    terms = [f"fe({name})" for name in absorbed] + [
        f"({'x' if slope else 1} | {name})" for name, slope in random.items()
    ]
    model = mm.LinearMixedModel(f"y ~ x + {' + '.join(terms)}", frame, weights="w" if weighted else None)
    twin = dense(frame, absorbed, random, weighted)
    rng = np.random.default_rng(2)
    for scale in (0.05, 1.0, 30.0):
        theta = scale * rng.uniform(0.5, 1.5, len(model.theta_names))
        # the reference levels of a factor are the first in the twin too, so that the determinants are the same
        assert model.deviance(theta, reml) == pytest.approx(twin.deviance(theta, reml), abs=1e-8)
        gradient = twin.gradient(theta, reml)
        assert np.abs(model.gradient(theta, reml) - gradient).max() <= 1e-7 * (1 + np.abs(gradient).max())
