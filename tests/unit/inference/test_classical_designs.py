"""Balanced designs: F and its degrees of freedom are those of the classical tables, formed from cell means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load

DDF = pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
Floats = npt.NDArray[np.float64]


def cells(data: pd.DataFrame, response: str, *factors: str) -> Floats:
    """Return the response as an array with one axis a factor, and a last one for repetitions."""
    counts = [data[factor].nunique() for factor in factors]
    ordered = data.sort_values(list(factors), kind="stable")
    return ordered[response].to_numpy(float).reshape(*counts, -1)


def effect(y: Floats, *axes: int) -> Floats:
    """Return the interaction of some axes (one axis: its main effect) at their cells, by inclusion and exclusion."""
    out = np.zeros_like(y)
    for subset in range(2 ** len(axes)):
        kept = [axis for k, axis in enumerate(axes) if subset >> k & 1]
        rest = tuple(axis for axis in range(y.ndim) if axis not in kept)
        out = out + (-1) ** (len(axes) - len(kept)) * y.mean(axis=rest, keepdims=True)
    return out


def sum_of_squares(y: Floats, *axes: int) -> float:
    """Return the sum of squares of an effect over all observations."""
    return float(np.sum(np.broadcast_to(effect(y, *axes), y.shape) ** 2))


def check(table: pd.DataFrame, term: str, mean_square: float, error: float, df: tuple[int, int]) -> None:
    row = table.loc[term]
    assert row["f_value"] == pytest.approx(mean_square / error, rel=1e-6)
    assert (row["num_df"], row["den_df"]) == (df[0], pytest.approx(df[1], rel=1e-5))


@DDF
def test_randomised_block(ddf: str) -> None:
    data = load("ergoStool")
    y = cells(data, "effort", "Subject", "Type")[..., 0]
    error = sum_of_squares(y, 0, 1) / 24
    table = mm.lmer("effort ~ Type + (1 | Subject)", data).anova(ddf=ddf)
    check(table, "Type", sum_of_squares(y, 1) / 3, error, (3, 24))


@DDF
@pytest.mark.parametrize("type_", [1, 2, 3])
def test_split_plot(type_: int, ddf: str) -> None:
    """Varieties on whole plots within blocks, nitrogen on their parts (Yates 1935)."""
    data = load("Oats").assign(nitro=lambda d: d["nitro"].astype(str))
    y = cells(data, "yield", "Block", "Variety", "nitro")[..., 0]
    whole = sum_of_squares(y, 0, 1) / 10
    part = (sum_of_squares(y, 0, 2) + sum_of_squares(y, 0, 1, 2)) / 45
    table = mm.lmer("yield ~ nitro * Variety + (1 | Block/Variety)", data).anova(type_, ddf)
    check(table, "Variety", sum_of_squares(y, 1) / 2, whole, (2, 10))
    check(table, "nitro", sum_of_squares(y, 2) / 3, part, (3, 45))
    check(table, "nitro:Variety", sum_of_squares(y, 1, 2) / 6, part, (6, 45))


@DDF
def test_repeated_measures(ddf: str) -> None:
    """Machines by workers with repetitions: machines against machines by workers."""
    data = load("Machines")
    y = cells(data, "score", "Worker", "Machine")
    table = mm.lmer("score ~ Machine + (1 | Worker/Machine)", data).anova(ddf=ddf)
    check(table, "Machine", sum_of_squares(y, 1) / 2, sum_of_squares(y, 0, 1) / 10, (2, 10))


def test_unstructured_repeated_measures_are_hotellings() -> None:
    """Kenward-Roger's scaled F is Hotelling's: T^2 (n - q) / (q (n - 1)) on (q, n - q)."""
    data = load("Machines")
    means = cells(data, "score", "Worker", "Machine").mean(axis=-1)
    contrasts = means[:, 1:] - means[:, :1]
    n, q = contrasts.shape
    centre = contrasts.mean(axis=0)
    T2 = n * centre @ np.linalg.solve(np.cov(contrasts.T), centre)
    fit = mm.lmer("score ~ Machine + (0 + Machine | Worker)", data)
    table = fit.anova(ddf="kenward-roger")
    check(table, "Machine", T2 * (n - q) / (q * (n - 1)), 1.0, (q, n - q))
    check(fit.anova(), "Machine", T2 / q, 1.0, (q, n - 1))


@DDF
def test_intercept_of_a_balanced_one_way_layout(ddf: str) -> None:
    """The mean against the variance of group means, with groups less one degrees of freedom."""
    data = load("Dyestuff")
    means = data.groupby("Batch", observed=True)["Yield"].mean()
    row = mm.lmer("Yield ~ 1 + (1 | Batch)", data).coef_table(ddf).iloc[0]
    assert row["std_error"] == pytest.approx(means.std() / np.sqrt(len(means)), rel=1e-6)
    assert row["df"] == pytest.approx(len(means) - 1, rel=1e-5)
