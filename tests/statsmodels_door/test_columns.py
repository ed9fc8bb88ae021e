"""Columns of formulas: patsy's, which statsmodels reads formulas with, in order, name and value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels import mixedlm

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.SingularFitWarning")
patsy = pytest.importorskip("patsy", reason="patsy, whose columns these are, is not installed")

FORMULAS = """
1 | x + 1 | 0 + x | x - 1 | x + z + a | x * a | a * x + b | x + a + z * b | x:a + a | a:x | x:a + z | x + x:a + b:z
a + b + a:b | a:b | b:a | a:b:x | x:b:a | a * b * x | x * z * a | x * z + z:b | z:x + x | (x + z + a) ** 2 | (x + a)**2
(x + z + a + b) ** 3 | x / a | a / x | a / b | a:x + b:x | a * x + b * z + b | x + b + z + a + x:b + z:a + b:a
0 + a | 0 + a + b | 0 + a:b | 0 + x + a | 0 + b:x + a | a - 1 + x | C(k) + x | x * C(k) | C(k):x | C(a):C(b) | c + x
C(k, Treatment(2)) | C(k, Treatment(reference=1)) + x | C(a, Treatment(1)) + x | C(a, Treatment(-1)) | C(a, Treatment)
C(a, Treatment("q")) | x + C(a, Treatment(reference='r')) | C(a, Sum) * x | C(c, Poly) | C(k, Poly) | C(c, Helmert)
C(k, Diff) | f | x + f | x + f:x | 0 + f | f:a | I(x > 0) | x + I(x > 0) | x * I(x>0) | x + C(f) | I(f * x)
I(x ** 2) + x | I(x**2) + np.log(z) + a | np.sin(x) + C(b) + np.cos(x) | np.power(x, 2) + z
bs(x, df=4) | bs(x,df=4) + a | a * bs(z, df=3) | bs(x, df=4):a | bs(x, knots=[0], degree=3) | cr(x, df=4) | cc(x, df=4)
cr(x, df=3, constraints='center') + a | scale(x) | scale(x) + a | standardize(x) | center(x) * a | scale(x, ddof=1)
x + Q('my v') | Q("my v") + a | x + k==3 | k == 3 + x | x + k == 3 | x > .5 | I(x > .5) | x.gt(0.5):z
0 + a.isin(['p']) | C(a, Sum(omit='r')) * b | C(k, levels=[3, 2, 1, 0]) | C(c, [[0], [1], [3]]) | x * C(day) + DATA.x
scale(x, center=False) | standardize(x, center=False) + a | scale(x, rescale=False) | te(cr(x, df=3), cr(z, df=3)) - 1
C(a, Sum('q')) | C(a, Sum(0)) + x | C(a, Sum):x | 0 + C(a, Sum) | 0 + C(a, Helmert):b | C(a, Poly)
np.log(z).clip(-1, 1) | x.shift(1).fillna(0) | C(day) | day | bs(x, df=5, include_intercept=True)
"""


DAYS = pd.date_range("2020-01-01", periods=3)


def simulated() -> pd.DataFrame:
    random, n = np.random.default_rng(0), 60
    frame = pd.DataFrame({"y": random.normal(size=n), "x": random.normal(size=n), "z": random.uniform(1, 3, size=n)})
    categories = pd.Categorical(random.choice(["lo", "mid", "hi"], n), ["lo", "mid", "hi"])
    return frame.assign(
        k=random.integers(0, 4, size=n), a=random.choice(list("pqr"), n), b=random.choice(["u", "v"], n),
        f=random.random(n) > 0.5, c=categories, g=np.arange(n) % 10, day=DAYS[np.arange(n) % 3],
        **{"my v": 2 * frame["x"]},
    )  # fmt: skip


DATA = simulated()


@pytest.mark.parametrize("formula", [text.strip() for line in FORMULAS.split("\n") for text in line.split("|") if text])
def test_columns_are_patsys(formula: str) -> None:
    theirs = patsy.dmatrix(formula, DATA)
    model = mixedlm(f"y ~ {formula}", DATA, groups="g")
    assert model.exog_names == theirs.design_info.column_names
    np.testing.assert_allclose(model.exog, theirs, atol=1e-12)
    random = mixedlm("y ~ 1", DATA, groups="g", re_formula=formula)
    assert random.data.exog_re_names == [name.replace("Intercept", "g") for name in theirs.design_info.column_names]
    np.testing.assert_allclose(random.exog_re, theirs, atol=1e-12)


def test_results_by_position_are_statsmodels() -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    data = load("dietox").assign(Late=lambda d: d["Time"] > 6)
    arguments: tuple[Any, ...] = ("Weight ~ Start + Time + Evit + Late", data)
    ours, theirs = mixedlm(*arguments, groups="Pig").fit(), smf.mixedlm(*arguments, groups="Pig").fit()
    assert ours.params.index.tolist() == theirs.params.index.tolist()
    np.testing.assert_allclose(ours.fe_params, theirs.fe_params, rtol=1e-4)
    np.testing.assert_allclose(ours.bse_fe, theirs.bse_fe, rtol=1e-4)


@pytest.mark.parametrize("formula", ["x + f", "x * I(x > 0)", "x + C(k, Treatment(2))", "scale(x) + a", "z + bs(x, 4)"])
def test_new_rows_have_the_same_columns(formula: str) -> None:
    fit = mixedlm(f"y ~ {formula}", DATA, groups=np.arange(60) // 6).fit(reml=False)
    rows = DATA.iloc[[4, 17]]
    np.testing.assert_allclose(fit.predict(rows), fit.predict()[[4, 17]], rtol=1e-10)
    np.testing.assert_allclose(fit.predict(DATA.iloc[4]), fit.predict()[[4]], rtol=1e-10)


def test_dropped_columns() -> None:
    model = mixedlm("y ~ x + a + bs(z, 3)", DATA, groups="g", drop_cols=["a[T.q]", "bs(z, 3)[0]"])
    theirs = patsy.dmatrix("x + a + bs(z, 3)", DATA, return_type="dataframe")
    kept = ["Intercept", "a[T.r]", "x", "bs(z, 3)[1]", "bs(z, 3)[2]"]
    assert model.exog_names == kept
    np.testing.assert_allclose(model.exog, theirs[kept], atol=1e-12)
    tests = model.fit().wald_test_terms().table
    assert tests["df_constraint"].tolist() == [1, 1, 1, 2]


def test_terms_with_true_and_false() -> None:
    fit = mixedlm("y ~ x + f", DATA, groups=np.arange(60) // 6).fit()
    same = mm.lmer("y ~ x + f + (1 | six)", DATA.assign(six=np.arange(60) // 6))
    found = fit.anova()
    np.testing.assert_allclose(found, same.anova().loc[found.index], rtol=1e-5)


def test_levels_of_components_keep_their_names() -> None:
    """Crossed components have the level's name, nested ones the group's too, as those of lmer."""
    data = mm.load_dataset("Penicillin").assign(one=1)
    components = {"plate": "0 + plate", "sample": "0 + sample"}
    crossed = mm.mixedlm("diameter ~ 1", data, groups="one", vc_formula=components).fit()
    by_bars = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data).random_effects
    for name in components:
        pd.testing.assert_frame_equal(crossed.ranef()[name], by_bars[name], rtol=1e-4, check_names=False)
    pastes = mm.load_dataset("Pastes")
    nested = mm.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1", vc_formula={"cask": "0 + cask"}).fit()
    expected = mm.lmer("strength ~ 1 + (1 | batch) + (1 | batch:cask)", pastes).random_effects["batch:cask"][
        "Intercept"
    ]
    np.testing.assert_allclose(nested.ranef()["cask"]["Intercept"].loc[list(expected.index)], expected, rtol=1e-3)


@pytest.mark.parametrize("twice", ["y", "x", "f", "g", "h"])
def test_columns_of_one_name_are_refused_where_they_are_used(twice: str) -> None:
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"f": np.tile(list("abc"), 16), "g": np.arange(48) % 8, "h": np.arange(48) % 3})
    data["x"], data["y"] = rng.normal(size=48), rng.normal(size=48)
    doubled = pd.concat([data, data[[twice]]], axis=1)
    asked: dict[str, dict[str, object]] = {
        "yxfg": {"formula": "y ~ x + f", "groups": "g"},
        "yx": {"formula": "y ~ np.exp(x)", "groups": data["g"]},
        "yxg": {"formula": "y ~ 1", "groups": "g", "re_formula": "1 + x"},
        "ygh": {"formula": "y ~ 1", "groups": "g", "vc_formula": {"h": "0 + C(h)"}},
    }
    for used, arguments in asked.items():
        if twice in used:
            with pytest.raises(mm.DataError, match=f"2 columns are called '{twice}'. Give each"):
                mm.mixedlm(data=doubled, **arguments)  # type: ignore[arg-type]
            if twice == "x" and "re_formula" not in arguments:
                with pytest.raises(mm.DataError, match="2 columns are called 'x'"):
                    mm.mixedlm(data=data, **arguments).fit().predict(doubled)  # type: ignore[arg-type]
        else:
            again = mm.mixedlm(data=doubled, **arguments).fit()  # type: ignore[arg-type]
            assert again.llf == mm.mixedlm(data=data, **arguments).fit().llf  # type: ignore[arg-type]
