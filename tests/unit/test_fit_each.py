"""One regression a level: far origins, levels that do not determine a coefficient, frames, pictures, refusals."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest

import mixedmodels as mm

mpl.use("agg")

SLEEP = mm.load_dataset("sleepstudy")


def messy() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    data = pd.DataFrame({
        "y": rng.normal(size=60), "x": np.tile([0.0, 1, 2, 4, 5, 7], 10), "f": rng.choice(list("ab"), 60),
        "my g": np.repeat(np.arange(10), 6), "h": np.tile([1, 2, 3], 20), "z": rng.normal(size=60),
    })  # fmt: skip
    data.loc[data["my g"] == 3, "x"] = 2.0  # does not vary
    data.loc[data["my g"] == 5, "y"] = np.nan  # no row left
    data.loc[data["my g"] == 7, "f"] = "a"  # one level
    data.loc[(data["my g"] == 8) & (data["x"] > 0), "y"] = np.nan  # one row
    return data


@pytest.mark.parametrize("origin", [1e3, 1e6, 1e9])
def test_far_origins(origin: float) -> None:
    here, far = (mm.fit_each("Reaction ~ Days | Subject", SLEEP.assign(Days=SLEEP["Days"] + c)) for c in (0, origin))
    for attribute in ("coef", "unscaled"):
        np.testing.assert_allclose(getattr(far, attribute)["Days"], getattr(here, attribute)["Days"], rtol=1e-8)
    assert far.sigma == pytest.approx(here.sigma, rel=1e-9)
    means = far.coef["Intercept"] + far.coef["Days"] * origin
    np.testing.assert_allclose(means, here.coef["Intercept"], atol=origin * 1e-12)


def test_levels_that_do_not_determine_a_coefficient_keep_their_row() -> None:
    each = mm.fit_each("y ~ x + f | `my g`", messy())
    notes = each.levels["note"]
    assert list(each.coef.index) == list(range(10))
    assert notes[3] == "Intercept, x not determined: x does not vary here."  # the height at x = 0, from rows at x = 2
    assert notes[5] == "No row without missing values."
    assert notes[7] == "f[T.b] not determined: it does not vary here."
    assert notes[8].endswith("not determined: 1 row for 3 coefficients.")
    assert (notes.drop([3, 5, 7, 8]) == "").all()
    assert each.coef.loc[5].isna().all()
    assert each.coef.loc[3].notna().tolist() == [False, False, True]
    assert each.coef_table().loc[(3, "x")].isna().all()
    own = each.coef_table(pool=False)
    assert own.loc[(8, "Intercept"), "estimate"] == each.coef.loc[8, "Intercept"]
    assert np.isnan(own.loc[(8, "Intercept"), "std_error"])
    assert "3: Intercept, x not determined" in repr(each)
    assert "pooled residual standard deviation" in each._repr_html_()


def test_what_the_rows_of_a_level_do_not_determine_is_missing() -> None:
    data = messy()
    data["f"] = np.where(data["my g"] == 4, np.where(data["z"] > 0, "b", "c"), data["f"])  # without the first level
    each = mm.fit_each("y ~ x + f | `my g`", data)
    n_missing = 0
    for level, rows in data.dropna().groupby("my g"):
        X = np.column_stack([np.ones(len(rows)), rows["x"], rows["f"] == "b", rows["f"] == "c"]).astype(float)
        determined = np.diag(np.linalg.pinv(X) @ X) > 1 - 1e-9  # a unit vector in the span of the rows
        assert each.coef.loc[level].notna().tolist() == determined.tolist()
        smallest = np.linalg.pinv(X) @ rows["y"]
        np.testing.assert_allclose(each.coef.loc[level][determined], smallest[determined], atol=1e-10)
        n_missing += (~determined).sum()
    assert n_missing > each.coef.shape[0]
    assert each.levels.loc[4, "note"] == "Intercept, f[T.b], f[T.c] not determined: combinations of the others here."


def test_a_level_is_its_own_regression() -> None:
    """Against NumPy's least squares, with weights and an offset, for a combination of factors."""
    data = messy().dropna()
    w = 1 + np.arange(len(data)) % 4
    each = mm.fit_each("y ~ x | `my g`:h", data, weights=w, offset="z")
    at = ((data["my g"] == 2) & (data["h"] == 2)).to_numpy()
    X, root = np.column_stack([np.ones(at.sum()), data.loc[at, "x"]]), np.sqrt(w[at])
    beta, *_ = np.linalg.lstsq(X * root[:, None], (data["y"] - data["z"])[at] * root, rcond=None)
    np.testing.assert_allclose(each.coef.loc["2:2"], beta, rtol=1e-10)


