"""Data that come in parts: the fit is that of all rows at once, and what is wrong is told with where it is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import mixedmodels as mm
from mixedmodels.design import batches, first_pass
from mixedmodels.design.evaluation import NEAR_ROWS, Evaluation, MatrixRecipe, Memory
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.first_pass import Note, Orthogonal
from mixedmodels.design.frame import Column
from mixedmodels.errors import DataError, DesignError, DroppedRowsWarning, FitError, InferenceError

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


def simulated(n: int = 2400) -> pd.DataFrame:
    rng = np.random.default_rng(14)
    subject, item = rng.integers(60, size=n), rng.integers(17, size=n)
    x, f = rng.normal(size=n), rng.choice(["b", "c", "a"], size=n)
    y = 3 + 0.5 * x + (f == "c") * (1 + x) + rng.normal(size=60)[subject] + rng.normal(size=17)[item] * (1 + 0.3 * x)
    return pd.DataFrame(
        {
            "y": y + rng.normal(size=n),
            "x": x,
            "size": np.exp(rng.normal(size=n)),
            "year": 1990.0 + rng.integers(30, size=n),
            "f": f,
            "sex": pd.Categorical(rng.choice(["m", "f"], size=n), categories=["m", "f", "other"]),
            "is_new": rng.random(n) < 0.3,
            "subject": subject,
            "item": np.array([f"item {k:02}" for k in range(17)])[item],
            "w": rng.gamma(3.0, size=n),
        }
    )


def parts_of(data: pd.DataFrame, folder: Path, n_files: int = 5) -> str:
    """Write a frame as files, in the order of its rows."""
    for k, rows in enumerate(np.array_split(np.arange(len(data)), n_files)):
        table = pa.Table.from_pandas(data.iloc[rows], preserve_index=False)
        pq.write_table(table, folder / f"part{k}.parquet", row_group_size=100)
    return str(folder)


FORMULAS = (
    "y ~ x + (1 | subject)",
    "y ~ x + year + (x | item) + (1 | subject)",
    "log(size) ~ I(x**2) + x + offset(0.1 * year) + (1 | subject)",
    "y ~ f * x + sex + (1 | subject) + (0 + x | item)",
    "y ~ f + is_new + (f || item)",
    "y ~ x + (1 | item/sex)",
    "y ~ 0 + f + (1 | item:f:sex) + (x + year | subject)",
)


def check_same(found: mm.LmmResult, expected: mm.LmmResult) -> None:
    assert found.state.fixed_names == expected.state.fixed_names
    assert (found.nobs, found.n_groups, found.n_dropped) == (expected.nobs, expected.n_groups, expected.n_dropped)
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-10)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=1e-6 * np.abs(expected.theta).max())
    table, known = found.coef_table(), expected.coef_table()
    np.testing.assert_allclose(table["std_error"], known["std_error"], rtol=1e-6)
    assert (np.abs(table["estimate"] - known["estimate"]) <= 1e-6 * known["std_error"]).all()
    np.testing.assert_allclose(table["df"], known["df"], rtol=1e-4)
    for name, effects in expected.random_effects.items():
        own = found.random_effects[name]
        assert own.index.tolist() == effects.index.tolist()
        assert list(own.columns) == list(effects.columns)
        assert np.abs(own.to_numpy() - effects.to_numpy()).max() <= 1e-6 * np.abs(effects.to_numpy()).max()
    assert {f.kind for f in found.findings} == {f.kind for f in expected.findings}


@pytest.mark.parametrize("formula", FORMULAS)
def test_files_sorted_by_what_the_model_has(formula: str, tmp_path: Path) -> None:
    """Most levels are in some files only, and columns do not vary in the first one."""
    data = simulated().sort_values(["f", "item"], ignore_index=True)
    fit = mm.lmer(formula, parts_of(data, tmp_path))
    check_same(fit, mm.lmer(formula, data))


@pytest.mark.parametrize("formula", FORMULAS[3:5])
def test_what_is_asked_of_means_and_products_is_the_same(formula: str, tmp_path: Path) -> None:
    data = simulated()
    fit, expected = mm.lmer(formula, parts_of(data, tmp_path)), mm.lmer(formula, data)
    for type_ in (1, 2, 3):
        pd.testing.assert_frame_equal(fit.anova(type=type_), expected.anova(type=type_), rtol=1e-5)
    for weights in ("equal", "proportional", "cells"):
        own, known = (one.margins("f", weights=weights, pairwise=True) for one in (fit, expected))
        pd.testing.assert_frame_equal(own, known, rtol=1e-5)
        assert own.attrs["notes"] == known.attrs["notes"]
    for ask in ("drop1", "effect_sizes", "glance", "tidy", "variance_parameters", "joint_tests"):
        pd.testing.assert_frame_equal(getattr(fit, ask)(), getattr(expected, ask)(), rtol=1e-4, atol=1e-7)
    for name, value in expected.r2().items():
        assert fit.r2()[name] == pytest.approx(value, rel=1e-6)
    own, known = (one.contrast("`f[T.c]` - `f[T.b]` = 0") for one in (fit, expected))
    pd.testing.assert_frame_equal(own, known, rtol=1e-5)
    pd.testing.assert_frame_equal(fit.conf_int(), expected.conf_int(), rtol=1e-5)
    np.testing.assert_allclose(fit.predict(data), expected.predict(data), rtol=1e-8)
    np.testing.assert_allclose(fit.icc()["adjusted"], expected.icc()["adjusted"], rtol=1e-6)
    pd.testing.assert_frame_equal(fit.coef_table("kenward-roger"), expected.coef_table("kenward-roger"), rtol=1e-5)
    assert str(fit.varcorr) == str(expected.varcorr)


def test_tests_of_a_single_variance_need_no_rows(tmp_path: Path) -> None:
    data = simulated()
    fit, expected = (mm.lmer(FORMULAS[0], rows) for rows in (parts_of(data, tmp_path), data))
    pd.testing.assert_frame_equal(fit.ranova(), expected.ranova(), rtol=1e-6)
    pd.testing.assert_frame_equal(fit.variance_shares(), expected.variance_shares(), rtol=1e-6)


def as_polars(data: pd.DataFrame) -> tuple[Any, object]:
    if not hasattr(pl.LazyFrame, "collect_batches"):
        with pytest.raises(mm.DataError, match="cannot hand over a LazyFrame in parts"):
            mm.lmer(FORMULAS[3], pl.from_pandas(data).lazy())
        pytest.skip("a polars that cannot hand over a LazyFrame in parts")
    return pl.from_pandas(data).lazy(), pl.from_pandas(data)


def as_duckdb(data: pd.DataFrame) -> tuple[Any, object]:
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.from_arrow(pa.Table.from_pandas(data))
    return relation, pa.RecordBatchReader.from_stream(relation).read_all()


def as_dataset(data: pd.DataFrame) -> tuple[Any, object]:
    return pa.dataset.dataset(pa.Table.from_pandas(data)), data


def as_reader(data: pd.DataFrame) -> tuple[Any, object]:
    table = pa.Table.from_pandas(data)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=300)), data


def as_exporter(data: pd.DataFrame) -> tuple[Any, object]:
    return Exporter(data), data


class Exporter:
    """Anything with an arrow stream."""

    def __init__(self, data: pd.DataFrame) -> None:
        self.table = pa.Table.from_pandas(data)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


SOURCES = (as_polars, as_duckdb, as_dataset, as_reader, as_exporter)


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_stream(
    source: Callable[[pd.DataFrame], tuple[Any, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "ROWS", 300)
    data = simulated()
    data["sex"] = data["sex"].cat.remove_unused_categories()
    stream, held = source(data)
    check_same(mm.lmer(FORMULAS[3], stream, weights="w"), mm.lmer(FORMULAS[3], held, weights="w"))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "arrow"])
def test_other_files(ending: str, tmp_path: Path) -> None:
    data = simulated(600)
    for k in range(2):
        rows = data.iloc[300 * k : 300 * (k + 1)]
        if ending == "arrow":
            table = pa.Table.from_pandas(rows, preserve_index=False)
            with pa.ipc.new_file(tmp_path / f"{k}.arrow", table.schema) as file:
                file.write_table(table)
        else:
            rows.to_csv(tmp_path / f"{k}.{ending}", index=False, sep="\t" if ending == "tsv" else ",")
    formula = "y ~ x * f + (x | subject) + (1 | item)"
    check_same(mm.lmer(formula, tmp_path / f"*.{ending}"), mm.lmer(formula, data))


def test_missing_rows_are_counted_by_their_reason(tmp_path: Path) -> None:
    data = simulated()
    data.loc[data.index % 7 == 0, "x"] = np.nan
    data.loc[data.index % 11 == 0, "f"] = None
    data.loc[data.index < 1000, "size"] = np.nan  # all of the first files
    formula = "y ~ x + f + np.log(size) + (1 | subject)"
    with pytest.warns(DroppedRowsWarning):
        expected = mm.lmer(formula, data)
    with pytest.warns(DroppedRowsWarning):
        fit = mm.lmer(formula, parts_of(data, tmp_path))
    assert fit.n_dropped == expected.n_dropped
    assert fit.state.design.n_dropped == expected.state.design.n_dropped
    check_same(fit, expected)
    with pytest.raises(DataError, match=r"part0.parquet'.*missing in .* rows"):
        mm.lmer(formula, str(tmp_path), missing="raise")


def test_what_is_by_row_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = simulated()
    fit = mm.lmer("y ~ x + f + (1 | subject)", parts_of(data, tmp_path))
    for ask in (
        lambda: fit.fittedvalues,
        lambda: fit.resid,
        fit.predict,
        lambda: fit.predict(random_effects="population"),
        fit.simulate,
        fit.hat_values,
        fit.influence,
        lambda: fit.bootstrap(5),
        lambda: fit.refit(data["y"]),
        lambda: fit.conf_int("profile"),
        lambda: fit.variance_shares("level"),
        fit.standardized,
        fit.augment,
    ):
        with pytest.raises(InferenceError, match=r"read in parts does not keep.*part at a time"):
            ask()
    with pytest.raises(InferenceError, match="comparison needs the rows"):
        mm.compare(fit, fit.update(". ~ . - x"))
    own = fit.augment(data.iloc[:100])
    expected = mm.lmer("y ~ x + f + (1 | subject)", data).augment().iloc[:100]
    np.testing.assert_allclose(own[".resid"], expected[".resid"], atol=1e-8)


def test_rows_come_back_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ROWS", 200)
    data = simulated()
    data.loc[data.index % 7 == 0, "x"] = np.nan
    formula = "y ~ x + f + sex + (1 | subject)"
    with pytest.warns(DroppedRowsWarning):
        fit, expected = (mm.lmer(formula, rows, weights="w") for rows in (parts_of(data, tmp_path), data))
    reader = fit.augment_batches(interval="prediction")
    table = pq.ParquetDataset(tmp_path).read()
    assert reader.schema.names == [*table.schema.names, ".fitted", ".resid", ".fixed", ".se", ".lower", ".upper"]
    assert reader.schema.types[: len(table.schema)] == table.schema.types
    first = reader.read_next_batch()
    assert 0 < first.num_rows <= 400
    rows = pa.Table.from_batches([first, *reader]).to_pandas()
    pd.testing.assert_frame_equal(rows[list(data.columns)], table.to_pandas())
    known = expected.augment(data, interval="prediction")
    used = rows[".fitted"].notna()
    assert used.sum() == expected.nobs
    for name in (".fitted", ".resid", ".fixed", ".se", ".lower", ".upper"):
        np.testing.assert_allclose(rows.loc[used, name], known[name], rtol=1e-6, atol=1e-8)
    new = data.drop(columns="y").assign(subject=99)
    pq.write_table(pa.Table.from_pandas(new.iloc[:300]), tmp_path / "new.parquet")
    stream = fit.augment_batches(tmp_path / "new.parquet", new_levels="population")
    assert stream.schema.names == [*new.columns, ".fitted", ".fixed"]
    population = expected.predict(new.iloc[:300], random_effects="population")
    np.testing.assert_allclose(stream.read_pandas()[".fitted"], population, rtol=1e-6)
    with pytest.raises(DataError, match=r"In '.*new.parquet'.*99"):
        fit.augment_batches(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"'DataFrame', which is not read in parts here. Use fit.augment\(data\)"):
        fit.augment_batches(data)
    with pytest.raises(DataError, match="name of a column"):
        fit.augment_batches(interval="prediction", weights=np.ones(2400))


def test_what_is_wrong_far_down_a_stream_of_rows_is_told(tmp_path: Path) -> None:
    fit = mm.lmer("y ~ x + (1 | subject)", bad_file(tmp_path, lambda d: d))
    (tmp_path / "part1.parquet").write_bytes((tmp_path / "part1.parquet").read_bytes()[:900])
    with pytest.raises(DataError, match=r"part1.parquet' cannot be read: it is cut off"):
        fit.augment_batches().read_all()


def test_updates_read_the_files_again(tmp_path: Path) -> None:
    data = simulated()
    fit = mm.lmer("y ~ x + f + (1 | subject)", parts_of(data, tmp_path), contrasts={"f": "sum"}, reml=False)
    check_same(fit.update(". ~ . - f"), mm.lmer("y ~ x + (1 | subject)", data, reml=False))
    model = mm.LinearMixedModel("y ~ x + f + (1 | subject)", str(tmp_path))
    expected = mm.LinearMixedModel("y ~ x + f + (1 | subject)", data)
    assert model.deviance([0.7]) == pytest.approx(expected.deviance([0.7]), rel=1e-12)
    threads = mm.lmer("y ~ x + (1 | subject)", str(tmp_path), control=mm.Control(n_threads=1))
    assert threads.deviance == pytest.approx(mm.lmer("y ~ x + (1 | subject)", data).deviance, rel=1e-12)


def test_saved_and_pickled(tmp_path: Path) -> None:
    fit = mm.lmer("y ~ x + f + (1 | subject)", parts_of(simulated(), tmp_path))
    pickled = pickle.dumps(fit)  # before anything was asked of it
    fit.save(tmp_path / "fit.mm")
    loaded = mm.load(tmp_path / "fit.mm")
    assert str(loaded.summary()) == str(fit.summary())
    pd.testing.assert_frame_equal(loaded.coef_table(), fit.coef_table())
    assert str(pickle.loads(pickled).summary()) == str(fit.summary())


def bad_file(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    data = simulated(600)
    parts_of(data, folder, 3)
    changed = change(data.iloc[200:400].copy())
    pq.write_table(pa.Table.from_pandas(changed, preserve_index=False), folder / "part1.parquet")
    return str(folder)


CHANGES: tuple[tuple[Callable[[pd.DataFrame], pd.DataFrame], str], ...] = (
    (lambda d: d.drop(columns="x"), r"part1.parquet' has no column 'x', which '.*part0.parquet' has"),
    (lambda d: d.assign(subject=d["subject"].astype(str)), r"'subject' holds text in '.*part1.parquet' and numbers in"),
    (lambda d: d.assign(x="high"), r"'x' holds text in '.*part1.parquet' and numbers in"),
    (lambda d: d.assign(x=np.inf), r"In '.*part1.parquet': Column 'x' is infinite"),
    (lambda d: d.assign(w=-1.0), r"In '.*part1.parquet': The weights 'w' must be positive"),
)


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_file_that_is_unlike_the_others_is_named(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        mm.lmer("y ~ x + f + (1 | subject)", bad_file(tmp_path, change), weights="w")


def test_empty_files_and_columns_of_nothing_are_no_harm(tmp_path: Path) -> None:
    data = simulated(600)
    folder = parts_of(data, tmp_path, 3)
    pq.write_table(pa.Table.from_pandas(data.iloc[:0], preserve_index=False), tmp_path / "part9.parquet")
    nothing = pa.Table.from_pandas(data.iloc[:2], preserve_index=False)
    nothing = nothing.set_column(nothing.schema.names.index("f"), "f", pa.nulls(2))
    pq.write_table(nothing, tmp_path / "part8.parquet")
    with pytest.warns(DroppedRowsWarning, match="Left out 2 of 602 rows: missing f 2"):
        fit = mm.lmer("y ~ x + f + (1 | subject)", folder)
    assert fit.deviance == pytest.approx(mm.lmer("y ~ x + f + (1 | subject)", data).deviance, rel=1e-12)


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    folder = parts_of(simulated(600), tmp_path, 3)
    whole = (tmp_path / "part1.parquet").read_bytes()
    (tmp_path / "part1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part1.parquet' cannot be read: it is cut off"):
        mm.lmer("y ~ x + (1 | subject)", folder)
    (tmp_path / "part1.parquet").write_bytes(whole[:400] + b"x" * 2000 + whole[2400:])
    with pytest.raises(DataError, match=r"part1.parquet' cannot be read"):
        mm.lmer("y ~ x + (1 | subject)", folder)
    with pytest.raises(DataError, match=r"There is no file .*Did you mean 'part..parquet'"):
        mm.lmer("y ~ x + (1 | subject)", tmp_path / "part.parquet")
    with pytest.raises(DataError, match="No file has a name like"):
        mm.lmer("y ~ x + (1 | subject)", str(tmp_path / "*.csv"))
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match="no file of data in the folder"):
        mm.lmer("y ~ x + (1 | subject)", tmp_path / "sub")
    (tmp_path / "a.txt").write_text("y")
    with pytest.raises(DataError, match="none of the files"):
        mm.lmer("y ~ x + (1 | subject)", tmp_path / "a.txt")
    (tmp_path / "a.csv").write_text("y,x,subject\n" + "1.5,2,a\n" * 50 + "high,2,b\n")
    with pytest.raises(DataError, match=r"(a.csv' cannot be read|response 'y' must be numeric)"):
        mm.lmer("y ~ x + (1 | subject)", tmp_path / "a.csv")


def test_a_result_of_adbc() -> None:
    adbc = pytest.importorskip("adbc_driver_sqlite.dbapi", reason="adbc-driver-sqlite is not installed")
    data = simulated().drop(columns=["sex", "is_new"])
    with adbc.connect(":memory:") as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("sales", pa.Table.from_pandas(data, preserve_index=False))
        cursor.execute("SELECT * FROM sales WHERE x > -1")
        formula = "y ~ x + (x | item) + (1 | subject)"
        check_same(mm.lmer(formula, cursor.fetch_record_batch()), mm.lmer(formula, data[data["x"] > -1]))


def test_a_stream_that_is_cut_off() -> None:
    table = pa.Table.from_pandas(simulated(), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=200):
            writer.write_batch(batch)
    whole = sink.getvalue().to_pybytes()
    with pytest.raises(DataError, match="'the stream' cannot be read: it is cut off"):
        mm.lmer("y ~ x + (1 | subject)", pa.ipc.open_stream(whole[: len(whole) // 2]))


def texts_and_numbers(folder: Path) -> None:
    data = simulated(600)
    parts_of(data.assign(x=data["x"].map("{:.3f} m".format)), folder, 1)
    pq.write_table(pa.Table.from_pandas(data, preserve_index=False), folder / "number.parquet")


MIXED: tuple[Callable[[Path], Any], ...] = (
    lambda folder: pa.dataset.dataset([str(folder / "number.parquet"), str(folder / "part0.parquet")]),
    lambda folder: pl.scan_parquet([folder / "number.parquet", folder / "part0.parquet"]),
    lambda folder: pytest.importorskip("duckdb").sql(
        f"SELECT y, CAST(x AS DOUBLE) AS x, subject FROM read_parquet('{folder}/part0.parquet')"
    ),
)


@pytest.mark.parametrize("door", MIXED)
def test_text_here_and_numbers_there_are_told_by_every_door(door: Callable[[Path], Any], tmp_path: Path) -> None:
    texts_and_numbers(tmp_path)
    with pytest.raises(DataError, match=r"cannot be read: .*columns are not of one kind|cannot hand over a LazyFrame"):
        mm.lmer("y ~ x + (1 | subject)", door(tmp_path))


LEARNT = (
    "y ~ center(x) + scale(year) + (1 | subject)",
    "scale(log(size)) ~ f * scale(x, center=False) + (center(year) | item)",
    "center(y) ~ poly(year, 3) + poly(x, 2, raw=True) + (1 | subject)",
    "y ~ bs(x, df=5) + bs(year, df=4, include_intercept=True, degree=2, lower_bound=1900) + (1 | subject)",
    "y ~ bs(x, df=6, lower_bound=-1, upper_bound=1, extrapolation='clip') + (1 | subject)",
    "y ~ bs(x, df=6, lower_bound=-1, upper_bound=1, extrapolation='extend') + (1 | subject)",
    "y ~ bs(year, knots=[2000, 2010]) + scale(x, scale=2.5, ddof=0) + offset(center(year)) + (1 | subject)",
)


@pytest.mark.parametrize("formula", LEARNT)
def test_functions_of_all_rows_learn_from_a_first_pass(formula: str, tmp_path: Path) -> None:
    """Files are sorted by a column that the functions use, and rows with gaps count for none of them."""
    data = simulated().sort_values("year", ignore_index=True)
    data.loc[data.index % 7 == 0, "y"] = np.nan
    data.loc[data.index % 5 == 0, "size"] = np.nan
    with pytest.warns(DroppedRowsWarning):
        fit, expected = (mm.lmer(formula, rows) for rows in (parts_of(data, tmp_path), data))
    check_same(fit, expected)
    new = data.iloc[100:200]
    np.testing.assert_allclose(fit.predict(new), expected.predict(new), rtol=1e-8, atol=1e-8)


def test_moments_of_parts_far_from_zero() -> None:
    values = 1.7e9 + 3e7 * np.random.default_rng(4).random(5000) ** 2
    note, *others = (Note(part, 6, Orthogonal(3)) for part in np.split(np.sort(values), [10, 11, 3000]))
    for other in others:
        note.merge(other)
    centred = values - values.mean()
    assert note.mean == pytest.approx(values.mean(), rel=1e-15)
    np.testing.assert_allclose(note.central[2:], [np.sum(centred**k) for k in range(2, 7)], rtol=1e-7)
    p = [np.ones(5000)]
    found = note.finish(note)
    for k in range(3):
        p.append(
            (values - found["alpha"][k]) * p[k] - (found["norms2"][k] / found["norms2"][k - 1] * p[k - 1] if k else 0)
        )
    grams = np.array([[a @ b for a in p] for b in p])
    size = np.sqrt(np.diag(grams))
    assert np.abs(grams / np.outer(size, size) - np.eye(4)).max() < 1e-8
    np.testing.assert_allclose([found["norms2"][k] for k in range(4)], np.diag(grams), rtol=1e-8)


NEEDS_ALL = ("cr(x, df=4)", "I(x - np.mean(x))")


@pytest.mark.parametrize("term", NEEDS_ALL)
def test_what_needs_all_rows_is_refused(term: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs all rows at once.*read in parts"):
        mm.lmer(f"y ~ {term} + (1 | subject)", parts_of(simulated(), tmp_path))


def test_what_a_first_pass_cannot_learn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parts_of(simulated(), tmp_path)
    with pytest.raises(DataError, match=r"'bs\(x, df=2\)' cannot be computed: Invalid value for `df`"):
        mm.lmer("y ~ bs(x, df=2) + (1 | subject)", folder)
    monkeypatch.setattr(first_pass, "MOST_VALUES", 1000)
    with pytest.raises(DataError, match=r"'bs\(x, df=4\)' places its knots at quantiles.*more than 1,000 .*knots="):
        mm.lmer("y ~ bs(x, df=4) + (1 | subject)", folder)
    with pytest.raises(DataError, match=r"'scale\(center\(x\) \+ 1\)' needs all rows of 'center\(x\)', which"):
        mm.lmer("y ~ scale(center(x) + 1) + (1 | subject)", folder)
    with pytest.raises(DataError, match=r"'scale\(x\)' needs all rows at once"):
        mm.lmer("y ~ scale(x) + (1 | subject)", as_reader(simulated())[0])


def test_models_that_cannot_be_fitted(tmp_path: Path) -> None:
    data = simulated().assign(same=lambda d: d["subject"] + 5, row=range(2400), one="a", z=lambda d: 2 * d["x"])
    folder = parts_of(data, tmp_path)
    with pytest.raises(DesignError, match="divide the rows into the same 60 groups"):
        mm.lmer("y ~ x + (1 | subject) + (1 | same)", folder)
    with pytest.raises(DesignError, match="as many levels"):
        mm.lmer("y ~ x + (1 | row)", folder)
    with pytest.raises(DesignError, match="one level only"):
        mm.lmer("y ~ x + (1 | one)", folder)
    with pytest.raises(FitError, match="perfectly"):
        mm.lmer("z ~ x + (1 | subject)", folder)
    with pytest.raises(DesignError, match="is constant"):
        mm.lmer("I(0 * x) ~ x + (1 | subject)", folder)
    with pytest.raises(DataError, match="name of a column, not an array"):
        mm.lmer("y ~ x + (1 | subject)", folder, weights=np.ones(2400))
    with pytest.raises(DataError, match="xx"):
        mm.lmer("y ~ xx + (1 | subject)", folder)


def test_a_stream_that_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ROWS", 300)
    data = simulated()
    reader, _ = as_reader(data)
    mm.lmer("y ~ x + (1 | subject)", reader)
    with pytest.raises(DataError, match=r"no rows.*read before"):
        mm.lmer("y ~ x + (1 | subject)", reader)
    data = data.sort_values("f", ignore_index=True)
    with pytest.raises(DesignError, match=r"'f' has one level only.*declare the levels"):
        mm.lmer("y ~ x + f + (1 | subject)", as_reader(data)[0])
    with pytest.raises(DataError, match=r"'f' has the level 'c', which the first rows do not have.*declare the levels"):
        mm.lmer("y ~ x + f + (1 | subject)", as_reader(data.iloc[700:])[0])
    declared = data.assign(f=data["f"].astype("category"))
    formula = "y ~ x + f + (1 | subject)"
    check_same(mm.lmer(formula, as_reader(declared)[0]), mm.lmer(formula, declared))
    late = data.assign(t=np.maximum(np.arange(2400.0) - 800, 0), y=lambda d: d["y"] + 1e5 * d["t"])
    with pytest.raises(DataError, match="needs another pass"):
        mm.lmer("y ~ t + (1 | subject)", as_reader(late)[0])


@pytest.mark.parametrize("n_rows", [1, NEAR_ROWS, 2 * NEAR_ROWS + 3])
def test_columns_of_any_length_stand_side_by_side(n_rows: int) -> None:
    years, x = np.arange(n_rows, dtype=np.int16), np.random.default_rng(1).normal(size=n_rows)
    evaluation = Evaluation({"year": Column(years), "x": Column(x)}, n_rows, Memory(), {})
    made = evaluation.matrix(MatrixRecipe((INTERCEPT, "year", "x"), ("year", "x"), None))
    np.testing.assert_array_equal(made, np.column_stack([np.ones(n_rows), years, x]))
