"""The directions that data cannot tell, against the rank of the dense covariances of all rows."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm

Floats = npt.NDArray[np.float64]

FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ f + (f | g) + (x | h) + (1 | g:h)",
    "y ~ 1 + (x | g) + (x | h) + (x | e)",
    "y ~ x + (x || g) + (f | h)",
    "y ~ x + (k | g)",
    "y ~ x + (0 + zero | g) + (1 | h)",
    "y ~ x + (x + triple | g)",
    "y ~ arm + (arm | g)",
    "y ~ arm + (0 + arm | g) + (1 | h)",
    "y ~ 0 + f + (1 | g) + (0 + f | g)",
    "y ~ f + (f | g) + (1 | g:f)",
    "y ~ x + (x | g) + (0 + I(x - 3) | g)",
    "y ~ e + (1 | h) + (e | h:g)",
    "y ~ C(g) + (1 | g) + (x | h)",
    "y ~ C(g) * x + (x || g) + (x | h)",
    "y ~ rare + x + (0 + rare | g)",
    "y ~ rare + x + (rare | g) + (1 | h)",
]


def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 150
    d = pd.DataFrame(
        {
            "g": rng.integers(0, 8, n),
            "h": rng.integers(0, 6, n),
            "x": rng.normal(size=n) + 50,
            "f": rng.choice(list("abc"), n),
            "e": rng.choice(list("pq"), n),
            "w": rng.uniform(0.5, 2, n),
        }
    )
    d["zero"], d["k"], d["triple"] = 0.0, 2.0, 3 * d["x"]
    d["arm"] = np.where(d["g"] < 4, "ctl", "trt")
    d["rare"] = np.where((d["g"] == 2) & (d["e"] == "p"), "seen once", d["f"])
    return d.assign(y=rng.normal(size=n) + rng.normal(size=8)[d["g"]])


def dense_directions(model: mm.LinearMixedModel, reml: bool) -> Floats:
    """Return the null space of phi -> A W^1/2 V W^1/2 A', rows."""
    design, engine = model.design, model.problem.model
    w = np.ones(design.n_obs) if design.weights is None else design.weights
    root = np.sqrt(w)[:, None]
    Q = np.linalg.qr(root * design.X[:, engine.kept])[0]
    A = np.eye(design.n_obs) - (Q @ Q.T if reml else 0)
    G = [np.eye(design.n_obs)]
    for k, row, column in engine.parameters:
        factor = design.factors[k]
        Z = np.ones((design.n_obs, 1)) if factor.Z is None else factor.Z
        T = engine.basis()[k]
        z = Z @ T
        z = root * np.where(np.abs(z) > 1e-12 * (np.abs(Z) @ np.abs(T)), z, 0.0)  # residuals of dependent columns
        E = np.zeros((z.shape[1],) * 2)
        E[row, column] = E[column, row] = 1.0
        G.append((factor.codes[:, None] == factor.codes) * (z @ E @ z.T))
    size = np.array([max(np.linalg.norm(one), 1e-300) for one in G])
    seen = np.array([(A @ one @ A).ravel() / s for one, s in zip(G, size, strict=True)])
    _, values, rows = np.linalg.svd(seen.T, full_matrices=False)
    return np.asarray(rows[values < 1e-7] / np.where(size > 1e-200, size, 1.0))


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_directions_are_those_of_the_dense_covariances(formula: str, weights: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mm.LinearMixedModel(formula, data(), weights=weights)
    found = model.problem.identification
    for reml in (False, True):
        ours, dense = found.flat(reml), dense_directions(model, reml)
        assert len(ours) == len(dense)
        if len(dense):
            # the same span: each of ours is a combination of the dense ones
            away = ours - ours @ np.linalg.pinv(dense) @ dense
            assert np.abs(away).max() < 1e-6 * np.abs(ours).max()


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reml", [False, True])
def test_the_criterion_is_flat_along_them(formula: str, reml: bool) -> None:
    """From a point inside, as far as the covariance stays positive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mm.LinearMixedModel(formula, data())
    engine = model.problem.model
    inside = np.where(engine.parameters[:, 1] == engine.parameters[:, 2], 1.0, 0.0)
    at = model.problem.deviance(engine.to_user(inside), reml)
    for d in model.problem.identification.flat(reml):
        step = 0.05 / np.abs(d).max()
        phi = np.append(1.0, inside) + step * d  # Lambda~ is the identity, and so is S~
        S = phi[1:] / phi[0]
        theta = np.zeros(len(inside))
        for k in np.unique(engine.parameters[:, 0]):
            own = np.flatnonzero(engine.parameters[:, 0] == k)
            _, row, column = engine.parameters[own].T
            full = np.zeros((row.max() + 1,) * 2)
            full[row, column] = full[column, row] = S[own]
            theta[own] = np.linalg.cholesky(full)[row, column]
        assert model.problem.deviance(engine.to_user(theta), reml) == pytest.approx(at, abs=1e-8)
