"""Columns whose names are also something else: functions, numbers, expressions; and names that are not there."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

RNG = np.random.default_rng(141)
N = 240
PLAIN = pd.DataFrame({
    "s": RNG.integers(0, 12, N), "i": RNG.integers(0, 10, N), "f": RNG.choice(list("ab"), N), "x": RNG.normal(size=N),
    "p": RNG.uniform(1, 2, N), "z": RNG.normal(size=N), "k": RNG.integers(1, 4, N),
})  # fmt: skip
PLAIN["y"] = RNG.normal(size=12)[PLAIN.s] + RNG.normal(size=10)[PLAIN.i] + PLAIN.x**2 + RNG.normal(size=N)


def same_fit(formula: str, renamed: dict[str, str], twin: str) -> None:
    """The formula on renamed columns is the twin on the plain ones, for the data and for new ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.SingularFitWarning)
        there, here = mm.lmer(twin, PLAIN), mm.lmer(formula, PLAIN.rename(columns=renamed))
    assert here.deviance == pytest.approx(there.deviance, abs=1e-9)
    new = PLAIN.iloc[5:15]
    np.testing.assert_allclose(here.predict(new.rename(columns=renamed)), there.predict(new), rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "renamed", "twin"),
    [
        ("y ~ x + I(x**2) + (1|S) + (1|I)", {"s": "S", "i": "I"}, "y ~ x + I(x**2) + (1|s) + (1|i)"),
        ("y ~ C + C(k) + (1|s)", {"f": "C"}, "y ~ f + C(k) + (1|s)"),
        ("y ~ C(C) + (1|s)", {"k": "C"}, "y ~ C(k) + (1|s)"),
        ("y ~ x + (I(x**2)|I)", {"i": "I"}, "y ~ x + (I(x**2)|i)"),
        ("log(y + 9) ~ log + log(log) + (1|s)", {"p": "log"}, "log(y + 9) ~ p + log(p) + (1|s)"),
        ("y ~ scale(scale) + poly(poly, 2) + (1|s)", {"x": "scale", "z": "poly"}, "y ~ scale(x) + poly(z, 2) + (1|s)"),
        ("y ~ center(center) + abs(abs) + (1|s)", {"x": "center", "z": "abs"}, "y ~ center(x) + abs(z) + (1|s)"),
        ("y ~ np.log(np) + np + np.gt(1.5) + (1|s)", {"p": "np"}, "y ~ np.log(p) + p + p.gt(1.5) + (1|s)"),
        ("y ~ sum + C(f, contr.sum) + (1|s)", {"x": "sum"}, "y ~ x + C(f, contr.sum) + (1|s)"),
        ("factor ~ factor(k) + offset(offset) + (1|s)", {"y": "factor", "z": "offset"},
         "y ~ factor(k) + offset(z) + (1|s)"),
        ("y ~ `1` + (`.` | `2`)", {"x": "1", "z": ".", "s": "2"}, "y ~ x + (z | s)"),
        ("y ~ `1`*f + `2.5` + log(`1`**2) + (1|s)", {"x": "1", "z": "2.5"}, "y ~ x*f + z + log(x**2) + (1|s)"),
        ("`a - b` ~ `x + 1` + offset(`z:p`) + (1 | `s/i`)", {"y": "a - b", "x": "x + 1", "z": "z:p", "s": "s/i"},
         "y ~ x + offset(z) + (1|s)"),
        ("y ~ `a b` + a_b + log(`a b`**2 + a_b) + (1|s)", {"x": "a b", "p": "a_b"},
         "y ~ x + p + log(x**2 + p) + (1|s)"),
        ("y ~ `C(k)` + (1 | `log(s)`)", {"f": "C(k)", "s": "log(s)"}, "y ~ f + (1|s)"),
    ],
)  # fmt: skip
def test_columns_may_be_called_like_anything(formula: str, renamed: dict[str, str], twin: str) -> None:
    same_fit(formula, renamed, twin)


