"""Spark data frames, where there is a Java to run them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design import spark
from mixedmodels.design.batches import kinds_of
from mixedmodels.design.streamed import LevelsMet

pytestmark = [
    pytest.mark.skipif(
        shutil.which("java") is None and "JAVA_HOME" not in os.environ, reason="Spark needs Java, which is not here"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyspark"),
]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    options = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.host": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in options.items():
        builder = builder.config(name, value)
    running = builder.getOrCreate()
    yield running
    running.stop()


def test_partitions_are_added_up_where_they_live(session: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(16)
    n = 3000
    subject, f = rng.integers(60, size=n), np.sort(rng.choice(["b", "c", "a"], size=n))
    x = rng.normal(size=n)
    y = 3 + 0.5 * x + (f == "c") + (rng.normal(size=60) * 2)[subject] + rng.normal(size=60)[subject] * x
    data = pd.DataFrame({"y": y + rng.normal(size=n), "x": x, "f": f, "subject": subject})
    for k, rows in enumerate(np.array_split(np.arange(n), 5)):
        data.iloc[rows].to_parquet(tmp_path / f"part{k}.parquet")
    frame = session.read.parquet(str(tmp_path))
    formula = "y ~ scale(x) + f + (x | subject)"
    assert frame.selectExpr("spark_partition_id() AS at").distinct().count() > 1
    fit, expected = mm.lmer(formula, frame), mm.lmer(formula, data)
    assert fit.deviance == pytest.approx(expected.deviance, rel=1e-10)
    pd.testing.assert_series_equal(fit.fe_params, expected.fe_params, rtol=1e-8)
    assert (fit.nobs, fit.n_groups) == (expected.nobs, expected.n_groups)
    effects, known = fit.random_effects["subject"], expected.random_effects["subject"]
    pd.testing.assert_frame_equal(effects, known, rtol=0, atol=1e-8 * np.abs(known.to_numpy()).max())


def test_what_cannot_be_used_is_told(session: Any) -> None:
    rng = np.random.default_rng(17)
    data = pd.DataFrame({"y": rng.normal(size=90), "x": rng.uniform(size=90), "subject": np.arange(90) % 9})
    data.loc[80, "x"] = 3.0
    frame = session.createDataFrame(data).repartition(2)
    bad = frame.selectExpr("y", "subject", "CASE WHEN x > 2 THEN double('infinity') ELSE x END AS x")
    with pytest.raises(mm.DataError, match=r"In 'partition \d': Column 'x' is infinite"):
        mm.lmer("y ~ x + (1 | subject)", bad)
    with pytest.raises(mm.DataError, match="have no rows"):
        mm.lmer("y ~ x + (1 | subject)", frame.filter("x > 1e9"))
    with pytest.raises(mm.DataError, match=r"xx.*Did you mean"):
        mm.lmer("y ~ xx + (1 | subject)", frame)
    broken = frame.selectExpr("y", "subject", "CASE WHEN x > 2 THEN raise_error('the disk') ELSE x END AS x")
    with pytest.raises(mm.DataError, match=r"Spark data frame cannot be computed \(\w+: .*the disk"):
        mm.lmer("y ~ x + (1 | subject)", broken)


def test_a_long_answer_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr(spark, "PIECE", 100)
    batch = pa.record_batch({"f": [f"level {k}" for k in range(50)]})
    kinds = kinds_of(batch.schema)
    seed = pickle.dumps(LevelsMet(["f"], ["f"], kinds))
    answers = [row for part in spark._answers(spark._summed, seed, kinds, iter([batch])) for row in part.to_pylist()]
    assert [row["piece"] for row in answers] == list(range(len(answers)))
    assert len(answers) > 2
    [met] = spark._read(answers)
    assert set(met.levels()["f"]) == set(batch["f"].to_pylist())