def test_columns_are_those_of_all_levels() -> None:
    each = mm.fit_each("Reaction ~ poly(Days, 2) | Subject", SLEEP[SLEEP["Days"] + SLEEP.index % 3 > 1])
    data = SLEEP[SLEEP["Days"] + SLEEP.index % 3 > 1]
    fit = mm.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", data)
    fitted = (fit.state.design.X * each.coef.loc[data["Subject"]].to_numpy()).sum(axis=1)
    own = np.concatenate(
        [
            np.polyval(np.polyfit(d["Days"], d["Reaction"], 2), d["Days"])
            for _, d in data.groupby("Subject", observed=True)
        ]
    )
    np.testing.assert_allclose(fitted, own, rtol=1e-8)


def test_frames_and_codings() -> None:
    here = mm.fit_each("Reaction ~ Days | Subject", SLEEP)
    assert mm.fit_each("Reaction ~ Days | Subject", pl.from_pandas(SLEEP)).coef.equals(here.coef)
    coded = mm.fit_each("y ~ f | `my g`", messy(), contrasts="sum")
    assert list(coded.coef) == ["Intercept", "f[S.a]"]


def test_pictures() -> None:
    each = mm.fit_each("y ~ x + f | `my g`", messy())
    axes = each.plot()
    assert [ax.get_xlabel() for ax in axes] == list(each.coef)
    assert len(axes[0].get_yticks()) == 10
    many = pd.DataFrame({"y": np.arange(400.0) % 7, "x": np.arange(400) % 4, "g": np.arange(400) // 4})
    assert each.plot(which="x", pool=False).get_xlabel() == "x"
    assert mm.fit_each("y ~ x | g", many).plot(which="x").get_ylabel() == "g: 100 levels"
    nowhere = mm.fit_each("y ~ x | g", many.assign(x=many["g"]))
    assert nowhere.plot(which="x").texts[0].get_text() == "not determined in any level"
    mpl.pyplot.close("all")


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ x", "must be a formula such as 'y ~ x | g'"),
        ("y ~ x + (1 | h)", "Parentheses around it make a random term"),
        ("y ~ x | h / f", "there are 2"),
        ("y ~ x || h", "must be a formula"),
        ("y ~ x |", "Nothing stands right"),
        ("y ~ xx | h", "no column 'xx'.* Did you mean 'x'"),
        (7, "must be a text"),
    ],
)
def test_formulas_that_are_refused(formula: str, says: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=says):
        mm.fit_each(formula, messy())


def test_other_refusals() -> None:
    each = mm.fit_each("y ~ x | h", messy())
    with pytest.raises(mm.InferenceError, match=r"no coefficient 'X'.* Did you mean 'x'"):
        each.coef_table(which="X")
    with pytest.raises(mm.InferenceError, match="pool is 2"):
        each.coef_table(pool=2)
    with pytest.raises(mm.InferenceError, match="what fit_each returns"):
        mm.plot.level_intervals(5)
    with pytest.raises(mm.FormulaError, match="no listed function"):
        mm.fit_each("y ~ open('f') | h", messy(), evaluate="restricted")
    with pytest.raises(mm.DataError, match="missing"):
        mm.fit_each("y ~ x | h", messy(), missing="raise")