def test_a_function_is_called_though_a_column_has_the_name_of_its_call() -> None:
    data = PLAIN.assign(**{"log(p)": PLAIN.z})
    for formula in ("y ~ log(p) + (1|s)", "y ~ x + offset(log(p)) + (1|s)", "y ~ x + (1|C(s))"):
        assert mm.lmer(formula, data.assign(**{"C(s)": 1})).deviance == mm.lmer(formula, PLAIN).deviance
    for formula in ("y ~ log(p) + `log(p)` + (1|s)", "log(p) ~ `log(p)` + (1|s)", "y ~ `log(p)` + (log(p)|s)"):
        with pytest.raises(mm.MixedModelsError, match=r"'log\(p\)' is the name of a column and an expression in one"):
            mm.lmer(formula, data)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ x + (1 | `s ub`)", "no column 's ub'"),
        ("`y 1` ~ x + (1 | s)", "no column 'y 1'"),
        ("y ~ `x 1` + (1 | s)", "no column 'x 1'"),
        ("y ~ log(`x 1`) + (1 | s)", "no column 'x 1'"),
        ("y ~ x + offset(`z 1`) + (1 | s)", "no column 'z 1'"),
        ("y ~ x + (1 | `s-i`)", "no column 's-i'"),
        ("`y-x` ~ z + (1 | s)", "no column 'y-x'"),
        ("y ~ x + offset(`z + x`) + (1 | s)", "no column 'z + x'"),
        ("y ~ df.x + (1 | s)", "no column 'df.x'"),
        ("y ~ x + (1 | x.y)", "no column 'x.y'"),
        ("y ~ `1` + (1 | s)", "no column '1'"),
        ("y ~ x + (1 | `in`)", "no column 'in'"),
        ("y ~ exit() + (1 | s)", "calls 'exit', which is not a known function"),
    ],
)
def test_names_that_are_not_there(formula: str, says: str) -> None:
    with pytest.raises(mm.DataError) as caught:
        mm.lmer(formula, PLAIN)
    assert says in str(caught.value)


def test_new_data_without_a_column_whose_name_python_cannot_read() -> None:
    renamed = PLAIN.rename(columns={"s": "s - i", "z": "z + x"})
    fit = mm.lmer("y ~ x + offset(`z + x`) + (1 | `s - i`)", renamed)
    for name in ("s - i", "z + x"):
        with pytest.raises(mm.DataError, match=f"There is no column {name!r}".replace("+", r"\+")):
            fit.predict(PLAIN.rename(columns={"s": "s - i", "z": "z + x"}).drop(columns=name).assign(s=1, z=2, i=3))
    again = fit.update(". ~ . + p")
    assert again.call is not None
    assert again.deviance == mm.lmer("y ~ x + p + offset(z) + (1|s)", PLAIN).deviance


def test_coefficients_of_columns_called_like_numbers_have_backticks() -> None:
    renamed = PLAIN.rename(columns={"x": "1", "z": "."})
    assert mm.lmer("y ~ `1` + `.` + (1|s)", renamed).fe_params.index.tolist() == ["Intercept", "`1`", "`.`"]
    crossed = mm.lmer("y ~ `1`*f + (`1` || s)", renamed)
    assert crossed.fe_params.index.tolist() == ["Intercept", "`1`", "f[T.b]", "`1`:f[T.b]"]
    twin = mm.lmer("y ~ x*f + (x || s)", PLAIN)
    np.testing.assert_allclose(
        crossed.margins("f", at={"1": 2})["estimate"], twin.margins("f", at={"x": 2})["estimate"]
    )
    assert crossed.contrast("`1` = 0")["estimate"].item() == pytest.approx(twin.fe_params["x"])


def test_names_may_have_line_ends() -> None:
    data = mm.load_dataset("sleepstudy").rename(columns={"Days": "Da\nys"})
    fit = mm.lmer("Reaction ~ `Da\nys` + (`Da\nys` | Subject)", data)
    assert list(fit.fe_params.index) == ["Intercept", "Da\nys"]
    assert fit.deviance == pytest.approx(1743.6283, abs=1e-4)  # lme4's
    assert np.allclose(fit.predict(data.head()), fit.fittedvalues.head())
    assert r"Da\nys" in str(fit.summary())
    with pytest.raises(mm.DataError, match="The columns are: Reaction, Da\ufffdys, Subject") as caught:
        mm.lmer("Reaction ~ Day + (1 | Subject)", data)
    assert "\n" not in str(caught.value)
