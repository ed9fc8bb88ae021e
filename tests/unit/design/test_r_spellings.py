"""What R users write: words of Python as columns, R's codings and functions, and what is said of others."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.errors import DataError, FormulaError

OATS = mm.load_dataset("Oats")
PYTHON_WORDS = OATS.rename(columns={"nitro": "class", "Variety": "in", "Block": "is"})
PLAIN = OATS.rename(columns={"yield": "y", "nitro": "x", "Variety": "v", "Block": "b"})


@pytest.mark.parametrize("response", ["log(yield)", "log(`yield`)"])
def test_columns_called_like_words_of_python(response: str) -> None:
    fit = mm.lmer(f"{response} ~ Variety + (1 | Block)", OATS)
    # lme4 1.1-31
    assert fit.fe_params.tolist() == pytest.approx([4.616703032, 0.057648980, -0.079431249], rel=1e-8)
    assert fit.bse_fe.tolist() == pytest.approx([0.072498499, 0.068337732, 0.068337732], rel=1e-6)
    assert fit.state.design.response_name == "log(`yield`)"


def test_words_of_python_everywhere() -> None:
    terms = "`in`*log1p(class) + I(class^2) + offset(log1p(`class`)) + (1 | factor(`is`))"
    fit = mm.lmer(f"`yield` ~ {terms}", PYTHON_WORDS)
    twin = mm.lmer("y ~ v*log1p(x) + I(x^2) + offset(log1p(x)) + (1 | factor(b))", PLAIN)
    assert fit.deviance == twin.deviance
    renamed = [name.replace("v", "in", 1) if name.startswith("v[") else name for name in twin.fe_params.index]
    assert [name.replace("`class`", "x") for name in fit.fe_params.index] == renamed
    assert fit.anova().index.tolist() == ["in", "log1p(`class`)", "I(`class` ** 2)", "in:log1p(`class`)"]
    np.testing.assert_array_equal(fit.margins("in")["estimate"], twin.margins("v")["estimate"])
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(PYTHON_WORDS[:5]), twin.predict(PLAIN[:5]))
    slope = fit.contrast("log1p(`class`) = 0")["estimate"].item()
    assert slope == fit.fe_params["log1p(`class`)"]


def test_a_word_of_python_in_an_update() -> None:
    fit = mm.lmer("yield ~ class + (1 | is)", PYTHON_WORDS).update("log(.) ~ . + I(class**2)")
    assert fit.fe_params.index.tolist() == ["Intercept", "class", "I(`class` ** 2)"]
    np.testing.assert_array_equal(fit.state.design.y, np.log(OATS["yield"]))


def test_quoted_text_is_no_column() -> None:
    data = PLAIN.assign(v=PLAIN["v"].astype(str).replace("Victory", "`yield`"))
    X = mm.LinearMixedModel("y ~ I(v == '`yield`') + (1 | b)", data).design.X
    np.testing.assert_array_equal(X[:, 1], PLAIN["v"] == "Victory")


@pytest.mark.parametrize("coding", ["sum", "helmert", "poly", "treatment", "SAS"])
@pytest.mark.parametrize("quote", ["", "'"])
def test_codings_by_name(coding: str, quote: str) -> None:
    chosen = mm.LinearMixedModel(f"y ~ C(v, {quote}{coding}{quote}) + (1 | b)", PLAIN).design
    meant = mm.LinearMixedModel(f"y ~ C(v, contr.{coding}) + (1 | b)", PLAIN).design
    np.testing.assert_array_equal(chosen.X, meant.X)


def test_logarithms_to_a_base() -> None:
    for text in ("log(x + 1, 2)", "log(x + 1, base=2)"):
        X = mm.LinearMixedModel(f"y ~ {text} + (1 | b)", PLAIN).design.X
        np.testing.assert_allclose(X[:, 1], np.log2(PLAIN["x"] + 1), rtol=1e-14)


def test_columns_of_raw_polynomials_are_called_by_their_power() -> None:
    data = PLAIN.assign(z=np.linspace(-1, 2, len(PLAIN)))
    model = mm.LinearMixedModel("y ~ poly(z, 3, raw=True) + (1 | b)", data)
    for power in (1, 2, 3):
        place = model.design.x_names.index(f"poly(z, 3, raw=True)[{power}]")
        np.testing.assert_allclose(model.design.X[:, place], data["z"] ** power, rtol=1e-14)
    np.testing.assert_allclose(model.fit().predict(data[:4]), model.fit().predict()[:4], rtol=1e-12)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("C(v, 3)", r"'C\(v, 3\)' cannot be computed: its second argument is no coding; sum, helmert and"),
        (
            "C(v, contr.treatment(2))",
            r"the reference level 2 is none of its levels, which are called by their names\.$",
        ),
        ("x + C(v, Treatment('Vic'))", r"^\"C\(v, Treatment\('Vic'\)\)\" cannot .* the reference level 'Vic' is none"),
        ("C(v, np.ones((2, 2)))", r"its matrix of contrasts has 2 rows, but there are 3 levels\.$"),
        ("sqrt(v)", r"^'sqrt\(v\)' cannot be computed: 'v' holds labels, where numbers are needed\.$"),
        ("x + scale(v)", r"^'scale\(v\)' cannot be computed: 'v' holds labels, where numbers are needed\.$"),
        ("max(x)", r"^'max\(x\)' cannot be computed: it does not give one value for each row\.$"),
        ("I(x - mean(x))", r"calls 'mean'.*write center\(x\)"),
        ("sd(x)", r"calls 'sd'.*scale\(x\)"),
        ("cut(x, 3)", r"calls 'cut'.*pandas\.cut"),
        ("interaction(v, b)", r"calls 'interaction'.*a:b"),
        (
            "ifelse(x > 0, 1, 0)",
            r"calls 'ifelse', which is not a known function\. For one of two values write np\.where",
        ),
        ("pmin(x, 1)", r"calls 'pmin', which is not a known function\. For the smaller"),
        ("dummy(v, 'Victory')", r"calls 'dummy'.*I\(x == 'level'\)"),
    ],
)
def test_terms_that_cannot_be_computed(term: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mm.LinearMixedModel(f"y ~ {term} + (1 | b)", PLAIN)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ as.numeric(v) + (1 | b)", r"R's as\.numeric\(\) is no function here: make a column of numbers"),
        ("y ~ log(as.integer(v)) + (1 | b)", r"R's as\.integer\(\) is no function here"),
        ("y ~ as.character(x) + (1 | b)", r"text is a category as it is, and numbers are in C\(x\)"),
        ("is.na(y) ~ x + (1 | b)", r"R's is\.na\(\) is no function here"),
        ("y ~ (x > 0.2) + (1 | b)", r"A condition is a term inside of I\(\) only"),
        ("y ~ x + (v == 'Victory') + (1 | b)", r"A condition is a term inside of I\(\) only"),
        ("y ~ C(in) + (1 | b)", "A column called 'in' stands in backticks: `in`"),
    ],
)
def test_formulas_that_cannot_be_read(formula: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says):
        mm.LinearMixedModel(formula, PLAIN)


def test_new_levels_of_numbers_are_refused_by_term() -> None:
    fit = mm.lmer("y ~ v + C(x) + (1 | b)", PLAIN)
    with pytest.raises(DataError, match=r"^'C\(x\)' has levels that the fit did not have: 0\.7\.$"):
        fit.predict(PLAIN.assign(x=0.7))


def test_splines_beyond_the_data() -> None:
    growth = mm.load_dataset("Orthodont")
    later = growth.assign(age=growth["age"] + 3)
    fit = mm.lmer("distance ~ bs(age, df=3) + (1 | Subject)", growth)
    with pytest.raises(DataError, match=r"^'bs\(age, df=3\)' cannot .* values beyond those of the fit.*'extend'"):
        fit.predict(later)
    # Without knots inside a cubic spline is a cubic polynomial, which goes on.
    fit = mm.lmer("distance ~ bs(age, df=3, extrapolation='extend') + (1 | Subject)", growth)
    cubic = mm.lmer("distance ~ poly(age, 3) + (1 | Subject)", growth)
    np.testing.assert_allclose(fit.predict(later), cubic.predict(later), rtol=1e-6)


@pytest.mark.parametrize("argument", ["weights", "offset"])
@pytest.mark.parametrize("labels", [None, "label"])
def test_values_in_another_order_are_refused(argument: str, labels: str | None) -> None:
    data = PLAIN if labels is None else PLAIN.set_index(PLAIN.index.map(lambda i: f"row {i:02}").rename(labels))
    values = data["x"] + 1
    shuffled = data.sample(frac=1, random_state=1)
    with pytest.raises(DataError, match=rf"^{argument} has the index of the data in another order"):
        mm.lmer("y ~ v + (1 | b)", shuffled, **{argument: values})
    ordered = mm.lmer("y ~ v + (1 | b)", shuffled, **{argument: values.loc[shuffled.index]})
    by_position = mm.lmer("y ~ v + (1 | b)", data, **{argument: values.reset_index(drop=True).set_axis(values + 0.5)})
    assert ordered.deviance == pytest.approx(by_position.deviance, rel=1e-10)


def test_a_response_in_another_order_is_refused() -> None:
    gaps = PLAIN.assign(y=PLAIN["y"].where(PLAIN.index != 3))
    with pytest.warns(mm.DroppedRowsWarning):
        fits = [mm.lmer("y ~ v + (1 | b)", PLAIN), mm.lmer("y ~ v + (1 | b)", gaps)]
    for fit in fits:
        for y in (PLAIN["y"].sample(frac=1, random_state=1), PLAIN[["y"]][::-1]):
            with pytest.raises(DataError, match=r"^y has the index of the data in another order"):
                fit.refit(y)
        assert fit.refit(PLAIN[["y"]]).deviance == pytest.approx(fit.deviance, rel=1e-10)
    grouped = PLAIN.set_index(["b", "v"], drop=False)
    assert mm.lmer("y ~ x + (1 | b)", grouped, weights=pd.Series(np.ones(72))).nobs == 72
