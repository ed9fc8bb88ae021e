"""The engine finds exactly the columns that depend on columns before them, whatever units, origins and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels import _engine
from oracle.exact_rank import CODINGS, Floats, Whole, coding, independent_columns, products


def random_columns(seed: int, kind: str) -> tuple[Whole, Floats]:
    """Return columns of a random part of a design in whole numbers and in doubles, (n, p) each.

    Three factors with empty cells, a covariate at an origin far off, another 1e-6 of its spread apart from it, their
    interactions and powers, in any order, with or without a constant.
    """
    rng = np.random.default_rng(seed)
    n, sizes = int(rng.choice([30, 60, 150])), rng.integers(2, 5, 3)
    codes = [rng.integers(0, size, n) for size in sizes]
    for _ in range(rng.integers(0, 4)):
        i, j = rng.choice(3, 2, replace=False)
        a = rng.integers(0, sizes[i])
        codes[i][(codes[i] == a) & (codes[j] == rng.integers(0, sizes[j]))] = (a + 1) % sizes[i]
    origin, spread = int(rng.choice([0, 50, 2000, 10**6])), int(rng.choice([3, 10, 1000]))
    x = rng.integers(-spread, spread + 1, n).astype(object) + origin
    w = rng.integers(-9, 10, n).astype(object)
    codings = [coding(kind, size, rng) for size in sizes]
    near = x * 10**6 + spread * w
    covariates = {
        False: (x, w, near, 7 * x),
        True: (x.astype(float), w, x + 1e-6 * (spread * w.astype(float)), 0.7 * x),
    }
    parts = []
    for in_doubles, numbers in covariates.items():
        factors = [list(pair[in_doubles][code].T) for pair, code in zip(codings, codes, strict=True)]
        parts.append(choice_of_terms(np.random.default_rng(seed), factors, numbers, origin))
    return np.column_stack(parts[0]), np.column_stack([column.astype(float) for column in parts[1]])


def choice_of_terms(
    rng: np.random.Generator, factors: Sequence[Any], covariates: Sequence[Any], origin: int
) -> list[Any]:
    """Return the columns of some terms, which are the same for the same generator."""
    (a, b, c), (x, w, near, again) = factors, covariates
    terms = [
        a, b, products(a, b), c, products(a, c), products(products(a, b), c), [x], products(a, [x]), [x * x], [w],
        products(b, [w]), [w * w], [w**3], [x - origin], [3 * x - w], [again],
    ]  # fmt: skip
    if origin < 10**6:
        terms += [[near], products(a, [near])]
    chosen = rng.permutation(len(terms))[: rng.integers(2, 7)]
    if rng.random() < 0.5:
        chosen = np.sort(chosen)
    constant = [w * 0 + 1] if rng.random() < 0.85 else []
    return [*constant, *(column for k in chosen for column in terms[k])]


def model(X: Floats, Z: Floats | None, blocks: list[int], weights: Floats | None) -> _engine.Model:
    """Return the engine's model of any response, in seven groups."""
    y = np.random.default_rng(0).normal(size=len(X))
    codes = (np.arange(len(X)) % 7).astype(np.int32)
    return _engine.Model(y, np.ascontiguousarray(X), weights, [codes], [7], [Z], [blocks], n_threads=1)


@pytest.mark.parametrize("kind", CODINGS)
def test_fixed_columns(kind: str) -> None:
    tried = 0
    for seed in range(80):
        whole, X = random_columns(seed, kind)
        expected = independent_columns(whole)
        if len(expected) == len(X):
            continue
        rng = np.random.default_rng(seed)
        units = np.where(np.ptp(X, axis=0) == 0, 1.0, 10.0 ** rng.uniform(-6, 6, X.shape[1]))
        weights = 10.0 ** rng.uniform(-4, 4, len(X))
        for scaled, w in ((X, None), (X * units, None), (X, weights)):
            assert model(scaled, None, [1], w).kept == expected, seed
        tried += len(expected) < X.shape[1]
    assert tried > 10, "few of the designs had dependent columns"


@pytest.mark.parametrize("kind", CODINGS)
def test_random_columns(kind: str) -> None:
    tried = 0
    for seed in range(100, 180):
        whole, Z = random_columns(seed, kind)
        expected = independent_columns(whole)
        q = Z.shape[1]
        if q > 25:
            continue
        dependent = sorted(set(range(q)) - set(expected))
        ones = np.ones((len(Z), 1))
        for blocks in ([q], [1] * q, [1, q - 1], [-q]):
            assert model(ones, np.ascontiguousarray(Z), blocks, None).dependent_columns() == [dependent], (seed, blocks)
        tried += bool(dependent)
    assert tried > 8, "few of the designs had dependent columns"


def test_far_dates() -> None:
    """Hours in seconds since 1970: products and squares keep all columns, and only what is dependent goes."""
    rng = np.random.default_rng(3)
    hour, arm = rng.integers(0, 60, 80), rng.integers(0, 2, 80)
    seconds, whole = 1.6e9 + 3600.0 * hour, (1_600_000_000 + 3600 * hour.astype(object))
    a = arm.astype(object)
    exact = np.column_stack([a * 0 + 1, a, whole, a * whole, whole**2, a * whole**2, hour.astype(object), 1 - a])
    X = np.column_stack([np.ones(80), arm, seconds, arm * seconds, seconds**2, arm * seconds**2, hour / 3, 1.0 - arm])
    assert independent_columns(exact) == [0, 1, 2, 3, 4, 5]
    assert model(X, None, [1], None).kept == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("share", "nearly"), [(1e-5, []), (1e-6, []), (1e-8, [2]), (1e-10, [2])])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_nearly_dependent_columns_stay_and_are_named(share: float, unit: float, nearly: list[int]) -> None:
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(2, 100))
    found = model(np.column_stack([np.ones(100), x, unit * (x + share * w), w]), None, [1], None)
    assert found.kept == [0, 1, 2]
    assert found.nearly_dependent == nearly


def test_one_model_whatever_basis_holds_it() -> None:
    """A covariate and its near twin span what the covariate and their scaled difference span."""
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(2, 100))
    ones = np.ones(100)
    near, apart = (model(np.column_stack([ones, x, z]), None, [1], None) for z in (x + 1e-6 * w, w))
    theta = np.array([0.8])
    assert near.deviance(theta, False) == pytest.approx(apart.deviance(theta, False), abs=1e-8)
    assert near.deviance(theta, True) == pytest.approx(apart.deviance(theta, True) + 2 * np.log(1e-6), abs=1e-8)


def test_more_columns_than_rows_keep_one_for_each_cell_that_occurs() -> None:
    """1,296 columns of an interaction in 230 rows, of which most are zero; it took seconds, and 11,587 took minutes."""
    rng = np.random.default_rng(0)
    d = pd.DataFrame({name: rng.choice(list("abcdef"), 230) for name in "pqrs"})
    d["g"], d["y"] = rng.integers(0, 12, 230), rng.normal(size=230)
    n_cells = len(d[list("pqrs")].drop_duplicates())
    with pytest.warns(mm.RankDeficiencyWarning):
        fit = mm.lmer("y ~ 0 + p:q:r:s + (1 | g)", d, reml=False)
    assert len(fit.fe_params) == n_cells < 230
