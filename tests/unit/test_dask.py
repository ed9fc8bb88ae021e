"""Dask data frames: sums are made where partitions live, and come out as those of all rows at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.errors import DataError, DroppedRowsWarning

dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of pandas, by what Dask calls
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def simulated(n: int = 2400) -> pd.DataFrame:
    rng = np.random.default_rng(15)
    subject, item = rng.integers(60, size=n), rng.integers(17, size=n)
    x, f = rng.normal(size=n), rng.choice(["b", "c", "a"], size=n)
    y = 3 + 0.5 * x + (f == "c") * (1 + x) + rng.normal(size=60)[subject] + rng.normal(size=17)[item] * (1 + 0.3 * x)
    return pd.DataFrame(
        {
            "y": y + rng.normal(size=n),
            "x": x,
            "f": f,
            "sex": pd.Categorical(rng.choice(["m", "f"], size=n), categories=["m", "f", "other"]),
            "subject": subject,
            "item": np.array([f"item {k:02}" for k in range(17)])[item],
            "w": rng.gamma(3.0, size=n),
        }
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two processes, from which a killed one comes back."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 5}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as both,
        distributed.Client(both) as client,
    ):
        yield client


def check_same(found: mm.LmmResult, expected: mm.LmmResult) -> None:
    assert found.state.fixed_names == expected.state.fixed_names
    assert (found.nobs, found.n_groups, found.n_dropped) == (expected.nobs, expected.n_groups, expected.n_dropped)
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-10)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=1e-6 * np.abs(expected.theta).max())
    table, known = found.coef_table(), expected.coef_table()
    np.testing.assert_allclose(table["std_error"], known["std_error"], rtol=1e-6)
    assert (np.abs(table["estimate"] - known["estimate"]) <= 1e-6 * known["std_error"]).all()
    for name, effects in expected.random_effects.items():
        own = found.random_effects[name]
        assert own.index.tolist() == effects.index.tolist()
        assert np.abs(own.to_numpy() - effects.to_numpy()).max() <= 1e-6 * np.abs(effects.to_numpy()).max()
    assert {f.kind for f in found.findings} == {f.kind for f in expected.findings}


FORMULAS = (
    "y ~ x + (1 | subject)",
    "log(3 + abs(y)) ~ f * x + sex + (x | item) + (1 | subject)",
    "y ~ x + (1 | item/sex) + (1 | subject:f)",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_two_processes(formula: str, cluster: Any) -> None:
    """Rows are sorted, so that most levels are in one partition only."""
    data = simulated().sort_values(["f", "item"], ignore_index=True)
    check_same(mm.lmer(formula, dd.from_pandas(data, npartitions=19), weights="w"), mm.lmer(formula, data, weights="w"))


def test_without_a_cluster(tmp_path: Path) -> None:
    data = simulated()
    dd.from_pandas(data, npartitions=5).to_parquet(tmp_path / "rows")
    formula = "y ~ f + x + (1 | item) + (1 | subject)"
    check_same(mm.lmer(formula, dd.read_parquet(tmp_path / "rows")), mm.lmer(formula, data))


def test_a_worker_that_is_killed_costs_a_retry(cluster: Any, tmp_path: Path) -> None:
    data = simulated()

    def dies_once(rows: pd.DataFrame, folder: str, partition_info: Any = None) -> pd.DataFrame:
        met = Path(folder) / "died"
        if partition_info is not None and partition_info["number"] == 6 and not met.exists():
            met.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    frame = dd.from_pandas(data, npartitions=12).map_partitions(dies_once, str(tmp_path), meta=data.iloc[:0])
    found = mm.lmer("y ~ f + x + (1 | item) + (1 | subject)", frame)
    assert (tmp_path / "died").exists()
    check_same(found, mm.lmer("y ~ f + x + (1 | item) + (1 | subject)", data))


def partitions(parts: list[pd.DataFrame], meta: pd.DataFrame) -> Any:
    return dd.from_delayed([dask.delayed(part) for part in parts], meta=meta.iloc[:0], verify_meta=False)


def test_partitions_that_are_empty_or_of_missing_values() -> None:
    data = simulated(900)
    missing = data.iloc[300:600].assign(x=np.nan)
    rows = pd.concat([missing, data.iloc[:300], data.iloc[600:]], ignore_index=True)
    frame = partitions([data.iloc[:0], missing, data.iloc[:300], data.iloc[:0], data.iloc[600:], data.iloc[:0]], data)
    formula = "y ~ x + f + sex + (1 | subject)"
    with pytest.warns(DroppedRowsWarning, match="Left out 300 of 900 rows: missing x 300"):
        found = mm.lmer(formula, frame)
    with pytest.warns(DroppedRowsWarning):
        check_same(found, mm.lmer(formula, rows))
    with pytest.raises(DataError, match="Values are missing in all 600 rows"):
        mm.lmer(formula, partitions([missing, missing], data))
    with pytest.raises(DataError, match="The data have no rows"):
        mm.lmer(formula, partitions([data.iloc[:0]], data))


def test_categories_of_each_partition() -> None:
    """Their order is that in which partitions have them, as of files."""
    data = simulated(900)
    parts = [data.iloc[300 * k : 300 * (k + 1)] for k in range(3)]
    parts = [part.assign(f=pd.Categorical(part["f"], categories=["a", "b", "c"])) for part in parts]
    parts[1] = parts[1][parts[1]["f"] != "a"].assign(f=lambda d: d["f"].cat.remove_unused_categories())
    data = pd.concat(parts).assign(f=lambda d: pd.Categorical(d["f"], categories=["a", "b", "c"]))
    frame = partitions(parts, data)
    formula = "y ~ x + f + (1 | subject)"
    check_same(mm.lmer(formula, frame, contrasts="sum"), mm.lmer(formula, data, contrasts="sum"))
    unknown = dd.from_pandas(data, npartitions=3).assign(f=lambda d: d["f"].cat.as_unknown())
    check_same(mm.lmer(formula, unknown), mm.lmer(formula, data))


CHANGES: tuple[tuple[Callable[[pd.DataFrame], pd.DataFrame], str], ...] = (
    (lambda d: d.drop(columns="x"), r"partition 1 has no column 'x', which the data frame has"),
    (
        lambda d: d.assign(subject=d["subject"].astype(str)),
        r"'subject' holds text in partition 1 and numbers",
    ),
    (lambda d: d.assign(x="high"), r"Column 'x' holds text in partition 1 and numbers in the data frame"),
    (lambda d: d.assign(x=[1.5, "high"] * (len(d) // 2)), r"a column holds values of several kinds|holds text in"),
    (lambda d: d.assign(x=np.inf), r"In 'partition 1': Column 'x' is infinite"),
    (lambda d: d.assign(w=-1.0), r"In 'partition 1': The weights 'w' must be positive"),
)


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_partition_that_is_unlike_the_others_is_named(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str, cluster: Any
) -> None:
    data = simulated(600)
    parts = [data.iloc[:200], change(data.iloc[200:400].copy()), data.iloc[400:]]
    with pytest.raises(DataError, match=message):
        mm.lmer("y ~ x + f + (1 | subject)", partitions(parts, data), weights="w")


def test_what_cannot_be_computed_is_told() -> None:
    data = simulated(600)

    def fails(rows: pd.DataFrame) -> pd.DataFrame:
        raise OSError("the disk is gone")

    frame = dd.from_pandas(data, npartitions=2).map_partitions(fails, meta=data.iloc[:0])
    with pytest.raises(DataError, match=r"Partition 0 of the Dask data frame cannot be computed \(OSError: the disk"):
        mm.lmer("y ~ x + (1 | subject)", frame)
    with pytest.raises(DataError, match="name of a column, not an array"):
        mm.lmer("y ~ x + (1 | subject)", dd.from_pandas(data, npartitions=2), weights=np.ones(600))


def test_a_second_pass_where_the_first_rows_are_unlike_the_others() -> None:
    data = simulated().assign(t=np.maximum(np.arange(2400.0) - 800, 0), y=lambda d: d["y"] + 1e3 * d["t"])
    check_same(
        mm.lmer("y ~ t + (1 | subject)", dd.from_pandas(data, npartitions=8)), mm.lmer("y ~ t + (1 | subject)", data)
    )


def test_updates_and_new_rows_on_the_workers(cluster: Any) -> None:
    data = simulated()
    frame = dd.from_pandas(data, npartitions=4)
    fit, expected = (mm.lmer("y ~ x + f + (1 | subject)", rows) for rows in (frame, data))
    check_same(fit.update(". ~ . - f"), expected.update(". ~ . - f"))
    rows = frame.map_partitions(lambda part: fit.augment(part)[".resid"], meta=("resid", float)).compute()
    np.testing.assert_allclose(rows, expected.resid, atol=1e-8)
