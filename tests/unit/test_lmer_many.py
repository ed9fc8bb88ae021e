"""Many responses to one model: each is the fit by itself, failures keep their rows, and work is kept."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from statsmodels.stats.multitest import multipletests

import mixedmodels as mm

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")

MODULE: Any = import_module("mixedmodels.lmer_many")  # as an attribute of the package it is the function
N, M = 120, 24
RNG = np.random.default_rng(14)
DATA = pd.DataFrame({
    "x": RNG.normal(size=N) + 1e6, "t": np.tile([0, 1, 2], N // 3), "f": RNG.choice(list("abc"), N),
    "g": RNG.integers(0, 20, N), "h": RNG.integers(0, 6, N), "s": np.repeat(np.arange(N // 3), 3),
    "w": RNG.uniform(0.5, 2, N), "o": RNG.normal(size=N),
})  # fmt: skip


def responses() -> np.ndarray:
    """Return responses with effects from none to large, far from zero, tiny, and missing in some rows."""
    Y = RNG.normal(size=(N, M)) + RNG.uniform(0, 1.5, M) * RNG.normal(size=(20, M))[DATA["g"]]
    Y += RNG.uniform(0, 1, M) * RNG.normal(size=(20, M))[DATA["g"]] * (DATA["x"] - 1e6).to_numpy()[:, None]
    Y += RNG.uniform(0, 1, M) * RNG.normal(size=(N // 3, M))[DATA["s"]]
    Y[:, 1] += 1e9
    Y[:, 2] *= 1e-12
    Y[3:6, 3:5] = np.nan
    Y[DATA["f"] == "b", 5] = np.nan
    return Y


Y = responses()
PLAIN = np.nan_to_num(Y)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "levels alike": ("t + (1 | s)", {}),
    "levels alike, several columns": ("t * f + poly(t, 2) + (1 | s)", {"reml": False}),
    "levels of several sizes": ("x + f + (1 | g)", {}),
    "weights and offset": ("x + f + (1 | g)", {"weights": "w", "offset": "o"}),
    "slopes": ("x + (x | g)", {}),
    "slopes on equal times": ("t + (t | s)", {"reml": False}),
    "independent slopes": ("x + (x || g)", {"weights": DATA["w"].to_numpy()}),
    "crossed": ("x + (1 | g) + (1 | h)", {"offset": DATA["o"].to_numpy()}),
    "no fixed effects": ("0 + (1 | g)", {}),
    "aliased columns": ("x + f + I(2 * x) + (1 | g)", {}),
}


def by_itself(formula: str, y: np.ndarray, options: dict[str, Any]) -> mm.LmmResult | mm.FitError:
    try:
        return mm.lmer(formula, DATA.assign(y=y), **options)
    except mm.FitError as error:
        return error


@pytest.mark.parametrize("name", MODELS)
def test_each_is_the_fit_by_itself(name: str) -> None:
    formula, options = MODELS[name]
    many = mm.lmer_many(f"~ {formula}", DATA, Y, progress=False, **options)
    coefficients, variances = many.coef_table(), many.variance_parameters("variance")
    singular = []
    for j in range(M):
        fit = by_itself(f"y ~ {formula}", Y[:, j], options)
        if isinstance(fit, mm.FitError):
            assert many.failures[j] == str(fit).replace("y ~", f"{j} ~")
            continue
        wanted = fit.coef_table()
        found = coefficients.xs(j, level="response") if len(wanted) else coefficients
        np.testing.assert_allclose(found.loc[wanted.index, wanted.columns], wanted, rtol=1e-8, atol=0)
        parameters = fit.variance_parameters("variance")["estimate"]
        np.testing.assert_allclose(
            variances.loc[j, parameters.index].astype(float), parameters, rtol=1e-8, atol=1e-8 * fit.scale
        )
        shown = fit.glance().iloc[0].astype(float)
        np.testing.assert_allclose(many.table.loc[j, shown.index].astype(float), shown, rtol=1e-8, atol=0)
        singular.append(fit.is_singular)
    assert many.singular[many.is_fitted].tolist() == singular
    assert many.is_fitted.sum() > M - 2
    assert len(coefficients) == M * len(many.terms)


def test_numbers_do_not_depend_on_blocks_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mm.lmer_many("~ t + (1 | s)", DATA, Y, progress=False)
    monkeypatch.setattr(MODULE, "MAX_BLOCK", 1)
    one_by_one = mm.lmer_many("~ t + (1 | s)", DATA, Y, control=mm.Control(n_threads=1), progress=False)
    np.testing.assert_array_equal(whole.coef_table().drop(columns="note"), one_by_one.coef_table().drop(columns="note"))
    np.testing.assert_array_equal(whole.varcorr, one_by_one.varcorr)


def test_failures_keep_their_rows() -> None:
    bad = np.column_stack(
        [Y[:, 0], np.full(N, 3.0), DATA["x"], Y[:, 1], np.full(N, np.nan), Y[:, 0], np.full(N, np.inf)]
    )
    bad[7, 3] = np.inf
    bad[2:, 5] = np.nan
    names = ["good", "constant", "fitted", "infinite", "missing", "nearly missing", "all infinite"]
    many = mm.lmer_many("~ x + (1 | g)", DATA, pd.DataFrame(bad, columns=names), progress=False)
    assert list(many.failures.index) == names[1:]
    for name, sentence in {
        "constant": "'constant' is constant: it is 3.0 in all 120 rows",
        "fitted": "'fitted ~ x .* the fixed effects fit the response perfectly",
        "infinite": "'infinite' is infinite in 1 of 120 rows",
        "all infinite": "'all infinite' is infinite in 120 of 120 rows",
        "missing": "Values are missing in all 120 rows",
        "nearly missing": "Left out 118 of 120 rows, where the response is missing",
    }.items():
        assert pd.Series([many.failures[name]]).str.contains(sentence, regex=True).all(), many.failures[name]
        rows = many.coef_table(adjust="fdr").loc[name]
        assert rows.drop(columns="note").isna().all(axis=None)
        assert set(rows["note"]) == {many.failures[name]}
        assert many.table.loc[name].drop(["note", "reml", "nobs"]).isna().all()
    assert "Responses without a fit: 6 of 7" in repr(many)
    assert "constant" in many._repr_html_()
    with pytest.raises(mm.FitError, match=r"No response could be fitted\. The first: The response 'a' is constant"):
        mm.lmer_many("~ x + (1 | g)", DATA, {"a": np.ones(N)}, progress=False)


def test_a_level_that_a_response_lacks_is_told() -> None:
    lacking = Y[:, :2].copy()
    lacking[DATA["f"] == "a", 1] = np.nan
    many = mm.lmer_many("~ f + (1 | g)", DATA, lacking, progress=False)
    assert many.note == ("", "columns computed from its own rows")
    fit = mm.lmer("y ~ f + (1 | g)", DATA.assign(y=lacking[:, 1]))
    rows = many.coef_table().loc[1]
    np.testing.assert_allclose(rows["estimate"].dropna(), fit.fe_params, rtol=1e-10)
    assert rows.index[rows["estimate"].isna()].tolist() == ["f[T.b]"]


def test_rows_without_predictors_are_left_out_of_all() -> None:
    data = DATA.assign(x=DATA["x"].where(DATA.index % 7 != 0))
    many = mm.lmer_many("~ x + (1 | g)", data, Y[:, :4], progress=False)
    assert many.remarks == ("Left out 18 of 120 rows: missing x 18.",)
    fit = mm.lmer("y ~ x + (1 | g)", data.assign(y=Y[:, 3]))
    assert many.nobs[3] == fit.nobs < many.nobs[0] == 102
    np.testing.assert_allclose(many.coef_table().loc[3, "p_value"], fit.coef_table()["p_value"], rtol=1e-8)
    with pytest.raises(mm.DataError, match="missing='drop'"):
        mm.lmer_many("~ x + (1 | g)", data, Y, missing="raise")
    with pytest.raises(mm.DataError, match="Response 3 is missing in 3 of 120 rows"):
        mm.lmer_many("~ x + (1 | g)", DATA, Y, missing="raise")


def test_every_kind_of_responses(tmp_path: Path) -> None:
    frame = pd.DataFrame(Y, columns=[f"gene {j}" for j in range(M)])
    frame.to_parquet(tmp_path / "genes.parquet", row_group_size=50)
    wanted = mm.lmer_many("~ x + (1 | g)", DATA, frame, progress=False)
    arrow = pa.Table.from_pandas(frame)
    nulls = pl.DataFrame(frame).with_columns(pl.all().fill_nan(None))
    objects = frame.astype(object)
    given = [nulls, arrow, dict(frame), str(tmp_path / "genes.parquet"), tmp_path / "genes.parquet", objects]
    for each in [*given, frame.convert_dtypes()]:
        many = mm.lmer_many("~ x + (1 | g)", DATA, each, progress=False)
        assert list(many.responses) == list(frame)
        np.testing.assert_array_equal(many.estimate, wanted.estimate)
    masked = np.ma.masked_invalid(Y)
    np.testing.assert_array_equal(mm.lmer_many("~ x + (1 | g)", DATA, masked, progress=False).estimate, wanted.estimate)
    one = mm.lmer_many("~ x + (1 | g)", DATA, frame["gene 0"], progress=False)
    assert one.coef_table().loc["gene 0", "estimate"].tolist() == wanted.estimate[0].tolist()
    counts = mm.lmer_many("~ x + (1 | g)", DATA, np.round(PLAIN[:, 6:9] * 9).astype(int), progress=False)
    assert counts.is_fitted.all()


@pytest.mark.parametrize(
    ("formula", "given", "error", "sentence"),
    [
        ("y ~ x + (1 | g)", Y, mm.FormulaError, "has 'y' on its left.* '~ x \\+ \\(1 \\| g\\)'"),
        ("x + (1 | g)", Y, mm.FormulaError, "has no ~"),
        (3, Y, mm.FormulaError, "of type 'int'"),
        ("~ x", Y, mm.FormulaError, "random"),
        ("~ z + (1 | g)", Y, mm.DataError, "no column 'z'"),
        ("~ x + (1 | g)", Y.T, mm.DataError, "pass Y.T"),
        ("~ x + (1 | g)", Y[:9], mm.DataError, "Y has 9 rows and 24 columns, and the data have 120 rows"),
        ("~ x + (1 | g)", Y[:, :0], mm.DataError, "no columns"),
        ("~ x + (1 | g)", Y[None], mm.DataError, "3 dimensions"),
        ("~ x + (1 | g)", "genes.csv", mm.DataError, "parquet files alone"),
        ("~ x + (1 | g)", "no.parquet", mm.DataError, "There is no file 'no.parquet'"),
        ("~ x + (1 | g)", {"a": Y[:, 0], "b": ["u"] * N}, mm.DataError, "Column 'b' of Y holds labels"),
        ("~ x + (1 | g)", pd.DataFrame(Y[:, :2], columns=["a", "a"]), mm.DataError, "Several columns of Y .* 'a'"),
        ("~ x + (1 | g)", pd.DataFrame(Y)[::-1], mm.DataError, "another order"),
        ("~ x + (1 | g)", None, mm.DataError, "0 dimensions"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(formula: Any, given: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        mm.lmer_many(formula, DATA, given, progress=False)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    pd.DataFrame(Y, columns=[f"y{j}" for j in range(M)]).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(mm.DataError, match=r"cut.parquet' cannot be read: it is no parquet file, or damaged"):
        mm.lmer_many("~ x + (1 | g)", DATA, path)


@pytest.mark.parametrize(("adjust", "theirs"), [("fdr", "fdr_bh"), ("holm", "holm"), ("bonferroni", "bonferroni")])
def test_p_values_are_adjusted_over_responses(adjust: str, theirs: str) -> None:
    given = np.column_stack([Y, np.ones(N)])
    table = mm.lmer_many("~ x + f + (1 | g)", DATA, given, progress=False).coef_table(adjust=adjust)
    for term in ("x", "f[T.c]"):
        rows = table.xs(term, level="term").dropna(subset="p_value")
        assert len(rows) == M
        wanted = multipletests(rows["p_value"], method=theirs)[1]
        np.testing.assert_allclose(rows["p_value_adjusted"], wanted, rtol=1e-12)


def test_degrees_of_freedom_and_intervals() -> None:
    many = mm.lmer_many("~ x + (1 | g)", DATA, Y[:, :4], progress=False)
    fit = mm.lmer("y ~ x + (1 | g)", DATA.assign(y=Y[:, 3]))
    for ddf in ("residual", "normal"):
        wanted = fit.coef_table(ddf, level=0.9)
        found = many.coef_table(ddf, level=0.9).loc[3]
        np.testing.assert_allclose(found[wanted.columns], wanted, rtol=1e-8)
    with pytest.raises(mm.InferenceError, match=r"ask mm\.lmer, or mm\.fit_many"):
        many.coef_table("kenward-roger")
    with pytest.raises(mm.InferenceError, match="adjust='tukey' is not available"):
        many.coef_table(adjust="tukey")
    with pytest.raises(mm.InferenceError, match="scale='log' is not available"):
        many.variance_parameters("log")
    roots = many.variance_parameters()
    squares = many.variance_parameters("variance")
    np.testing.assert_allclose(roots["sd_Intercept|g"] ** 2, squares["var_Intercept|g"])
    np.testing.assert_allclose(roots["sigma"] ** 2, squares["sigma^2"])


def test_interrupted_work_is_handed_over_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "genes"
    whole = mm.lmer_many("~ t + (t | s)", DATA, Y, progress=False)
    monkeypatch.setattr(MODULE, "MAX_BLOCK", 5)
    filled = MODULE._Filled._fit

    def interrupted(self: Any, at: range) -> None:
        if at.start == 10:
            raise KeyboardInterrupt
        filled(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(MODULE._Filled, "_fit", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            mm.lmer_many("~ t + (t | s)", DATA, Y, path=path, progress=False)
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert len(partial) == 10
    with pytest.warns(mm.PartialResultWarning, match="10 of 24 responses are done"):
        rows = partial.coef_table()
    np.testing.assert_array_equal(rows["estimate"], whole.coef_table()["estimate"][:20])
    with pytest.warns(mm.PartialResultWarning):
        assert len(mm.load(path)) == 10

    done = mm.lmer_many("~ t + (t | s)", DATA, Y, path=path, progress=False)
    pd.testing.assert_frame_equal(pd.DataFrame(done.coef_table()), pd.DataFrame(whole.coef_table()))
    loaded = mm.load(path)
    pd.testing.assert_frame_equal(pd.DataFrame(loaded.table), pd.DataFrame(whole.table))
    pd.testing.assert_frame_equal(pd.DataFrame(loaded.variance_parameters()), pd.DataFrame(whole.variance_parameters()))
    again = mm.lmer_many("~ t + (t | s)", DATA, Y, path=path, progress=False)
    np.testing.assert_array_equal(again.deviance, whole.deviance)
    for other in ({"Y": Y + 1}, {"data": DATA.assign(t=DATA["t"] + 1)}, {"reml": False}, {"formula": "~ t + (1 | s)"}):
        with pytest.raises(mm.InferenceError, match="Give another path, or remove the file"):
            mm.lmer_many(**{"formula": "~ t + (t | s)", "data": DATA, "Y": Y, "path": path, "progress": False} | other)  # type: ignore[arg-type]


def test_fits_that_stop_early_say_so() -> None:
    many = mm.lmer_many("~ x + (x | g)", DATA, Y[:, :3], control=mm.Control(max_iterations=1), progress=False)
    assert not many.converged.any()
    assert all("not converged" in note for note in many.note)
    assert many.coef_table()["estimate"].notna().all()


def test_no_name_is_taken() -> None:
    data = DATA.rename(columns={"x": "response", "h": "response_"})
    many = mm.lmer_many("~ response + response_ + (1 | g)", data, Y[:, :1], progress=False)
    fit = mm.lmer("y ~ response + response_ + (1 | g)", data.assign(y=Y[:, 0]))
    np.testing.assert_allclose(many.estimate[0], fit.fe_params, rtol=1e-12)
    with pytest.raises(mm.DataError, match="no column 'response'"):
        mm.lmer_many("~ response + (1 | g)", DATA, Y, progress=False)


def test_restricted_formulas() -> None:
    with pytest.raises(mm.FormulaError, match="restricted"):
        mm.lmer_many("~ x.sum() + (1 | g)", DATA, Y, evaluate="restricted")


@pytest.mark.parametrize("fixed", ["1", "x", "x * arm"])
@pytest.mark.parametrize("sizes", [(12, 11), (10, 11, 7), (3, 2), (5,)])
def test_groups_of_few_sizes(sizes: tuple[int, ...], fixed: str) -> None:
    """Groups with the same rows of X are turned into few; of columns that are the same there rounding alone is left."""
    rng = np.random.default_rng(len(sizes))
    for few in (1, 2, 9, 30):
        lengths = np.repeat(sizes, [71, few, 12][: len(sizes)])
        g = np.repeat(np.arange(len(lengths)), lengths)
        data = pd.DataFrame({"g": g, "x": np.concatenate([np.arange(length) for length in lengths]), "arm": g % 2})
        Y = rng.normal(size=(len(g), 2)) + rng.normal(size=(len(lengths), 2))[g]
        many = mm.lmer_many(f"~ {fixed} + (1 | g)", data, Y, progress=False)
        assert len(many.failures) == 0
        ones = [mm.lmer(f"y ~ {fixed} + (1 | g)", data.assign(y=y)).llf for y in Y.T]
        np.testing.assert_allclose(many.table["llf"], ones, rtol=1e-11)
