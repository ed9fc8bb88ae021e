"""A coding of categories changes neither the rank of a design nor what its data determine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedmodels as mm

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning"),
    pytest.mark.filterwarnings("ignore::mixedmodels.errors.RankDeficiencyWarning"),
]

FORMULAS = (
    "y ~ a * b + (1 | g)",
    "y ~ b:a + (1 | g)",
    "y ~ a * b + x + near + (1 | g)",
    "y ~ a * b * x + (1 | g)",
    "y ~ a * x + b * near + a:b + (1 | g)",
    "y ~ a + a:b + x + I(x**2) + a:I(x**2) + (1 | g)",
)
SCALES = {"near zero": (0.0, 1.0), "years": (2000.0, 1.0), "far": (1e6, 100.0), "days since 1970": (1.6e9, 86_400.0)}
"""Origin and unit of the covariates."""

CODINGS = ("sum", "helmert", "poly", "diff", "matrix")


def incomplete(rng: np.random.Generator, origin: float, unit: float) -> pd.DataFrame:
    """Return 12 groups in a two-way layout of unequal counts with an empty cell, and two covariates hardly apart."""
    n, n_a, n_b = int(rng.choice([60, 120])), rng.integers(2, 5), rng.integers(2, 6)
    a, b, g = rng.integers(0, n_a, n), rng.integers(0, n_b, n), rng.integers(0, 12, n)
    x, w = np.round(5 * rng.normal(size=n), 2), rng.normal(size=n)
    y = x / 5 + a + rng.normal(size=12)[g] + rng.normal(size=n)
    columns = {"a": a, "b": b, "g": g}
    data = pd.DataFrame({name: [f"{name}{code:02d}" for code in codes] for name, codes in columns.items()})
    apart = 1e-6 if origin == 0 else 1e-3
    data = data.assign(y=y, x=origin + unit * x, near=origin + unit * (x + apart * w))
    return data[(a != rng.integers(0, n_a)) | (b != rng.integers(0, n_b))]


def coded(kind: str, data: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    """Return the contrasts of both factors: a named coding, or any matrix that is one."""
    if kind != "matrix":
        return {"a": kind, "b": kind}
    return {name: any_coding(data[name].nunique(), rng) for name in ("a", "b")}


def any_coding(n_levels: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a matrix without structure, not so near a singular one that digits are lost to it."""
    while True:
        matrix = rng.normal(size=(n_levels, n_levels - 1))
        if np.linalg.cond(np.column_stack([np.ones(n_levels), matrix])) < 20:
            return matrix


def assert_same_model(fit: mm.LmmResult, by_treatment: mm.LmmResult) -> None:
    """Assert that two fits have one column space."""
    assert len(fit.fe_params) == len(by_treatment.fe_params)
    assert fit.deviance == pytest.approx(by_treatment.deviance, abs=1e-6)
    np.testing.assert_allclose(fit.fittedvalues, by_treatment.fittedvalues, rtol=0, atol=1e-6)
    means, expected = (f.margins(["a", "b"], ddf="normal")["estimate"] for f in (fit, by_treatment))
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    formula=st.sampled_from(FORMULAS),
    kind=st.sampled_from(CODINGS),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from(sorted(SCALES)),
    weighted=st.booleans(),
)
def test_any_coding(formula: str, kind: str, seed: int, scale: str, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    data = incomplete(rng, *SCALES[scale])
    weights = rng.uniform(0.1, 10, len(data)) if weighted else None
    by_treatment = mm.lmer(formula, data, reml=False, weights=weights)
    fit = mm.lmer(formula, data, reml=False, weights=weights, contrasts=coded(kind, data, rng))
    assert_same_model(fit, by_treatment)


@pytest.mark.parametrize("kind", CODINGS)
def test_an_empty_cell(kind: str) -> None:
    """14 cells of three rows: 14 columns, whose standard errors are of the size of the residuals."""
    cells = [(i, j, k) for i in range(3) for j in range(5) for k in range(3) if (i, j) != (0, 1)]
    data = pd.DataFrame([(f"a{i}", f"b{j}", f"g{k}") for i, j, k in cells], columns=["a", "b", "g"])
    data["y"] = np.sin(1.7 * np.arange(len(data))) + data["g"].map({"g0": 0.0, "g1": 1.0, "g2": -1.0})
    fit = mm.lmer("y ~ a * b + (1 | g)", data, contrasts=coded(kind, data, np.random.default_rng(0)), reml=False)
    assert len(fit.fe_params) == 14
    # balanced within blocks: the fitted value of a cell, free of its block, is the cell's mean
    means = fit.margins(["a", "b"])["estimate"].dropna()
    expected = data.groupby(["a", "b"])["y"].mean()
    assert len(means) == 14
    np.testing.assert_allclose(means, expected, atol=1e-8)
    assert np.isnan(fit.margins(["a", "b"])["estimate"]["a0", "b1"])


@pytest.mark.parametrize("kind", CODINGS)
def test_random_effects_with_an_empty_cell(kind: str) -> None:
    """Six coefficients of five cells have the covariances of the five cells."""
    rng = np.random.default_rng(8)
    cells = np.array([(i, j) for i in range(2) for j in range(3) if (i, j) != (1, 1)])
    cell, g = rng.integers(0, 5, 500), rng.integers(0, 25, 500)
    data = pd.DataFrame({"a": cells[cell, 0], "b": cells[cell, 1], "cell": cell, "g": g}).astype(str)
    data["y"] = rng.normal(size=500) + rng.normal(size=(25, 5))[g, cell]
    by_cells = mm.lmer("y ~ 0 + cell + (0 + cell | g)", data, reml=False)
    with pytest.warns(mm.MixedModelsWarning):
        fit = mm.lmer("y ~ a * b + (a * b | g)", data, contrasts=coded(kind, data, rng), reml=False)
    assert fit.converged
    assert fit.deviance == pytest.approx(by_cells.deviance, abs=1e-6)
    np.testing.assert_allclose(fit.fittedvalues, by_cells.fittedvalues, atol=1e-4)
    assert fit.optimizer.n_iterations < 3 * by_cells.optimizer.n_iterations


@pytest.mark.parametrize("scale", SCALES)
def test_the_mean_of_an_empty_cell_is_missing_however_far_the_origin(scale: str) -> None:
    data = incomplete(np.random.default_rng(3), *SCALES[scale])
    cells = data.groupby(["a", "b"]).size()
    means = mm.lmer("y ~ a * x + b * x + a:b + (1 | g)", data).margins(["a", "b"])["estimate"]
    assert set(means.index[means.notna()]) == set(cells.index)
    assert means.isna().any()
