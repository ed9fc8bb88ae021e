"""Small data whose optimum is often on the boundary: variances of zero, correlations of one, hardly enough rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Simulation = Callable[[np.random.Generator], tuple[str, pd.DataFrame]]


def small_sd(rng: np.random.Generator) -> float:
    """Return a standard deviation that is zero, small or moderate."""
    return rng.choice([0.0, 0.1, 0.3, 0.6])


def one_way(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """4 to 10 groups of 2 to 6 rows."""
    g = np.repeat(np.arange(rng.integers(4, 11)), rng.integers(2, 7))
    y = small_sd(rng) * rng.normal(size=g.max() + 1)[g] + rng.normal(size=len(g))
    return "y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g})


def perfect_correlation(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """Slopes that are a multiple of the intercepts."""
    g = np.repeat(np.arange(12), rng.integers(3, 7, 12))
    x = rng.normal(size=len(g))
    b = rng.normal(size=12)[g]
    y = x + b + rng.choice([-0.6, 0.6]) * b * x + rng.normal(size=len(g))
    return "y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g})


def double_bar(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """Uncorrelated intercept and slopes, some without variance."""
    g = np.repeat(np.arange(10), rng.integers(4, 8, 10))
    x, z = rng.normal(size=(2, len(g)))
    y = rng.normal(size=len(g))
    for column in (np.ones(len(g)), x, z):
        y = y + small_sd(rng) * rng.normal(size=10)[g] * column
    return "y ~ x + z + (x + z || g)", pd.DataFrame({"y": y, "x": x, "z": z, "g": g})


def crossed(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """8 x 6 with empty cells; either factor may have no variance."""
    a, b = np.divmod(rng.permutation(48)[:40], 6)
    y = small_sd(rng) * rng.normal(size=8)[a] + small_sd(rng) * rng.normal(size=6)[b] + rng.normal(size=40)
    return "y ~ 1 + (1 | a) + (1 | b)", pd.DataFrame({"y": y, "a": a, "b": b})


def nested(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """6 schools of 3 classes of 2 to 4 rows; either level may have no variance."""
    b = np.repeat(np.arange(18), rng.integers(2, 5, 18))
    y = small_sd(rng) * rng.normal(size=6)[b // 3] + small_sd(rng) * rng.normal(size=18)[b] + rng.normal(size=len(b))
    return "y ~ 1 + (1 | a/b)", pd.DataFrame({"y": y, "a": b // 3, "b": b % 3})


def gauge(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """A gauge study: 10 parts x 3 operators x 2, with their interaction; operators seldom differ."""
    part, operator, _ = (index.ravel() for index in np.indices((10, 3, 2)))
    cell = part * 3 + operator
    y = rng.normal(size=10)[part] + small_sd(rng) * rng.normal(size=3)[operator]
    y = y + small_sd(rng) * rng.normal(size=30)[cell] + 0.5 * rng.normal(size=60)
    data = pd.DataFrame({"y": y, "part": part, "operator": operator})
    return "y ~ 1 + (1 | part) + (1 | operator) + (1 | part:operator)", data


def three_factors(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """Three crossed factors, 50 rows at random, a slope on the first."""
    a, b, c = rng.integers(0, 8, 50), rng.integers(0, 6, 50), rng.integers(0, 5, 50)
    x = rng.normal(size=50)
    y = x + small_sd(rng) * rng.normal(size=8)[a] * (1 + x) + small_sd(rng) * rng.normal(size=6)[b]
    y = y + small_sd(rng) * rng.normal(size=5)[c] + rng.normal(size=50)
    return "y ~ x + (x | a) + (1 | b) + (1 | c)", pd.DataFrame({"y": y, "x": x, "a": a, "b": b, "c": c})


def maximal(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """A 2 x 2 experiment, 9 subjects twice in every cell, all slopes random: ten parameters from 72 rows."""
    s, A, B, _ = (index.ravel() for index in np.indices((9, 2, 2, 2)))
    A, B = A - 0.5, B - 0.5
    loadings = rng.normal(size=(4, 2)) * [0.8, 0.4]
    b = (rng.normal(size=(9, 2)) @ loadings.T)[s]
    y = A + b[:, 0] + b[:, 1] * A + b[:, 2] * B + b[:, 3] * A * B + rng.normal(size=72)
    return "y ~ A * B + (A * B | s)", pd.DataFrame({"y": y, "A": A, "B": B, "s": s})


def maximal_crossed(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """10 subjects x 8 items in a Latin square of two conditions, slopes on both, several of them without variance."""
    s, i = (index.ravel() for index in np.indices((10, 8)))
    A = (s + i) % 2 - 0.5
    y = A + rng.normal(size=10)[s] + small_sd(rng) * rng.normal(size=10)[s] * A
    y = y + small_sd(rng) * rng.normal(size=8)[i] + small_sd(rng) * rng.normal(size=8)[i] * A + rng.normal(size=80)
    return "y ~ A + (A | s) + (A | i)", pd.DataFrame({"y": y, "A": A, "s": s, "i": i})


def experiment(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """A 2 x 2 experiment, 20 subjects x 12 items, all slopes random on both: 20 parameters, most superfluous."""
    s, i = (index.ravel() for index in np.indices((20, 12)))
    A, B = (s + i) % 2 - 0.5, (s // 2 + i // 2) % 2 - 0.5
    y = A + rng.normal(size=20)[s] + small_sd(rng) * rng.normal(size=20)[s] * A
    y = y + 0.5 * rng.normal(size=12)[i] + small_sd(rng) * rng.normal(size=12)[i] * B + rng.normal(size=240)
    return "y ~ A * B + (A * B | s) + (A * B | i)", pd.DataFrame({"y": y, "A": A, "B": B, "s": s, "i": i})


def hardly_any_rows(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """10 to 20 rows, two factors and a covariate: where several optima are met."""
    n = rng.integers(10, 21)
    a = np.concatenate([np.arange(4), rng.integers(0, 4, n - 4)])
    b = np.concatenate([np.arange(3), rng.integers(0, 3, n - 3)])
    x = rng.normal(size=n)
    y = x + small_sd(rng) * rng.normal(size=4)[a] + small_sd(rng) * rng.normal(size=3)[b] + rng.normal(size=n)
    return "y ~ x + (1 | a) + (0 + x | b)", pd.DataFrame({"y": y, "x": x, "a": a, "b": b})


def hardly_any_rows_slope(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """12 to 20 rows in five groups with a slope: as few as can be."""
    n = rng.integers(12, 21)
    g = np.concatenate([np.arange(5), np.arange(5), rng.integers(0, 5, n - 10)])
    x = rng.normal(size=n)
    y = rng.normal(size=5)[g] * small_sd(rng) + rng.normal(size=5)[g] * small_sd(rng) * x + rng.normal(size=n)
    return "y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g})


def heavy_tails(rng: np.random.Generator) -> tuple[str, pd.DataFrame]:
    """Residuals and effects with outliers, weights over three orders of magnitude."""
    g = np.concatenate([np.arange(9), rng.integers(0, 9, 41)])
    x = rng.standard_t(3, size=50)
    w = 10 ** rng.uniform(-1.5, 1.5, 50)
    y = rng.standard_t(2, size=9)[g] + small_sd(rng) * rng.standard_t(2, size=9)[g] * x + rng.standard_t(2, size=50)
    return "y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g, "w": w})


SIMULATIONS: dict[str, Simulation] = {
    simulate.__name__: simulate
    for simulate in (
        one_way,
        perfect_correlation,
        double_bar,
        crossed,
        nested,
        gauge,
        three_factors,
        maximal,
        maximal_crossed,
        hardly_any_rows,
        hardly_any_rows_slope,
        heavy_tails,
        experiment,
    )
}
