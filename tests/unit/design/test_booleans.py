"""True and false are a category in terms, as in R and patsy, and numbers in computations."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

RNG = np.random.default_rng(5)
N = 120
G = np.repeat(np.arange(12), 10)
B = RNG.random(N) > 0.5
X = RNG.normal(size=N)
DATA = pd.DataFrame({
    "g": G, "b": B, "t": np.where(B, "yes", "no"), "i": B.astype(int), "x": X,
})  # fmt: skip
DATA["y"] = 3 * B + X * (1 + B) + 3 * RNG.normal(size=12)[G] + RNG.normal(size=N)
DATA["y"] += 2 * RNG.normal(size=(12, 2))[G, B.astype(int)]
NEW = pd.DataFrame({"b": [True, False], "t": ["yes", "no"], "i": [1, 0], "x": [0.5, 2.0], "g": [3, 4]})


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ {} + x + (1 | g)",
        "y ~ 0 + {} + (1 | g)",
        "y ~ {}:x + (1 | g)",
        "y ~ x + (0 + {} | g)",
        "y ~ x*{} + (1 | g)",
    ],
)
def test_a_boolean_is_the_category_of_its_texts(formula: str) -> None:
    boolean, text = mm.lmer(formula.format("b"), DATA), mm.lmer(formula.format("t"), DATA)
    assert boolean.deviance == pytest.approx(text.deviance, abs=1e-8)
    np.testing.assert_allclose(boolean.predict(NEW), text.predict(NEW), rtol=1e-6)
    assert [name.replace("t[T.yes]", "b[T.True]").replace("t[no]", "b[False]").replace("t[yes]", "b[True]")
            for name in text.fe_params.index] == list(boolean.fe_params.index)  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("y ~ b + (1|g)", "b"),
        ("y ~ C(b) + (1|g)", "b"),
        ("y ~ C(i) + (1|g)", "i"),
        ("y ~ I(~b) + (1|g)", "b"),
        ("y ~ I(b*x) + x + (1|g)", "b"),
        ("y ~ x + (1 | b)", "b"),
        ("y ~ i + (1|g)", "i"),
    ],
)
@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0]])
def test_new_data_have_true_and_false_as_numbers_or_numbers_as_these(
    formula: str, name: str, values: list[Any]
) -> None:
    fit = mm.lmer(formula, DATA)
    np.testing.assert_array_equal(fit.predict(NEW.assign(**{name: values})), fit.predict(NEW))


def test_other_values_are_refused() -> None:
    for formula, message in (
        ("y ~ b + (1|g)", "level 2, which the fit did not have. It had False, True"),
        ("y ~ I(~b) + (1|g)", "'b' was true or false in the fit, but holds 2 now"),
    ):
        with pytest.raises(mm.DataError, match=message):
            mm.lmer(formula, DATA).predict(NEW.assign(b=[2, 0]))


def test_missing_values_stay_missing() -> None:
    fit = mm.lmer("y ~ b + (1|g)", DATA)
    predicted = fit.predict(NEW.assign(b=[np.nan, 0.0]))
    assert list(np.isnan(predicted)) == [True, False]
    gaps = DATA.assign(b=DATA.b.astype("boolean").where(DATA.index > 3))
    with pytest.warns(mm.DroppedRowsWarning):
        assert mm.lmer("y ~ b + (1|g)", gaps).nobs == N - 4


def test_a_condition_is_a_category_too() -> None:
    """R: without an intercept there is a mean for each."""
    fit = mm.lmer("y ~ 0 + I(x > 0) + (1 | g)", DATA)
    assert list(fit.fe_params.index) == ["I(x > 0)[False]", "I(x > 0)[True]"]
    other = mm.lmer("y ~ 0 + s + (1 | g)", DATA.assign(s=np.where(X > 0, "up", "down")))
    np.testing.assert_allclose(fit.fe_params, other.fe_params, rtol=1e-6)
    np.testing.assert_allclose(fit.predict(NEW.assign(x=[-1, 1])), fit.predict(NEW.assign(x=[-2, 3])))


def test_codings_of_booleans() -> None:
    fit = mm.lmer("y ~ b * x + (1 | g)", DATA, contrasts={"b": "sum"})
    other = mm.lmer("y ~ t * x + (1 | g)", DATA, contrasts={"t": "sum"})
    np.testing.assert_allclose(fit.fe_params, other.fe_params, rtol=1e-6)


def test_a_boolean_response_is_zero_and_one() -> None:
    design = mm.LinearMixedModel("I(x > 0) ~ b + (1 | g)", DATA).design
    np.testing.assert_array_equal(design.y, DATA["x"] > 0)
    design = mm.LinearMixedModel("b ~ x + (1 | g)", DATA).design
    np.testing.assert_array_equal(design.y, DATA["b"])


@pytest.mark.parametrize("formula", ["y ~ b + offset(x*b) + (1 | g)", "y ~ b + (1 | g:b)", "b ~ I(b + x) + (1 | g)"])
def test_a_boolean_may_be_a_term_and_part_of_a_computation(formula: str) -> None:
    """There it is a number; the span is the same."""
    boolean, number = (mm.LinearMixedModel(formula, data).design for data in (DATA, DATA.assign(b=DATA["b"] * 1.0)))
    np.testing.assert_array_equal(boolean.X, number.X)
    np.testing.assert_array_equal(boolean.y, number.y)


@pytest.mark.parametrize(
    "sum_",
    ["I(b + c)", "I((x > 1) + (i > 0))", "I((x > 1) + b + (i > 0))", "I(b - c)", "I(~b + (x > 0))", "offset(b + c)"],
)
def test_sums_of_conditions_are_refused(sum_: str) -> None:
    """R counts them, NumPy joins them by "or"."""
    data = DATA.assign(c=X > 0.3)
    with pytest.raises(mm.DataError, match="adds or subtracts conditions"):
        mm.lmer(f"y ~ {sum_} + (1 | g)", data)


def test_counted_conditions() -> None:
    data = DATA.assign(c=X > 0.3, n=B * 1 + (X > 0.3))
    counted, plain = mm.lmer("y ~ I(1*b + 1*(x > 0.3)) + (1 | g)", data), mm.lmer("y ~ n + (1 | g)", data)
    np.testing.assert_allclose(counted.fe_params, plain.fe_params, rtol=1e-8)
    assert mm.LinearMixedModel("y ~ I(x - 1) + I(b | c) + I(b * x + x) + (1 | g)", data).design.X.shape[1] == 4


@pytest.mark.parametrize(
    "call",
    [
        "x.gt(0)",
        "np.isin(i, [1])",
        "i.isin([1])",
        "x.between(0, 1)",
        "t.str.startswith('y')",
        "np.logical_and(x > 0, i == 1)",
        "np.where(x > 0, True, False)",
        "{x > 0}",
        "x.gt(0) & b",
    ],
)
def test_what_a_call_makes_true_or_false_is_a_category(call: str) -> None:
    term = f"I({call})" if "&" in call else call
    truth = eval(call.strip("{}"), {"np": np}, dict(DATA.items()))
    fit = mm.lmer(f"y ~ {term}*x + (1|g)", DATA)
    twin = mm.lmer("y ~ v*x + (1|g)", DATA.assign(v=np.where(truth, "yes", "no")))
    assert fit.deviance == pytest.approx(twin.deviance, abs=1e-8)
    name = next(iter(fit.fe_params.index[1:]))
    assert name.endswith("[T.True]")
    alone = fit.predict(DATA.iloc[[0]])
    np.testing.assert_allclose(alone, fit.predict(DATA)[:1])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("I(x > 0 & i > 0)", "I((x > 0) & (i > 0))"),
        ("I(x > 0 | i == 1 & x < 1)", "I((x > 0) | ((i == 1) & (x < 1)))"),
        ("np.where(x > 0 & b, x[i > 0 | x > -9], 0)", "np.where((x > 0) & b, x[(i > 0) | (x > -9)], 0)"),
        ("I(t == 'x & y > 0' | t == 'yes')", "I((t == 'x & y > 0') | (t == 'yes'))"),
        ("I(b & ~b | x > 0)", "I((b & ~b) | (x > 0))"),
    ],
)
def test_comparisons_bind_closer_than_what_joins_them_as_in_r(written: str, meant: str) -> None:
    read, twin = mm.lmer(f"y ~ {written} + (1|g)", DATA), mm.lmer(f"y ~ {meant} + (1|g)", DATA)
    assert read.deviance == twin.deviance
    assert read.fe_params.index.tolist() == twin.fe_params.index.tolist()
