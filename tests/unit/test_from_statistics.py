"""Sums from SQL in place of rows: the fit is that of the rows, and what sums cannot say is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design.statistics import spread
from mixedmodels.errors import DataError, FormulaError

duckdb = pytest.importorskip("duckdb")

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    n = 3000
    rng = np.random.default_rng(20)
    shop, item = rng.integers(60, size=n), rng.integers(17, size=n)
    x, f = rng.normal(size=n), rng.choice(["b", "c", "a"], size=n)
    t = 1.7e9 + np.round(3e7 * rng.random(n))
    y = 3 + 0.5 * x + 2e-8 * (t - 1.7e9) + (f == "c") * (1 + x) + rng.normal(size=60)[shop]
    y += rng.normal(size=17)[item] * (1 + 0.6 * x) + rng.normal(size=n)
    frame = pd.DataFrame({"y": y, "x": x, "t": t, "f": f, "shop": shop, "item": item, "year": 1990 + shop % 4})
    return frame.assign(o=rng.normal(size=n), x2=x**2)


@pytest.fixture(scope="module")
def table(data: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("rows")
    for k in range(3):
        data.iloc[k::3].to_parquet(folder / f"{k}.parquet")
    return f"read_parquet('{folder}/*.parquet')"


def check_same(found: mm.LmmResult, expected: mm.LmmResult) -> None:
    assert found.state.fixed_names == expected.state.fixed_names
    assert (found.nobs, found.n_groups) == (expected.nobs, expected.n_groups)
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-10)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=1e-6 * np.abs(expected.theta).max())
    assert (np.abs(found.fe_params - expected.fe_params) <= 1e-8 * expected.bse_fe).all()
    np.testing.assert_allclose(found.bse_fe, expected.bse_fe, rtol=1e-8)
    assert found.sigma == pytest.approx(expected.sigma, rel=1e-8)
    for name, effects in expected.random_effects.items():
        own = found.random_effects[name]
        assert own.index.tolist() == effects.index.tolist()
        assert np.abs(own.to_numpy() - effects.to_numpy()).max() <= 1e-7 * np.abs(effects.to_numpy()).max()
    pd.testing.assert_frame_equal(found.coef_table(), expected.coef_table(), rtol=1e-5)


MODELS: tuple[tuple[str, list[str]], ...] = (
    ("y ~ 1 + (1 | shop)", []),
    ("y ~ x + (1 | shop) + (1 | item)", []),
    ("y ~ f * x + t + (x | item) + (1 | shop)", ["f"]),
    ("y ~ f + x2 + offset(o) + (1 + x + x2 || item)", ["f"]),
    ("y ~ C(year) + x + np.log(year) : x + (1 | item / year)", ["year"]),
    ("y ~ t + (t | item)", []),
)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("formula", "by"), MODELS)
def test_duckdb_over_parquet(formula: str, by: list[str], reml: bool, data: pd.DataFrame, table: str) -> None:
    statistics = duckdb.sql(mm.sufficient_statistics_sql(formula, table, by=by)).df()
    assert len(statistics) < len(data)
    check_same(mm.lmer_from_statistics(formula, statistics, reml=reml), mm.lmer(formula, data, reml=reml))


def test_statistics_of_more_terms_and_of_several_tables(data: pd.DataFrame, table: str, tmp_path: Path) -> None:
    text = mm.sufficient_statistics_sql("y ~ f + t + x + (1 | shop) + (1 | item)", "data", by=["f"])
    halves = [duckdb.sql(text).df() for data in (data[data["t"] < 1.71e9], data[data["t"] >= 1.71e9])]
    assert halves[0]["origin__t"][0] != halves[1]["origin__t"][0]
    statistics = pd.concat(halves)
    expected = mm.lmer("y ~ x + f + (x | shop)", data, contrasts="sum")
    check_same(mm.lmer_from_statistics("y ~ x + f + (x | shop)", statistics, contrasts="sum"), expected)
    statistics.to_parquet(tmp_path / "sums.parquet")
    check_same(mm.lmer_from_statistics("y ~ x + f + (x | shop)", tmp_path / "sums.parquet", contrasts="sum"), expected)
    arrow = duckdb.sql(text.replace("data", table))
    check_same(mm.lmer_from_statistics("y ~ x + f + (x | shop)", arrow, contrasts="sum"), expected)


def test_margins_and_predictions(data: pd.DataFrame, table: str) -> None:
    formula = "y ~ f * x + (1 | shop)"
    found = mm.lmer_from_statistics(formula, duckdb.sql(mm.sufficient_statistics_sql(formula, table, by=["f"])).df())
    expected = mm.lmer(formula, data)
    for weights in ("equal", "proportional"):
        own, known = (fit.margins("f", weights=weights) for fit in (found, expected))
        pd.testing.assert_frame_equal(own, known, rtol=1e-6)
    pd.testing.assert_frame_equal(found.anova(), expected.anova(), rtol=1e-5)
    np.testing.assert_allclose(found.predict(data), expected.predict(data), rtol=1e-8)
    with pytest.raises(mm.InferenceError, match="does not keep"):
        _ = found.resid


def test_missing_values_are_left_out_by_the_text(data: pd.DataFrame) -> None:
    gaps = data.assign(x=data["x"].where(data["item"] != 3).astype("Float64"))  # which duckdb reads as NULL
    formula = "y ~ x + (1 | shop)"
    found = mm.lmer_from_statistics(formula, duckdb.sql(mm.sufficient_statistics_sql(formula, "gaps")).df())
    check_same(found, mm.lmer(formula, data[data["item"] != 3]))
    assert gaps is not None


def test_any_sums_are_those_of_the_rows_that_stand_for_them() -> None:
    rng = np.random.default_rng(3)
    for d in (1, 2, 4):
        rows = [rng.normal(size=(k, d)) * 10.0 ** rng.integers(-3, 4, size=d) for k in (1, 2, 3, 4, 5, 6, 50)]
        rows[3][:, 0] = 7.0
        n = np.array([float(len(r)) for r in rows])
        sums, squares = np.array([r.sum(axis=0) for r in rows]), np.array([r.T @ r for r in rows])
        cells, values, counts = spread(n, sums, squares)
        for k in range(len(rows)):
            own, count = values[cells == k], counts[cells == k]
            size = np.sqrt(np.diag(squares[k]))
            assert count.sum() == pytest.approx(n[k])
            assert np.abs((count @ own - sums[k]) / size).max() < 1e-13 * n[k]
            assert np.abs((own.T * count @ own - squares[k]) / np.outer(size, size)).max() < 1e-13


REFUSED: tuple[tuple[str, list[str], str], ...] = (
    (
        "y ~ I(x**2) + (1 | shop)",
        [],
        r"'I\(x.*2\)' is computed from rows.*column of a view, or name its columns in by",
    ),
    ("log(y) ~ x + (1 | shop)", [], r"'log\(y\)' is computed from rows"),
    ("y ~ x:t + (1 | shop)", [], r"'x:t' multiplies numbers row by row.*'x' and 't' a column of a view"),
    ("y ~ . + (1 | shop)", [], "sums know no correlated residuals, no fe"),
    ("y ~ x + (1 | shop)", ["y"], "'y' must be a column of numbers that is not in by="),
    ("y ~ x + (1 | C(shop))", [], r"'C\(shop\)' is computed from rows"),
)


@pytest.mark.parametrize(("formula", "by", "message"), REFUSED)
def test_what_sums_cannot_say_is_refused(formula: str, by: list[str], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        mm.sufficient_statistics_sql(formula, "rows", by=by)


def test_bad_arguments(data: pd.DataFrame, table: str) -> None:
    formula = "y ~ x + (1 | shop)"
    statistics = duckdb.sql(mm.sufficient_statistics_sql(formula, table)).df()
    bad: Any
    for bad in ("", None, 3):
        with pytest.raises(DataError, match="table must be the name"):
            mm.sufficient_statistics_sql(formula, bad)
    with pytest.raises(DataError, match="by must be a list"):
        mm.sufficient_statistics_sql(formula, "rows", by="f")
    with pytest.raises(DataError, match="would have one name"):
        mm.sufficient_statistics_sql("y ~ y__y + (1 | shop)", "rows")
    with pytest.raises(DataError, match=r"no column 'origin__t', 'sum__t', 'sum__y__t', 'sum__x__t', \.\.\., which"):
        mm.lmer_from_statistics("y ~ x + t + (1 | shop)", statistics)
    with pytest.raises(DataError, match="no column 'item', which"):
        mm.lmer_from_statistics("y ~ x + (1 | item)", statistics)
    with pytest.raises(DataError, match="'sum__x' of the statistics holds text, not numbers"):
        mm.lmer_from_statistics(formula, statistics.assign(sum__x="many"))
    with pytest.raises(DataError, match="a sum is missing, no finite number"):
        mm.lmer_from_statistics(formula, statistics.assign(sum__x=np.nan))
    with pytest.raises(DataError, match="must be a pandas or polars DataFrame"):
        mm.lmer_from_statistics(formula, 3)
    with pytest.raises(mm.InferenceError, match="update needs the data"):
        mm.lmer_from_statistics(formula, statistics).update(". ~ 1")
